"""A training is told as events, in this process and to others, and is stopped from outside to the bits of an unbroken one."""

import json
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

import striate
from striate import events
from striate.cli import main
from striate.errors import DataError, Interrupted, StriateError, UsageError
from striate.events import EpochEnded, EventFile, Finished, Reading, Saved, Started, Stepped, Stopped, Trained, Warned
from striate.live import trains
from striate.training import Audience, Progress, Stop
from striate.training.checkpoint import load_checkpoint
from tests.training.tiny import same_bits

ROW = {"epoch": 1, "step": 5, "train_loss": 0.5, "val_loss": None}
EVENTS = [
    events.Said(text="lenet5", about="net"),
    Warned(text="no"),
    Reading(done=1, total=2),
    Started(run="runs/run", step=0, steps=10, steps_per_epoch=5),
    Stepped(step=3, steps=10, epoch=1, epochs=2, loss=2.5, accuracy=0.25, images_per_second=100.0),
    EpochEnded(row=ROW, epochs=2, seconds_left=1.5, last=False),
    events.EndMoved(step=5, steps=8, epochs=1.6, planned_epochs=2.0),
    Saved(step=8),
    Trained(step=8),
    events.Evaluated(data="mine", split="test", n=4, figures={"accuracy": 0.5}),
    Finished(),
    Stopped(text="stopped"),
    events.Failed(text="failed"),
]


def test_every_event_is_plain_json_and_comes_back():
    assert {type(event).kind() for event in EVENTS} == set(events.KINDS)
    for event in EVENTS:
        assert events.event_of(json.loads(json.dumps(event.as_dict()))) == event
    for wrong in ({}, [], {"event": "stepped"}, {"event": "flew"}, {**EVENTS[7].as_dict(), "step": "8"}):
        with pytest.raises(DataError):
            events.event_of(wrong)


def run_of(folder, content):
    """A folder that is a run as far as readers of its events look."""
    folder.mkdir()
    (folder / "config.yaml").write_text("")
    (folder / "events.jsonl").write_bytes(content)
    return folder


def test_a_line_cut_anywhere_is_not_read_and_gone_when_the_run_goes_on(tmp_path):
    lines = [json.dumps(event.as_dict()).encode() + b"\n" for event in EVENTS[3:6]]
    for cut in range(len(lines[-1])):
        run = run_of(tmp_path / str(cut), b"".join(lines[:-1]) + lines[-1][:cut])
        assert list(striate.follow(run)) == EVENTS[3:5]
        file = EventFile(run / "events.jsonl")
        file(EVENTS[8])
        file.close()
        assert list(striate.follow(run)) == [*EVENTS[3:5], EVENTS[8]]
    for number, wrong in enumerate((b"{\n", b"[" * 50_000 + b"\n", b'{"event": "flew"}\n', b"\xff\n")):
        with pytest.raises(DataError, match=r"events\.jsonl: line 2: "):
            list(striate.follow(run_of(tmp_path / f"wrong {number}", lines[0] + wrong)))
    with pytest.raises(DataError, match="more than 1,048,576 bytes"):
        list(striate.follow(run_of(tmp_path / "long", b"x" * 2**20)))


def test_events_that_the_disk_did_not_take_are_counted_in_the_file(tmp_path):
    run = run_of(tmp_path / "run", b"")
    file = EventFile(run / "events.jsonl")
    file(EVENTS[3])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((run / "events.jsonl").stat().st_size + 20, before[1]))
        file(EVENTS[7])
        file(EVENTS[8])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    file(EVENTS[10])
    file.close()
    first, gap, last = striate.follow(run)
    assert (first, last) == (EVENTS[3], EVENTS[10])
    assert gap.text.startswith("2 events before this line could not be written")


WRITER = """
import sys
from pathlib import Path
from striate.events import EventFile, Saved
file = EventFile(Path(sys.argv[1]))
print("writing", flush=True)
for step in range(10**9):
    file(Saved(step=step))
"""


def test_a_writer_that_is_killed_loses_nothing_that_it_had_told(tmp_path):
    run = run_of(tmp_path / "run", b"")
    process = subprocess.Popen([sys.executable, "-c", WRITER, run / "events.jsonl"], stdout=subprocess.PIPE)
    process.stdout.readline()
    seen = []
    while len(seen) < 100:  # read while it is written
        seen = [event.step for event in striate.follow(run)]
        assert seen == list(range(len(seen)))
    process.kill()
    process.communicate()
    after = [event.step for event in striate.follow(run)]
    assert after == list(range(len(after)))
    assert len(after) >= len(seen)


def test_of_the_steps_the_file_keeps_one_a_second(tmp_path):
    run = run_of(tmp_path / "run", b"")
    file = EventFile(run / "events.jsonl")
    for number in range(100):
        values = {**EVENTS[4].as_dict(), "time": 1000 + number / 10, "step": number}
        file(events.event_of(values))
        file(Reading(done=number, total=100))
    file.close()
    assert [event.step for event in striate.follow(run)] == list(range(0, 100, 10))


def test_a_training_in_a_thread_is_stopped_after_20_steps_and_goes_on_to_the_bit(tiny):
    whole, made, stop = tiny("whole"), tiny("stopped"), Stop()
    whole.fit()
    at, asked, caught, told, real = threading.Event(), threading.Event(), [], [], made.job.optimizer.step

    def step():
        if made.state.step == 19:
            at.set()
            assert asked.wait(60)
        real()

    def work():
        try:
            from striate.training import fit
            from striate.training.clock import Clock

            fit(made.job, made.run, made.state, Clock(0.0), Audience([told.append], stop))
        except Interrupted as error:
            caught.append(error)

    made.job.optimizer.step = step
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=work)
    thread.start()
    assert at.wait(60)
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    stop.ask()
    asked.set()
    thread.join()
    assert "stopped after step 20 of 24; everything is saved" in str(caught[0])
    assert caught[0].exit_code == 130
    assert load_checkpoint(made.run)[0]["step"] == 20
    assert told[-1] == Saved(step=20, time=told[-1].time)
    again = tiny("stopped", resume=True)
    again.fit()
    assert same_bits(whole.bits(), again.bits())


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """100 training images of 28x28 and some to test, so that an epoch has 10 steps."""
    generator = np.random.default_rng(0)
    labels = np.arange(120) % 3
    images = (generator.integers(0, 120, (120, 28, 28)) + 60 * labels[:, None, None]).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "mine.npz"
    np.savez(
        path, train_images=images[:100], train_labels=labels[:100], test_images=images[100:], test_labels=labels[100:]
    )
    return path


def train(archive, out, name, **more):
    quiet = Progress(quiet=True)
    return striate.train(
        "lenet5", archive, epochs=4, batch_size=10, validation=0, threads=1, layout="nchw", name=name, out=out,
        progress=quiet, report=False, **more,
    )  # fmt: skip


def in_thread(work):
    """(thread that has begun, list of what the work raised)."""
    raised = []

    def call():
        try:
            work()
        except StriateError as error:
            raised.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, raised


def wait_for(path):
    end = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_another_thread_follows_a_run_and_stops_it_through_its_folder(archive, tmp_path, capsys):
    whole, told, followed = train(archive, tmp_path, "whole"), [], []
    run = tmp_path / "stopped"

    def slow(event):  # so that the request is there before the end is reached
        if isinstance(event, EpochEnded):
            time.sleep(1.1)

    thread, raised = in_thread(lambda: train(archive, tmp_path, "stopped", observers=[told.append, slow]))
    wait_for(run / "events.jsonl")
    for event in striate.follow(run):
        followed.append(event)
        if isinstance(event, EpochEnded) and event.row["epoch"] == 2:
            assert trains(run)
            assert striate.stop(run, wait=False) == "running"
    thread.join()
    assert raised[0].exit_code == 130
    assert isinstance(followed[-1], Stopped)
    assert not trains(run)
    assert not {"stop", "lock"} & {path.name for path in (run / "checkpoints").iterdir()}
    kept = [event for event in told if not isinstance(event, Reading | Stepped)]
    assert [event for event in followed if not isinstance(event, Stepped)] == kept
    assert {type(event) for event in kept} >= {events.Said, Started, EpochEnded, Saved, Stopped}

    for words, code, said in (
        (["stop", str(run)], 2, "no process trains"),
        (["stop", str(tmp_path / "nowhere")], 3, "does not exist"),
        (["stop", str(tmp_path)], 3, "is not a run"),
        (["stop", str(whole.path)], 2, "finished: 4 epochs"),
        (["follow", str(tmp_path)], 3, "is not a run"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == code
        assert said in capsys.readouterr().err
    for words in (["follow", str(run)], ["follow", str(run), "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        out = capsys.readouterr().out
        assert "epoch" in out
    assert [events.event_of(json.loads(line)) for line in out.splitlines()] == followed

    resumed = striate.resume(run, progress=Progress(quiet=True))
    weights = [load_file(one.path / "weights" / "last.safetensors") for one in (whole, resumed)]
    assert same_bits(*weights)
    after = list(striate.follow(run))
    assert after[: len(followed)] == followed
    assert isinstance(after[-1], Finished)
    assert [event.step for event in after if isinstance(event, Started)] == [0, raised_step(raised[0])]


def raised_step(error):
    return int(str(error).split("stopped after step ")[1].split(" ")[0])


@pytest.mark.full
def test_striate_stop_from_another_process_waits_until_the_run_is_saved(archive, tmp_path):
    run, said = tmp_path / "run", []

    def stop_it(event):
        if isinstance(event, EpochEnded) and event.row["epoch"] == 2:
            command = [sys.executable, "-m", "striate", "stop", run, "--json"]
            said.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            wait_for(run / "checkpoints" / "stop")
            time.sleep(1.1)  # training looks once a second

    with pytest.raises(Interrupted):
        train(archive, tmp_path, "run", observers=[stop_it], stop=None)
    out, err = said[0].communicate(timeout=60)
    assert json.loads(out) == {"run": str(run), "waited": True, "status": "interrupted"}, err
    assert load_checkpoint(striate.load(run))[0]["step"] >= 20


def test_an_observer_that_raises_is_named_after_a_checkpoint(archive, tmp_path):
    told = []

    def broken(event):
        told.append(event)
        if isinstance(event, EpochEnded):
            raise ValueError("no such axis")

    with pytest.raises(StriateError) as caught:
        train(archive, tmp_path, "run", observers=[broken])
    said = str(caught.value)
    assert "broken failed at the event epoch_ended: ValueError: no such axis. stopped after step 10 of 40" in said
    assert caught.value.exit_code == 1
    assert sum(isinstance(event, EpochEnded) for event in told) == 1
    run = striate.load(tmp_path / "run")
    assert run.summary.status == "interrupted"
    assert load_checkpoint(run)[0]["step"] == 10
    with pytest.raises(UsageError, match="observers must be a list, each item a callable"):
        train(archive, tmp_path, "other", observers=[3])


@pytest.mark.slow
def test_the_example_of_the_page_runs(tmp_path, monkeypatch, capsys):
    page = (Path(striate.__file__).parents[1] / "docs" / "watching.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, "watching.md", "exec"), {})
    out = capsys.readouterr().out
    assert "epoch 1 of 2: loss" in out
    assert "everything is saved. To resume: striate train --resume runs/watched" in out
    assert "'event': 'stopped'" in out
    assert striate.load("runs/watched").summary.status == "finished"
