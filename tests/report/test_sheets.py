"""Sheets of captioned images: exact pixels, whole captions, any script."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from striate import report
from striate.drawing.sheet import LEGIBLE, NOTE, WIDEST, captioned, read_tiles, shown_side
from striate.drawing.svg import broken, text_width
from tests.report.run_files import FASHION


def noise(n: int, height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, channels), dtype=np.uint8)


def cut_out(path, tiles):
    """The pixels of a sheet's images."""
    sheet = np.asarray(Image.open(path).convert("RGB"))
    return [sheet[y : y + tall, x : x + wide] for x, y, wide, tall in (tile.box for tile in tiles)]


@pytest.mark.parametrize(("height", "width", "channels", "scale"), [(28, 28, 1, 4), (32, 32, 3, 4), (16, 24, 3, 5)])
def test_pixels_are_enlarged_exactly_and_the_file_says_where_they_are(tmp_path, height, width, channels, scale):
    pixels = noise(3, height, width, channels)
    path = tmp_path / "sheet.png"
    path.write_bytes(captioned(pixels, ["a", "b", "靴\nread as c"], columns=2).png())
    tiles = read_tiles(path)
    assert [tile.lines for tile in tiles] == [["a"], ["b"], ["靴", "read as c"]]
    for shown, image in zip(cut_out(path, tiles), pixels, strict=True):
        large = np.kron(np.broadcast_to(image, (height, width, 3)), np.ones((scale, scale, 1), np.uint8))
        assert (shown == large).all()


@pytest.mark.parametrize(("longest", "side"), [(5, 110), (28, 112), (32, 128), (64, 128), (128, 128), (224, 168)])
def test_small_images_become_legible_and_large_ones_are_made_smaller(longest, side):
    assert shown_side(longest, 168) == side


CAPTIONS = [
    "Shirt\nread as T-shirt/top, 97\u00a0%",
    "a name of many words that needs several lines under its image",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "",
    "Дом, café, 靴と帽子靴と帽子靴と帽子靴と帽子",
]


def test_no_caption_is_cut():
    sheet = captioned(noise(5, 28, 28, 1), CAPTIONS, columns=2)
    image = np.asarray(Image.open(io.BytesIO(sheet.png())).convert("RGB"))
    edges = (image[:8], image[-8:], image[:, :8], image[:, -8:])
    assert all((edge == 255).all() for edge in edges)
    shown = "".join(re.findall(r"<text [^>]*>([^<]*)</text>", sheet.svg()))
    assert shown.replace(" ", "") == "".join(CAPTIONS).replace("\n", "").replace(" ", "")
    for line in (line for caption in CAPTIONS for part in caption.split("\n") for line in broken(part, 13, LEGIBLE)):
        assert text_width(line, 13) <= LEGIBLE


def test_words_of_any_script_are_drawn():
    """Fonts of the system or not, no two captions look the same, and none is empty."""
    drawn = {captioned(noise(1, 28, 28, 1), [caption]).image().tobytes() for caption in ("", "shoe", "Größe", "bag")}
    assert len(drawn) == 4


def test_a_number_stays_with_its_unit():
    assert list(broken("read as Trouser, 97\u00a0%", 12, LEGIBLE)) == ["read as Trouser,", "97\u00a0%"]


def test_a_caption_is_needed_for_each_image():
    with pytest.raises(ValueError, match="shorter"):
        captioned(noise(5, 28, 28, 1), ["a"])


@pytest.mark.parametrize(
    "note",
    [
        "no JSON", "[[" * 10_000, "{}", "[1]", '[["a", 0, 1, 1, ""]]', "[[0, 0, 0, 5, \"\"]]", '[[-1, 0, 5, 5, ""]]',
        '[[0, 0, 41, 5, ""]]', '[[0, 0, 5, 1e400, ""]]', "[[0, 0, 5, 5]]", "null",
    ],
)  # fmt: skip
def test_places_that_make_no_sense_are_none(tmp_path, note):
    info = PngInfo()
    info.add_itxt(NOTE, note)
    Image.new("RGB", (40, 40)).save(tmp_path / "sheet.png", pnginfo=info)
    assert read_tiles(tmp_path / "sheet.png") == []
    (tmp_path / "sheet.png").write_bytes(b"no PNG")
    assert read_tiles(tmp_path / "sheet.png") == []


@pytest.mark.parametrize(
    ("classes", "columns", "rows"),
    [(["ants", "bees"], 8, 2), (FASHION, 10, 4), ([f"class {i}" for i in range(100)], 10, 6)],
    ids=["2", "10", "100"],
)
def test_samples_stand_class_by_class(make_run, classes, columns, rows):
    run = make_run(classes)
    labels = np.random.default_rng(0).permutation(np.arange(1000) % len(classes))
    pixels = np.broadcast_to((2 * labels).astype(np.uint8)[:, None, None, None], (1000, 28, 28, 1))
    path = report.write_samples(run, pixels, labels)
    tiles = read_tiles(path)
    assert len(tiles) == columns * rows
    assert len({tile.box[1] for tile in tiles}) == rows
    assert [tile.lines[0] for tile in tiles[:columns]] == (["ants"] * 8 if len(classes) == 2 else list(classes[:10]))
    for tile, shown in zip(tiles, cut_out(path, tiles), strict=True):
        assert (shown == 2 * classes.index(tile.lines[0])).all()


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
    tiles = read_tiles(path)
    assert [int(shown[0, 0, 0]) for shown in cut_out(path, tiles[:4])] == [39, 79, 37, 77]
    assert tiles[0].lines == ["a", "predicted b, 90\u00a0%"]
    assert report.write_mistakes(tmp_path, pixels, rows[::2]) is None  # all right


@pytest.mark.parametrize("side", [28, 32, 56, 64, 96, 128, 168, 500])
def test_a_sheet_of_mistakes_is_as_wide_as_a_page_at_most(side):
    sheet = captioned(noise(8, side, side, 3), ["a"] * 8, most=168)
    assert sheet.columns >= 5
    assert sheet.image().width <= WIDEST
