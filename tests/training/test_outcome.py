"""How a run ended, and whether its net learned: two facts, the same wherever they are said."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.errors import StriateError, UsageError
from striate.experiment.resumed import extended
from striate.files import write_csv, write_json, write_yaml
from striate.outcome import Chance, Learning, judge, rate_to_try
from striate.run import Run
from striate.runforms.summary import Ended, Summary
from striate.training import Progress
from striate.training.preflight import preflight
from striate.training.rows import COLUMNS, chance, out_of_patience
from tests import run_config

QUIET = Progress(quiet=True)
pytestmark = pytest.mark.usefixtures("no_charts")
TEN = Chance(loss=math.log(10), accuracy=0.1, classes=10, validating=100)


def row(epoch, train_loss, train_accuracy, val_loss=None, val_accuracy=None, highest=None, steps=100):
    return {
        "epoch": epoch, "step": epoch * steps, "train_loss": train_loss, "train_accuracy": train_accuracy,
        "val_loss": val_loss, "val_accuracy": val_accuracy, "highest_loss": highest or train_loss,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "verdict", "words"),
    [
        ([row(1, 0.9, 0.7, 0.8, 0.72)], "learned", ""),
        ([row(1, 6e6, 0.1, 700.0, 0.1, 9e8), row(2, 671.0, 0.1, 40.0, 0.09)], "exploded", "rose to 9e+08 in epoch 1"),
        ([row(1, 2.6, 0.1, 2.31, 0.1, 40.0), row(2, 2.31, 0.1, 2.31, 0.1)], "exploded", "is now 2.31"),
        ([row(1, 0.9, 0.7, 0.8, 0.7), row(2, 2.31, 0.12, 2.31, 0.1, 5.0)], "exploded", "had fallen to 0.9, jumped"),
        # A spike from which it came back is none.
        ([row(1, 9.0, 0.4, 1.1, 0.6, 300.0)], "learned", ""),
        ([row(1, 9.0, 0.4, highest=300.0)], "learned", ""),
        # So high at the beginning that nothing rose.
        ([row(1, 8.0, 0.1, 2.31, 0.1, 19.0), row(2, 2.31, 0.1, 2.31, 0.1)], "stuck", "still at chance level (2.303"),
        ([row(1, 2.303, 0.1, 2.303, 0.1)], "stuck", "after 100 steps"),
        ([row(1, 2.303, 0.1, 2.303, 0.1, steps=20)], "unknown", ""),
        # Certain of what is wrong, and right far more often than chance: overfitted, not exploded.
        ([row(1, 0.01, 1.0, 5.0, 0.5)], "learned", ""),
        ([row(1, 0.2, 0.95, 9.0, 0.0)], "below chance", "0.0 %, below the chance level of 10.0 %"),
        ([], "unknown", ""),
    ],
)
def test_what_the_rows_of_a_run_say_of_its_learning(rows, verdict, words):
    first = 20.0 if rows and rows[0]["highest_loss"] == 19.0 else 2.35
    found = judge(rows, TEN, first, "try --lr 0.001")
    assert found.verdict == verdict
    assert words in found.said
    assert ("try --lr 0.001" in found.said) == (verdict == "exploded")
    assert found.public() == found  # all that is said of a run may be said of a stranger's
    assert replace(found, said=f"{found.said}: see https://evil.example").public().said.count("evil") == 0
    assert Learning.from_dict(found.as_dict()) == found


def test_of_classes_of_very_different_sizes_naming_the_largest_is_guessing():
    """The loss of ten zeros to one one is 0.305: far below ln 2, and nothing is learned."""
    uneven = Chance(loss=0.305, accuracy=10 / 11, classes=2, validating=110)
    assert judge([row(1, 0.306, 0.909, 0.306, 0.909)], uneven, 0.7, "").verdict == "stuck"
    assert judge([row(1, 0.2, 0.95, 0.2, 0.97)], uneven, 0.7, "").verdict == "learned"


def test_chance_is_that_of_the_best_constant_answer(tiny):
    made = tiny()
    assert chance(made.job).loss == pytest.approx(math.log(10), rel=0.01)
    # By a search: no constant answer has a smaller mean loss, smoothing included.
    labels, smoothing = made.job.batches.labels, made.job.recipe.label_smoothing
    logits = torch.zeros(10, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200)

    def loss():
        optimizer.zero_grad()
        found = nn.functional.cross_entropy(logits.expand(len(labels), 10), labels, label_smoothing=smoothing)
        found.backward()
        return found.detach()

    optimizer.step(loss)
    assert chance(made.job).loss == pytest.approx(float(loss()), abs=1e-5)


def test_a_rate_to_try():
    assert rate_to_try(2.0, 0.001) == 0.001
    assert rate_to_try(2.0, None) == 0.5
    assert rate_to_try(0.02, 0.2) == 0.005
    assert rate_to_try(0.2, None, at=0.01) == 0.005
    assert rate_to_try(0.2, None, at=0.0) == 0.05


@pytest.mark.parametrize(
    ("summary", "plan", "written", "how", "count"),
    [
        ({"status": "finished"}, {}, 200, "schedule", "20 epochs"),
        ({"status": "finished"}, {}, 0, "schedule", "20 epochs"),
        ({"status": "finished"}, {"stopped_after_step": 70}, 70, "patience", "7 of 20 epochs"),
        ({"status": "interrupted"}, {}, 40, "interrupted", "4 of 20 epochs"),
        ({"status": "failed"}, {}, 0, "failed", "0 of 20 epochs"),
        ({"status": "running"}, {}, 30, "running", "3 of 20 epochs"),
        ({}, {}, 0, "unknown", "0 of 20 epochs"),
        (
            {"status": "failed", "ending": {"how": "not finite", "steps_done": 37}},
            {},
            30,
            "not finite",
            "3.7 of 20 epochs",
        ),
        ({"status": "finished", "ending": {"how": "patience", "steps_done": 70}}, {}, 70, "patience", "7 of 20 epochs"),
    ],
)
def test_older_runs_tell_how_they_ended_by_what_they_have(tmp_path, summary, plan, written, how, count):
    run = Run(tmp_path)
    planned = {"steps": 200, "steps_per_epoch": 10, "epochs": 20.0, **plan}
    write_yaml(tmp_path / "config.yaml", run_config.config(plan=planned, recipe={"patience": 3, "epochs": 20}))
    write_json(tmp_path / "summary.json", summary)
    row = dict.fromkeys(COLUMNS) | {"step": written, "epoch": 1, "seconds": 1.0, "lr": 0.1}
    write_csv(tmp_path / "metrics.csv", [row | {"train_loss": 1.0, "train_accuracy": 0.5}], COLUMNS)
    assert (run.ending.how, run.ending.count) == (how, count)
    assert run.overview().ended == how
    assert run.overview().epochs == 20
    assert run.overview().epochs_done == run.ending.epochs
    assert Summary(ending=Ended.of(run.ending)).ended(run.config, run.metrics) == run.ending


def test_a_run_that_its_patience_ended_goes_on_when_it_is_extended(tiny):
    """A rate of next to nothing: validation is never better than after the first epoch or two."""
    changes = {"patience": 1, "epochs": 20, "lr": 1e-12, "schedule": "constant", "warmup": 0.0}
    made = tiny("run", **changes)
    made.fit()
    done = made.state.step
    assert done < 80
    config, said = extended(made.run.config, done, 20, made.state.rows)
    assert said.startswith("its patience of 1 epoch starts anew; ")
    assert config.plan.patience_restarted == (done,)
    made.run.keep(config)
    again = tiny("run", resume=True, **changes)
    again.fit()
    assert again.state.step == done + 8
    # And once more; a run without patience, or that is merely interrupted, has nothing to begin anew.
    third, _ = extended(config, again.state.step, 30, again.state.rows)
    assert third.plan.patience_restarted == (done, done + 8)
    assert not extended(made.run.config, 8, 30, made.state.rows[:1])[0].plan.patience_restarted


def test_patience_waits_anew_from_where_it_was_restarted():
    rows = [{"step": 10 * n, "val_accuracy": 1 / n, "val_loss": 1.0} for n in range(1, 7)]
    assert [out_of_patience(rows[:n], 2) for n in range(7)] == [False, False, False, True, True, True, True]
    assert [out_of_patience(rows[:n], 2, [30]) for n in range(7)] == [False] * 5 + [True, True]
    assert not out_of_patience(rows, None)


@pytest.fixture
def small(tmp_path):
    """An archive of 120 training and 40 test images of 28x28, of two classes that a net can tell apart."""
    generator = np.random.default_rng(0)
    labels = np.arange(160) % 2
    images = (generator.integers(0, 120, (160, 28, 28)) + 100 * labels[:, None, None]).astype(np.uint8)
    np.savez(
        tmp_path / "small.npz", train_images=images[:120], train_labels=labels[:120], test_images=images[120:],
        test_labels=labels[120:], classes=np.array(["dark", "light"]),
    )  # fmt: skip
    return tmp_path / "small.npz"


def test_stopped_early_resumed_and_extended(small, call, tmp_path):
    common = ("--threads", 1, "--layout", "nchw", "--batch-size", 16)
    code, out, err = call(
        "train", "lenet5", "--data", small, "--recipe", "tutorial", "--lr", 1e-12, "--epochs", 20, "--patience", 1,
        "--name", "run", *common,
    )  # fmt: skip
    assert code == 0, err
    run = striate.load(tmp_path / "runs" / "run")
    ending = run.ending
    assert (ending.how, ending.planned_epochs) == ("patience", 20)
    assert ending.epochs == len(run.metrics) < 20
    said = f"stopped early after {ending.epochs:g} of 20 epochs: no improvement on validation for 1 epoch"
    assert said in " ".join(out.split())
    assert said in " ".join((run.path / "README.md").read_text().split())
    assert said in (run.path / "report.html").read_text()
    assert run.summary.ending.how == "patience"
    assert f"{ending.epochs:g} of 20" in call("runs")[1]
    before = {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    code, _, err = call("train", "--resume", "runs/run")
    assert code == 2
    assert said in err
    assert "striate train --resume runs/run --epochs 20" in err
    assert before == {file: file.read_bytes() for file in run.path.rglob("*") if file.is_file()}
    code, _, err = call("train", "--resume", "runs/run", "--epochs", 30)
    assert code == 0
    assert "its patience of 1 epoch starts anew" in err
    after = striate.load(run.path).ending
    assert after.planned_epochs == 30
    assert after.epochs > ending.epochs
    with pytest.raises(UsageError, match="are done"):
        striate.resume(run.path, epochs=ending.epochs, progress=QUIET)


class Said(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_an_exploding_loss_is_called_exploding_with_a_rate_to_try(small, call, tmp_path):
    code, out, err = call(
        "train", "lenet5", "--data", small, "--recipe", "tutorial", "--lr", 2, "--epochs", 2, "--name", "run",
        "--threads", 1, "--layout", "nchw", "--batch-size", 16,
    )  # fmt: skip
    assert code == 0
    run = striate.load(tmp_path / "runs" / "run")
    assert run.learning.verdict == "exploded"
    assert "try --lr 0.001" in run.learning.said
    flat = " ".join(out.split())
    assert run.learning.said in flat
    assert "striate predict" not in flat
    assert err.count("warning: the loss exploded") == 1
    assert "still at chance level" not in flat + err
    assert "exploded" in (run.path / "report.html").read_text()
    assert "the loss exploded" in (run.path / "README.md").read_text()
    assert "finished, exploded" in call("runs")[1]


@pytest.mark.parametrize(
    ("changes", "usual", "verdict", "words"),
    [
        ({"lr": 2.0, "optimizer": "adam"}, 0.001, "failed", "it diverges, try --lr 0.001"),
        ({"lr": 1e3, "optimizer": "adam"}, None, "failed", "it diverges, try --lr 250"),
        ({"lr": 1e30}, None, "failed", "it diverges"),
        ({}, None, "ok", "0.02: in"),
    ],
)
def test_the_pre_flight_finds_a_rate_that_explodes(tiny, changes, usual, verdict, words):
    made = tiny(momentum=0.0, nesterov=False, **changes)
    before = made.bits() if not changes else None
    found = next(check for check in preflight(made.job, seconds=1.0, usual=usual) if check.name == "learning rate")
    assert (found.verdict, words in found.said) == (verdict, True), found.said
    assert before is None or all(torch.equal(made.bits()[name], value) for name, value in before.items())


def test_a_run_that_met_nan_says_so(tmp_path, small):
    with pytest.raises(StriateError, match="try --lr"):
        striate.train(
            "lenet5", small, recipe="tutorial", lr=1e38, epochs=4, batch_size=16, name="nan", out=tmp_path,
            threads=1, layout="nchw", progress=QUIET,
        )  # fmt: skip
    run = striate.load(tmp_path / "nan")
    assert run.ending.how == "not finite"
    assert "the loss or a gradient was not finite" in str(run.ending)
    assert run.summary.status == "failed"
