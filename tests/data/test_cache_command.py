"""striate cache: what is kept is listed, and removed when asked."""

import json

from striate.data import load_data


def test_caches_are_listed_and_cleared(pictures, tmp_path, monkeypatch, call):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    assert call("cache", "list") == (0, f"0 in {tmp_path / 'cache'}\n", "")
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    load_data(pictures, size=(16, 16))
    load_data(pictures, size=(16, 16), channels=1, fit="pad")
    listed = json.loads(call("cache", "list", "--json")[1])
    assert [(row["source"], row["pictures"], row["channels"], row["fit"]) for row in listed] == [
        (str(pictures), 24, 1, "pad"),
        (str(pictures), 24, 3, "crop"),
    ]
    assert listed[1]["bytes"] >= 24 * 16 * 16 * 3
    assert "16x16x1" in call("cache", "list")[1]
    code, _, said = call("cache", "clear")
    assert code == 2
    assert "or --all" in said
    code, _, said = call("cache", "clear", tmp_path)
    assert code == 2
    assert "there is no cache of" in said
    assert "removed 2" in call("cache", "clear", pictures)[1]
    load_data(pictures, size=(16, 16))
    assert len(json.loads(call("cache", "clear", "--all", "--json")[1])) == 1
    assert {path: path.read_bytes() for path in pictures.rglob("*.png")} == before
