"""`striate explain` and `striate.explain` on a trained run."""

import io
import json

import numpy as np
import pytest
from PIL import Image

import striate
from striate.errors import DataError, UsageError
from striate.explaining.attributing import METHODS
from striate.explaining.explanation import explain


@pytest.fixture(scope="module")
def boot(tmp_path_factory):
    picture = striate.load_data("fashion-mnist-sample").splits["test"]
    place = int(np.flatnonzero(picture.labels == picture.classes.index("Ankle boot"))[0])
    path = tmp_path_factory.mktemp("boot") / "boot.png"
    Image.fromarray(picture.pixels[place][..., 0]).save(path)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_every_method_explains(trained, boot, method):
    (one,) = explain(trained, boot, method=method)
    (prediction,) = trained.predict(boot)
    assert one.predicted == one.target == prediction.label
    assert one.confidence == one.probability == pytest.approx(prediction.confidence, abs=1e-6)
    assert one.heat.shape == (28, 28)
    assert one.pixels.shape == (28, 28, 1)
    assert one.overlay().shape == (28, 28, 3)
    assert one.faithfulness.deletion[0] == pytest.approx(one.confidence, abs=1e-6)
    assert all(0 <= area <= 1 for area in one.areas.values())
    assert -1 <= one.random_weights <= 1
    assert (one.layer is not None) == (method == "grad-cam")
    (again,) = explain(trained, boot, method=method)
    assert again.as_dict() == one.as_dict()


def test_the_picture_is_a_good_one(trained, boot):
    (one,) = explain(trained, boot, target="Bag")
    assert one.target == "Bag"
    image = Image.open(io.BytesIO(one._repr_png_()))
    assert image.width > 2000
    assert one.image().size == image.size
    svg = one.svg()
    for part in (
        "Evidence for Bag",
        "s4 (16 channels of 5x5)",
        "boot.png",
        "Deletion",
        "Insertion",
        "Random weights",
    ):
        assert part in svg


def test_pictures_of_any_kind(trained, boot):
    image = Image.open(boot)
    kinds = [boot, str(boot), boot.read_bytes(), image, np.asarray(image), np.asarray(image)[..., None]]
    found = explain(trained, kinds, method="saliency")
    assert [one.picture for one in found[2:]] == ["image 3", "image 4", "image 5", "image 6"]
    assert all(np.array_equal(one.heat, found[0].heat) for one in found)


def test_what_cannot_be_explained(trained, boot, tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text.png.*\n.*gone.png"):
        explain(trained, [boot, tmp_path / "text.png", tmp_path / "gone.png"])
    with pytest.raises(DataError, match="NaN"):
        explain(trained, np.full((28, 28), np.nan))
    with pytest.raises(UsageError, match=r"no class named 'Boot'\. Did you mean .*boot"):
        explain(trained, boot, target="Boot")
    with pytest.raises(UsageError, match="no method named"):
        explain(trained, boot, method="cam")
    with pytest.raises(UsageError, match="no image"):
        explain(trained, [])


def test_the_command_writes_beside_what_is_there(call, trained, boot, tmp_path):
    code, out, _ = call("explain", trained.path, boot, "--output", tmp_path / "maps")
    assert code == 0
    assert "boot-grad-cam.png" in out
    assert "Ankle boot" in out
    first = (tmp_path / "maps" / "boot-grad-cam.png").read_bytes()
    assert Image.open(io.BytesIO(first)).format == "PNG"
    (tmp_path / "maps" / "boot-grad-cam.png").write_bytes(b"mine")
    code, out, _ = call("explain", trained.path, boot, "--output", tmp_path / "maps", "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert found["file"].endswith("boot-grad-cam-2.png")
    assert (tmp_path / "maps" / "boot-grad-cam.png").read_bytes() == b"mine"
    assert (tmp_path / "maps" / "boot-grad-cam-2.png").read_bytes() == first
    assert found["deletion"] >= 0


def test_the_command_says_what_is_wrong(call, trained, boot):
    assert call("explain", trained.path, boot, "--method", "magic")[0] == 2
    code, _, err = call("explain", trained.path, boot, "--layer", "c9")
    assert code == 2
    assert "c1, s2, c3, s4" in err
    assert call("explain", trained.path, "gone.png")[0] == 3
