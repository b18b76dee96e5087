"""What the net looks at: the images that were evaluated, beside maps of the answer that was given."""

import numpy as np
import torch
from PIL import Image

from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.drawing.sheet import read_tiles
from striate.explaining.attributing import attribution
from striate.nets import build
from striate.report import attention
from tests.report.run_files import FASHION

PREPROCESSING = Preprocessing(size=(28, 28), channels=1, mean=(0.3,), std=(0.3,))


def classified(net, preprocessing=PREPROCESSING):
    return Classifier(net=net, preprocessing=preprocessing, classes=FASHION)


def predictions(right: int, wrong: int):
    """Rows of predictions.csv, the wrong ones the worse the later they come."""
    rows = []
    for index in range(right + wrong):
        truth = FASHION[index % 10]
        predicted = truth if index < right else FASHION[(index + 1) % 10]
        rows.append({"index": index, "truth": truth, "predicted": predicted, "confidence": 0.7, "loss": index / 10})
    return rows


def test_shows_right_answers_and_the_worst_mistakes_for_what_was_answered(make_run, monkeypatch):
    run, net = make_run(), build("lenet5", channels=1, classes=10)
    pixels = np.random.default_rng(0).integers(0, 256, (60, 28, 28, 1), np.uint8)
    asked = []

    def spied(net, inputs, target):
        asked.append((inputs, list(target)))
        return attribution(net, inputs, target)

    monkeypatch.setattr(attention, "attribution", spied)
    rows = predictions(40, 20)
    path = attention.write_attention(classified(net), run.path, pixels, rows)
    assert path == run.path / "attention.png"
    ((inputs, targets),) = asked
    chosen = [5, 15, 25, 35, 59, 58, 57, 56]
    assert torch.equal(inputs, PREPROCESSING.tensor(pixels[chosen]))
    assert targets == [FASHION.index(rows[index]["predicted"]) for index in chosen]
    tiles = read_tiles(path)
    assert [tile.lines for tile in tiles[:1] + tiles[-1:]] == [
        [f"{FASHION[5]}, 70\u00a0%"],
        [FASHION[6], f"predicted {FASHION[7]}, 70\u00a0%"],
    ]
    left, top, _, _ = tiles[0].box
    first = np.kron(pixels[5], np.ones((4, 4, 3), np.uint8))
    assert (np.asarray(Image.open(path).convert("RGB"))[top : top + 112, left : left + 112] == first).all()


def test_few_right_or_few_wrong_answers(make_run):
    run, net = make_run(), build("lenet5", channels=1, classes=10)
    pixels = np.zeros((3, 28, 28, 1), np.uint8)
    for right, wrong in ((3, 0), (0, 3), (1, 2)):
        path = attention.write_attention(
            classified(net),
            run.path,
            pixels,
            predictions(right, wrong),
        )
        assert path is not None
        path.unlink()


def test_a_net_without_maps_has_no_picture(make_run):
    run, net = make_run(), build("lenet5", channels=1, classes=10)
    small = Preprocessing(size=(28, 28), channels=1, mean=(0.3,), std=(0.3,))
    pixels = np.zeros((3, 28, 28, 1), np.uint8)
    for stage in list(net.stages):
        net.stages[stage] = torch.nn.AdaptiveAvgPool2d(1)
    net.head = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 10))
    (run.path / "attention.png").touch()  # of earlier weights
    assert attention.write_attention(classified(net, small), run.path, pixels, predictions(2, 1)) is None
    assert not (run.path / "attention.png").exists()


def test_maps_that_no_gradient_reaches_cost_no_report(make_run):
    """An external net may detach what it computes."""

    class Detached(torch.nn.Module):
        def forward(self, x):
            return x.detach()

    run, net = make_run(), build("lenet5", channels=1, classes=10)
    net.head = torch.nn.Sequential(Detached(), net.head)
    pixels = np.zeros((3, 28, 28, 1), np.uint8)
    assert attention.write_attention(classified(net), run.path, pixels, predictions(2, 1)) is None
