"""Runs that are damaged, or made by somebody who means harm: named, never followed, never run. All 300: pytest -m slow"""

import hashlib
import os
import re
import resource
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

import pytest
from PIL import Image

import striate
from striate.cli import main
from striate.errors import DataError, StriateError, UsageError
from striate.files import csv_cell, csv_text
from striate.run import Run
from striate.terminal import plain, plain_json
from striate.training import Progress
from striate.trust import trust, trusted_files
from tests.hostile_runs import ESCAPES, GOLDEN, SPECIAL, changed, checkpoint, damages, from_elsewhere, good, read, write

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)
NET = read(GOLDEN / "run" / "config.yaml")["net"]
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def trusting(path):
    trust(path, hashlib.sha256(path.read_bytes()).hexdigest(), "net.py:Small")


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder with a good run, whose net is trusted, and an image; it is the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STRIATE_TRUST", str(tmp_path / "trusted.jsonl"))
    Image.new("L", (28, 28), 90).save("picture.png")
    return good(tmp_path, trusting)


@pytest.fixture
def damaged(base):
    """Gives a copy of the good run, damaged."""

    def make(damage):
        run = base.parent / "damaged"
        if run.exists():
            shutil.rmtree(run)
        shutil.copytree(base, run)
        damage(run)
        return run

    return make


COMMANDS = {
    "predict": ("predict", "RUN", "picture.png"),
    "runs": ("runs",),
    "look": ("look", "RUN", "--output", "looks"),
    "export": ("export", "RUN", "--to", "safetensors", "--output", "out.safetensors"),
    "evaluate": ("evaluate", "RUN"),
    "resume": ("train", "--resume", "RUN", "--epochs", "3"),
}


def held(name, command, code, said):
    """What every command holds of every damaged run."""
    where = f"{command} of a run with {name}: exit code {code}\n{said}"
    assert "Traceback" not in said, where
    assert "where it should not" not in said, where
    assert code in (0, 2, 3), where
    assert not RAW.search(said), where
    assert not list(Path().rglob("canary")), where
    if code == 3:
        assert "runs/damaged" in said, where
    if command == "runs":
        assert "runs/good" in said, where


SAMPLE = sorted(SPECIAL)[::12] + [name for name in damages() if name not in SPECIAL][::12]


def test_a_sample_of_damages_is_named_by_what_opens_a_run(damaged, call, base):
    os.chdir(base.parents[1])
    found = damages()
    for name in SAMPLE:
        damaged(found[name])
        for command in ("predict", "runs"):
            code, out, err = call(*[word.replace("RUN", "runs/damaged") for word in COMMANDS[command]])
            held(name, command, code, out + err)


@pytest.mark.slow
def test_300_damages_by_six_commands_in_10_seconds_and_1_gigabyte_each(damaged, base):
    """Each command in a process forked from this one; time is that of its CPU, since other tests run beside it."""
    import striate.experiment
    import striate.explaining.look  # noqa: F401

    found = damages(300)
    assert len(found) == 300
    for name, damage in found.items():
        for command, words in COMMANDS.items():
            Path("out.safetensors").unlink(missing_ok=True)
            damaged(damage)
            code, said, seconds, megabytes = forked([word.replace("RUN", "runs/damaged") for word in words])
            held(name, command, code, said)
            assert seconds < 10, (name, command, seconds)
            assert megabytes < 1024, (name, command, megabytes)


def forked(words):
    """(exit code, output, seconds of CPU, MB at the most) of a command."""
    child = os.fork()
    if child == 0:
        file = os.open("said.txt", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        signal.alarm(120)
        code = 99
        try:
            main(words)
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status, used = os.wait4(child, 0)
    said = Path("said.txt").read_text(errors="replace")
    return os.waitstatus_to_exitcode(status), said, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def test_a_run_of_the_version_before_opens_predicts_is_evaluated_and_goes_on(base):
    run = striate.load(base)
    assert run.predict("picture.png")[0].label in "012"
    kept = next(iter(run.evaluations.values()))
    assert striate.evaluate(run, device="cpu").summary.correct == kept.correct
    again = striate.resume(base, epochs=3, progress=QUIET)
    assert again.summary.status == "finished"
    assert len(again.metrics) == 3


@pytest.mark.parametrize("file", ["theirs.py", "/proc/self/cwd/theirs.py", "{run}/theirs.py"])
def test_code_that_a_run_brings_or_finds_is_run_only_if_trusted(damaged, call, base, file):
    run = damaged(from_elsewhere(file))
    os.chdir(base.parents[1])
    shutil.copy(run / "theirs.py", "theirs.py")
    for words in COMMANDS.values():
        code, _, err = call(*[word.replace("RUN", "runs/damaged") for word in words])
        assert code == (0 if words == ("runs",) else 2), err
        assert not Path("canary").exists()
    with pytest.raises(UsageError, match="trust"):
        Run.open(run).predict("picture.png")
    code, _, err = call("predict", "runs/damaged", "picture.png", "--trust-code")
    assert (code, Path("canary").exists()) == (0, True), err


def test_the_file_of_a_training_here_is_trusted_by_path_bytes_and_object(base, tmp_path):
    assert striate.load(base).predict("picture.png")[0].error is None
    trusted_files().unlink()
    with pytest.raises(UsageError, match=r"no training on this machine has run net\.py:Small"):
        striate.load(base).predict("picture.png")
    source = tmp_path / "home" / "net.py"
    data = tmp_path / "home" / "stripes.npz"
    striate.train(
        f"{source}:Small", data, epochs=1, threads=1, report=False, layout="nchw", out=tmp_path / "own", progress=QUIET
    )
    assert striate.load(base).predict("picture.png")[0].error is None
    config = read(base / "config.yaml")
    config["net"]["origin"]["target"] = "net.py:nn"  # another object of the same file
    write(base / "config.yaml", config)
    with pytest.raises(UsageError, match="no training on this machine"):
        striate.load(base).predict("picture.png")
    striate.load(base, trust_code=False)
    source.write_text(source.read_text() + "\n")
    with pytest.raises(UsageError, match="has changed since"):
        striate.load(base).predict("picture.png")


def test_trainings_side_by_side_lose_no_entry_and_a_damaged_list_trusts_less(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_TRUST", str(tmp_path / "trusted.jsonl"))
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            for entry in range(5):
                trust(Path(f"/nets/{number}-{entry}.py"), "0" * 64, "x.py:Net")
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    lines = trusted_files().read_text().splitlines()
    assert len(set(lines)) == len(lines) == 40
    trusted_files().write_text(
        "\n".join(["{", "[1]", '{"path": 1, "sha256": "a", "object": "b"}', lines[0][:-5], lines[1]])
    )
    trust(Path("/nets/new.py"), "1" * 64, "x.py:Net")
    assert len(trusted_files().read_text().splitlines()) == 2


CHECKPOINTS = {
    "another net": (lambda state: state["net"].pop(next(iter(state["net"]))), "net does not have the names"),
    "NaN": (lambda state: next(iter(state["net"].values())).fill_(float("nan")), "not finite"),
    "no time": (lambda state: state.update(seconds="long"), "seconds must be a number"),
    "a foreign optimizer": (lambda state: state["optimizer"].update(state={0: {"exp_avg": state["totals"]}}), "SGD"),
    "rows that are text": (lambda state: state.update(rows=["a"]), r"rows\[0\] must be names and values"),
}


@pytest.mark.parametrize(
    "kind", [next(iter(CHECKPOINTS)), *(pytest.param(one, marks=pytest.mark.slow) for one in [*CHECKPOINTS][1:])]
)
def test_a_checkpoint_with_its_checksum_that_does_not_fit_is_named_and_the_one_before_is_used(damaged, kind, capsys):
    alter, reason = CHECKPOINTS[kind]
    run = damaged(checkpoint(alter))
    assert striate.resume(run, epochs=3, progress=Progress()).summary.status == "finished"
    said = capsys.readouterr().err
    assert re.search(rf"step-000000008\.pt is damaged: .*{reason}", said)
    assert "after step 0 of 12" in said


def test_a_whole_run_may_be_a_link_and_links_inside_of_it_are_followed(base, tmp_path):
    (tmp_path / "here").symlink_to(base)
    (base / "data.json").rename(base / "kept.json")
    (base / "data.json").symlink_to("kept.json")
    assert striate.load(tmp_path / "here").predict("picture.png")[0].error is None


def test_keys_that_this_version_does_not_know_are_left_alone(base):
    for name in ("config.yaml", "data.json", "summary.json", "calibration.json"):
        content = read(base / name)
        content["later"] = {"more": [1, 2.5, "three", None]}
        write(base / name, content)
    config = read(base / "config.yaml")
    config["recipe"]["wavelets"] = True
    write(base / "config.yaml", config)
    assert striate.load(base).predict("picture.png")[0].error is None
    with pytest.raises(DataError, match=r"config\.yaml: there is no recipe field named 'wavelets'"):
        striate.resume(base, epochs=3, progress=QUIET)


def test_ranks_that_a_machine_cannot_start_are_not_started(damaged):
    def many(run):
        config = read(run / "config.yaml")
        config["plan"]["ranks"] = 999
        write(run / "config.yaml", config)

    began = time.perf_counter()
    with pytest.raises(DataError, match=r"config\.yaml: plan\.ranks is 999, but this machine has .*with processes"):
        striate.resume(damaged(many), epochs=3, progress=QUIET)
    assert time.perf_counter() - began < 30
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 2**22


def test_what_a_terminal_would_act_on_is_shown_as_escapes():
    assert plain(ESCAPES) == r"\x1b[2J\x1b]0;mine\x07\r\nstriate: done\x9b31m\u202e"
    assert plain("Grüße, 猫 [bold] :bug: \udcff") == r"Grüße, 猫 [bold] :bug: \udcff"
    import json

    text = json.dumps({"name": ESCAPES, "list": ["a"]}, ensure_ascii=False, indent=1)
    assert not RAW.search(plain_json(text))
    assert json.loads(plain_json(text)) == {"name": ESCAPES, "list": ["a"]}


def test_names_of_classes_and_pictures_reach_no_terminal_raw(base, call, tmp_path):
    data = read(base / "data.json")
    data["classes"] = [ESCAPES, "=cmd|' /C calc'!A0", "+1"]
    write(base / "data.json", data)
    shutil.copy("picture.png", f"-{ESCAPES}.png")
    Path(f"bad{ESCAPES}.png").write_bytes(b"none")
    config = read(base / "config.yaml")
    config["data"]["name"] = ESCAPES
    write(base / "config.yaml", config)
    for words in (("predict", base, tmp_path), ("predict", base, tmp_path, "--json"), ("runs",)):
        _, out, err = call(*words)
        assert not RAW.search(out + err)
        assert r"\x1b[2J" in out or "\\u001b[2J" in out


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "'=x", "''", "'", "'a", "", "a=b", "''-x", " =x"]
)
def test_a_cell_that_a_spreadsheet_would_run_is_quoted_and_read_back(text):
    cell = csv_cell(text)
    assert csv_text(cell) == text
    assert cell[:1] not in ("=", "+", "-", "@", "\t", "\r")
    assert csv_cell(-1.5) == -1.5


def test_every_table_is_written_so(base, call):
    import csv

    data, evil = read(base / "data.json"), "=cmd|' /C calc'!A0"
    data["classes"] = [evil, "+1", "@SUM(A1)"]
    write(base / "data.json", data)
    shutil.copy("picture.png", "=x.png")
    _, out, _ = call("predict", base, "=x.png", "--csv")
    (row,) = csv.DictReader(out.splitlines())
    assert row["picture"] == "'=x.png"
    assert {row[f"class_{place}"] for place in (1, 2, 3)} == {f"'{name}" for name in data["classes"]}
    assert float(row["confidence"]) > 0


def test_an_errors_lines_are_its_arguments_so_that_no_name_can_make_one():
    """A line break within a literal of a StriateError would be shown as an escape."""
    import ast

    kinds = ("StriateError", "UsageError", "DataError", "CheckError")
    for path in Path(striate.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in kinds:
                texts = [
                    one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)
                ]
                assert not any("\n" in text for text in texts), f"{path.name}: {ast.unparse(node)[:100]}"


TARGETS = (
    "timm:hf-hub:evil/model", "timm:hf_hub:evil/model", "timm:resnet18.hf-hub:evil/x", "timm:resnet18.a/../../x",
    "timm:local-dir:/tmp/x", "timm:resnet18.nosuch", "timm:", "torchvision:detection.fasterrcnn_resnet50_fpn",
    "torchvision:models.resnet18", "torchvision:timm:resnet18", "torchvision:", "x:y:z", ":", "net.py", "hf-hub:evil/model",
    "https://evil/x.py:Net",
)  # fmt: skip


def test_targets_that_are_none_of_ours_are_named_and_ask_no_network(damaged, monkeypatch):
    def refused(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    for target in TARGETS:
        run = damaged(changed("config.yaml", ("net",), {**NET, "name": target, "origin": {"target": target}}))
        with pytest.raises(DataError, match=r"damaged/config\.yaml: net\.origin\.(target|file)"):
            Run.open(run).predict("picture.png")


@pytest.mark.parametrize("target", ["torchvision:vit_h_14", "timm:vit_giant_patch14_dinov2"])
def test_a_net_of_absurd_size_is_refused_before_it_takes_memory(damaged, target):
    run = damaged(changed("config.yaml", ("net",), {**NET, "name": target, "origin": {"target": target}}))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"config\.yaml: net: a .* has [0-9,]{11,} values"):
        Run.open(run).predict("picture.png")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB; its weights are 2.5 GB and more


def test_a_list_of_trusted_files_that_cannot_be_written_is_named(base, monkeypatch, tmp_path):
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("STRIATE_TRUST", str(tmp_path / "folder"))
    with pytest.raises(StriateError, match=r"folder, the list .* cannot be written .*STRIATE_TRUST"):
        Run.open(base, trust_code=True).predict("picture.png")
