"""Views against plain loops over single images: which parts of an image the net sees, and what is averaged with what."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from PIL import Image

import striate
from striate import evaluation
from striate.classifier import Classifier
from striate.data import ImageData, Preprocessing
from striate.errors import DataError, UsageError
from striate.evaluation import subject
from striate.evaluation.dense import FullyConvolutional
from striate.evaluation.protocols import PROTOCOLS, VIEWS, protocol
from striate.evaluation.views import log_probabilities, pictures_at, places, whole_size
from striate.nets import build
from tests import run_config
from tests.evaluation.test_dense import lively

CPU = torch.device("cpu")
SIZE = (28, 28)
PREPROCESSING = Preprocessing(size=SIZE, channels=1, mean=(0.4,), std=(0.3,))


@pytest.fixture(scope="module")
def net():
    return lively(build("lenet5-bn"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files of several shapes, and what training would see of them."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(3)
    paths = []
    for number, (height, width) in enumerate(((60, 80), (90, 50), (60, 80), (28, 28), (31, 200), (20, 24))):
        rough = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1)).astype(np.uint8)
        paths.append(str(folder / f"{number}.png"))
        Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC).save(paths[-1])
    pixels = np.stack([PREPROCESSING.read(path) for path in paths])
    return ImageData(pixels, np.arange(6) % 10, tuple("0123456789"), tuple(paths))


def softmax_of(net, window):
    """float64 (classes,) of uint8 (H, W, C)."""
    with torch.inference_mode():
        return net(PREPROCESSING.tensor(window[None].copy()))[0].double().softmax(0).numpy()


def at_scale(path, scale):
    """The whole image with that shorter side, as uint8 (H, W, 1)."""
    with Image.open(path) as image:
        height, width = image.height, image.width
    factor = scale / min(height, width)
    size = [scale if side == min(height, width) else round(side * factor) for side in (height, width)]
    size = tuple(min(side, 4 * scale) for side in size)
    return Preprocessing(size=size, channels=1, mean=(), std=()).read(path)


def seen(net, photos, name, scales=None, **options):
    wanted = protocol(name, SIZE, scales)
    return np.exp(log_probabilities(Classifier(net=net, preprocessing=PREPROCESSING), photos, wanted, **options))


def test_ten_crop_is_the_mean_of_ten_softmax_outputs(net, photos):
    for found, path in zip(seen(net, photos, "ten-crop"), photos.paths, strict=True):
        image = torch.from_numpy(at_scale(path, 32)[..., 0][None].copy())
        crops = F.ten_crop(image, list(SIZE))
        outputs = [softmax_of(net, crop.permute(1, 2, 0).numpy()) for crop in crops]
        assert len(outputs) == 10
        # torchvision rounds the middle's place, which is at half a pixel here and there, to the even side.
        np.testing.assert_allclose(found, np.mean(outputs, 0), atol=3e-2 if image.shape[2] % 2 else 1e-6)


def test_ten_crop_takes_corners_middle_and_their_mirrors():
    assert places("ten-crop", (32, 41), (28, 28)) == [(0, 0), (0, 13), (4, 0), (4, 13), (2, 6)]
    assert places("centre", (32, 41), (28, 28)) == [(2, 6)]
    grid = places("multi-crop", (32, 68), (28, 28))
    assert grid == [(top, left) for top in (0, 1, 2, 3, 4) for left in (0, 10, 20, 30, 40)]


@pytest.mark.parametrize("scales", [None, [30, 41]])
def test_crops_are_averaged_over_places_mirrors_and_scales(net, photos, scales):
    found = seen(net, photos, "multi-crop", scales)
    for position, path in enumerate(photos.paths):
        outputs = []
        for scale in scales or [32]:
            picture = at_scale(path, scale)
            for top, left in places("multi-crop", picture.shape[:2], SIZE):
                window = picture[top : top + 28, left : left + 28]
                outputs += [softmax_of(net, window), softmax_of(net, window[:, ::-1])]
        assert len(outputs) == 50 * len(scales or [32])
        np.testing.assert_allclose(found[position], np.mean(outputs, 0), atol=1e-6)


def test_dense_averages_the_class_map_then_the_softmax_over_flips_and_scales(net, photos):
    """Simonyan and Zisserman 2014, section 3.2: the class score map is spatially averaged, then soft-max of flips is."""
    found = seen(net, photos, "dense", [32, 37])
    form = FullyConvolutional(net, SIZE)
    for position, path in enumerate(photos.paths):
        outputs = []
        for scale in (32, 37):
            picture = at_scale(path, scale)
            # LeNet's maps grow by one place every 4 pixels: what is left over is left over on both sides.
            height, width = (28 + (side - 28) // 4 * 4 for side in picture.shape[:2])
            top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
            picture = picture[top : top + height, left : left + width]
            for seen_one in (picture, picture[:, ::-1]):
                with torch.inference_mode():
                    scores = form.class_map(PREPROCESSING.tensor(seen_one[None].copy()))[0].double()
                assert scores.shape[1] * scores.shape[2] == ((height - 28) // 4 + 1) * ((width - 28) // 4 + 1)
                outputs.append(scores.mean((1, 2)).softmax(0).numpy())
        assert len(outputs) == 4
        np.testing.assert_allclose(found[position], np.mean(outputs, 0), atol=1e-6)


def test_both_evaluations_of_table_5_count_the_same(net, photos):
    """150 crops and 6 dense passes: the softmax of one is averaged with that of the other."""
    both = protocol("vgg-table5-both", SIZE)
    assert both.passes() == 156
    assert both.scales == [32, 48, 64]
    crops, dense = (seen(net, photos, name) for name in ("vgg-table5-multi-crop", "vgg-table5-dense"))
    np.testing.assert_allclose(seen(net, photos, "vgg-table5-both"), (crops + dense) / 2, atol=1e-12)


def test_centre_and_flip_see_what_the_net_is_always_fed(net, photos):
    ordinary = np.stack([softmax_of(net, picture) for picture in photos.pixels])
    mirrored = np.stack([softmax_of(net, picture[:, ::-1]) for picture in photos.pixels])
    np.testing.assert_allclose(seen(net, photos, "centre"), ordinary, atol=1e-6)
    np.testing.assert_allclose(seen(net, photos, "flip"), (ordinary + mirrored) / 2, atol=1e-6)
    np.testing.assert_allclose(seen(net, photos, "flip", mirrored=False), ordinary, atol=1e-6)


def test_the_papers_scales_are_the_papers_for_nets_of_224():
    """Simonyan and Zisserman 2014, Tables 3 to 5."""
    found = {name: protocol(name, (224, 224)) for name in [*VIEWS, *PROTOCOLS]}
    scales = {name: one.scales for name, one in found.items()}
    assert scales["vgg-table3-256"] == [256]
    assert scales["vgg-table3-384"] == scales["vgg-table3-jitter"] == [384]
    assert scales["vgg-table4-256"] == scales["multi-scale"] == [224, 256, 288]
    assert scales["vgg-table4-384"] == [352, 384, 416]
    assert scales["vgg-table4-jitter"] == scales["vgg-table5-both"] == [256, 384, 512]
    assert found["vgg-table5-multi-crop"].passes() == 150
    assert found["vgg-table5-dense"].passes() == 6
    assert found["ten-crop"].passes() == found["alexnet"].passes() == 10
    assert found["multi-scale"].views == "multi-scale"
    assert found["vgg-table5-both"].views == "multi-crop+dense"


def test_a_scale_is_the_shorter_side_of_the_whole_picture(photos):
    sizes = [picture.shape[:2] for part in pictures_at(photos, PREPROCESSING, 40) for picture in part]
    assert sizes == [(40, 53), (72, 40), (40, 53), (40, 40), (40, 160), (40, 48)]
    assert whole_size((31, 200), (40, 40)) == (40, 160)  # 258 pixels wide, cut to four times its height
    squash = Preprocessing(size=(28, 14), channels=1, mean=(0.4,), std=(0.3,), fit="squash")
    assert {picture.shape for part in pictures_at(photos, squash, 20) for picture in part} == {(40, 20, 1)}


def test_pictures_that_are_no_files_are_scaled_from_what_there_is(net, photos):
    array = ImageData(photos.pixels, photos.labels, photos.classes)
    picture = next(pictures_at(array, PREPROCESSING, 36))[0]
    larger = Image.fromarray(photos.pixels[0][..., 0]).resize((36, 36), Image.Resampling.BILINEAR)
    assert np.array_equal(picture[..., 0], np.asarray(larger))
    assert seen(net, array, "dense").shape == (6, 10)


def test_a_file_that_has_gone_is_named(net, photos, tmp_path):
    gone = ImageData(photos.pixels, photos.labels, photos.classes, (*photos.paths[:5], str(tmp_path / "gone.png")))
    with pytest.raises(DataError, match=r"gone\.png: no such file; it was readable when the data was loaded"):
        seen(net, gone, "ten-crop")


def test_scales_that_cannot_be_are_refused_with_the_limit(net, photos):
    with pytest.raises(UsageError, match="dense of lenet5-bn needs scales of at least 28 pixels"):
        seen(net, photos, "dense", [27, 32])
    with pytest.raises(UsageError, match="1 to 224 pixels"):
        protocol("dense", SIZE, [225])
    with pytest.raises(UsageError, match="different numbers"):
        protocol("dense", SIZE, [32, 32])
    with pytest.raises(UsageError, match="has its own scales"):
        protocol("vgg-table3-256", SIZE, [32])
    with pytest.raises(UsageError, match="Did you mean multi-scale"):
        protocol("multiscale", SIZE)
    # A head that averages its maps takes smaller images too.
    small = lively(build("resnet20", channels=1))
    wanted = protocol("dense", (32, 32), [24, 48])
    preprocessing = replace(PREPROCESSING, size=(32, 32))
    found = log_probabilities(Classifier(net=small, preprocessing=preprocessing), photos, wanted)
    np.testing.assert_allclose(np.exp(found).sum(1), 1)


def test_memory_does_not_grow_with_the_number_of_pictures(net, photos, monkeypatch):
    """No more than two portions are decoded and not yet looked at."""
    many = photos.select(np.arange(60) % 6)
    monkeypatch.setattr("striate.evaluation.views.PORTION_PIXELS", 5 * 32 * 32)
    lengths = [len(part) for part in pictures_at(many, PREPROCESSING, 32)]
    assert lengths == [5] * 12
    whole = seen(net, photos, "ten-crop")
    np.testing.assert_allclose(seen(net, many, "ten-crop"), np.tile(whole, (10, 1)), atol=1e-6)


@pytest.fixture
def run(trained, tmp_path):
    return striate.load(shutil.copytree(trained.path, tmp_path / "run"))


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Ten images of each class, as an archive."""
    test = striate.load_data("fashion-mnist-sample").splits["test"]
    chosen = np.concatenate([np.flatnonzero(test.labels == label)[:10] for label in range(10)])
    path = tmp_path_factory.mktemp("few") / "few.npz"
    np.savez(path, test_images=test.pixels[chosen], test_labels=test.labels[chosen], classes=np.array(test.classes))
    return path


def test_an_evaluation_says_how_pictures_were_looked_at(run, few):
    found = evaluation.evaluate(run, few, views="ten-crop", scales=[32, 36])
    summary = run.evaluations["few-test-ten-crop-32-36"]
    assert summary == found.summary
    assert (summary.views, summary.scales, summary.views_each) == ("ten-crop", (32, 36), 20)
    assert summary.protocol is None
    assert summary.mirrored
    named = evaluation.evaluate(run, few, views="vgg-table3-256").summary
    assert (named.views, named.protocol, named.scales) == ("dense", "vgg-table3-256", (32,))
    assert named.fingerprint == summary.fingerprint
    assert "few-test-vgg-table3-256" in run.evaluations


@pytest.mark.full
def test_one_command_makes_the_table_of_views(run, few, call):
    words = ("--data", few, "--views", "centre,ten-crop,dense,multi-scale", "--json")
    code, out, err = call("evaluate", run.path, *words)
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert [row["views"] for row in rows] == ["centre", "ten-crop", "dense", "multi-scale"]
    assert [row["views_each"] for row in rows] == [1, 10, 2, 6]
    kept = json.loads((run.path / "evaluations" / "few-test-views.json").read_text())
    assert kept["rows"] == rows
    for row in rows:
        assert run.evaluations[row["key"]].correct == row["correct"]
        assert row["correct"] - rows[0]["correct"] == row["gained"] - row["lost"]
    assert (run.path / "evaluations" / "few-test-dense" / "predictions.csv").is_file()


def test_all_views_pass_over_those_that_cannot_be(run, few, monkeypatch):
    def refuse(net, size):
        raise UsageError("no head to slide")

    monkeypatch.setattr("striate.evaluation.views.dense", refuse)
    table = evaluation.compare_views(run, few)
    assert [row.views for row in table.rows] == ["centre", "flip", "ten-crop", "multi-crop"]
    assert table.impossible == {"dense": "no head to slide", "multi-scale": "no head to slide"}
    with pytest.raises(UsageError, match="no head to slide"):
        evaluation.compare_views(run, few, views=["centre", "dense"])


def test_pictures_that_mirrored_mean_something_else_are_not_mirrored(run, few, monkeypatch):
    whole = subject.read_data
    monkeypatch.setattr(subject, "read_data", lambda *a, **k: replace(whole(*a, **k), flippable=False))
    with pytest.raises(UsageError, match="mirrored, its images mean something else"):
        evaluation.evaluate(run, few, views="flip")
    summary = evaluation.evaluate(run, few, views="ten-crop").summary
    assert summary.views_each == 5
    assert not summary.mirrored


def test_what_the_command_refuses(run, few, call):
    for words, reason in (
        (["--views", "dense", "--scales", "a"], "whole numbers"),
        (["--views", "all", "--scales", "32"], "for a single view"),
        (["--views", "dense", "--protocol", "alexnet"], "leave out --views"),
        (["--protocol", "vgg-table9"], "no view or protocol"),
        (["--views", "dense", "--scales", "20"], "at least 28 pixels"),
    ):
        code, _, err = call("evaluate", run.path, "--data", few, *words)
        assert code == 2
        assert reason in err


def test_robustness_is_kept_beside_the_evaluation(run, few, call):
    found = evaluation.evaluate(run, few, robust=True)
    kept = json.loads((run.path / "evaluations" / "few-test-centre" / "robustness.json").read_text())
    assert found.robustness.as_dict() == kept
    assert kept["clean"] == found.summary.accuracy
    for words in (["--views", "dense"], ["--views", "all"]):
        code, _, err = call("evaluate", run.path, "--data", few, "--robustness", *words)
        assert code == 2
        assert "robustness is" in err


def test_the_temperature_of_the_run_is_for_the_view_that_it_was_fitted_to(run, few):
    (run.path / "calibration.json").write_text(json.dumps(run_config.calibration(2.5)))
    assert evaluation.evaluate(run, few).summary.temperature == 2.5
    assert evaluation.evaluate(run, few, views="flip").summary.ece_calibrated is None


def test_a_run_without_calibration_gets_it_from_its_validation_pictures(run, few):
    (run.path / "calibration.json").unlink(missing_ok=True)
    evaluation.evaluate(run, few)
    assert run.calibration is None
    evaluation.evaluate(run, split="validation")
    assert run.calibration.n == 1000
    assert run.calibration.temperature > 0


def test_the_usual_evaluation_is_what_it_was(run):
    """One view of the middle: the same figures as training reported, whatever else the run has."""
    before = run.evaluations["fashion-mnist-sample-test-centre"]
    again = evaluation.evaluate(run).summary
    assert again.loss == before.loss
    assert again.confusion == before.confusion
