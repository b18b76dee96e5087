"""What a run is judged by: the test split is opened for `judge="test"` only, and every place says which figures it shows."""

import hashlib
import json
import pickle
import shutil
import sys
from typing import ClassVar

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

import striate
from striate.data import Reading, read_data
from striate.errors import UsageError
from striate.training import Progress

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)
_forbidden: list[str] = []


def _watch(event, arguments):
    """Fails where a file is opened whose path has a forbidden part."""
    if _forbidden and event == "open" and any(part in str(arguments[0]) for part in _forbidden):
        raise AssertionError(f"{arguments[0]} was opened")


@pytest.fixture(scope="module")
def _hook():
    sys.addaudithook(_watch)  # cannot be removed; without forbidden parts it does nothing


@pytest.fixture
def forbid(_hook):
    yield _forbidden.append
    _forbidden.clear()


def short(data, tmp_path, **settings):
    asked = {
        "epochs": 1,
        "threads": 1,
        "layout": "nchw",
        "out": tmp_path / "runs",
        "size": 28,
        "progress": QUIET,
        **settings,
    }
    return striate.train("lenet5", data, **asked)


@pytest.fixture
def split_folders(pictures, tmp_path):
    root = tmp_path / "split"
    for name in ("train", "the-test"):
        shutil.copytree(pictures, root / name)
    return root


def table_of(root):
    rows = ["path,label,split"]
    for split, name in (("train", "train"), ("test", "the-test")):
        rows += [
            f"{path.relative_to(root)},{path.parent.name},{split}" for path in sorted((root / name).rglob("*.png"))
        ]
    (root / "table.csv").write_text("\n".join(rows) + "\n")
    return root / "table.csv"


@pytest.mark.parametrize("judge", ["validation", "none"])
def test_no_file_of_a_test_folder_is_opened(split_folders, tmp_path, forbid, judge):
    forbid("the-test")
    run = short(split_folders, tmp_path, splits="train=train,test=the-test", judge=judge, report=False)
    assert set(run.data.counts) == {"train", "validation"}
    assert [found.split for found in run.evaluations.values()] == ["validation"] * (judge == "validation")
    with pytest.raises(AssertionError, match="the-test"):
        short(split_folders, tmp_path, splits="train=train,test=the-test", report=False)


def test_no_file_of_a_tables_test_rows_is_opened(split_folders, tmp_path, forbid):
    table = table_of(split_folders)
    forbid("the-test")
    run = short(table, tmp_path, judge="none", report=False)
    assert run.evaluations == {}
    assert sum(run.data.counts.values()) == 24
    assert run.data.ledger.excluded == 24


def test_a_damaged_test_array_of_an_archive_is_not_read(tmp_path):
    draw = np.random.default_rng(0)
    arrays = {f"{split}_{kind}": values for split, count in (("train", 40), ("test", 16)) for kind, values in (
        ("images", draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)), ("labels", np.arange(count) % 2)
    )}  # fmt: skip
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    place = content.find(arrays["test_images"].tobytes()[:64])
    content[place + 9] ^= 0xFF  # the archive's checksum of this array no longer fits
    path.write_bytes(bytes(content))
    with pytest.raises(striate.errors.DataError, match="CRC"):
        short(path, tmp_path)
    run = short(path, tmp_path, judge="validation", report=False)
    assert list(run.evaluations) == ["set-validation-centre"]
    assert set(run.data.counts) == {"train", "validation"}


def test_no_test_file_of_a_named_set_is_opened(tmp_path, small_sample, forbid):
    forbid("t10k")
    run = short("fashion-mnist-sample", tmp_path, judge="validation", epochs=0.1, report=False)
    (evaluation,) = run.evaluations.values()
    assert (evaluation.split, evaluation.n) == ("validation", 101)
    assert "101 validation" in " ".join((run.path / "README.md").read_text().replace("\xa0", " ").split())
    assert "not a test result" in (run.path / "README.md").read_text()
    assert run.overview().split == "validation"
    resumed = striate.resume(run.path, epochs=0.2, progress=QUIET)
    assert [found.split for found in resumed.evaluations.values()] == ["validation"]
    assert "--judge validation" in resumed.summary.command


def test_no_test_file_of_cifar_is_opened_to_compare_its_checksum(tmp_path, monkeypatch, forbid):
    folder = tmp_path / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    pixels = np.zeros((20, 3072), np.uint8)
    files = {
        "data_batch_1": {"data": pixels, "labels": [*range(10)] * 2},
        "batches.meta": {"label_names": [*"abcdefghij"]},
    }
    digests = {}
    for name, content in files.items():
        (folder / name).write_bytes(pickle.dumps(content))
        digests[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    shutil.copy(folder / "data_batch_1", folder / "test_batch")

    class Small(torchvision.datasets.CIFAR10):
        train_list: ClassVar = [["data_batch_1", digests["data_batch_1"]]]
        test_list: ClassVar = [["test_batch", digests["data_batch_1"]]]
        meta: ClassVar = {"filename": "batches.meta", "key": "label_names", "md5": digests["batches.meta"]}

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Small)
    forbid("test_batch")
    data = read_data("cifar10", Reading(tested=False), data_dir=tmp_path)
    assert list(data.splits) == ["train"]
    assert len(data.train) == 20
    with pytest.raises(AssertionError, match="test_batch"):
        read_data("cifar10", Reading(), data_dir=tmp_path)


@pytest.mark.full
def test_the_weights_do_not_depend_on_the_judge_and_the_later_test_is_of_the_same_images(pictures, tmp_path):
    judged = short(pictures, tmp_path, report=False)
    without = short(pictures, tmp_path, judge="none", report=False)
    weights = [(run.path / "weights" / "last.safetensors").read_bytes() for run in (judged, without)]
    assert weights[0] == weights[1]
    new = Image.fromarray(np.full((40, 32, 3), 77, np.uint8))
    new.save(pictures / "dark" / "000.png")  # moves the test split that is made of the images
    later = striate.evaluate(without)
    assert later.summary.fingerprint == next(iter(judged.evaluations.values())).fingerprint


def test_a_run_without_a_report_draws_nothing_and_is_finished(tmp_path, small_sample, call):
    code, out, _ = call(
        "train", "--epochs", 0.1, "--no-report", "--judge", "none", "--out", tmp_path, "--name", "n", "--json"
    )
    answer = json.loads(out)
    assert (code, answer["report"], answer["accuracy"], answer["split"]) == (0, None, None, None)
    run = striate.load(tmp_path / "n")
    assert run.summary.status == "finished"
    assert not list(run.path.rglob("*.png"))
    assert not (run.path / "report.html").exists()
    assert "--judge none" in run.summary.command
    assert "--no-report" in run.summary.command
    assert "has not been tested" in (run.path / "README.md").read_text()
    code, out, _ = call("runs", "--out", tmp_path, "--json")
    assert json.loads(out)[0]["split"] is None
    code, _, err = call("train", "--resume", run.path)
    assert code == 2
    assert "To extend it" in err


def test_validation_cannot_judge_without_validation_images(tmp_path):
    with pytest.raises(UsageError, match="there are none"):
        short("fashion-mnist-sample", tmp_path, judge="validation", validation=0)


def test_runs_in_folders_of_runs_are_found_once_and_not_below_a_run(trained, tmp_path, call):
    root = tmp_path / "all"
    for place in ("one", "study/seed-0", "study/seed-1", "a/b/c/deep", "a/b/c/d/too-deep", "one/exports/inner"):
        shutil.copytree(trained.path, root / place, ignore=shutil.ignore_patterns("*.safetensors", "*.pt", "one"))
    (root / "study" / "circle").symlink_to(root, target_is_directory=True)
    (root / "again").symlink_to(root / "study", target_is_directory=True)
    found = {str(run.path.relative_to(root)) for run in striate.list_runs(root)}
    names = {name.replace("again/", "study/") for name in found}
    assert names == {"one", "study/seed-0", "study/seed-1", "a/b/c/deep"}
    assert len(found) == 4
    code, out, _ = call("runs", "--out", root, "--json")
    assert code == 0
    assert {row["run"] for row in json.loads(out)} == {str(root / name) for name in found}
