"""Faults of the system, each with its real cause: streams, full disks, limits, other users, signals, two of a kind.

The commands are forks of one process that has everything imported (`faults`).
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from striate.experiment.finish import write_summary
from striate.machine import process_start
from striate.run import Run
from striate.training.clock import Clock
from tests.faults import NOBODY, until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
TRAIN = ("train", "--data", "../pictures", "--epochs", "1", "--threads", "1", "--layout", "nchw")
LONG = ("train", "--data", "../pictures", "--epochs", "9000", "--threads", "1", "--layout", "nchw")
SLOW = pytest.mark.slow
SIGNALS = [
    (signal.SIGTERM, 143),
    pytest.param(signal.SIGINT, 130, marks=SLOW),
    pytest.param(signal.SIGHUP, 129, marks=SLOW),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory, trained):
    """A folder with `pictures` of two classes and the run `base`."""
    folder = tmp_path_factory.mktemp("system")
    generator = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        (folder / "pictures" / label).mkdir(parents=True)
        for number in range(12):
            noise = generator.integers(-30, 31, (40, 32, 3))
            Image.fromarray((level + noise).astype(np.uint8)).save(folder / "pictures" / label / f"{number:02d}.png")
    shutil.copytree(trained.path, folder / "base")
    return folder


@pytest.fixture
def here(place):
    """An empty folder beside `pictures` and `base`."""
    folder = Path(tempfile.mkdtemp(dir=place))
    folder.chmod(0o755)
    return folder


def status(run):
    return json.loads((run / "summary.json").read_text())


def litter(folder):
    """What is half-written: temporary files, which begin with a dot."""
    return [str(path) for path in folder.rglob(".*")]


def said_in_words(ended, code):
    assert ended.code == code, ended
    assert "Traceback" not in ended.err + ended.out
    assert "bug in striate" not in ended.err


@pytest.mark.parametrize("closed", [[1], [2], [0, 1, 2]])
def test_a_closed_stream_is_one_that_nobody_reads(warm, here, closed):
    ended = warm("runs", "--out", "..", cwd=here, closed=closed)
    said_in_words(ended, 0)
    assert ("base" in ended.out) == (1 not in closed)


def test_a_full_stdout_is_said_and_a_full_stderr_changes_nothing(warm, here):
    ended = warm("nets", "--json", cwd=here, stdout="/dev/full")
    said_in_words(ended, 1)
    assert ended.err == "striate: standard output: No space left on device\n"
    assert warm("nets", "nope", cwd=here, stderr="/dev/full").code == 2


def test_a_reader_who_leaves_ends_the_command_quietly():
    command = f"set -o pipefail; {sys.executable} -m striate nets --json | head -1"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_letters_that_the_encoding_has_not_are_escapes_and_json_stays_json(warm, here):
    shutil.copytree(here.parent / "base", here / "run")
    config = (here / "run" / "config.yaml").read_text().replace("name: fashion-mnist-sample", "name: 毛é😀")
    (here / "run" / "config.yaml").write_text(config)
    said_in_words(warm("runs", "--out", ".", cwd=here, encoding="ascii"), 0)
    ended = warm("runs", "--out", ".", "--json", cwd=here, encoding="ascii")
    assert json.loads(ended.out)[0]["data"] == "毛é😀"


@SLOW
def test_training_goes_on_when_nobody_can_be_told(warm, here):
    said_in_words(warm(*TRAIN, "--name", "run", cwd=here, closed=[0, 1], stderr="/dev/full"), 0)
    assert status(here / "runs" / "run")["status"] == "finished"


@pytest.mark.full
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("evaluate {run} --split validation", "predictions.csv"),
        ("export {run} --to safetensors --output x.safetensors", "x.safetensors"),
        ("export {run} --to pt2 --output x.pt2", "x.pt2"),
        ("predict {run} ../pictures --output x.csv", "x.csv"),
        ("explain {run} ../pictures/dark/00.png --output x", "x"),
        ("look {run} ../pictures/dark/00.png", "maps.png"),
        ("data check ../pictures", "pictures-check.html"),
        ("inspect lenet5 --diagram x.svg", "x.svg"),
        ("train --data ../pictures --epochs 1 --threads 1 --layout nchw", "config.yaml"),
    ],
)
def test_a_full_disk_is_named_and_nothing_half_written_is_left(warm, here, arguments, named):
    shutil.copytree(here.parent / "base", here / "run")
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()}
    ended = warm(*arguments.format(run="run").split(), cwd=here, limits={"FSIZE": 600})
    said_in_words(ended, 1)
    assert named in ended.err
    assert "File too large" in ended.err
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*") if path.is_file()} == before


@pytest.mark.full
def test_a_disk_that_fills_before_the_report_says_what_is_missing_and_resuming_makes_it(warm, here):
    ended = warm(*TRAIN, "--name", "run", cwd=here, limits={"FSIZE": 1_000_000})
    said_in_words(ended, 1)
    run = here / "runs" / "run"
    assert str(run.relative_to(here) / "report.html") in ended.err
    assert (status(run)["status"], status(run)["missing"]) == ("failed", ["report"])
    assert not litter(run)
    said_in_words(warm("train", "--resume", "runs/run", cwd=here), 0)
    assert status(run)["status"] == "finished"
    assert "missing" not in status(run)
    assert (run / "report.html").is_file()


@pytest.mark.full
def test_without_address_space_the_report_is_there_without_charts(warm, here):
    ended = warm(*TRAIN, "--name", "run", cwd=here, limits={"AS": 2 * 2**30})
    said_in_words(ended, 0)
    assert "no charts are drawn: that reserves 66.0 GiB of address space" in ended.err
    run = here / "runs" / "run"
    page = (run / "report.html").read_text()
    assert not (run / "curves.png").exists()
    assert "With scripts, the browser draws this one" in page
    assert "vegaEmbed" in page


def test_without_memory_one_sentence(warm, here):
    ended = warm("inspect", "resnet18", "--input", "3x32x32", cwd=here, limits={"AS": 0})
    said_in_words(ended, 1)
    assert "memory ran out" in ended.err or "no more threads" in ended.err


def test_a_picture_is_not_called_damaged_because_the_system_has_no_file_or_memory_left(warm, here):
    ended = warm("predict", "../base", "../pictures/dark/00.png", cwd=here, limits={"NOFILE": 3})
    said_in_words(ended, 1)
    assert "Too many open files: raise the limit of open files (ulimit -n)" in ended.err


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="becomes another user")
def test_without_permission_the_place_is_named_and_prediction_still_works(warm, place):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        here = Path(folder)
        here.chmod(0o755)
        shutil.copytree(place / "base", here / "base")
        shutil.copy(place / "pictures" / "dark" / "00.png", here)
        ended = warm("evaluate", "base", cwd=here, uid=NOBODY)
        said_in_words(ended, 1)
        assert "Permission denied: get permission, or choose another location" in ended.err
        said_in_words(warm("predict", "base", "00.png", cwd=here, uid=NOBODY), 0)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("a" * 300 + ".csv", "File name too long"),
        ("../base/config.yaml/x.csv", "there is a file where a folder is expected"),
    ],
)
def test_places_that_cannot_be_are_named(warm, here, output, said):
    ended = warm("predict", "../base", "../pictures/dark/00.png", "--output", output, cwd=here)
    said_in_words(ended, 1)
    assert said in ended.err


@pytest.mark.full
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_while_the_report_is_made_is_said_and_the_status_true(warm, here, number, code):
    run = here / "runs" / "run"
    with warm.running(*TRAIN, "--name", "run", cwd=here) as (pid, end):
        until(lambda: (run / "samples.png").exists())
        os.kill(pid, number)
        ended = end()
    said_in_words(ended, code)
    assert "To resume: striate train --resume runs/run" in ended.err
    assert (status(run)["status"], status(run)["missing"]) == ("interrupted", ["report"])
    assert not litter(run)


@pytest.mark.parametrize("arguments", ["evaluate ../base", "export ../base --to onnx --output x.onnx"])
def test_a_signal_in_another_command_leaves_nothing_half(warm, here, arguments):
    with warm.running(*arguments.split(), cwd=here) as (pid, end):
        time.sleep(0.2)
        os.kill(pid, signal.SIGTERM)
        ended = end()
    said_in_words(ended, 143)
    assert not list(here.iterdir())
    assert not litter(here.parent / "base")


@pytest.mark.full
def test_one_training_of_a_run_at_a_time_and_a_lock_of_the_dead_is_taken_over(warm, here):
    run = here / "runs" / "run"
    with warm.running(*LONG, "--name", "run", cwd=here) as (pid, end):
        until(lambda: list((run / "checkpoints").glob("step-*.pt")))
        command = [sys.executable, "-m", "striate", "train", "--resume", "runs/run"]
        second = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
        assert second.returncode == 2, second.stderr
        assert f"runs/run is already being trained by process {pid} on " in second.stderr
        assert status(run)["status"] == "running"
        os.kill(pid, signal.SIGKILL)
        end()
    with warm.running("train", "--resume", "runs/run", cwd=here) as (pid, end):
        until(
            lambda: (
                (run / "checkpoints" / "holder.json").exists()
                and str(pid) in (run / "checkpoints" / "holder.json").read_text()
            )
        )
        os.kill(pid, signal.SIGHUP)
        said_in_words(end(), 129)
    assert status(run)["status"] == "interrupted"
    assert not {"lock", "holder.json"} & {path.name for path in (run / "checkpoints").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--processes 100000", "processes must be at most"),
        ("--threads 1000000", "threads must be at most"),
        ("--threads 0", "threads must be at least 1, got 0"),
        ("--threads -1", "threads must be at least 1, got -1"),
        ("--size 100000", "size must be at most 4,096"),
        ("--batch-size 1000000000000", "batch-size must be at most"),
        ("--epochs 1e9", "epochs must be at most 1,000,000"),
        (f"--seed {10**30}", "seed must be at most"),
    ],
)
def test_numbers_out_of_all_proportion_are_refused_before_anything_starts(warm, here, arguments, said):
    ended = warm("train", *arguments.split(), cwd=here)
    said_in_words(ended, 2)
    assert said in ended.err
    assert not list(here.iterdir())


def test_a_damaged_note_in_the_cache_hides_no_other(warm, here):
    (here / "cache" / "one").mkdir(parents=True)
    (here / "cache" / "one" / "about.json").write_text('{"source"')
    ended = warm("cache", "list", cwd=here, env={"STRIATE_CACHE": str(here / "cache")})
    said_in_words(ended, 0)
    assert "is damaged" in ended.out
    said_in_words(warm("cache", "clear", "--all", cwd=here, env={"STRIATE_CACHE": str(here / "cache")}), 0)
    assert not (here / "cache" / "one" / "about.json").exists()


def test_times_from_the_future_or_before_1980_are_no_obstacle(warm, here):
    shutil.copytree(here.parent / "base", here / "run")
    for number, path in enumerate(sorted((here / "run").rglob("*"))):
        os.utime(path, (2**33, 2**33) if number % 2 else (0, 0))
    said_in_words(warm("runs", "--out", ".", cwd=here), 0)
    said_in_words(warm("predict", "run", "../pictures/dark/00.png", cwd=here), 0)
    said_in_words(warm("export", "run", "--to", "safetensors", cwd=here), 0)


def test_the_start_of_a_process_is_never_in_the_future_and_no_matter_of_the_wall_clock(monkeypatch):
    before = process_start()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # set back by decades
    assert process_start() == pytest.approx(before, abs=0.5)
    assert process_start() <= time.perf_counter()


def test_a_run_never_ends_before_it_began(here):
    run = Run(shutil.copytree(here.parent / "base", here / "run"))
    (run.path / "summary.json").write_text(
        json.dumps({**run.summary.as_dict(), "started": "2999-01-01T00:00:00+00:00"})
    )
    write_summary(run, "finished", Clock(time.perf_counter()))
    assert run.summary.finished == run.summary.started
    assert min(run.summary.seconds.values()) >= 0


@pytest.mark.slow
def test_no_process_outlives_a_training_in_several(here):
    command = [sys.executable, "-m", "striate", *LONG, "--processes", "2", "--name", "run"]
    process = subprocess.Popen(command, cwd=here, stderr=subprocess.PIPE, text=True, start_new_session=True)
    until(lambda: list((here / "runs" / "run" / "checkpoints").glob("step-*.pt")), 120)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 143
    assert "everything is saved" in err
    until(lambda: not [one for one in psutil.pids() if _session(one) == process.pid], 20)


def _session(pid):
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None
