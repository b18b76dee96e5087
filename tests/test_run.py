"""A run's folder that came from somebody: what its files may ask for."""

import time

import pytest
import torch
import yaml

from striate.errors import DataError
from striate.files import write_yaml
from striate.inference import build_net, load_net
from striate.run import Run
from striate.runforms.config import RunConfig
from striate.runforms.evaluation import Seen, leading
from tests.run_config import config

CONFIG = config()


@pytest.fixture
def run(tmp_path):
    write_yaml(tmp_path / "config.yaml", CONFIG)
    return Run(tmp_path)


def laughing():
    """Nine lists of nine, each within the next: 500 bytes that say 400 million values."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]")
    return "\n".join(lines)


CONFIGS = {
    "values without number": (laughing(), r"more than 100,000 settings"),
    "a list of a long list": (
        f"a: &a [{','.join('x' * 5_000)}]\nb: [{','.join(['*a'] * 5_000)}]",
        r"more than 100,000 settings",
    ),
    "one within itself": ("a: &a [*a]", r"more than 100,000 settings"),
    "deep": ("[" * 5_000, r"is damaged"),
    "an object": ("!!python/object/apply:os.system ['touch canary']", r"is damaged"),
    "a list": ("- 1\n- 2", r"must be names and values"),
    "no text": ("\x00\x01", r"is damaged"),
    "a format that is a word": (
        "format: new",
        r"config\.yaml: format must be a whole number from 1 to 1,000,000, got 'new'",
    ),
    "too large": ("a: " + "x" * 2**18, r"262,147 bytes"),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_config_cannot_ask_for_the_moon(run, kind):
    text, reason = CONFIGS[kind]
    (run.path / "config.yaml").write_text(text)
    began = time.perf_counter()
    with pytest.raises(DataError, match=reason):
        Run.open(run.path)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, r"is damaged"),
        ("[1]", r"must be names and values"),
        ("{", r"is damaged"),
        ("\x00", r"is damaged"),
    ],
)
def test_nor_can_another_file(run, text, reason):
    (run.path / "data.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        _ = run.data
    (run.path / "evaluations" / "a").mkdir(parents=True)
    (run.path / "evaluations" / "a" / "evaluation.json").write_text(text)
    with pytest.raises(DataError, match=reason):
        _ = run.evaluations
    with (run.path / "summary.json").open("wb") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(DataError, match=r"1,099,511,627,776 bytes"):
        _ = run.summary


def test_metrics_are_numbers(run):
    (run.path / "metrics.csv").write_text("epoch,step\n1,rm -rf\n")
    with pytest.raises(DataError, match=r"metrics\.csv: line 2: .*'rm -rf'"):
        _ = run.metrics


@pytest.mark.parametrize("keep", ["../../../etc/passwd", "", None, ["last"]])
def test_weights_are_those_of_the_run(run, keep):
    write_yaml(run.path / "config.yaml", config(recipe={"keep": keep}))
    with pytest.raises(DataError, match=r"config\.yaml: recipe\.keep must be last or best, got"):
        load_net(run, torch.device("cpu"))


@pytest.mark.parametrize("size", [{"classes": 10**12}, {"channels": 10**9}, {"classes": "ten"}, {"channels": 0}])
def test_a_net_is_of_sane_size(run, size):
    write_yaml(run.path / "config.yaml", {**CONFIG, "net": {**CONFIG["net"], **size}})
    with pytest.raises(
        DataError, match=r"config\.yaml: net\.(classes|channels) must be a whole number from 1 to .*, got"
    ):
        build_net(run)
    assert yaml.safe_load((run.path / "config.yaml").read_text())["net"]["name"] == "lenet5"


def test_a_run_is_known_by_its_own_test_pictures_seen_once():
    def made(data, split, views):
        return Seen(data=data, split=split, views=views)

    shoes = RunConfig.from_dict(config(data="shoes"))
    found = {
        "others": made("hats", "test", "centre"),
        "validation": made("shoes", "validation", "centre"),
        "dense": made("shoes", "test", "dense"),
        "centre": made("shoes", "test", "centre"),
    }
    assert leading(shoes, found) == "centre"  # whichever was made first
    assert leading(shoes, {key: found[key] for key in ("others", "validation", "dense")}) == "dense"
    assert leading(shoes, {"others": found["others"]}) is None
