"""Draws, splits, receptive fields and parsers on values that hypothesis makes up, against plain loops."""

from contextlib import suppress
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from striate.anatomy import trace
from striate.anatomy.receptive import receptive_fields
from striate.cli.options import parse_duration
from striate.data.augmentation import USUAL, Augmentation
from striate.data.draws import Draws, balanced_order, hashes, permutation
from striate.data.splits import hold_out
from striate.errors import UsageError
from striate.namedrecipes import TUTORIAL
from striate.recipe import Milestones, ResizeSchedule

settings.register_profile("here", derandomize=True, deadline=None, max_examples=60, database=None)
settings.load_profile("here")


@pytest.fixture(autouse=True, scope="module")
def _subnormal_numbers():
    """Training lets the processor take them for zero, for the rest of the process; hypothesis needs arithmetic as it is."""
    torch.set_flush_denormal(False)


SEEDS = st.integers(0, 2**63 - 1)
STREAMS = st.integers(0, 36)
MASK = 2**64 - 1


def splitmix(x):
    """SplitMix64's finaliser on Python's unbounded integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def plain_hash(seed, epoch, stream, sample):
    golden, key = 0x9E3779B97F4A7C15, 0
    for part in (seed, epoch, stream):
        key = splitmix((key + part + golden) & MASK)
    return splitmix((sample * golden + key) & MASK)


@given(SEEDS, st.integers(0, 10**6), STREAMS, st.lists(st.integers(0, 10**9), max_size=20), st.integers(1, 2**24))
def test_every_draw_is_that_of_unbounded_integers(seed, epoch, stream, samples, count):
    expected = [plain_hash(seed, epoch, stream, sample) for sample in samples]
    tensor = torch.tensor(samples, dtype=torch.int64)
    draws = Draws(seed, epoch, tensor)
    assert [value & MASK for value in hashes(seed, epoch, tensor, stream).tolist()] == expected
    assert [Fraction(value) for value in draws.uniform(stream).tolist()] == [Fraction(h >> 40, 2**24) for h in expected]
    assert draws.integers(stream, count).tolist() == [(h >> 40) * count // 2**24 for h in expected]


@given(SEEDS, st.integers(0, 10**6), st.integers(0, 200), STREAMS)
def test_an_order_is_that_of_the_draws_as_signed_numbers(seed, epoch, count, stream):
    def signed(position):
        value = plain_hash(seed, epoch, stream, position)
        return value - 2**64 if value >= 2**63 else value

    assert permutation(seed, epoch, count, stream).tolist() == sorted(range(count), key=signed)


LABELS = st.lists(st.integers(0, 6), min_size=1, max_size=120)


@given(SEEDS, st.integers(0, 100), LABELS)
def test_a_balanced_order_shows_each_class_and_within_it_each_image_as_often(seed, epoch, labels):
    order = balanced_order(seed, epoch, torch.tensor(labels)).tolist()
    count = len(labels)
    assert len(order) == len(set(order)) == count
    shown = [entry % count for entry in order]
    per_class = [sum(labels[position] == label for position in shown) for label in set(labels)]
    assert max(per_class) - min(per_class) <= 1
    for label in set(labels):
        per_image = [shown.count(position) for position in range(count) if labels[position] == label]
        assert max(per_image) - min(per_image) <= 1


@given(LABELS, st.integers(0, 99), SEEDS, st.integers(1, 40))
def test_what_is_held_out_is_counted_by_hand(labels, percent, seed, groups):
    array, fraction = np.array(labels), percent / 100
    kept, held = hold_out(array, fraction, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert list(kept) == sorted(kept)
    assert list(held) == sorted(held)
    for label in set(labels):
        count = labels.count(label)
        exact = Fraction(percent, 100) * count
        nearest = {int(exact + Fraction(1, 2)), -int(-exact + Fraction(1, 2))}  # half to either side
        wanted = {min(max(1, number), count - 1) for number in nearest} if percent else {0}
        assert sum(labels[position] == label for position in held) in wanted
    # In groups: none is parted, and no class loses its last image.
    of = np.random.default_rng(seed % 2**32).integers(0, groups, len(labels))
    kept, held = hold_out(array, fraction, seed, of)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    assert not set(of[kept]) & set(of[held])
    assert set(array[kept]) == set(labels)


WINDOWS = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3))
"""Kernel, stride, padding, dilation."""


@settings(max_examples=30)
@given(st.lists(st.tuples(WINDOWS, WINDOWS), min_size=1, max_size=5))
def test_the_field_of_a_chain_is_what_a_loop_over_its_windows_reads(chain):
    layers = [nn.Conv2d(1, 1, *map(tuple, zip(*both, strict=True))) for both in chain]
    side = 3000
    graph = trace(nn.Sequential(*layers).to("meta"), (1, 1, side, side))
    field = receptive_fields(graph)[graph.outputs[0]]
    for axis in (0, 1):
        reads = []
        for position in (0, 1):
            first = last = position
            for both in reversed(chain):
                kernel, stride, padding, dilation = both[axis]
                first = first * stride - padding
                last = last * stride - padding + dilation * (kernel - 1)
            reads.append((first, last))
        assert field.largest[axis] == reads[0][1] - reads[0][0] + 1
        assert field.stride[axis] == reads[1][0] - reads[0][0]
        assert field.centre[axis] == sum(reads[0]) / 2


SHARES = st.lists(st.floats(0, 1, exclude_max=True), max_size=5, unique=True).map(sorted)
STRENGTHS = {
    "flip": st.booleans(), "shift": st.integers(0, 50), "crop": st.floats(0, 1, exclude_min=True), "rotate": st.floats(0, 180),
    "zoom": st.floats(0, 1, exclude_max=True), "shear": st.floats(0, 60), "colour": st.floats(0, 1), "lighting": st.floats(0, 10),
    "erase": st.floats(0, 1), "mixup": st.floats(0, 100), "cutmix": st.floats(0, 100),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=STRENGTHS), SHARES, st.data())
def test_what_is_written_is_read_as_the_very_same(strengths, shares, data):
    assert STRENGTHS.keys() == USUAL.keys()
    augmentation = Augmentation(**strengths)
    assert Augmentation.parse(str(augmentation)) == augmentation
    factors = data.draw(st.lists(st.floats(0.0009765625, 8), min_size=len(shares), max_size=len(shares)))
    milestones = Milestones(zip(shares, factors, strict=True))
    assert Milestones.parse(str(milestones)) == milestones
    sides = data.draw(st.lists(st.integers(1, 4096), min_size=len(shares), max_size=len(shares)))
    schedule = ResizeSchedule(zip([0.0, *shares[1:]] if shares else [], sides, strict=True))
    assert ResizeSchedule.parse(str(schedule)) == schedule
    rate, smoothing = data.draw(st.floats(1e-9, 100)), data.draw(st.floats(0, 0.99))
    changed = TUTORIAL.changed({"lr": repr(rate), "label-smoothing": repr(smoothing), "milestones": str(milestones)})
    assert (changed.lr, changed.label_smoothing, changed.milestones) == (rate, smoothing, milestones)


@given(st.integers(0, 99), st.integers(0, 999), st.integers(0, 9999), st.booleans())
def test_a_duration_is_the_sum_of_its_parts(hours, minutes, seconds, spelled):
    text = f"{hours}h{minutes}m{seconds}{'s' * spelled}"
    assert parse_duration(text) == parse_duration(f" {text.upper()} ") == 3600 * hours + 60 * minutes + seconds


TEXTS = st.text(max_size=12) | st.text("0123456789.,@=-+ehmsinfa flipshtcoru", max_size=24)


@settings(max_examples=300)
@given(TEXTS)
def test_any_text_is_read_or_refused_in_words(text):
    for read in (Augmentation.parse, ResizeSchedule.parse, Milestones.parse, parse_duration):
        with suppress(UsageError):
            found = read(text)
            assert found >= 0 if read is parse_duration else read(str(found)) == found
    with pytest.raises(UsageError, match="must be"):
        TUTORIAL.changed({"epochs": f"x{text}"})
