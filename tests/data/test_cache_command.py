"""striate cache: what is kept is listed, and removed when asked."""

import json

import pytest

from striate.cli import main
from striate.data import load_data


def run(*arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def test_caches_are_listed_and_cleared(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    assert run("cache", "list") == 0
    assert capsys.readouterr().out == f"0 in {tmp_path / 'cache'}\n"
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    load_data(pictures, size=(16, 16))
    load_data(pictures, size=(16, 16), channels=1, fit="pad")
    assert run("cache", "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["source"], row["pictures"], row["channels"], row["fit"]) for row in listed] == [
        (str(pictures), 24, 1, "pad"),
        (str(pictures), 24, 3, "crop"),
    ]
    assert listed[1]["bytes"] >= 24 * 16 * 16 * 3
    assert run("cache", "list") == 0
    assert "1x16x16" in capsys.readouterr().out
    assert run("cache", "clear") == 2
    assert "give --all" in capsys.readouterr().err
    assert run("cache", "clear", str(tmp_path)) == 2
    assert "there are no decoded pictures of" in capsys.readouterr().err
    assert run("cache", "clear", str(pictures)) == 0
    assert "removed 2" in capsys.readouterr().out
    load_data(pictures, size=(16, 16))
    assert run("cache", "clear", "--all", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)) == 1
    assert {path: path.read_bytes() for path in pictures.rglob("*.png")} == before
