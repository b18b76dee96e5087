"""Odd modules are read, or refused for the true reason, and left as they were. Run: pytest tests/nets/test_odd_modules.py"""

import json
import warnings

import pytest
import torch

import striate
from striate.anatomy.asking import ask, fixed_images
from striate.anatomy.targets import check_fit, describe
from striate.errors import UsageError
from striate.nets.external import adapt
from tests.nets.odd_modules import READ, REFUSED, snapshot


def made(build):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on what it calls old
        return build()


def fitted(net):
    """What `train` does with a net before it has images."""
    row = describe(net)
    own = adapt(row.make(3, 10, False).module, row, 3, 10)
    check_fit(own, (32, 32), 10, "ten")
    return own


@pytest.mark.full
@pytest.mark.parametrize("kind", READ)
def test_it_is_inspected_fitted_and_asked_and_left_as_it_was(kind, capsys):
    net = made(READ[kind])
    before = snapshot(net)
    anatomy = striate.inspect(net, (3, 32, 32))
    assert str(anatomy)
    assert anatomy.as_dict()
    assert anatomy.totals.parameters + anatomy.totals.parameters_unused == sum(p.numel() for p in net.parameters())
    assert snapshot(net) == before
    own = fitted(net)
    assert snapshot(net) == before
    here = snapshot(own)
    fault = ask(own, fixed_images(3, 32, 32).movedim(3, 1) / 64 - 1).fault
    assert (None if fault is None else fault.name) == ("draws-in-evaluation" if kind == "draws" else None)
    assert snapshot(own) == here
    assert own.train()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert snapshot(net)[0] == before[0]
    assert capsys.readouterr().out == ("" if kind != "prints" else "shape torch.Size([2, 8, 30, 30])\n")


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_for_the_true_reason_and_left_as_it_was(kind):
    build, not_read, not_trained = REFUSED[kind]
    net = made(build)
    before = snapshot(net)
    for why, use in ((not_read, lambda: str(striate.inspect(net, (3, 32, 32)))), (not_trained, lambda: fitted(net))):
        if why is None:
            use()
        else:
            with pytest.raises(UsageError, match=rf"(?s){why}"):
                use()
        assert snapshot(net) == before


FILE = """
print("from the file")
from tests.nets.odd_modules import AsksItsWeights, Gives, LearnedQueries, Out, Prints, Recurrent
def answers(): return Gives(Out)
"""


@pytest.mark.parametrize("name", ["Recurrent", "LearnedQueries", "AsksItsWeights", "Prints", "answers"])
def test_the_command_line_reads_them_as_python_does(name, tmp_path, call):
    (tmp_path / "own.py").write_text(FILE)
    code, out, _ = call("inspect", "own.py:" + name, "--input", "3x32x32", "--json")
    assert code == 0
    namespace = {"Recurrent": "LSTM", "LearnedQueries": "learned queries", "AsksItsWeights": "asks its weights"}
    kind = READ[namespace.get(name, {"Prints": "prints", "answers": "dataclass"}.get(name))]
    same = striate.inspect(made(kind), (3, 32, 32)).totals
    assert {key: json.loads(out)["totals"][key] for key in ("parameters", "macs")} == {
        "parameters": same.parameters, "macs": same.macs,
    }  # fmt: skip


def test_states_that_nobody_uses_are_no_dead_branch_and_one_by_one_maps_are_told_to_flatten():
    found = {
        kind: [f.name for f in striate.inspect(made(build), (3, 32, 32)).findings]
        for kind, build in READ.items()
        if kind in ("LSTM", "GRU")
    }
    assert not any("dead-branch" in names for names in found.values())
    discriminator = striate.inspect(made(REFUSED["discriminator"][0]), (3, 32, 32))
    assert "not-flattened" in [finding.name for finding in discriminator.findings]


def test_frozen_layers_are_marked():
    anatomy = striate.inspect(made(READ["frozen"]), (3, 32, 32))
    assert [row.frozen for row in anatomy.rows if row.parameters] == [224, 0]
    assert "Conv2d 3x3, frozen" in str(anatomy)
    assert "224 of the parameters are frozen" in str(anatomy)
