"""Grids of images: exact pixels, whole captions, any script."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont
from run_files import FASHION

from striate import report
from striate.report import grids


def noise(n: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(("height", "width", "channels", "scale"), [(28, 28, 1, 4), (32, 32, 3, 4), (16, 24, 3, 5)])
def test_enlarges_pixels_exactly(height, width, channels, scale):
    pixels = noise(1, height, width, channels)
    shown = np.asarray(grids.grid(pixels, ["a"], columns=1, scale=scale))
    left = grids.GAP + (max(width * scale, grids.LEGIBLE) - width * scale) // 2
    picture = shown[grids.GAP : grids.GAP + height * scale, left : left + width * scale]
    large = np.kron(np.broadcast_to(pixels[0], (height, width, 3)), np.ones((scale, scale, 1), np.uint8))
    assert (picture == large).all()


@pytest.mark.parametrize(("side", "width"), [(28, 112), (32, 128), (64, 128), (224, 224)])
def test_small_pictures_become_legible_and_large_ones_stay(side, width):
    image = grids.grid(noise(3, side, side, 3), ["a", "b", "c"], columns=2)
    assert image.size[0] == 3 * grids.GAP + 2 * max(width, grids.LEGIBLE)


CAPTIONS = [
    "Shirt\nread as T-shirt/top, 97\u00a0%",
    "a name of many words that needs several lines under its image",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "",
    "Дом, café, 靴と帽子",
]


def test_no_caption_is_cut():
    image = np.asarray(grids.grid(noise(5, 28, 28, 1), CAPTIONS, columns=2))
    edges = (image[:4], image[-4:], image[:, :4], image[:, -4:])
    assert all((edge == 255).all() for edge in edges)
    for caption in CAPTIONS:
        font, lines = grids._caption(caption, grids.LEGIBLE)
        assert all(grids._length(font, line) <= grids.LEGIBLE for line, _ in lines)
        shown = caption if grids._font_with(frozenset(caption)) else grids._plain(caption)
        assert "".join(line for line, _ in lines).replace(" ", "") == shown.replace("\n", "").replace(" ", "")


def test_a_number_stays_with_its_unit():
    _, lines = grids._caption("read as Trouser, 97\u00a0%", grids.LEGIBLE)
    assert [line for line, _ in lines] == ["read as Trouser,", "97\u00a0%"]


def test_without_a_fitting_font_letters_lose_accents_or_become_question_marks(monkeypatch):
    monkeypatch.setattr(grids, "_font_files", lambda: ())
    grids._font_with.cache_clear()
    assert [line for line, _ in grids._caption("Café 靴, 97\u00a0%", 60)[1]] == ["Cafe ?,", "97\u00a0%"]
    grids._font_with.cache_clear()


def test_a_font_of_the_computer_is_found(monkeypatch, tmp_path):
    """Pillow's built-in font as a file stands for a system font; a damaged file before it is passed over."""
    (tmp_path / "a-broken.ttf").write_bytes(b"no font")
    (tmp_path / "b.otf").write_bytes(ImageFont.load_default(10).path.getvalue())
    (tmp_path / "readme.txt").write_text("no font either")
    monkeypatch.setattr(grids, "FONT_FOLDERS", (str(tmp_path), str(tmp_path / "missing")))
    monkeypatch.setattr(grids, "_has", lambda font, letter: font is not grids._built_in())
    grids._font_files.cache_clear()
    grids._font_with.cache_clear()
    assert [path.name for path in grids._font_files()] == ["a-broken.ttf", "b.otf"]
    found = grids._font_with(frozenset("é"))
    monkeypatch.undo()
    grids._font_files.cache_clear()
    grids._font_with.cache_clear()
    assert found is not None
    assert Path(found.path).name == "b.otf"


def test_refuses_what_it_cannot_draw():
    with pytest.raises(ValueError, match=r"5 images, 1 captions"):
        grids.grid(noise(5, 28, 28, 1), ["a"])
    for wrong in (np.zeros((0, 28, 28, 1), np.uint8), np.zeros((1, 28, 28), np.uint8), np.zeros((1, 8, 8, 1))):
        with pytest.raises(ValueError, match="uint8 images of shape"):
            grids.grid(wrong, ["a"] * len(wrong))


@pytest.mark.parametrize(
    ("classes", "columns", "rows"),
    [(["ants", "bees"], 8, 2), (FASHION, 10, 4), ([f"class {i}" for i in range(100)], 10, 6)],
    ids=["2", "10", "100"],
)
def test_samples_stand_class_by_class(make_run, classes, columns, rows):
    """The grid's captions cannot be read back, its images can: each has its class as its grey level."""
    run = make_run(classes)
    labels = np.random.default_rng(0).permutation(np.arange(1000) % len(classes))
    pixels = np.broadcast_to((2 * labels).astype(np.uint8)[:, None, None, None], (1000, 28, 28, 1))
    path = report.write_samples(run, pixels, labels)
    image = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    assert image.shape[1] == grids.GAP + columns * (112 + grids.GAP)
    middles = [image[grids.GAP + 56, grids.GAP + 56 + c * (112 + grids.GAP), 0] for c in range(columns)]
    expected = [0] * 8 if len(classes) == 2 else [2 * c for c in range(10)]
    assert middles == expected
    height = (image.shape[0] - grids.GAP) / rows
    assert height == int(height)


def test_mistakes_are_the_worst_first(tmp_path):
    rows = [
        {"index": i, "truth": "a", "predicted": "b" if i % 2 else "a", "confidence": 0.9, "loss": float(i % 40)}
        for i in range(100)
    ]
    worst = report.worst_mistakes(rows)
    assert [row["index"] for row in worst[:4]] == [39, 79, 37, 77]
    assert len(worst) == 24
    assert report.worst_mistakes(rows, 3) == worst[:3]
    pixels = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 28, 28, 1))
    path = report.write_mistakes(tmp_path, pixels, rows)
    image = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    assert [image[grids.GAP + 56, grids.GAP + 56 + c * (112 + grids.GAP), 0] for c in range(4)] == [39, 79, 37, 77]
    assert report.write_mistakes(tmp_path, pixels, rows[::2]) is None  # all right


@pytest.mark.parametrize(
    ("height", "width", "shown"), [(300, 200, (150, 100)), (40, 151, (40, 150)), (150, 90, (150, 90))]
)
def test_large_pictures_are_made_smaller_and_others_stay(height, width, shown):
    pixels = np.full((2, height, width, 3), 77, np.uint8)
    small = grids.reduced(pixels, 150)
    assert small.shape == (2, *shown, 3)
    assert (small == 77).all()


@pytest.mark.parametrize("side", [28, 32, 56, 64, 96, 128, 168])
def test_a_sheet_of_mistakes_is_as_wide_as_a_page_at_most(side):
    columns = grids.fitting_columns(side)
    assert columns >= 6
    assert grids.grid(noise(columns, side, side, 3), ["a"] * columns, columns=columns).width <= grids.SHEET


def test_pictures_beside_each_other_and_sheets_below_each_other():
    pair = grids.beside(np.full((5, 3, 1), 9, np.uint8), np.full((5, 2, 3), 7, np.uint8), gap=1)
    assert pair[0, :, 0].tolist() == [9, 9, 9, 255, 7, 7]
    sheet = grids.stacked([Image.new("RGB", (4, 2), "red"), Image.new("RGB", (6, 3), "blue")])
    assert sheet.size == (6, 5)
    assert [sheet.getpixel((0, y)) for y in (1, 2)] == [(255, 0, 0), (0, 0, 255)]
