"""SIGINT and SIGTERM: out at the end of the running step, with everything saved; a second one ends the process at once."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import striate
from striate.errors import Interrupted
from striate.training import Stop, trainer
from striate.training.checkpoint import load_checkpoint
from tests.training.tiny import same_bits

SLOW = """
import sys, time
import striate
from striate.training import Progress, checkpoint, loop

real, count = {patched}, 0
def slow(*arguments):
    global count
    count += 1
    if count == {nth}:
        print("slow", flush=True)
        time.sleep({seconds})
    return real(*arguments)
{patched} = slow
striate.train("lenet5-bn", epochs=40, threads=1, layout="nchw", name="run", out=sys.argv[1], progress=Progress(quiet=True))
"""
"""A run that, at the nth call of something, says so and sleeps."""


def start(out, patched, nth, seconds):
    program = SLOW.format(patched=patched, nth=nth, seconds=seconds)
    process = subprocess.Popen(
        [sys.executable, "-c", program, out], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "slow\n", process.stderr.read()
    return process


def signalled(tiny, number, at):
    """(training, error) of a tiny training that gets a signal within step `at` (0, 1, ...)."""
    made = tiny("stopped")
    real = made.job.optimizer.step

    def step():
        if made.state.step == at:
            os.kill(os.getpid(), number)
        real()

    made.job.optimizer.step = step
    with pytest.raises(Interrupted) as caught:
        made.fit()
    return made, caught.value


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("at", [0, 3, 7, 8, 22, 23])
def test_the_running_step_ends_and_is_saved(tiny, number, code, at):
    made, error = signalled(tiny, number, at)
    assert error.exit_code == code
    assert f"stopped after step {at + 1} of 24; everything is saved" in str(error)
    assert load_checkpoint(made.run)[0]["step"] == at + 1
    whole, again = tiny("whole"), tiny("stopped", resume=True)
    whole.fit()
    again.fit()
    assert same_bits(whole.bits(), again.bits())
    kept = ("epoch", "step", "lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    assert [[row[key] for key in kept] for row in again.state.rows] == [
        [row[key] for key in kept] for row in whole.state.rows
    ]


def test_a_validation_is_left_and_made_by_the_resumed_run(tiny, monkeypatch):
    whole = tiny("whole")
    whole.fit()
    asked, real = [], trainer.logits

    def logits(net, preprocessing, pixels, *rest):
        asked.append(len(pixels))
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(net, preprocessing, pixels, *rest)

    monkeypatch.setattr(trainer, "logits", logits)
    made = tiny("stopped")
    with pytest.raises(Interrupted):
        made.fit()
    assert made.state.step == 16
    assert [row["step"] for row in made.state.rows] == [8]
    state, _ = load_checkpoint(made.run)
    assert state["step"] == 16
    again = tiny("stopped", resume=True)
    again.fit()
    assert same_bits(whole.bits(), again.bits())
    assert [row["val_loss"] for row in again.state.rows] == [row["val_loss"] for row in whole.state.rows]


def test_validation_in_portions_is_validation(tiny):
    made = tiny(batch_size=1)
    made.job.net.train()
    labels = torch.from_numpy(made.job.validation.labels)
    loss, accuracy = trainer.validate(made.job, Stop(), made.job.net)
    made.job.net.eval()
    with torch.no_grad():
        outputs = made.job.net(made.job.preprocessing.tensor(made.job.validation.pixels))
    assert loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs.double(), labels)))
    assert accuracy == float((outputs.argmax(1) == labels).double().mean())


@pytest.mark.full
def test_a_second_signal_ends_the_process_at_once_with_the_last_checkpoint_intact(tmp_path):
    process = start(tmp_path, "checkpoint.save_checkpoint", 2, 60)
    begin = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert process.poll() is None, "the first one lets the checkpoint be written"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM
    assert time.perf_counter() - begin < 5
    state, reasons = load_checkpoint(striate.load(tmp_path / "run"))
    assert (state["step"], reasons) == (0, [])


@pytest.mark.full
def test_it_is_out_within_5_seconds_of_the_end_of_the_step(tmp_path):
    process = start(tmp_path, "loop.seed_step", 40, 1)
    process.send_signal(signal.SIGTERM)
    begin = time.perf_counter()
    _, err = process.communicate(timeout=60)
    assert time.perf_counter() - begin < 1 + 5
    assert "everything is saved" in err
    run = striate.load(tmp_path / "run")
    assert run.summary.status == "interrupted"
    assert load_checkpoint(run)[0]["step"] == 40
    assert "stopped after step 40 of" in err
