"""Which files are images: by content, then by ending; the same in training and prediction; others say the way out."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from striate.data import formats, load_data
from striate.data.decode import decode
from striate.data.formats import FORMATS, is_picture, kind_of
from striate.errors import DataError

LOSSY = {"JPEG", "AVIF", "GIF", "WEBP"}


def encoded(form, mode="RGB", size=(32, 32)):
    pixels = np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4) * 16, np.ones((8, 8), dtype=np.uint8))
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).resize(size).save(
        content, form, **({"lossless": True} if form == "WEBP" else {})
    )
    return content.getvalue()


@pytest.mark.parametrize("form", FORMATS)
def test_pillows_own_formats_are_read_by_content(tmp_path, form):
    content = encoded(form)
    assert kind_of(content).reader == form
    picture = np.asarray(decode(content).convert("L"), dtype=int)
    expected = np.kron(np.arange(16).reshape(4, 4) * 16, np.ones((8, 8), dtype=int))
    assert np.abs(picture - expected).max() <= (24 if form in LOSSY else 1)
    for name in ("noext", "wrong.jpg", "wrong.xml"):
        (tmp_path / name).write_bytes(content)
        assert is_picture(tmp_path / name)
        assert decode(tmp_path / name).size == (32, 32)


def heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    content = io.BytesIO()
    pillow_heif.from_pillow(Image.open(io.BytesIO(encoded("PNG")))).save(content, quality=-1)
    return content.getvalue()


def test_heic_is_read_with_its_library_and_named_without(tmp_path, monkeypatch):
    content = heic()
    assert kind_of(content) is formats.HEIC
    assert (
        np.abs(
            np.asarray(decode(content).convert("L"), int) - np.asarray(decode(encoded("PNG")).convert("L"), int)
        ).max()
        < 24
    )
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "set" / label / f"{number}.png").write_bytes(
                encoded("PNG", size=(20 + number, 20 + len(label)))
            )
    (tmp_path / "set" / "a" / "photo.HEIC").write_bytes(content)
    with monkeypatch.context() as patch:
        patch.setattr(formats, "has_heif", lambda: False)
        patch.setattr("striate.data.cache.has_heif", lambda: False)
        data = load_data(tmp_path / "set", size=(8, 8))
        assert list(data.unreadable.values()) == ["HEIC is not read: pip install 'striate[heic]'"]
    data = load_data(tmp_path / "set", size=(8, 8))  # the cache does not remember what could not be read then
    assert data.unreadable == {}
    assert sum(map(len, data.splits.values())) == 7


@pytest.mark.full
def test_a_folder_to_predict_is_read_as_a_folder_to_train(trained, tmp_path, call):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in (
        ("a.JPG", encoded("JPEG")),
        ("b.heic", heic()),
        ("c.avif", encoded("AVIF")),
        ("noext", encoded("JPEG")),
        ("d.psd", b"8BPS\0\1" + bytes(100)),
        ("notes.txt", b"words"),
        ("Thumbs.db", b""),
    ):
        (folder / name).write_bytes(content)
    code, out, err = call("predict", trained.path, folder, "--json")
    rows = json.loads(out)
    assert [(os.path.basename(row["picture"]), row["error"]) for row in rows] == [  # noqa: PTH119
        ("a.JPG", None),
        ("b.heic", None),
        ("c.avif", None),
        ("d.psd", "Photoshop is not read: convert it to PNG or JPEG"),
        ("noext", None),
    ]
    assert code == 3
    ledger = next(json.loads(line) for line in err.splitlines() if line.startswith("{"))["ledger"]
    assert [ledger[key] for key in ("entries", "used", "junk", "unreadable", "other")] == [7, 4, 1, 1, 1]
    for label in ("one", "two"):
        (tmp_path / "set" / label).mkdir(parents=True)
        for path in folder.iterdir():
            (tmp_path / "set" / label / path.name).write_bytes(path.read_bytes())
    data = load_data(tmp_path / "set", size=(8, 8))
    assert [data.ledger.count(fate) for fate in ("used", "junk", "unreadable", "other")] == [8 + 2, 2, 2, 2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript is not read: convert it"),
        (b"\xd7\xcd\xc6\x9a" + bytes(60), "a Windows metafile is not read"),
        (b"SIMPLE  =                    T" + b" " * 100, "FITS is not read"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "a camera raw file is not read: develop it"),
        (b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 1\nMAXVAL 255\nENDHDR\n\0", "PAM is not read: convert it"),
        (bytes(128) + b"DICM" + bytes(60), "DICOM is not read"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG, a vector drawing"),
        (b"<!DOCTYPE html><p>404", "not an image but an HTML page"),
        (b"PK\x03\x04" + bytes(60), "not an image but a zip archive"),
        (b"BMW, Audi and Opel\n", "not an image but text"),
        (bytes(900), "not an image"),
    ],
)
def test_other_kinds_are_named_and_never_opened(content, said):
    with pytest.raises(DataError, match=said):
        decode(content)


def test_the_small_view_in_a_raw_file_is_not_taken_for_the_picture():
    content = io.BytesIO()
    tags = {254: 1, 50706: b"\1\4\0\0"}
    Image.new("RGB", (16, 12)).save(content, "TIFF", tiffinfo=tags)
    with pytest.raises(DataError, match="raw file, of which only a small preview"):
        decode(content.getvalue())


def test_an_icon_is_judged_before_pillow_decodes_it():
    content = bytearray(encoded("ICO"))
    place = content.index(b"IHDR") + 4
    content[place : place + 8] = (30_000).to_bytes(4, "big") * 2
    with pytest.raises(DataError, match="an icon with a side of more than 1024 pixels"):
        decode(bytes(content))


def test_a_pipe_is_not_opened_to_see_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "noext")
    assert not is_picture(tmp_path / "noext")
    assert formats.other_kind(tmp_path / "noext") == "a pipe, socket or device"
