"""Checkpoints cost little, survive damage and a full disk, and the last good one is never lost."""

import errno
import json
import math
import os
import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import striate
from striate.errors import DataError, StriateError, UsageError
from striate.run import Run
from striate.training import Progress, checkpoint
from striate.training.checkpoint import RATIO, SECONDS, Checkpoints, load_checkpoint, save_checkpoint
from tests.training.tiny import same_bits

QUIET = Progress(quiet=True)


class FakeDisk:
    """A clock, and a disk on which a checkpoint takes so many seconds of it or is refused."""

    def __init__(self, monkeypatch, cost):
        self.time, self.cost, self.full, self.saved, self.spent = 0.0, cost, False, [], 0.0
        monkeypatch.setattr(checkpoint, "save_checkpoint", self.save)

    def now(self):
        return self.time

    def save(self, run, state):
        self.time += self.cost
        self.spent += self.cost
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.saved.append((self.time, state["step"]))


@pytest.mark.parametrize("cost", [0.004, 0.3, 2.0, 20.0])
@pytest.mark.parametrize("epoch", [0.05, 3.0, 500.0])
def test_checkpoints_cost_a_fiftieth_of_the_time_at_most(monkeypatch, tmp_path, cost, epoch):
    disk = FakeDisk(monkeypatch, cost)
    kept = Checkpoints(Run(tmp_path), None, print, disk.now)
    kept.save({"step": 0}, must=True)
    step, in_epoch, end = 0, 0.0, 8000.0
    while disk.time < end:
        disk.time += 0.05
        in_epoch += 0.05
        step += 1
        if in_epoch >= epoch:
            in_epoch = 0.0
            if kept.due():
                kept.save({"step": step}, must=False)
        elif kept.due(SECONDS):
            kept.save({"step": step}, must=False)
    before_last = disk.spent - cost
    assert before_last <= disk.time / RATIO
    gaps = [later - earlier for (earlier, _), (later, _) in zip(disk.saved, disk.saved[1:], strict=False)]
    # As often as the rule allows: within an epoch after a minute, at its end at the first that comes late enough.
    assert max(gaps) <= max(min(max(epoch, RATIO * cost) + epoch, SECONDS + 1), RATIO * cost + SECONDS) + cost + 1
    assert len(disk.saved) >= 4


def test_a_checkpoint_that_costs_nothing_is_written_at_every_end_of_an_epoch(tiny, monkeypatch):
    steps = []
    real = checkpoint.save_checkpoint
    monkeypatch.setattr(
        checkpoint, "save_checkpoint", lambda run, state: (steps.append(state["step"]), real(run, state))
    )
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    made = tiny()
    made.fit()
    assert steps == [0, 8, 16, 24]
    assert sorted(path.name for path in (made.run.path / "checkpoints").iterdir()) == [
        "step-000000016.pt", "step-000000016.sha256", "step-000000024.pt", "step-000000024.sha256",
    ]  # fmt: skip


def test_one_that_is_dear_is_written_at_the_beginning_and_at_the_end_only(tiny, monkeypatch):
    monkeypatch.setattr(checkpoint, "RATIO", 1e9)
    made = tiny()
    made.fit()
    assert sorted(path.stem for path in (made.run.path / "checkpoints").glob("*.pt")) == [
        "step-000000000",
        "step-000000024",
    ]


def test_within_an_epoch_one_is_written_when_the_last_is_old(tiny, monkeypatch):
    steps = []
    monkeypatch.setattr(checkpoint, "save_checkpoint", lambda run, state: steps.append(state["step"]))
    monkeypatch.setattr("striate.training.trainer.SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    tiny().fit()
    assert steps == list(range(25))


def test_a_full_disk_costs_a_warning_then_another_try_and_no_training(monkeypatch, tmp_path):
    disk, warned = FakeDisk(monkeypatch, 0.1), []
    kept = Checkpoints(Run(tmp_path), None, warned.append, disk.now)
    disk.full = True
    with pytest.raises(OSError, match="No space"):
        kept.save({"step": 0}, must=False)  # there is no other one
    disk.full = False
    kept.save({"step": 0}, must=True)
    disk.full, disk.time = True, 100.0
    kept.save({"step": 7}, must=False)
    assert kept.saved == 0
    assert len(warned) == 1
    for part in (
        "step 7",
        "No space left on device",
        "free some space",
        str(tmp_path),
        "the checkpoint of step 0 is complete",
    ):
        assert part in warned[0]
    assert not kept.due()
    disk.time += SECONDS
    assert kept.due()
    with pytest.raises(OSError, match="No space"):
        kept.save({"step": 9}, must=True)
    disk.full = False
    kept.save({"step": 9}, must=False)
    assert kept.saved == 9
    disk.time += RATIO * 0.1 + 1e-6
    assert kept.due()


def test_parts_that_a_killed_process_left_are_swept_away(tiny):
    made = tiny()
    folder = made.run.path / "checkpoints"
    folder.mkdir()
    (folder / ".step-000000003.pt.abcd").write_bytes(b"half a checkpoint")
    made.fit()
    assert not list(folder.glob(".*"))


def damage(content, generator):
    """Something else of the same kind: a byte changed, a piece zeroed or scrambled, the end missing, more, or nothing left."""
    place = generator.randrange(len(content))
    length = generator.choice([1, 16, 512, 4096])
    piece = content[place : place + length]
    return generator.choice(
        [
            content[:place] + bytes([content[place] ^ (1 << generator.randrange(8))]) + content[place + 1 :],
            content[:place] + bytes(len(piece)) + content[place + length :],
            content[:place] + generator.randbytes(len(piece)) + content[place + length :],
            content[:place],
            content + generator.randbytes(length),
            b"",
        ]
    )


@pytest.mark.full
def test_200_damaged_checkpoints_are_all_named_and_the_one_before_is_used(tiny, monkeypatch):
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    made = tiny()
    made.fit()
    newest = made.run.path / "checkpoints" / "step-000000024.pt"
    checksum = newest.with_suffix(".sha256")
    before, reasons = load_checkpoint(made.run)
    assert (before["step"], reasons) == (24, [])
    generator, done, kinds = random.Random(1), 0, set()
    whole = {path: path.read_bytes() for path in (newest, checksum)}
    while done < 200:
        path = checksum if done % 10 == 9 else newest
        damaged = damage(whole[path], generator)
        if damaged.strip() == whole[path].strip():
            continue
        path.write_bytes(damaged)
        state, reasons = load_checkpoint(made.run)
        assert state["step"] == 16, f"damage {done} of {path.name} was not found"
        assert len(reasons) == 1
        assert str(newest) in reasons[0]
        assert "damaged" in reasons[0]
        path.write_bytes(whole[path])
        kinds.add((len(damaged) > len(whole[path])) - (len(damaged) < len(whole[path])))
        done += 1
    assert kinds == {-1, 0, 1}
    assert load_checkpoint(made.run)[0]["step"] == 24
    for path in (newest, checksum):
        path.unlink()
        assert load_checkpoint(made.run)[0]["step"] == 16
        path.write_bytes(whole[path])
    for path in newest.parent.glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"(?s)no checkpoint to resume from.*step-000000024.*step-000000016"):
        load_checkpoint(made.run)


def test_after_damage_the_run_ends_with_the_same_bits_and_two_whole_checkpoints(tiny, monkeypatch):
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    whole = tiny("whole")
    whole.fit()
    broken = tiny("broken")
    broken.fit()
    newest = broken.run.path / "checkpoints" / "step-000000024.pt"
    newest.write_bytes(newest.read_bytes()[:-1])
    again = tiny("broken", resume=True)
    assert again.state.step == 16
    assert newest.name in again.warnings[0]
    again.fit()
    assert same_bits(whole.bits(), again.bits())
    assert load_checkpoint(again.run)[1] == []


def test_a_damaged_later_checkpoint_does_not_push_a_whole_one_out(tmp_path):
    run = Run(tmp_path)
    for step in (1, 2, 30):
        save_checkpoint(run, {"step": step, "x": torch.ones(3)})
    (tmp_path / "checkpoints" / "step-000000030.pt").write_bytes(b"damaged")
    save_checkpoint(run, {"step": 3, "x": torch.ones(3)})
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("*.pt")) == [
        "step-000000002.pt",
        "step-000000003.pt",
    ]


class Disk:
    """Counts what is asked of the disk (a file made, synced, renamed) and refuses some of it, as a full disk would."""

    def __init__(self, monkeypatch):
        self.asked, self.refused = 0, range(0)
        for owner, name in ((tempfile, "mkstemp"), (os, "fsync"), (Path, "replace")):
            monkeypatch.setattr(owner, name, self.wrapped(getattr(owner, name)))

    def wrapped(self, real):
        def call(*arguments, **options):
            self.asked += 1
            if self.asked - 1 in self.refused:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        return call

    def refuse(self, calls):
        self.asked, self.refused = 0, calls


@pytest.mark.parametrize("nth", [4, pytest.param(1, marks=pytest.mark.full)], ids=["every fourth write", "every write"])
@pytest.mark.parametrize("lasting", [True, False], ids=["full from then on", "full for a moment"])
def test_a_disk_full_at_any_write_costs_no_good_checkpoint(tiny, monkeypatch, lasting, nth):
    monkeypatch.setattr(checkpoint, "RATIO", 0.0)
    monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
    good, real = [], checkpoint.save_checkpoint
    monkeypatch.setattr(
        checkpoint, "save_checkpoint", lambda run, state: (real(run, state), good.append(state["step"]))
    )
    disk = Disk(monkeypatch)
    whole = tiny("whole")
    disk.refuse(range(0))
    whole.fit()
    calls, ended = disk.asked, 0
    assert calls >= 30
    for refused in range(0, calls, nth):
        disk.refuse(range(0))
        broken = tiny(f"broken-{lasting}-{refused}")
        disk.refuse(range(refused, 10**9 if lasting else refused + 1))
        good.clear()
        with suppress(OSError):
            broken.fit()
            ended += 1
        disk.refuse(range(0))
        if broken.state.step == 0:  # refused before the first step: nothing was lost
            assert not good
            continue
        again = tiny(f"broken-{lasting}-{refused}", resume=True)
        assert again.warnings == []
        assert again.state.step >= good[-1]
        again.fit()
        assert same_bits(whole.bits(), again.bits()), refused
        assert not list((again.run.path / "checkpoints").glob(".*"))
    assert bool(ended) is not lasting


@pytest.mark.full
def test_a_disk_that_fills_at_the_end_is_named_and_the_run_can_be_ended_later(
    trained, tmp_path, monkeypatch, no_charts
):
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    before = (run.path / "weights" / "last.safetensors").read_bytes()
    (run.path / "summary.json").write_text(json.dumps({**run.summary.as_dict(), "status": "interrupted"}))
    real = tempfile.mkstemp
    for name in ("last.safetensors", "evaluation.json", "report.html"):

        def full(name=name, **options):
            if name in options["prefix"]:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(**options)

        monkeypatch.setattr(tempfile, "mkstemp", full)
        with pytest.raises(StriateError, match=r"disk of .*run.*No space left on device.*--resume") as caught:
            striate.resume(run.path, progress=QUIET)
        assert caught.value.exit_code == 1
        assert run.summary.status == "failed"
    monkeypatch.setattr(tempfile, "mkstemp", real)
    for path in (run.path / "report.html", run.path / "weights" / "last.safetensors"):
        path.unlink()
    striate.resume(run.path, progress=QUIET)
    assert run.summary.status == "finished"
    assert (run.path / "report.html").is_file()
    assert (run.path / "weights" / "last.safetensors").read_bytes() == before
    with pytest.raises(UsageError, match=r"is finished.*--epochs 4"):
        striate.resume(run.path)


def test_a_run_that_died_before_its_report_is_ended_by_resume(trained, tmp_path, no_charts):
    run = Run(shutil.copytree(trained.path, tmp_path / "run"))
    seconds = {key: value for key, value in run.summary.seconds.items() if key != "report"}
    (run.path / "summary.json").write_text(json.dumps({**run.summary.as_dict(), "seconds": seconds}))
    (run.path / "report.html").unlink()
    striate.resume(run.path, progress=QUIET)
    assert (run.path / "report.html").is_file()
    assert math.isclose(run.metrics[-1]["val_loss"], trained.metrics[-1]["val_loss"], rel_tol=0)
