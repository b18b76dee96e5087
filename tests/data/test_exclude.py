"""Files that are left out: those that the user names, and those that cannot be read."""

import hashlib
import json

import pytest
from PIL import Image

import striate
from striate import evaluation
from striate.data import load_data
from striate.errors import DataError, UsageError
from striate.training.progress import Progress

QUIET = Progress(quiet=True)


def state(folder):
    """Name, content and time of everything in a folder."""
    return {
        str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def spoiled(pictures):
    """The images with a GIF among the dark ones, and three files that cannot be read."""
    Image.new("P", (30, 30)).save(pictures / "dark" / "missing.gif")
    whole = (pictures / "light" / "00.png").read_bytes()
    (pictures / "light" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "light" / "zero.jpg").write_bytes(b"")
    (pictures / "dark" / "page.jpg").write_text("<html>")
    return pictures


def test_patterns_fit_paths_below_the_folder_and_names(spoiled):
    everything = load_data(spoiled, size=(8, 8))
    assert everything.excluded_files() == []
    for patterns, count in (
        (["dark/*.gif"], 1),
        (["missing.gif"], 1),
        (["*/0[0-4].png"], 10),
        (["0?.png", "dark/0*"], 20),
    ):
        data = load_data(spoiled, size=(8, 8), exclude=patterns)
        assert len(data.excluded_files()) == count
        paths = {path for part in data.splits.values() for path in part.paths}
        assert not paths & set(data.excluded_files())
        assert len(paths) == 25 - count
        data.require_excluded()
    with pytest.raises(UsageError, match=r"exclude '\*.webp' matches no file"):
        load_data(spoiled, size=(8, 8), exclude=["*.gif", "*.webp"]).require_excluded()
    with pytest.raises(DataError, match="no readable image of class dark"):
        load_data(spoiled, size=(8, 8), exclude=["dark/*"])
    with pytest.raises(UsageError, match="exclude is for file names"):
        load_data("fashion-mnist-sample", exclude=["*"])


def test_unreadable_files_are_named_with_the_reason_or_stop_it(spoiled):
    data = load_data(spoiled, size=(8, 8))
    reasons = {path.split("/")[-1]: reason for path, reason in data.unreadable.items()}
    assert reasons["zero.jpg"] == "empty file"
    assert "damaged" in reasons["cut.png"]
    assert "not an image" in reasons["page.jpg"]
    with pytest.raises(DataError) as caught:
        load_data(spoiled, size=(8, 8), on_bad="stop")
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 files cannot be read:"
    assert all(any(name in line for line in lines) for name in reasons)
    load_data(spoiled, size=(8, 8), on_bad="stop", exclude=["zero.jpg", "cut.png", "page.jpg"])
    for number in range(40):
        (spoiled / "dark" / f"bad{number}.png").write_bytes(b"x")
    with pytest.raises(DataError, match="and 23 more"):
        load_data(spoiled, size=(8, 8), on_bad="stop")
    with pytest.raises(UsageError, match="skip or stop"):
        load_data(spoiled, on_bad="ignore")


@pytest.mark.full
def test_a_run_keeps_what_was_left_out_and_touches_nothing(spoiled, tmp_path):
    before = state(spoiled)
    options = {"epochs": 0.5, "batch_size": 8, "threads": 1, "out": tmp_path / "runs", "progress": QUIET}
    run = striate.train("lenet5", spoiled, exclude=["*.gif"], **options)
    assert run.data.excluded == (str(spoiled / "dark" / "missing.gif"),)
    assert len(run.data.unreadable) == 3
    assert "exclude '*.gif'" in run.summary.command
    report = (run.path / "report.html").read_text()
    assert "1 file was left out by <code>--exclude</code>" in report
    assert "missing.gif" in report
    paths = {
        path for split in ("train", "validation", "test") for path in evaluation.evaluate(run, split=split).data.paths
    }
    assert len(paths) == 24
    assert not any(path.endswith(".gif") for path in paths)
    assert state(spoiled) == before
    (spoiled / "dark" / "missing.gif").unlink()
    evaluation.evaluate(run)
    with pytest.raises(DataError, match="3 files cannot be read"):
        striate.train("lenet5", spoiled, on_bad="stop", **options)
    with pytest.raises(UsageError, match="matches no file"):
        striate.train("lenet5", spoiled, exclude=["*.gif"], **options)


def test_data_command_excludes(spoiled, capsys, tmp_path, monkeypatch):
    from striate.cli import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["data", str(spoiled), "--exclude", "*.gif", "--exclude", "dark/00.png", "--json"])
    card = json.loads(capsys.readouterr().out)
    assert len(card["excluded"]) == 2
    with pytest.raises(SystemExit) as exited:
        main(["train", "--data", str(spoiled), "--on-bad", "maybe"])
    assert exited.value.code == 2
