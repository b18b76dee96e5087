"""What the quick part finds, on images that are made for it."""

import numpy as np
import pytest

from striate.checkup import SIZE
from striate.checkup.quick import quick
from striate.data import load_data
from tests.checkup.made import data_set, photo, pixels


def kinds(findings):
    return {finding.kind: finding for finding in findings}


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)


def test_nothing_is_found_where_nothing_is_wrong():
    assert quick(data_set(train=(noise(60), [0, 1, 2] * 20), test=(noise(30, 1), [0, 1, 2] * 10))) == []


def test_equal_pictures_are_sorted_into_leakage_conflict_and_repetition():
    train, test = noise(60), noise(20, 1)
    train[11] = train[10]  # another class
    train[14] = train[12]  # the same class
    test[0], test[1] = train[20], train[31]  # the same class, another class
    test[2] = test[0]
    found = kinds(quick(data_set(train=(train, [0, 1] * 30), test=(test, [0, 0] * 10))))

    def pairs(kind):
        return {(p.first.split, p.first.index, p.second.split, p.second.index) for p in found[kind].pairs}

    leaked = {("train", 20, "test", 0), ("train", 20, "test", 2), ("train", 31, "test", 1)}
    assert pairs("leakage") == leaked
    assert pairs("label-conflict") == {("train", 10, "train", 11), ("train", 31, "test", 1)}
    assert pairs("duplicates") == {("train", 12, "train", 14), ("test", 0, "test", 2)} - leaked | (
        pairs("duplicates") & {("test", 0, "test", 2)}
    )
    assert [found[kind].severity for kind in ("leakage", "label-conflict", "duplicates")] == [
        "serious",
        "serious",
        "hint",
    ]
    assert "3 test images also in train" in found["leakage"].words


def test_pairs_tell_of_every_equal_picture_and_grow_no_faster_than_their_number():
    generator = np.random.default_rng(4)
    base = noise(5, 2)
    choice = generator.integers(0, 5, 300)
    data = data_set(train=(base[choice[:200]], generator.integers(0, 3, 200)), test=(base[choice[200:]], [0, 1] * 50))
    found = kinds(quick(data))
    leaked = {pair.second.index for pair in found["leakage"].pairs}
    assert leaked == set(range(100))
    assert sum(len(finding.pairs) for finding in found.values()) <= 4 * 300


def test_blank_pictures():
    train = noise(60)
    train[3] = (255, 0, 0)
    train[4] = train[4] // 16  # 0 to 15
    train[5] = train[5] // 14  # 0 to 18
    train[6] = 0
    train[6, 7, 7] = 200  # one odd pixel, which is not on every fourth
    (finding,) = quick(data_set(train=(train, [0, 1] * 30)))
    assert finding.kind == "blank"
    assert [picture.index for picture in finding.pictures] == [3, 4]
    assert finding.pictures[0].note == "one colour"
    # Equal blank images are blank, and not told a second time.
    train[8] = train[3]
    assert kinds(quick(data_set(train=(train, [0, 1] * 30)))).keys() == {"blank"}


@pytest.mark.parametrize(("counts", "wanted"), [((40, 30), None), ((90, 30), "hint"), ((300, 30), "warning")])
def test_imbalance(counts, wanted):
    labels = [0] * counts[0] + [1] * counts[1]
    found = kinds(quick(data_set(train=(noise(len(labels)), labels))))
    assert (found["imbalance"].severity if "imbalance" in found else None) == wanted


def test_few_pictures_of_a_class():
    found = kinds(quick(data_set(train=(noise(39), [0] * 20 + [1] * 19), test=(noise(9, 1), [0] * 5 + [1] * 4))))
    assert "b 19 in train, b 4 in test." in found["few-pictures"].words


@pytest.fixture
def folder(tmp_path):
    """Two classes of 60 images of 60x50, and one each that is odd in some way."""
    for number in range(120):
        place = tmp_path / "set" / ("cat", "dog")[number % 2] / f"{number:03d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        photo(number).resize((60, 50)).save(place)
    (tmp_path / "set" / "cat" / "broken.jpg").write_bytes(b"no image")
    photo(200).convert("P").save(tmp_path / "set" / "cat" / "palette.gif")
    photo(201).resize((12, 14)).save(tmp_path / "set" / "dog" / "tiny.png")
    photo(202).resize((200, 40)).save(tmp_path / "set" / "dog" / "long.png")
    return tmp_path / "set"


def test_odd_files_of_a_folder(folder):
    found = kinds(quick(load_data(folder, size=SIZE)))
    names = {kind: [picture.path.rsplit("/", 1)[1] for picture in finding.pictures] for kind, finding in found.items()}
    assert names["odd-mode"] == ["palette.gif"]
    assert names["odd-size"] == ["palette.gif"]  # 96x96, as it was made
    assert names["small"] == ["tiny.png"]
    assert names["long"] == ["long.png"]
    assert found["unreadable"].files[0][0].endswith("broken.jpg")
    assert "not an image" in found["unreadable"].files[0][1]


def test_every_finding_says_what_to_do(folder):
    for finding in quick(load_data(folder, size=SIZE)):
        assert finding.count
        assert finding.words.endswith(".")
        assert len(finding.words) > 60
        assert finding.as_dict()["kind"] == finding.kind


def test_sets_of_one_channel():
    grey = pixels([photo(n).convert("L").convert("RGB") for n in range(50)])[..., :1]
    grey[7] = 9
    (finding,) = quick(data_set(train=(grey, [0, 1] * 25)))
    assert finding.kind == "blank"
