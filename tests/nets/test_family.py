"""A new family is one file in striate/nets and its name in the list of files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import striate

ROOT = Path(striate.__file__).parents[1]
TOY = """
from torch import nn
from striate.nets.blocks import global_head
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec, variant

def toy(channels: int, classes: int) -> Net:
    return Net({"conv1": nn.Conv2d(channels, 4, 3)}, global_head(4, classes))

_TOY = NetSpec(name="toy", title="Toy", family="toy", year=2016, citation="Nobody", source="Nowhere", geometry="paper",
               input=(1, 28, 28), min_size=3, classes=10, params=90, macs=24_376, builder=toy)
FAMILY = Family(name="toy", title="Toy", new="Nothing.", mattered="Nowhere.", drawn="toy", recipe={"source": "none", "lr": 0.5},
                rows=(_TOY, variant(_TOY, "toy3", "Toy in colour", "Nowhere", (162, 73_048), input=(3, 28, 28))))
"""
PROGRAM = """
import striate
from scripts import make_docs
from striate.nets import FAMILIES
from striate.namedrecipes import named_recipe

totals = striate.inspect("toy3").totals
assert (totals.parameters, totals.macs) == (striate.CATALOGUE["toy3"].params, striate.CATALOGUE["toy3"].macs)
assert named_recipe("paper", family="toy", batch_norm=False, params=90).lr == 0.5
assert "Toy in colour" in make_docs.facts() and "toy3" in make_docs.family_page(FAMILIES["toy"])
"""


def test_one_file_and_its_name_make_a_family(tmp_path):
    for part in ("striate", "scripts"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "striate/nets/toy.py").write_text(TOY)
    listing = tmp_path / "striate/nets/__init__.py"
    named = listing.read_text().replace("resnet, vgg\n", "resnet, toy, vgg\n").replace("(lenet, ", "(lenet, toy, ")
    listing.write_text(named)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
