"""Trees of folders: read as they are meant, or asked back; no split becomes a class, and no folder vanishes."""

import json
import os

import pytest
from PIL import Image

import striate
from striate import evaluation
from striate.data import load_data
from striate.data.ledger import Ledger
from striate.data.tree import look_through
from striate.errors import DataError, UsageError
from striate.training.progress import Progress

TWO = ("cats", "dogs")


def tree(root, *places, each=3):
    """Images in folders; a place with an ending is a file of words, one with / at its end an empty folder."""
    for place in places:
        if place.endswith("/"):
            (root / place).mkdir(parents=True)
        elif "." in place[1:]:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).write_text("words")
        else:
            (root / place).mkdir(parents=True, exist_ok=True)
            for number in range(each):
                Image.new("RGB", (8, 8), (number, len(place), hash(place) % 200)).save(root / place / f"{number}.png")
    return root


def both(*above):
    return [f"{place}/{name}" for place in above for name in TWO]


def load(root, **options):
    data = load_data(root, size=(8, 8), **options)
    assert data.ledger.found == sum(len(folders) + len(files) for _, folders, files in os.walk(root))
    return data


@pytest.mark.parametrize(
    ("places", "splits"),
    [
        (both("training_set", "test_set"), ["train", "test"]),
        ([*both("seg_train/seg_train", "seg_test/seg_test"), "seg_pred/seg_pred"], ["train", "test"]),
        (both("Train", "Test"), ["train", "test"]),
        ([*both("images/train", "images/val", "images/test"), "labels/train/a.txt"], ["train", "validation", "test"]),
        ([*both("train/images", "test/images"), "train/labels/a.txt"], ["train", "test"]),
        (both("train2017", "val2017"), ["train", "validation", "test"]),
        (both("训练集", "测试集"), ["train", "test"]),
        (both("data/v1/train", "data/v1/test"), ["train", "test"]),
        ([*both("train", "test"), "extra/"], ["train", "test"]),
    ],
)
def test_splits_under_the_names_that_people_give_them(tmp_path, places, splits):
    data = load(tree(tmp_path / "set", *places))
    assert data.classes == TWO
    assert sorted(data.splits) == sorted(splits)
    assert sum(map(len, data.splits.values())) == 6 * len([one for one in splits if one not in data.made])


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([*both("train"), "birds"], "'train' could be a split or a class, beside 'birds'"),
        (both("train", "val", "dev", "validation"), "'dev' and 'val' and 'validation' are both a validation split"),
        (both("train", "Train"), "'Train' and 'train' are both a train split"),
        ([*TWO, "test"], "'test' could be a split or a class, beside 'cats', 'dogs'"),
        ([*TWO, "train"], "'train' could be a split or a class"),
        ([*TWO, "train_images"], "'train_images' could be a split or a class"),
        (both("fold1", "fold2"), "'fold1', 'fold2' are parts of a data set by name"),
        ([f"{name}/{split}" for name in TWO for split in ("train", "test")], "splits must lie above the classes"),
        (["images", "masks"], "'images', 'masks' are no class by the name"),
        ([*both("train"), "val/"], "val is a split by name but has no images"),
        (
            [*both("train"), "test/cats/", "test/dogs/"],
            "test is a split by name .* leave it out with exclude test",
        ),
        ([*both("train"), "test/README.txt"], "test is a split by name but has no images"),
        ([*both("training_set"), "test_set/cats/a.txt", "test_set/dogs/"], "test_set is a split by name"),
        ([*both("a/train"), "a/test/labels.csv"], "leave it out with exclude a/test"),
        ([*TWO, "val/notes.txt"], "val is a split by name but has no images"),
        (["Cat", "cat"], "'Cat' and 'cat' differ only in capitals"),
        (["caf\u00e9", "cafe\u0301"], "the encoding of an accent"),
        (["cat", "cat "], "differ only in spaces"),
        (["1", "01"], "the classes '01' and '1' differ only"),
        (["cats"], "1 class.*cats"),
        (["."], "has no class folders, and 3 images"),
        (["train", "test"], "train has no class folders, and 3 images"),
        (["train/images", "train/labels/a.txt"], "has no class folders, and 3 images"),
        ([*TWO, "birds/"], "birds is empty: put images into it, or leave it out with exclude birds"),
        ([*TWO, "birds/birds.zip"], "birds holds birds.zip: unpack it"),
        (
            [*TWO, *both("augmented")],
            "augmented holds folders with the names of other classes: 'cats', 'dogs'.*exclude",
        ),
        (
            [*both("train"), "train/cats/dogs"],
            "cats holds folders with the names of other classes.*exclude train/cats,",
        ),
        (both("2019", "2020"), "classes could be '2019', '2020', or 'cats', 'dogs', which lie in each of them"),
        ([*both("train"), "train/masks"], "'masks' is no class by the name.*exclude train/masks,"),
        ([*TWO, "unlabeled"], "'unlabeled' is no class by the name"),
    ],
)
def test_what_could_be_either_is_asked_back(tmp_path, places, said):
    with pytest.raises(DataError, match=said):
        load(tree(tmp_path / "set", *places))


def test_a_split_of_which_nothing_is_left_is_named(tmp_path):
    root = tree(tmp_path / "set", *both("train", "test"))
    with pytest.raises(DataError, match=r"class cats, dogs in the test split; exclude leaves 6 out$"):
        load(root, exclude=["test/*"])
    assert load(root, exclude=["test"]).made == ("test",)


def test_the_answer_is_an_option(tmp_path):
    root = tree(tmp_path / "set", *both("train"), "birds", "birds2/")
    data = load(root, splits="train=train")
    assert data.classes == TWO
    assert data.ledger.count("excluded") == 4  # three birds and their folder
    assert load(root, splits="none", exclude=["birds2"]).classes == ("birds", "train")
    certain = tree(tmp_path / "two", *both("train"), *(f"test/{one}/{day}" for one in TWO for day in ("day", "night")))
    assert load(certain).classes == TWO
    days = tree(tmp_path / "days", *(f"{one}/{day}" for one in TWO for day in ("day", "night")))
    assert load(days, splits="none").classes == TWO
    assert load(tree(tmp_path / "a", *TWO, "test"), splits="none").classes == ("cats", "dogs", "test")
    odd = tree(tmp_path / "b", *both("one", "two"))
    data = load(odd, splits="train=one, test=two/")
    assert (data.classes, list(data.splits), len(data.splits["test"])) == (TWO, ["train", "test"], 6)
    for splits, said in (
        ("train", "splits is none, or the folder of each split"),
        ("train=one,train=two", "splits is none"),
        ("half=one", "splits is none"),
        ("train=three", "there is no folder 'three'.*its folders: 'one', 'two'"),
    ):
        with pytest.raises(UsageError, match=said):
            load(odd, splits=splits)
    with pytest.raises(UsageError, match="splits is for folders"):
        load_data("fashion-mnist-sample", splits="none")


def test_a_run_keeps_the_answer(tmp_path, pictures, call):
    root = tmp_path / "set"
    root.mkdir()
    (pictures / "dark").rename(root / "dark")
    (pictures / "light").rename(root / "test")
    code, _, err = call("train", "lenet5", "--data", root, "--epochs", 0.5, "--threads", 1)
    assert (code, "--splits none if every folder is a class" in err) == (3, True)
    code, out, _ = call(
        "train", "lenet5", "--data", root, "--epochs", 0.5, "--threads", 1, "--splits", "none", "--json"
    )
    assert code == 0
    run = striate.load(json.loads(out)["run"])
    assert json.loads(out)["ledger"] == run.data.ledger.as_dict()
    assert "--splits none" in run.summary.command
    assert evaluation.evaluate(run).data.classes == ("dark", "test")
    striate.resume(run.path, epochs=1, progress=Progress(quiet=True))


def test_what_lies_beside_the_classes_is_named(tmp_path):
    root = tree(
        tmp_path / "set", *both("train"), "test", "sample_submission.csv", "train/cats/0.xml", "annotations/0.json"
    )
    Image.new("RGB", (8, 8)).save(root / "train" / "cats" / "0_mask.png")
    Image.new("RGB", (8, 8)).save(root / "train" / "sheet.png")
    data = load(root)
    assert data.made == ("test",)
    named = {row["kind"].split(":")[0]: row["examples"] for row in data.ledger.as_dict()["named"]}
    assert named["an image without a class"] == ["test/0.png", "test/1.png", "test/2.png"]
    assert named["a mask beside its image"] == ["train/cats/0_mask.png"]
    assert named["an image outside the class folders"] == ["train/sheet.png"]
    assert named[".xml"] == ["train/cats/0.xml"]


def test_one_accent_in_two_spellings_is_one_class_across_splits(tmp_path):
    data = load(tree(tmp_path / "set", "train/caf\u00e9", "train/tea", "test/cafe\u0301", "test/tea"))
    assert data.classes == ("caf\u00e9", "tea")
    assert data.splits["test"].class_counts() == [3, 3]


def test_a_real_folder_comes_before_a_link_to_it(tmp_path):
    root = tree(tmp_path / "set", *TWO)
    (root / "a-link").symlink_to(root / "dogs")
    data = load(root)
    assert data.classes == TWO
    assert data.ledger.as_dict()["named"] == [
        {"fate": "junk", "kind": "a link to a folder that has been read", "count": 1, "examples": ["a-link"]},
    ]


@pytest.mark.slow
def test_folders_may_be_deeper_than_python_can_call(tmp_path):
    ledger = Ledger()
    chain = [tmp_path / name / "/".join("d" * depth) for name in ("a", ".b") for depth in range(1020)]
    for folder in chain:
        folder.mkdir()
    try:
        found = look_through(tmp_path, ledger)
    finally:  # pytest cannot clear it away
        for folder in reversed(chain):
            folder.rmdir()
    assert (len(list(found.walk())) - 1, ledger.count("junk"), ledger.found) == (1020, 1020, 2040)
