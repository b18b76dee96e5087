"""The forms that data comes in: tables, archives, folders of every kind; what is an error and what it says."""

import csv
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from striate.data import load_data
from striate.errors import DataError, UsageError


def load(source, **options):
    return load_data(source, size=(16, 16), channels=3, workers=2, **options)


def table(path, rows, columns=("path", "label")):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writerows([columns, *rows])
    return path


@pytest.fixture
def rows(pictures):
    """(path relative to the folder above, label) of every image."""
    return [(f"pictures/{path.parent.name}/{path.name}", path.parent.name) for path in sorted(pictures.rglob("*.png"))]


def whole(data):
    """Path -> (label, pixels) over all splits."""
    return {
        path: (part.classes[label], pixels.tobytes())
        for part in data.splits.values()
        for path, label, pixels in zip(part.paths, part.labels, part.pixels, strict=True)
    }


@pytest.mark.parametrize("name", ["all.csv", "all.tsv"])
def test_a_table_reads_the_same_pictures_as_the_folder(tmp_path, pictures, rows, name):
    assert whole(load(table(tmp_path / name, rows))) == whole(load(pictures))


def test_a_tables_columns_may_have_other_names_splits_and_groups(tmp_path, rows):
    splits = ["train", "valid", "Testing", "TRAIN "]
    made = [(path, label, splits[i % 4], f"g{i // 3}") for i, (path, label) in enumerate(rows)]
    data = load(table(tmp_path / "t.csv", made, ("File_Name", "Category", "split", "group")))
    assert {split: len(part) for split, part in data.splits.items()} == {"train": 12, "validation": 6, "test": 6}
    assert data.train.groups[0] == "g0"
    assert data.made == ()


def test_tables_that_cannot_be_used_say_where_and_why(tmp_path, rows):
    for content, columns, message in (
        (rows, ("where", "label"), "no column for the image's path: name one of its columns path"),
        (rows, ("path", "what"), "no column for its class"),
        ([*rows, ("x.png", "")], ("path", "label"), "row 26: no class"),
        ([*rows, ("", "dark")], ("path", "label"), "row 26: no path"),
        (
            [*((*row, "train") for row in rows), ("a.png", "dark", "")],
            ("path", "label", "split"),
            "row 26: no split, as in 1",
        ),
        ([(*row, "half") for row in rows], ("path", "label", "split"), "row 2: the split 'half' is not one of train"),
        ([], ("path", "label"), "has no rows"),
        (rows[:3], ("path", "label"), "at least two"),
    ):
        with pytest.raises(DataError, match=message):
            load(table(tmp_path / "t.csv", content, columns))
    (tmp_path / "t.csv").write_bytes(b"path,label\n\xff,a\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        load(tmp_path / "t.csv")
    data = load(table(tmp_path / "t.csv", [*rows, ("pictures/gone.png", "dark")]))
    assert list(data.unreadable.values()) == ["no such file"]


def test_hugging_faces_metadata_beside_the_pictures(tmp_path, pictures):
    for split in ("train", "test"):
        folder = tmp_path / "hub" / split
        folder.mkdir(parents=True)
        found = []
        for label in ("dark", "light"):
            for path in sorted((pictures / label).iterdir())[: 8 if split == "train" else 4]:
                shutil.copy(path, folder / f"{label}-{path.name}")
                found.append((f"{label}-{path.name}", label))
        table(folder / "metadata.csv", found, ("file_name", "label"))
    data = load(tmp_path / "hub")
    assert {split: part.class_counts() for split, part in data.splits.items()} == {"train": [8, 8], "test": [4, 4]}
    assert len(load(tmp_path / "hub" / "train").train) == 14
    (tmp_path / "hub" / "test" / "metadata.csv").unlink()
    with pytest.raises(DataError, match=r"metadata.csv is in .*train but not in .*test"):
        load(tmp_path / "hub")


def test_folders_may_have_any_of_the_splits(tmp_path, pictures):
    for name in ("Validation", "testing"):
        shutil.copytree(pictures, tmp_path / "some" / name)
    data = load(tmp_path / "some")
    assert list(data.splits) == ["validation", "test"]
    assert data.classes == ("dark", "light")
    assert data.as_dict()["pictures"] == {"validation": 24, "test": 24}
    with pytest.raises(DataError, match="has no training images, only: validation, test"):
        data.train  # noqa: B018


def test_links_are_followed_once_and_junk_is_counted(tmp_path, pictures):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("RGB", (8, 8)).save(elsewhere / "linked.png")
    (pictures / "dark" / "more").symlink_to(elsewhere)
    (pictures / "light" / "again").symlink_to(elsewhere)
    (pictures / "light" / "up").symlink_to(pictures)
    (pictures / "self").symlink_to(pictures)
    (pictures / "dark" / "folder.jpg").mkdir()
    (pictures / ".hidden").mkdir()
    (pictures / "dark" / "Thumbs.db").write_bytes(b"")
    data = load(pictures)
    assert data.classes == ("dark", "light")
    assert sum(len(part) for part in data.splits.values()) == 25
    assert data.junk == 5
    assert data.unreadable == {}
    assert data.as_dict()["junk"] == 5


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (20, 9, 7, 3)).astype(np.uint8), np.arange(20) % 2


def test_archives_of_the_usual_names_are_read(tmp_path, arrays):
    images, labels = arrays
    np.savez(tmp_path / "plain.npz", images=images, labels=labels, classes=np.array(["no", "yes"]))
    data = load(tmp_path / "plain.npz")
    assert data.classes == ("no", "yes")
    assert (len(data.train), len(data.splits["test"])) == (16, 4)
    assert data.made == ("test",)
    np.savez(
        tmp_path / "keras.npz", x_train=images[..., 0], y_train=labels, x_test=images[:4, ..., 0], y_test=labels[:4]
    )
    data = load(tmp_path / "keras.npz")
    assert np.array_equal(data.train.pixels[..., 0], images[..., 0])
    assert np.array_equal(data.splits["test"].labels, labels[:4])
    arrays = {f"{split}_{kind}": value for split in ("train", "val", "test") for kind, value in (
        ("images", images), ("labels", labels[:, None].astype(np.uint8)))}  # fmt: skip
    np.savez_compressed(tmp_path / "medmnist.npz", **arrays)
    assert list(load(tmp_path / "medmnist.npz").splits) == ["train", "validation", "test"]


def test_archives_that_cannot_be_used_say_why(tmp_path, arrays):
    images, labels = arrays
    for content, message in (
        ({"pictures": images}, "has no arrays named images and labels; it has pictures"),
        ({"images": images}, "has images but no labels"),
        ({"images": images / 1.0, "labels": labels}, "floating values from 0 to 255.*--range 0,255"),
        ({"images": images.transpose(0, 3, 1, 2)[:, :2], "labels": labels}, r"must be \(N, H, W\)"),
        ({"images": images, "labels": labels[:3]}, "must be 20 whole numbers"),
        ({"images": images, "labels": labels / 2}, "must be 20 whole numbers"),
        ({"images": images, "labels": labels - 1}, "run from -1 to 0"),
        ({"images": images, "labels": labels, "classes": np.array(["one"])}, "there are 1 classes"),
        ({"images": images, "labels": labels * 2}, "lacks: 1"),
        ({"images": images, "labels": np.array([None] * 20)}, "cannot be read as a NumPy archive.*allow_pickle"),
    ):
        np.savez(tmp_path / "a.npz", **content)
        with pytest.raises(DataError, match=message):
            load(tmp_path / "a.npz")
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "a.npz")
    with pytest.raises(DataError, match="no such file"):
        load(tmp_path / "none.npz")
    with pytest.raises(UsageError, match="for file names"):
        load(tmp_path / "a.npz", group_by="x")


def test_parquet_reads_as_the_same_table_does(tmp_path, rows):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path, label = zip(*rows, strict=True)
    folds = ["test" if number % 4 == 0 else "train" for number in range(len(rows))]
    columns = {"file_name": path, "label": label, "split": folds, "width": [40] * len(rows)}
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    table(tmp_path / "t.csv", list(zip(*columns.values(), strict=True)), tuple(columns))
    assert whole(load(tmp_path / "t.parquet")) == whole(load(tmp_path / "t.csv"))
    parquet.write_table(pyarrow.table({"image": [b"bytes"], "label": [3]}), tmp_path / "bytes.parquet")
    with pytest.raises(DataError, match="the column image holds binary, not paths"):
        load(tmp_path / "bytes.parquet")
    (tmp_path / "no.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(DataError, match="cannot be read as a table"):
        load(tmp_path / "no.parquet")


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "t.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match=r"pip install 'striate\[parquet\]'"):
        load(tmp_path / "t.parquet")
