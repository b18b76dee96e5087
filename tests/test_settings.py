"""What can be asked for of a training is said once: the signature, the command line and the checks follow from it."""

import inspect
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
import yaml

import striate
from striate.cli import main
from striate.errors import StriateError, UsageError
from striate.namedrecipes import TUTORIAL
from striate.recipe import Recipe
from striate.settings import Settings

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


RECIPE_FILE = """
epochs: 1.5
batch_size: 64
optimizer: sgd
lr: 5e-2  # a text for YAML 1.1
momentum: 0.9
schedule: step
milestones: [[0.5, 0.1]]
resize_schedule: 20,28@0.5
"""


def test_a_recipe_in_a_file_and_set_reach_every_field(tmp_path, small_sample, call):
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE_FILE)
    made = Settings(recipe=str(file)).recipe
    assert (made.name, made.lr, made.milestones, made.resize_schedule) == (
        "mine",
        0.05,
        ((0.5, 0.1),),
        ((0, 20), (0.5, 28)),
    )
    command = [
        "train",
        "--recipe",
        file,
        "--set",
        "weight-decay=5e-4",
        "--set",
        "milestones=0.2@0.5",
        "--name",
        "a",
        "--no-report",
    ]
    code, _, err = call(*command, "--judge", "none", "--epochs", 0.05, "--threads", 1)
    assert code == 0, err
    run = striate.load("runs/a")
    kept = run.config.recipe.values
    assert (kept["name"], kept["optimizer"], kept["weight_decay"], kept["milestones"]) == (
        "mine",
        "sgd",
        5e-4,
        [[0.5, 0.2]],
    )
    of_run = Settings(recipe=str(run.path / "config.yaml")).recipe
    assert of_run == run.recipe
    own = {item.name for item in fields(Recipe)} - {"name", "source", "augmentation"} - set(NAMES)
    texts = {"optimizer": "sgd", "momentum": "0.5", "nesterov": "true", "weight_decay": "1e-3", "decay_all": "true",
             "schedule": "step", "warmup": "0.1", "milestones": "0.1@0.5", "label_smoothing": "0.1"}  # fmt: skip
    assert own == set(texts)
    changed = TUTORIAL.changed(texts)
    assert all(
        str(getattr(changed, name)).lower().startswith(text[:2])
        for name, text in texts.items()
        if name != "weight_decay"
    )
    assert changed.weight_decay == 1e-3


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("lr: [1", "is not YAML"),
        ("- 1", "is no recipe"),
        (RECIPE_FILE + "learning_rate: 1", "no recipe field named 'learning_rate'"),
        (RECIPE_FILE.replace("lr: 5e-2", "lr: fast"), "lr must be a number, got 'fast'"),
        (RECIPE_FILE.replace("lr: 5e-2", "lr: -1"), "lr must be"),
        (RECIPE_FILE.replace("optimizer: sgd", ""), "optimizer is missing"),
        (RECIPE_FILE + "seed: !!python/object/apply:os.system ['true']", "is not YAML"),
        (RECIPE_FILE + "a: &a [[x]]\nb: &b [*a, *a]\nc: [*b, *b]", "is no recipe"),
    ],
)
def test_a_recipe_file_that_is_wrong_is_named_with_the_field(tmp_path, content, said):
    file = tmp_path / "mine.yaml"
    file.write_text(content)
    with pytest.raises(StriateError, match=re.escape(said)) as raised:
        Settings(recipe=str(file))
    assert "mine.yaml" in str(raised.value)


@pytest.mark.parametrize(
    ("given", "in_python", "on_the_command_line"),
    [
        (
            {"validation": 1.0},
            "validation must be at least 0 and below 1, got 1.0",
            "--validation must be at least 0 and below 1",
        ),
        ({"micro_batches": 0}, "micro_batches must be at least 1", "--micro-batches must be at least 1"),
        ({"set": ["weight-decay=-1"]}, "weight_decay must be at least 0", "--set weight-decay must be at least 0"),
        ({"set": ["lr=1"]}, "lr has its own setting: use lr instead of set", "use --lr instead of --set"),
        ({"set": ["fast"]}, "set must be a field", "--set must be a field"),
        ({"set": ["nesterov=perhaps"]}, "nesterov must be True or False", "--set nesterov must be True or False"),
        ({"set": ["rate=1"]}, "no recipe field named 'rate'", "no recipe field named 'rate'"),
    ],
)
def test_messages_name_a_parameter_as_its_reader_wrote_it(given, in_python, on_the_command_line, call):
    with pytest.raises(UsageError) as raised:
        striate.train("lenet5", **given)
    assert str(raised.value).startswith(in_python) or in_python in str(raised.value)
    options = [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", value[0] if name == "set" else value)
    ]
    code, _, err = call("train", "lenet5", *options)
    assert code == 2
    assert on_the_command_line in err


def test_settings_are_written_and_read_again():
    asked_for = Settings(
        "resnet20", "photos", lr=0.1, exclude=["a", "b"], range=(0, 4095), augment="flip", set={"momentum": 0.5},
        resize_schedule=((0.0, 20), (0.5, 28)), recipe=TUTORIAL, out=Path("x"),
    )  # fmt: skip
    written = asked_for.as_dict()
    assert yaml.safe_load(yaml.safe_dump(written)) == json.loads(json.dumps(written)) == written
    again = Settings.from_dict(written)
    assert again.as_dict() == written
    assert (again.recipe, again.key()) == (TUTORIAL, asked_for.key())
    with pytest.raises(UsageError, match="no setting named 'rate'"):
        Settings.from_dict({"rate": 1})
    with pytest.raises(UsageError, match="given as an object"):
        Settings(torch.nn.Linear(1, 1)).as_dict()


@pytest.mark.full
def test_the_key_is_of_what_decides_the_result():
    key = Settings().key()
    indifferent = {"name": "x", "out": "y", "log": "mlflow", "report": False, "on_bad": "stop", "data_dir": "z"}
    assert {replace(Settings(), **{name: value}).key() for name, value in indifferent.items()} == {key}
    decisive = {
        "net": "resnet20", "data": "mnist", "epochs": 3, "seed": 1, "threads": 2, "layout": "nhwc", "precision": "bf16",
        "compile": True, "deterministic": True, "processes": 2, "device": "cpu", "judge": "none", "set": {"momentum": 0.5},
        "lr": 0.1, "augment": "flip", "resize_schedule": "20,28@0.5", "exclude": ["a"], "range": "0,4095",
    }  # fmt: skip
    keys = {name: replace(Settings(), **{name: value}).key() for name, value in decisive.items()}
    assert len({key, *keys.values()}) == len(decisive) + 1
    assert Settings(epochs=3.0).key() == keys["epochs"]
    assert Settings(augment=" flip=1").key() == keys["augment"]
    assert Settings(set=["momentum=0.50"]).key() == keys["set"]
    assert Settings(resize_schedule=((0.0, 20), (0.5, 28))).key() == keys["resize_schedule"]
    program = "from striate.settings import Settings; print(Settings(seed=1).key(), Settings().key())"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert shown == [keys["seed"], key]
    assert shown == ["920b931a2f779b28", "44136fa355b3678a"]


def test_a_run_keeps_settings_that_repeat_it(trained):
    kept = trained.config.settings
    again = Settings.from_dict(kept)
    assert (again.net, again.data, again.epochs, again.threads) == ("lenet5", "fashion-mnist-sample", 2, 1)
    command = trained.summary.command
    assert command.startswith("striate train lenet5 --epochs 2 ")
    assert "--fit" not in command  # it has its default
