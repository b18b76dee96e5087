"""What can be asked for of a training is said once: the signature, the command line and the checks follow from it."""

import inspect
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest

import striate
from striate.cli import main
from striate.errors import UsageError
from striate.recipe import TUTORIAL, Recipe
from striate.settings import Settings, asked

NAMES = [item.name for item in fields(Settings)]
PACKAGE = Path(striate.__file__).parent


def test_the_signature_of_train_is_the_fields_of_settings():
    parameters = inspect.signature(striate.train).parameters
    assert list(parameters) == [*NAMES, "progress", "observers", "stop"]
    assert [parameters[name].kind for name in ("net", "data")] == [inspect.Parameter.POSITIONAL_OR_KEYWORD] * 2
    assert parameters["lr"].kind is inspect.Parameter.KEYWORD_ONLY
    assert [parameters[name].default for name in NAMES] == [item.default for item in fields(Settings)]
    with pytest.raises(UsageError, match="learning_rate"):
        striate.train("lenet5", learning_rate=0.1)


def test_every_field_is_an_option_with_its_help_in_its_group(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = capsys.readouterr().out
    for item in fields(Settings)[1:]:
        assert re.search(rf"--{item.name.replace('_', '-')}\b", shown)
        assert item.metadata["help"].split()[0] in shown
    headings = re.findall(r"^(\w+):$", shown, re.M)
    assert headings == ["Arguments", "Data", "Training", "Start", "Machine", "Output", "Other"]


def test_a_wrong_word_names_the_right_ones(capsys):
    with pytest.raises(SystemExit) as exited:
        main(["train", "--fit", "stretch"])
    assert exited.value.code == 2
    assert "'crop', 'pad', 'squash'" in capsys.readouterr().err


def test_what_was_asked_is_what_differs_from_the_defaults():
    assert asked(Settings(lr=0.1, exclude=["a"])) == {"lr": 0.1, "exclude": ["a"]}


def test_reading_the_settings_loads_nothing_heavy():
    program = "import sys, striate.settings, striate.cli; print({'torch', 'numpy', 'PIL'} & sys.modules.keys())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert shown == "set()\n"


@pytest.mark.parametrize("dial", ["lr", "ema", "augment", "resize_schedule", "patience", "threads"])
def test_a_dial_is_no_parameter_but_of_its_field(dial):
    """Nobody hands it on by hand: no function outside the field has it as a parameter with the default None."""
    passed = re.compile(rf"^\s+{dial}(: .*)? = None,|\b{dial}={dial}\b|\b{dial}=settings\.{dial}\b", re.M)
    found = [str(path) for path in PACKAGE.rglob("*.py") if passed.search(path.read_text())]
    assert not found


def test_a_recipes_dials_have_the_names_of_settings():
    both = {item.name for item in fields(Recipe)} & set(NAMES)
    assert {"epochs", "lr", "batch_size", "seed", "ema", "keep", "patience", "resize_schedule"} <= both


def test_old_names_of_options_still_work_and_name_the_new_ones(capsys, tmp_path):
    """`--accumulate` keeps its meaning, parts of one batch, as long as it is there at all."""
    command = ["train", "lenet5", "--try", "--accumulate", "0"]
    with pytest.raises(SystemExit) as exited:
        main([*command, "--out", str(tmp_path)])
    assert exited.value.code == 2
    shown = capsys.readouterr().err
    assert "hint: --accumulate is now called --micro-batches" in shown
    assert "micro-batches must be at least 1, got 0" in shown
    with pytest.raises(SystemExit):
        main([*command, "--micro-batches", "2"])
    assert "--accumulate is the old name of --micro-batches: give one of them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "--accumulate" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("accumulate", "micro_batches", 2),
        ("sizes", "resize_schedule", ((0.0, 20), (0.5, 28))),
        ("steps", "milestones", ((0.5, 0.1),)),
    ],
)
def test_old_names_of_fields_are_read_from_files_and_taken_with_a_warning(old, new, value):
    today = replace(TUTORIAL, **{new: value})
    written = today.as_dict()
    assert Recipe.from_dict({old if key == new else key: item for key, item in written.items()}) == today
    with pytest.warns(FutureWarning, match=f"{old} is now called {new}"):
        assert replace(TUTORIAL, **{old: value}) == today
    if new in NAMES:
        with pytest.warns(FutureWarning, match=f"{old} is now called {new}"):
            assert getattr(Settings(**{old: value}), new) == value
