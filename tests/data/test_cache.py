"""The pixel cache: decoded once, never wrong, whatever happens to its builders, its files and its disk."""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from striate.data import Preprocessing, cache, load_data, reading
from striate.data.cache import Prepared, prepare
from striate.data.caches import clear_caches, list_caches
from striate.data.images import LazyPixels

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
PREPROCESSING = Preprocessing(size=(24, 24), channels=3, mean=(), std=())


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    """300 small JPEG files of which one is broken."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(300):
        pixels = generator.integers(0, 256, (30 + number % 7, 40, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.jpg")
    (folder / "007.jpg").write_bytes(b"broken")
    return folder


@pytest.fixture
def decodings(monkeypatch):
    """Counts how many files are decoded."""
    counted = []
    plain = Preprocessing.read_with_info
    monkeypatch.setattr(Preprocessing, "read_with_info", lambda self, s: counted.append(1) or plain(self, s))
    return counted


def build(folder, on_progress=None):
    return prepare(folder, sorted(folder.iterdir()), PREPROCESSING, 2, on_progress)


def assert_right(found: Prepared, folder):
    paths = sorted(folder.iterdir())
    assert len(found.entries) == len(paths)
    for path, entry, picture in zip(paths, found.entries, found.pixels, strict=True):
        if path.name == "007.jpg":
            assert entry.error.startswith("not an image")
            assert not picture.any()
        else:
            assert np.array_equal(picture, PREPROCESSING.read(path)), path
            assert (entry.info.format, entry.info.width) == ("JPEG", 40)


def test_the_second_time_nothing_is_decoded_and_the_pixels_are_the_same(photos, decodings):
    told = []
    first = build(photos, lambda done, total: told.append((done, total)))
    assert len(decodings) == 300
    assert told[0] == (0, 300)
    assert told[-1] == (300, 300)
    assert_right(first, photos)
    decodings.clear()
    second = build(photos)
    assert not decodings
    assert second.entries == first.entries
    assert np.array_equal(second.pixels, first.pixels)


def test_only_what_is_new_is_decoded_again(photos, decodings):
    build(photos)
    decodings.clear()
    Image.new("RGB", (40, 30), "red").save(photos / "new.jpg")
    Image.new("RGB", (40, 50), "blue").save(photos / "003.jpg")
    (photos / "004.jpg").rename(photos / "moved.jpg")
    (photos / "005.jpg").unlink()
    os.utime(photos / "006.jpg", (1, 1))  # touched, not changed
    found = build(photos)
    assert len(decodings) == 3  # two, and the broken one
    assert_right(found, photos)
    (listed,) = list_caches()
    assert (listed.pictures, listed.whole) == (300, True)
    assert len(list(Path(listed.path).glob("*.pixels"))) == 1  # the older generation is gone


def test_size_fit_and_channels_have_caches_of_their_own(photos):
    from dataclasses import replace

    build(photos)
    for other in (replace(PREPROCESSING, fit="pad"), replace(PREPROCESSING, channels=1)):
        paths = sorted(photos.iterdir())
        found = prepare(photos, paths, other, 2)
        assert np.array_equal(found.pixels[20], other.read(paths[20]))
    assert len(list_caches()) == 3
    assert [cache.source for cache in clear_caches(photos)] == [str(photos)] * 3
    assert list_caches() == []
    assert_right(build(photos), photos)


def test_without_a_place_or_space_pictures_are_decoded_live(photos, monkeypatch, tmp_path, decodings):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "file"))
    found = build(photos)
    assert found.place.startswith("no cache in ")
    assert_right(found, photos)
    monkeypatch.setenv("STRIATE_CACHE", str(tmp_path / "full"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    found = build(photos)
    assert "977 KiB are free" in found.place
    assert_right(found, photos)
    assert not list((tmp_path / "full").glob("*/*.pixels"))
    # And if memory does not hold them either, each time that they are asked for.
    monkeypatch.setattr(cache, "fits_memory", lambda size: False)
    live = build(photos)
    decodings.clear()
    taken = LazyPixels(live.pixels, np.array([5, 9, 2]))
    assert np.array_equal(taken[1:], np.stack([PREPROCESSING.read(photos / f"{n:03d}.jpg") for n in (9, 2)]))
    assert len(decodings) == 4
    with pytest.raises(Exception, match=r"007\.jpg: not an image"):
        taken = live.pixels[7]


def test_a_disk_that_fills_up_while_it_is_built_costs_nothing(photos, monkeypatch):
    plain = json.dumps
    calls = []

    def failing(value, **options):
        calls.append(1)
        if len(calls) == 150:
            raise OSError(28, "No space left on device")
        return plain(value, **options)

    monkeypatch.setattr(cache.json, "dumps", failing)
    found = build(photos)
    assert "No space left on device" in found.place
    assert_right(found, photos)
    monkeypatch.setattr(cache.json, "dumps", plain)
    assert_right(build(photos), photos)


def test_what_is_damaged_is_built_again(photos, place):
    build(photos)
    (index,) = place.glob("*/*.index")
    index.write_text(index.read_text()[:-10])
    assert_right(build(photos), photos)
    (pixels,) = place.glob("*/*.pixels")
    os.truncate(pixels, 1000)
    assert_right(build(photos), photos)


BUILDER = """
import sys, time
from pathlib import Path
from striate.data import Preprocessing, reading
from striate.data.cache import prepare
reading.PORTION = 3
folder = Path(sys.argv[1])
plain = Preprocessing.read_with_info
def slowly(self, source):
    time.sleep(0.002)
    return plain(self, source)
Preprocessing.read_with_info = slowly
preprocessing = Preprocessing(size=(24, 24), channels=3, mean=(), std=())
print("begun", flush=True)
prepare(folder, sorted(folder.iterdir()), preprocessing, 2, lambda done, total: print(done, flush=True))
"""


class Child:
    """A fork of this process, which has everything imported, that runs `BUILDER`; `stdout` is what it prints."""

    def __init__(self, photos):
        reads, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(writes, 1)
            sys.argv, sys.stdout = ["builder", str(photos)], os.fdopen(1, "w")
            try:
                exec(BUILDER, {})
                os._exit(0)
            finally:
                os._exit(1)
        os.close(writes)
        self.stdout = os.fdopen(reads)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def ended(self):
        """(exit code, the rest that it printed)."""
        with self.stdout:
            rest = self.stdout.read()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), rest


def start(photos):
    child = Child(photos)
    assert child.stdout.readline() == "begun\n"
    return child


@pytest.mark.full
def test_a_killed_builder_leaves_none_or_one_to_go_on_from(photos, place, decodings):
    # All kills fall upon one cache in turn: each builder goes on from what the one before had left.
    def kept():
        return sum(journal.read_text().count("\n") for journal in place.glob("*/*.journal"))

    found, draw = [], random.Random(0)
    for _ in range(20):
        wanted = kept() + draw.randrange(20)
        child = start(photos)
        while kept() < wanted:
            time.sleep(0.001)
        time.sleep(draw.uniform(0, 0.01))
        child.kill()
        child.ended()
        assert len(list(place.glob("*/*.pixels"))) <= 1
        found.append(kept())
    assert found == sorted(found)
    assert 20 < found[-1] < 300, "the builders came too far, or not far enough, for the test to mean anything"
    assert_right(build(photos), photos)
    assert len(decodings) == 300 - found[-1] + 299  # assert_right decodes 299


def test_rows_that_a_journal_names_but_the_file_lacks_are_decoded_again(photos, place):
    child = start(photos)
    while int(child.stdout.readline()) < 100:
        pass
    child.kill()
    child.ended()
    (pixels,) = place.glob("*/*.pixels")
    with pixels.open("r+b") as file:  # as after a loss of power: the journal was on the disk, these rows were not
        file.write(bytes(24 * 24 * 3 * 20))
    with pixels.with_suffix(".journal").open("a") as journal:
        journal.write('[101, 20, "cut')
    assert_right(build(photos), photos)


def test_two_builders_at_once_end_with_one_right_cache(photos, place):
    children = [start(photos) for _ in range(2)]
    told = [child.ended() for child in children]
    assert [code for code, _ in told] == [0, 0]
    assert sum(bool(printed) for _, printed in told) == 1, "one of them was to wait and to find the work done"
    (listed,) = list_caches()
    assert listed.pictures == 300
    assert not list(place.glob("*/*.journal"))
    assert_right(build(photos), photos)


def test_a_cache_that_is_being_built_is_not_cleared(photos):
    child = start(photos)
    while int(child.stdout.readline()) < 20:
        pass
    assert clear_caches() == []
    child.ended()
    assert_right(build(photos), photos)
    assert len(clear_caches()) == 1


def test_sets_larger_than_memory_stay_on_disk_and_train_to_the_same_weights(pictures, monkeypatch, tmp_path):
    import striate
    from striate.data import folder
    from striate.training import Progress

    def trained(name):
        run = striate.train(
            "lenet5", pictures, epochs=1, batch_size=4, augment="flip,erase", size=32, threads=1, layout="nchw",
            name=name, out=tmp_path / "runs", report=False, progress=Progress(quiet=True),
        )  # fmt: skip
        return (run.path / "weights" / "last.safetensors").read_bytes(), run.data.fingerprint

    in_memory = trained("memory")
    monkeypatch.setattr(folder, "fits_memory", lambda size: False)
    data = load_data(pictures, size=(32, 32))
    assert isinstance(data.train.pixels, LazyPixels)
    assert trained("disk") == in_memory
    monkeypatch.setattr(cache, "fits_memory", lambda size: False)
    monkeypatch.setenv("STRIATE_CACHE", str(pictures / "dark" / "00.png"))
    assert isinstance(load_data(pictures, size=(32, 32)).train.pixels.store, reading.Files)
    assert trained("live") == in_memory
