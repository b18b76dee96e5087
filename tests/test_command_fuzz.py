"""Random command lines: no traceback, exit codes 0 to 4, stdout empty or JSON where JSON was asked for."""

import json
import os
import shutil
import signal
import threading

import numpy as np
import pytest
from PIL import Image

from tests.command_lines import command_lines

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
KEPT = ("pictures", "run", "empty", "note.txt")


@pytest.fixture
def folder(tmp_path, trained):
    for label, level in (("dark", 40), ("light", 200)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(np.full((30, 30, 3), level + number, np.uint8)).save(
                tmp_path / "pictures" / label / f"{number}0.png"
            )
    shutil.copytree(trained.path, tmp_path / "run")
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    return tmp_path


def no_json(word):
    raise ValueError(f"{word} is no JSON")


def try_all(warm, folder, seed, count, seconds):
    for line in command_lines(seed, count):
        with warm.running(*line, cwd=folder, env={"HF_HUB_OFFLINE": "1"}) as (pid, end):
            timer = threading.Timer(seconds, os.kill, (pid, signal.SIGTERM))
            timer.start()
            ended = end()
            timer.cancel()
        case = (line, ended)
        assert ended.code in (0, 1, 2, 3, 4, 143), case
        assert "Traceback" not in ended.err + ended.out, case
        assert "bug in striate" not in ended.err, case
        assert not ended.code or ended.err.strip(), case
        if "--json" in line and "--" not in line and ended.out:
            for text in ended.out.splitlines() if line[0] == "follow" else [ended.out]:  # an event a line
                json.loads(text, parse_constant=no_json)
        for path in folder.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(folder / "run" / "exports", ignore_errors=True)


@pytest.mark.full
def test_random_command_lines_end_in_words(warm, folder):
    try_all(warm, folder, seed=2, count=25, seconds=60)


@pytest.mark.slow
def test_400_random_command_lines_end_in_words(warm, folder):
    try_all(warm, folder, seed=3, count=400, seconds=120)
