"""Numbers as words: one way for terminal, report and model card."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import striate
from striate import texts
from striate.report import wording


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.424, "0.42 s"),
        (8.13, "8.1 s"),
        (48.24, "48 s"),
        (59.97, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.6, "1 h 00 min"),
        (3780, "1 h 03 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, words):
    assert texts.duration(seconds) == wording.duration(seconds).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("fraction", "digits", "words"),
    [
        (0.8936, 1, "89.4 %"),
        (1.0, 0, "100 %"),
        (0.9969, 0, ">99 %"),
        (0.99996, 2, ">99.99 %"),
        (0.0, 1, "0.0 %"),
        (0.0004, 1, "<0.1 %"),
    ],
)
def test_percentages_never_round_to_all_or_nothing(fraction, digits, words):
    assert texts.percent(fraction, digits) == wording.percent(fraction, digits).replace("\u00a0", " ") == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1_604_321, "1.53 MiB"),
        (1023.7 * 2**20, "1.00 GiB"),
        (66 * 2**30, "66.0 GiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_bytes_have_three_digits_and_a_unit(count, words):
    assert texts.storage(count) == words


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [(1, "pair", "1 pair"), (1200, "pair", "1,200 pairs"), (2, "class", "2 classes"), (11.4, "epoch", "11.4 epochs")],
)
def test_a_number_and_its_noun(number, noun, words):
    assert texts.counted(number, noun) == words


def test_a_share_has_the_decimals_that_its_images_can_bear():
    found = SimpleNamespace(n=9_999, accuracy=0.89364, low=0.88741, high=0.89952)
    assert texts.share(found, "accuracy") == "89.4 %"
    assert texts.share(SimpleNamespace(n=10_000, accuracy=0.89364), "accuracy") == "89.36 %"
    assert texts.interval(found) == "88.7 % to 90.0 %"


def test_no_other_module_makes_percentages_or_bytes_by_hand():
    """A figure that is made twice is sooner or later rounded in two ways."""
    found = [
        f"{path.name}: {line.strip()}"
        for path in Path(striate.__file__).parent.rglob("*.py")
        if path.name != "texts.py" and "bundle" not in path.parts  # what an export hands out stands alone
        for line in path.read_text().splitlines()
        if re.search(r":\.\d%\}(?![;\"'])|/ 2\*\*[23]0:", line)
    ]
    assert found == []
