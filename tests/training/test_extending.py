"""The end of a run can be moved: what is done stays, the rest has the rates of a run of the new length, and the run knows it."""

import shlex
import shutil
import signal
from dataclasses import replace

import pytest
from test_exactness import QUIET, StopAfter, same_bits, training_columns, weights

import striate
from striate.cli import main
from striate.errors import Interrupted, UsageError
from striate.experiment.repeat import repeat_command
from striate.namedrecipes import FAST_NORM
from striate.runforms.config import Span
from striate.training import Length, Progress, checkpoint
from tests import run_config


def test_a_length_that_was_never_moved():
    length = Length.of(run_config.plan(100))
    assert length.steps == 100
    assert length.progress(0) == 0.005
    assert length.progress(99) == 0.995


def test_a_moved_end_changes_the_schedule_from_there_on_only():
    finished = Length.of(run_config.plan(100)).moved(100, 200)
    assert [finished.progress(step) for step in (99, 100, 199)] == [0.995, 100.5 / 200, 199.5 / 200]
    interrupted = Length.of(run_config.plan(100)).moved(40, 80)
    assert [interrupted.progress(step) for step in (39, 40, 79)] == [0.395, 40.5 / 80, 79.5 / 80]
    again = finished.moved(150, 120 + 50)
    assert Length.of(again.planned(run_config.plan(100))) == again
    assert again.spans == ((0, 100), (100, 200), (150, 170))
    # Damage made the run go on from an earlier step than the one at which its end was moved last.
    assert again.moved(100, 300).spans == ((0, 100), (100, 300))
    assert Length.of(run_config.plan(100)).moved(0, 50).spans == ((0, 50),)


class Lines(Progress):
    """Keeps what is said."""

    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


SETTINGS = {"threads": 1, "report": False, "layout": "nchw"}
RECIPE = replace(FAST_NORM, batch_size=30, seed=2)


@pytest.fixture(scope="module")
def short(tmp_path_factory, clothes):
    """A finished run of one and a half epochs of 30 steps."""
    out = tmp_path_factory.mktemp("short")
    return striate.train(
        "lenet5-bn", clothes, recipe=RECIPE, epochs=1.5, name="short", out=out, progress=QUIET, **SETTINGS
    )


def test_a_finished_run_is_extended_and_says_what_the_rate_does(short, tmp_path):
    path = shutil.copytree(short.path, tmp_path / "run")
    said = Lines()
    run = striate.resume(path, epochs=3, progress=said)
    # The row of the second epoch is that of the whole of it now.
    assert [(row["epoch"], row["step"]) for row in short.metrics] == [(1, 30), (2, 45)]
    assert [(row["epoch"], row["step"]) for row in run.metrics] == [(1, 30), (2, 60), (3, 90)]
    assert training_columns(run)[0] == training_columns(short)[0]
    # Halfway through a cycle with its peak at a fifth: (1 - 45.5 / 90) / 0.8 of the peak, then down to zero.
    rates = [row["lr"] for row in (short.metrics[0], short.metrics[1], *run.metrics[1:])]
    assert rates[1] == pytest.approx(0.2 * (0.5 / 45) / 0.8)
    assert rates[2] == pytest.approx(0.2 * (30.5 / 90) / 0.8)
    assert rates[3] == pytest.approx(0.2 * (0.5 / 90) / 0.8)
    told = next(line for line in said.lines if "in all instead of" in line)
    assert (
        "3 epochs in all instead of 1.5 epochs: from step 46 on the learning rate is that of a run of 3 epochs" in told
    )
    assert f"{0.2 * (1 - 45.5 / 90) / 0.8:.3g} after {rates[1]:.3g}, and {rates[3]:.3g} in the last step" in told
    assert not same_bits(weights(short), weights(run))
    assert run.config.recipe.values["epochs"] == run.config.plan.epochs == 3
    assert run.config.plan.steps == 90
    assert run.config.plan.lengths == (Span(after_step=0, steps=45), Span(after_step=45, steps=90))
    assert run.summary.status == "finished"
    assert run.overview().epochs == 3
    assert len(run.evaluations) == 1
    first, second = (shlex.split(line) for line in run.summary.command.splitlines())
    assert first[first.index("--epochs") + 1] == "1.5"
    assert second == ["striate", "train", "--resume", "runs/again", "--epochs", "3"]
    with pytest.raises(UsageError, match="3 that are done already, got 2"):
        striate.resume(path, epochs=2)
    with pytest.raises(UsageError, match="3 that are done already, got 3"):
        striate.resume(path, epochs=3)


def test_the_commands_kept_in_an_extended_run_repeat_it_to_the_bit(short, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extended = striate.resume(shutil.copytree(short.path, tmp_path / "run"), epochs=2, progress=QUIET)
    for line in extended.summary.command.splitlines():
        with pytest.raises(SystemExit) as exited:
            main([*shlex.split(line)[1:]])
        assert not exited.value.code
    again = striate.load(tmp_path / "runs" / "again")
    assert same_bits(weights(extended), weights(again))
    assert training_columns(extended) == training_columns(again)


def test_an_extended_run_that_is_interrupted_ends_with_the_same_bits(short, tmp_path):
    whole = striate.resume(shutil.copytree(short.path, tmp_path / "whole"), epochs=3, progress=QUIET)
    broken = shutil.copytree(short.path, tmp_path / "broken")
    with pytest.raises(Interrupted):
        striate.resume(broken, epochs=3, progress=StopAfter(2, signal.SIGTERM))
    assert striate.load(broken).summary.status == "interrupted"
    resumed = striate.resume(broken, progress=QUIET)  # it knows its end
    assert same_bits(weights(whole), weights(resumed))
    assert training_columns(whole) == training_columns(resumed)


def test_back_before_the_moving_of_the_end_the_old_schedule_holds_until_there(tiny, monkeypatch):
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    bits, rows = [], []
    for name, lost in (("whole", None), ("fallen", "step-000000012.pt")):
        first = tiny(name, steps=12)
        first.fit()
        if lost:
            (first.run.path / "checkpoints" / lost).unlink()
        again = tiny(name, resume=True)
        assert again.state.step == (8 if lost else 12)
        plan = again.run.config.plan
        again.run.config = again.run.config.planned(Length.of(plan).moved(12, 24).planned(plan))
        again.fit()
        bits.append(again.bits())
        rows.append([(row["step"], row["lr"], row["train_loss"]) for row in again.state.rows])
    assert same_bits(*bits)
    assert rows[0] == rows[1]
    assert [step for step, _, _ in rows[0]] == [8, 16, 24]


@pytest.mark.parametrize("epochs", [1.7, 5])
def test_an_interrupted_run_is_made_shorter_or_longer(tmp_path, clothes, epochs):
    with pytest.raises(Interrupted):
        striate.train(
            "lenet5-bn", clothes, recipe=RECIPE, epochs=3, name="run", out=tmp_path, progress=StopAfter(1), **SETTINGS
        )
    run = striate.resume(tmp_path / "run", epochs=epochs, progress=QUIET)
    steps = round(30 * epochs)
    assert run.metrics[-1]["step"] == run.config.plan.steps == steps
    assert run.metrics[0]["lr"] == pytest.approx(0.2 * (1 - 29.5 / 90) / 0.8)
    assert run.metrics[-1]["lr"] == pytest.approx(0.2 * (0.5 / steps) / 0.8)
    assert run.summary.command is None  # nothing that can be pasted stops a run after that step
    assert run.summary.no_command == "its end was moved during training, after step 30 of 90"
    assert repeat_command(run.config) is None


def test_with_resume_only_the_end_can_be_changed(short, capsys):
    before = (short.path / "config.yaml").read_bytes()
    for words, named in (
        (["--lr", "0.1", "--seed", "3"], "--lr, --seed"),
        (["lenet5", "--batch-size", "64"], "NET, --batch-size"),
        (["--budget", "1m", "--epochs", "4"], "--budget"),
        (["--out", "runs"], "--out"),
    ):
        with pytest.raises(SystemExit) as exited:
            main(["train", *words, "--resume", str(short.path)])
        assert exited.value.code == 2
        assert f"{named} cannot be combined with --resume" in capsys.readouterr().err
    for epochs, why in (("0.5", "1.5 that are done already, got 0.5"), ("-1", "--epochs must be above 0, got -1")):
        with pytest.raises(SystemExit) as exited:
            main(["train", "--resume", str(short.path), "--epochs", epochs])
        assert exited.value.code == 2
        assert why in capsys.readouterr().err
    assert (short.path / "config.yaml").read_bytes() == before
    assert short.summary.status == "finished"


def test_the_command_line_extends(short, tmp_path, capsys):
    path = shutil.copytree(short.path, tmp_path / "run")
    with pytest.raises(SystemExit) as exited:
        main(["train", "--resume", str(path), "--epochs", "1.6", "--json"])
    assert not exited.value.code
    captured = capsys.readouterr()
    assert "1.6 epochs in all instead of 1.5 epochs" in captured.err
    assert '"steps": 48' in captured.out
