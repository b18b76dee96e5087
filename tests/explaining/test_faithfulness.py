"""Deletion, insertion and rank correlation against plain loops and SciPy; what random weights are; colours."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from striate.drawing.heat import colours, overlay, palette
from striate.explaining.faithfulness import (
    DRAWS,
    ORDERS,
    area,
    faithfulness,
    randomised,
    rank_correlation,
    weight_dependence,
)
from striate.nets import build
from tests.explaining.patch_pictures import small_net


class Corner(nn.Module):
    """Two logits: the mean of the image's upper left quarter times 20, and 0."""

    def forward(self, x):
        height, width = x.shape[2] // 2, x.shape[3] // 2
        mean = x[:, :, :height, :width].mean((1, 2, 3))
        return torch.stack([20 * mean - 5, torch.zeros_like(mean)], 1)


def probability(picture):
    return 1 / (1 + np.exp(-(20 * picture[:10, :10].mean() - 5)))


def test_deletion_and_insertion_by_a_plain_loop():
    """20x20 pixels are 14x14 patches of one or two pixels a side; ten steps of 196 patches."""
    net = small_net({"same": nn.Identity()}, Corner(), classes=2, size=20)
    picture = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0))
    heat = np.random.default_rng(0).random((20, 20)).astype(np.float32)
    found = faithfulness(net, picture, 0, heat)

    members = {}
    for row in range(20):
        for column in range(20):
            members.setdefault((row * 14 // 20, column * 14 // 20), []).append((row, column))
    order = sorted(members, key=lambda patch: -np.mean([heat[place] for place in members[patch]]))
    blurred = nn.functional.interpolate(nn.functional.adaptive_avg_pool2d(picture[None], 4), (20, 20), mode="bilinear")
    values, blurred = picture[0].numpy(), blurred[0, 0].numpy()
    for step in range(11):
        deleted, inserted = values.copy(), blurred.copy()
        for patch in order[: round(step * 196 / 10)]:
            for place in members[patch]:
                deleted[place] = 0
                inserted[place] = values[place]
        assert found.deletion[step] == pytest.approx(probability(deleted), abs=1e-6)
        assert found.insertion[step] == pytest.approx(probability(inserted), abs=1e-6)
    assert found.random_deletion[0] == pytest.approx(found.deletion[0])
    assert found.random_deletion[10] == pytest.approx(found.deletion[10])


def test_the_true_map_is_better_than_random_orders_and_its_opposite_worse():
    net = small_net({"same": nn.Identity()}, Corner(), classes=2, size=28)
    picture = torch.ones(1, 28, 28)
    truth = np.zeros((28, 28), dtype=np.float32)
    truth[:14, :14] = 1
    areas = faithfulness(net, picture, 0, truth).areas()
    assert areas["deletion"] < areas["random_deletion"]
    opposite = faithfulness(net, picture, 0, 1 - truth).areas()
    assert opposite["deletion"] > opposite["random_deletion"]
    # The blurred image of a constant one is itself: showing patches changes nothing.
    assert areas["insertion"] == pytest.approx(areas["random_insertion"])


def test_an_empty_map_has_no_order_and_temperature_is_of_the_softmax():
    net = small_net({"same": nn.Identity()}, Corner(), classes=2, size=8)
    picture = torch.full((1, 8, 8), 0.5)
    assert faithfulness(net, picture, 0, np.zeros((8, 8), dtype=np.float32)) is None
    found = faithfulness(net, picture, 0, np.eye(8, dtype=np.float32), temperature=2.0)
    assert found.deletion[0] == pytest.approx(1 / (1 + np.exp(-5 / 2)))


def test_area_is_the_trapezoidal_rule():
    assert area((1.0, 0.0)) == 0.5
    assert area((1.0, 0.5, 0.0, 0.0)) == pytest.approx((0.75 + 0.25 + 0) / 3)
    assert area((0.3,) * 11) == pytest.approx(0.3)


def test_rank_correlation_is_scipys():
    generator = np.random.default_rng(0)
    for _ in range(50):
        a = generator.integers(0, generator.integers(2, 40), (6, 7))
        b = a * generator.integers(-1, 2) + generator.integers(0, 9, (6, 7))
        expected = spearmanr(a.ravel(), b.ravel()).statistic
        assert rank_correlation(a, b) == pytest.approx(expected)
    assert rank_correlation(a, np.zeros((6, 7))) == 0


def test_random_weights_are_of_no_use_and_always_the_same():
    torch.manual_seed(0)
    net = build("lenet5-1998").eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    one, same, other = randomised(net, 1), randomised(net, 1), randomised(net, 2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    codes = "head.rbf"
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name))
        if parameter.ndim > 1 and parameter.std() > 0 and not name.startswith(codes):
            assert not torch.equal(parameter, before[name]), name
            assert not torch.equal(parameter, other.get_parameter(name)), name
    norms = randomised(build("resnet20"), 0)
    assert all((m.running_var == 1).all() for m in norms.modules() if isinstance(m, nn.BatchNorm2d))


def test_a_map_that_does_not_depend_on_the_weights_correlates_fully():
    """Between a net with nothing to draw anew and its twin there is no difference."""
    net = small_net({"same": nn.Identity()}, Corner(), classes=2)
    net.unused = nn.Linear(1, 1)
    inputs = torch.rand(2, 1, 8, 8)
    from striate.explaining.attributing import attribution

    heats = attribution(net, inputs, 0, "integrated-gradients")
    same = weight_dependence(net, heats, lambda other: attribution(other, inputs, 0, "integrated-gradients"))
    assert same == pytest.approx([1, 1])
    assert DRAWS >= 3
    assert ORDERS >= 3


def lightness(rgb):
    """OKLab's, by the inverse matrices of Ottosson's page."""
    values = rgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    to_lms = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    return np.cbrt(linear @ np.transpose(to_lms)) @ [0.2104542553, 0.7936177850, -0.0040720468]


def test_lightness_of_the_palette_rises_evenly():
    found = lightness(palette().astype(float))
    assert np.abs(found - np.linspace(found[0], found[-1], 256)).max() < 0.004
    assert (np.diff(found) > 0).all()
    assert found[-1] - found[0] > 0.75


def test_overlay():
    picture = np.random.default_rng(0).integers(0, 256, (9, 7, 1), dtype=np.uint8)
    empty = np.zeros((9, 7), dtype=np.float32)
    np.testing.assert_array_equal(overlay(picture, empty), np.repeat(picture, 3, axis=2))
    heat = empty.copy()
    heat[4, 4] = 3e-9  # scales are a map's own
    shown = overlay(picture.repeat(3, 2), heat)
    assert shown.dtype == np.uint8
    assert (shown[4, 4] != picture[4, 4]).any()
    assert (np.abs(shown.astype(int) - picture).max(2) > 1).sum() == 1
    np.testing.assert_array_equal(colours(heat)[4, 4], palette()[255])
    np.testing.assert_array_equal(colours(heat)[0, 0], palette()[0])
    with pytest.raises(ValueError, match="must have that size"):
        overlay(picture, np.zeros((7, 9), dtype=np.float32))
