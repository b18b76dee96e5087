"""Near duplicates: planted copies are found, images that are merely alike are not; one image is laid over another right."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from striate.checkup import check, copies_of_training
from striate.checkup.alignment import SIDE, _smooth, agreement, align
from striate.checkup.near import near_duplicates, thumbnails
from striate.data import ImageData, load_data
from striate.data.images import LazyPixels
from tests.checkup.made import KINDS, copy_of, data_set, photo, pixels


@pytest.fixture(scope="module")
def planted():
    """(check-up, kinds): 300 training images, and 200 test images of which the first 100 are copies of the first 100."""
    generator = np.random.default_rng(0)
    photos = [photo(number) for number in range(400)]
    kinds = [KINDS[number % len(KINDS)] for number in range(100)]
    copies = [copy_of(photos[number], kind, generator) for number, kind in enumerate(kinds)]
    data = data_set(
        train=(pixels(photos[:300]), [number % 2 for number in range(300)]),
        test=(pixels(copies + photos[300:]), [number % 2 for number in range(200)]),
    )
    return check(data), kinds


@pytest.mark.full
def test_planted_copies_are_found_across_splits(planted):
    found, kinds = planted
    pairs = {f.kind: {(p.first.index, p.second.index) for p in f.pairs} for f in found.findings}
    assert pairs["leakage"] == {(n, n) for n, kind in enumerate(kinds) if kind == "exact"}
    near = Counter(kinds[a] for a, b in pairs["near-leakage"] if a == b)
    assert sum(near.values()) >= 75, near  # of 80; and 20 exact ones
    assert all(a == b for a, b in pairs["near-leakage"]), "only copies are reported"
    assert not {"duplicates", "near-duplicates", "label-conflict", "near-label-conflict"} & pairs.keys()


def test_mirrored_copies_are_called_so(planted):
    found, kinds = planted
    (near,) = (f for f in found.findings if f.kind == "near-leakage")
    assert all(pair.mirrored == (kinds[pair.first.index] == "mirrored") for pair in near.pairs)
    assert [pair.likeness for pair in near.pairs] == sorted((pair.likeness for pair in near.pairs), reverse=True)


def test_copies_of_training_are_the_test_pictures_of_both_findings(planted):
    found, _ = planted
    copies = {picture.index for picture in copies_of_training(found.findings)}
    assert copies <= set(range(100))
    assert len(copies) >= 95
    assert not copies_of_training(found.findings, "validation")


def test_a_crowded_set_in_which_no_candidate_is_a_copy_is_looked_through(clothes):
    with np.load(clothes) as arrays:
        both = np.concatenate([arrays["train_images"], arrays["test_images"]])
    assert near_duplicates(thumbnails(both)) == []


def test_clothes_that_are_merely_alike_are_no_duplicates():
    clothes = load_data("fashion-mnist-sample").splits["test"].pixels[:1000]
    copy = copy_of(Image.fromarray(clothes[0, ..., 0]).convert("RGB"), "encoded", np.random.default_rng(0))
    matches = near_duplicates(thumbnails(np.concatenate([clothes, np.asarray(copy)[None, ..., :1]])))
    assert (0, 1000) in {(match.first, match.second) for match in matches}
    assert len(matches) <= 4  # of 500,500 pairs, among which hundreds of trousers and shirts have the same outline


def test_a_crop_is_laid_over_its_original():
    whole = photo(5, side=320)
    left, top, right, bottom = 24, 32, 304, 296
    crop = whole.crop((left, top, right, bottom))
    first, second = (torch.from_numpy(pixels([image], SIDE)).permute(0, 3, 1, 2).float() for image in (whole, crop))
    laid = align(first, second)[0]
    wanted = [
        np.log((right - left) / 320),
        np.log((bottom - top) / 320),
        (left + right) / 320 - 1,
        (top + bottom) / 320 - 1,
    ]
    np.testing.assert_allclose(laid.numpy(), wanted, atol=0.02)
    assert all(value > 0.9 for value in agreement(first, second, laid[None]))


def test_the_likeness_is_ssim():
    generator = torch.Generator().manual_seed(0)
    first = 255 * torch.rand(1, 1, SIDE, SIDE, generator=generator)
    second = (first + 90 * torch.rand(1, 1, SIDE, SIDE, generator=generator)).clamp(0, 255)
    whole, _, _ = agreement(first, second, torch.zeros(1, 4))
    one, other = (np.pad(_smooth(picture, 1)[0, 0].double().numpy(), 3, mode="edge") for picture in (first, second))
    values = []
    for row in range(SIDE):
        for column in range(SIDE):
            a, b = (picture[row : row + 7, column : column + 7] for picture in (one, other))
            shared = ((a - a.mean()) * (b - b.mean())).mean()
            if a.var() + b.var() > 2 * 7.65**2:
                light = (2 * a.mean() * b.mean() + 2.55**2) / (a.mean() ** 2 + b.mean() ** 2 + 2.55**2)
                values.append(light * (2 * shared + 7.65**2) / (a.var() + b.var() + 7.65**2))
    assert whole.item() == pytest.approx(np.mean(values), abs=0.01)


def test_few_and_plain_pictures():
    assert near_duplicates(np.zeros((1, SIDE, SIDE, 3), np.uint8)) == []
    assert near_duplicates(np.full((3, SIDE, SIDE, 3), 90, np.uint8)) == []
    same = pixels([photo(1), photo(1).resize((48, 48)), photo(2)])
    assert [(match.first, match.second) for match in near_duplicates(same)] == [(0, 1)]


def test_thumbnails_of_any_size_and_depth():
    assert thumbnails(np.zeros((3, 28, 28, 1), np.uint8)).shape == (3, 32, 32, 1)
    assert thumbnails(np.full((2, 64, 48, 3), 200, np.uint8)).tolist() == np.full((2, 32, 32, 3), 200).tolist()
    image = photo(3, side=64)
    wanted = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert abs(thumbnails(np.asarray(image)[None])[0] - wanted).max() <= 1


def test_every_picture_of_a_group_of_equals_is_told_of():
    photos = [photo(number) for number in range(60)]
    anew = copy_of(photos[0], "encoded", np.random.default_rng(0))
    train, test = photos[:40], photos[40:]
    train[9] = photos[0]  # the same image twice in training, in two classes
    test[3] = test[4] = anew
    data = data_set(train=(pixels(train), [0, 1] * 20), test=(pixels(test), [0] * 10 + [1] * 10))
    found = check(data)
    kinds = {
        f.kind: {(p.first.split, p.first.index, p.second.split, p.second.index) for p in f.pairs}
        for f in found.findings
    }
    assert kinds["label-conflict"] == {("train", 0, "train", 9)}
    assert kinds["duplicates"] == {("test", 3, "test", 4)}
    assert kinds["near-leakage"] == {("train", a, "test", b) for a in (0, 9) for b in (3, 4)}
    assert kinds["near-label-conflict"] == {("train", 9, "test", 3), ("train", 9, "test", 4)}
    assert {picture.index for picture in copies_of_training(found.findings)} == {3, 4}


def test_pictures_that_memory_does_not_hold_are_checked_alike():
    stored = pixels([photo(number) for number in range(40)])
    stored[30] = stored[2]
    rows = LazyPixels(stored, np.arange(40))
    labels = np.arange(40) % 2
    whole, portioned = (
        check(replace(data_set(train=(stored, labels)), splits={"train": ImageData(held, labels, ("a", "b"))}))
        for held in (stored, rows)
    )
    assert whole.findings == portioned.findings
    assert [f.kind for f in whole.findings][:1] == ["duplicates"]
