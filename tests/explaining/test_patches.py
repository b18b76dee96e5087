"""On images whose class is a small patch at a random place, Grad-CAM is highest on the patch; with random weights it is not."""

import numpy as np
import pytest

from striate.explaining.attributing import attribution
from striate.explaining.faithfulness import randomised, weight_dependence
from striate.explaining.layers import find_layer
from tests.explaining.patch_pictures import patches, trained_on_patches

PICTURES = 400


def on_patch(net, inputs, labels, corners, patch):
    """The share of images whose map is highest within the patch."""
    heat = attribution(net, inputs, labels)
    highest = np.stack(np.unravel_index(heat.reshape(len(heat), -1).argmax(1), heat.shape[1:]), axis=1)
    return ((highest >= corners) & (highest < corners + patch)).all(1).mean()


def check(name, side, patch, **training):
    net = trained_on_patches(name, side, patch, **training)
    inputs, labels, corners = patches(PICTURES, side, patch, seed=2, dot=training.get("dot", 1))
    assert (net(inputs).argmax(1) == labels).float().mean() > 0.97
    field = find_layer(net, inputs).place
    assert patch >= 1.5 * max(field.stride)
    shown = labels < 3
    inputs, labels, corners = inputs[shown], labels[shown], corners[shown.numpy()]
    assert on_patch(net, inputs, labels, corners, patch) >= 0.9
    for seed in range(3):
        assert on_patch(randomised(net, seed), inputs, labels, corners, patch) < 0.4
    heat = attribution(net, inputs[:20], labels[:20])
    dependence = weight_dependence(net, heat, lambda other: attribution(other, inputs[:20], labels[:20]))
    assert abs(np.mean(dependence)) < 0.3


@pytest.mark.full
def test_resnet_small():
    check("resnet20", 16, 8, count=384, epochs=5, rate=0.05)


@pytest.mark.slow
def test_resnet():
    check("resnet20", 32, 6, count=1536, epochs=6, rate=0.05)


@pytest.mark.slow
def test_densenet():
    check("densenet-tutorial", 64, 32, count=512, epochs=5, rate=0.05, dot=4)


@pytest.mark.slow
def test_googlenet():
    check("googlenet-native", 28, 12, count=512, epochs=5, rate=0.02)
