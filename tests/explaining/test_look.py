"""`striate look`: filters, maps, units and the embedding, against the net itself, scikit-learn's PCA and plain sums."""

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.decomposition import PCA
from torch import nn

import striate
from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.drawing.heat import shaded
from striate.errors import DataError, UsageError
from striate.evaluation.subject import subject_of
from striate.explaining.layers import find_layer
from striate.explaining.look import embed, embedding_chart, last_features, principal_components, write_look
from striate.explaining.looking import UNITS, feature_maps, filters, units
from striate.nets import build
from tests.explaining.patch_pictures import small_net

GREY = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.25,))


def width(file):
    with Image.open(file) as image:
        return image.width


def test_filters_are_the_first_weights():
    net = build("lenet5")
    sheet = filters(net)
    (_, tiles), = sheet.rows  # fmt: skip
    assert [tile.caption for tile in tiles] == list("012345")
    for tile, weight in zip(tiles, net.stages["c1"].conv.weight.detach().numpy(), strict=True):
        shown = (tile.pixels[..., 0].astype(float) - 127.5) / 127.5
        np.testing.assert_allclose(shown, weight[0] / np.abs(weight).max(), atol=1 / 127)
    (_, coloured), = filters(build("resnet20")).rows  # fmt: skip
    assert coloured[0].pixels.shape == (3, 3, 3)
    (_, apart), = filters(build("lenet5", channels=2)).rows  # fmt: skip
    assert [tile.caption for tile in apart[:3]] == ["0.0", "0.1", "1.0"]
    with pytest.raises(UsageError, match="no convolution"):
        filters(small_net({"same": nn.Identity()}, nn.Flatten()))


def test_maps_are_what_the_layers_give():
    torch.manual_seed(0)
    net = build("inception-mnist").eval()
    classifier = Classifier(net=net, preprocessing=GREY)
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 1), dtype=np.uint8)
    with torch.no_grad():
        after = net.stages["pool1"](net.stages["conv1"](GREY.tensor(pixels[None])))[0].numpy()
    sheet = feature_maps(classifier, pixels)
    largest = np.sort(np.argsort(-np.abs(after).mean((1, 2)), kind="stable")[:10])
    (_, tiles) = sheet.rows[1 + list(net.stages).index("pool1")]
    assert [tile.caption for tile in tiles] == [str(k) for k in largest]
    for tile, k in zip(tiles, largest, strict=True):
        assert np.array_equal(tile.pixels, shaded(after[k], min(0.0, after.min()), after.max()))
    assert [heading.split()[0] for heading, _ in sheet.rows[1:]] == list(net.stages)
    assert [len(tiles) for _, tiles in sheet.rows] == [1, 10, 10, 10, 10, 10, 10]
    inside = feature_maps(classifier, pixels, "inception1.branches.conv1x1")
    assert len(inside.rows[1][1]) == 16
    with pytest.raises(UsageError, match="no layer with feature maps"):
        feature_maps(classifier, pixels, "inception9")


def test_a_made_picture_excites_its_unit_more_than_noise_and_the_best_pictures_are_the_best():
    torch.manual_seed(0)
    net = build("lenet5").eval()
    classifier = Classifier(net=net, preprocessing=GREY)
    data = striate.load_data("fashion-mnist-sample").splits["test"]
    sheet = units(classifier, layer="c3", unit=4, pictures=data)
    ((_, tiles),) = sheet.rows
    layer = find_layer(net, torch.zeros(1, 1, 28, 28))
    assert layer.name == "s4"

    def responses(pixels):
        with torch.no_grad():
            return net.stages["c3"](net.stages["s2"](net.stages["c1"](GREY.tensor(pixels))))[:, 4].mean((1, 2))

    every = responses(data.pixels)
    best = every.argsort(descending=True)[:8]
    for tile, place in zip(tiles[1:], best, strict=True):
        assert f"{every[place]:.3g}" in tile.caption
    noise = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)
    assert responses(tiles[0].pixels[None]) > responses(noise).max()
    again = units(classifier, layer="c3", unit=4)
    assert np.array_equal(again.rows[0][1][0].pixels, tiles[0].pixels)
    assert len(again.rows[0][1]) == 1
    with pytest.raises(UsageError, match="c3 has units 0 to 15, got 16"):
        units(classifier, layer="c3", unit=16)
    assert UNITS == 12


def test_components_are_scikit_learns():
    features = np.random.default_rng(0).normal(size=(60, 12)) * np.arange(1, 13)
    points, explained = principal_components(features)
    truth = PCA(2, svd_solver="full").fit(features)
    np.testing.assert_allclose(np.abs(points), np.abs(truth.transform(features)), atol=1e-9)
    np.testing.assert_allclose(explained, truth.explained_variance_ratio_, atol=1e-12)
    assert principal_components(np.ones((5, 3)))[1] == (0, 0)
    assert principal_components(np.arange(4.0)[:, None])[0].shape == (4, 2)


def test_last_features_enter_the_last_linear_layer():
    torch.manual_seed(0)
    net, pixels = build("lenet5"), np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), dtype=np.uint8)
    features, logits = last_features(Classifier(net=net, preprocessing=GREY), pixels)
    assert features.shape == (4, 84)
    classifier = net.head.classifier
    expected = features @ classifier.weight.detach().numpy().T + classifier.bias.detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    colour = Preprocessing(size=(8, 8), channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    nin = Classifier(net=build("nin-cifar10"), preprocessing=colour)
    assert last_features(nin, np.zeros((2, 8, 8, 3), np.uint8))[0].shape == (2, 10)


@pytest.mark.full
def test_an_embedding_of_a_run(trained, tmp_path):
    subject = subject_of(trained, None, "test", "cpu", None)
    found = embed(subject, trained.name)
    count = len(found.points)
    assert count == min(2000, len(subject.sized))
    with torch.no_grad():
        net, preprocessing = subject.classifier.net, subject.classifier.preprocessing
        logits = net(preprocessing.tensor(subject.sized.pixels[:count]))
    assert (found.predicted == logits.argmax(1).numpy()).mean() > 0.999
    assert sum(found.explained) <= 1
    embedding_chart(found, pictures=True).to_dict()  # held to the schema of Vega-Lite
    image, page = write_look(found, "trained", tmp_path)
    assert width(image) > 1000
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png;base64,") == count
    assert "http://" not in text.split("vegaEmbed(")[-1].replace("http://www.w3.org", "")


def test_the_command(call, trained, tmp_path):
    picture = tmp_path / "picture.png"
    Image.fromarray(np.arange(784, dtype=np.uint8).reshape(28, 28)).save(picture)
    code, out, err = call("look", trained.path, picture, "--json")
    assert code == 0, err
    assert json.loads(out)["files"] == ["trained-maps.png"]
    assert width(tmp_path / "trained-maps.png") > 1000
    code, out, _ = call("look", "lenet5")
    assert code == 0
    assert "lenet5-filters.png" in out
    (tmp_path / "lenet5-filters.png").write_bytes(b"mine")
    assert "lenet5-filters-2.png" in call("look", "lenet5")[1]
    assert call("look", "lenet5", "--what", "embedding")[0] == 2
    assert call("look", "lenet5", "--what", "maps")[0] == 2
    assert call("look", "lenet5", "--what", "dreams")[0] == 2
    assert call("look", "lenet6")[0] == 2
    assert call("look", "lenet5", tmp_path / "gone.png")[0] == 3


def test_a_net_from_elsewhere(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "def net(classes=5):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))\n"
    )
    target = f"{tmp_path / 'mine.py'}:net"
    sheet = striate.look(target)
    assert len(sheet.rows[0][1]) == 4
    assert width(io.BytesIO(sheet._repr_png_())) > 500
    again, other = striate.look(target), striate.look(target, seed=1)
    assert again.svg() == sheet.svg() != other.svg()
    with pytest.raises(DataError):
        striate.look(target, tmp_path / "gone.png")
    with pytest.raises(UsageError, match="is an untrained net"):
        striate.look(target, what="embedding")
