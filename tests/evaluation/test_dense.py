"""A head that slides over the maps says what the classifier says of each window, and of the training size what the net says."""

import pytest
import torch
from torch import nn

from striate.errors import UsageError
from striate.evaluation.dense import FullyConvolutional, dense, pooling_matrix, slides, total_stride
from striate.nets import CATALOGUE, Net, build
from striate.nets.external import adapt
from striate.nets.netspec import NetFacts

VGG = "vgg16-eighth-tutorial"


def lively(net, seed=0):
    """Weights by He, batch norm's statistics of random batches, so that the logits depend on the image."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            module.weight.data = torch.randn(module.weight.shape, generator=generator) * (2 / fan_in) ** 0.5
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=generator) / 4
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return net.eval()


def picture(net, height, width, count=2, seed=1):
    return torch.randn(count, net.channels, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("name", "size"), [
        (VGG, 224), ("vgg11-bn-native", 32), ("alexnet-halfwidth-tutorial", 224), ("lenet5-bn", 28),
        pytest.param("vgg16", 224, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_at_the_training_size_dense_evaluation_gives_the_nets_own_logits(name, size):
    net = lively(build(name))
    x = picture(net, size, size)
    with torch.no_grad():
        wanted, found = net(x), dense(net, (size, size))(x)
    assert wanted.std() > 0.1 * wanted.abs().mean()
    assert (found - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize(
    ("name", "trained", "shown"),
    [
        (VGG, (224, 224), (256, 320)),
        (VGG, (96, 96), (160, 128)),  # the head's pool is no identity: it stretches 3x3 to 7x7
        (VGG, (256, 256), (300, 290)),  # ... or averages 8x8 to 7x7 in windows that overlap
        ("lenet5-bn", (28, 28), (40, 33)),
        ("alexnet-native", (32, 32), (48, 40)),
    ],
)
def test_larger_pictures_get_the_mean_over_every_window_of_their_map(name, trained, shown):
    net = lively(build(name)).double()
    x = picture(net, *shown).double()
    body = nn.Sequential(*net.stages.values())
    with torch.no_grad():
        height, width = body(picture(net, *trained).double()).shape[2:]
        maps = body(x)
        scores = [
            net.head(maps[:, :, top : top + height, left : left + width])
            for top in range(maps.shape[2] - height + 1)
            for left in range(maps.shape[3] - width + 1)
        ]
        found = dense(net, trained)(x)
        class_map = FullyConvolutional(net, trained).class_map(x)
    assert len(scores) > 1
    assert class_map.flatten(2).shape[2] == len(scores)
    torch.testing.assert_close(class_map.flatten(2).permute(2, 0, 1), torch.stack(scores), rtol=0, atol=1e-10)
    torch.testing.assert_close(found, torch.stack(scores).mean(0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet20", "nin-native", "densenet40-k12", "googlenet-native"])
def test_a_head_that_averages_gives_the_mean_of_the_class_map(name):
    net = lively(build(name)).double()
    side = net.spec.input[1]
    x = picture(net, side + 16, side + 8, count=1).double()
    with torch.no_grad():
        maps = nn.Sequential(*net.stages.values())(x)
        # The last linear layer, if there is one, at every place; then the mean of its scores.
        layer = getattr(net.head, "classifier", None)
        at_places = maps.permute(0, 2, 3, 1)
        scores = at_places @ layer.weight.T + layer.bias if layer is not None else at_places
        found = dense(net, (side, side))(x)
    torch.testing.assert_close(found, scores.mean((1, 2)), rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "sliding"),
    [
        ("lenet5", True), ("lenet5-1998", False), ("alexnet", True), ("vgg16", True), ("vgg16-native", False),
        ("nin-imagenet", False), ("googlenet", False), ("inception-mnist", True), ("resnet50", False), ("densenet121", False),
    ],
)  # fmt: skip
def test_which_heads_slide(name, sliding):
    with torch.device("meta"):
        net = build(name)
    assert slides(net) == sliding
    assert isinstance(dense(net, net.spec.input[1:]), FullyConvolutional) == sliding


@pytest.mark.slow
def test_every_net_of_the_catalogue_can_be_looked_at_densely():
    for name, row in CATALOGUE.items():
        with torch.device("meta"):
            dense(build(name), row.input[1:])


@pytest.mark.parametrize(
    ("name", "stride"), [("vgg16", 32), ("alexnet", 32), ("lenet5", 4), ("resnet20", 4), ("vgg16-native", 16)]
)
def test_the_total_stride_is_the_product_of_the_strides(name, stride):
    with torch.device("meta"):
        net = build(name)
    assert total_stride(net, net.spec.input[1:]) == stride


@pytest.mark.parametrize(("length", "side"), [(7, 7), (3, 7), (8, 7), (14, 7), (1, 5), (5, 1)])
def test_the_matrix_of_adaptive_pooling(length, side):
    x = torch.randn(2, 3, length, length, dtype=torch.float64)
    matrix = pooling_matrix(length, side)
    torch.testing.assert_close(matrix @ x @ matrix.T, nn.AdaptiveAvgPool2d(side)(x))


def test_the_first_layers_weights_are_not_copied():
    net = lively(build("lenet5"))
    conv = FullyConvolutional(net, (28, 28)).head[0]
    assert conv.weight.data_ptr() == net.head.c5.weight.data_ptr()


def net_with_head(*layers):
    net = Net({"conv": nn.Conv2d(1, 4, 3, padding=1)}, nn.Sequential(*layers))
    facts = NetFacts(name="mine", title="mine", family="external", input=(1, 8, 8), min_size=8)
    return adapt(net, facts, channels=1, classes=3)


def test_a_layer_that_is_in_the_head_twice_counts_twice():
    act = nn.Sigmoid()
    hidden = (nn.Linear(16, 5), act, nn.Sequential(nn.Linear(5, 4), act), nn.Linear(4, 3))
    net = net_with_head(nn.AdaptiveAvgPool2d(2), nn.Flatten(), *hidden).double().eval()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(dense(net, (8, 8))(x), net(x), rtol=0, atol=1e-12)


def test_heads_that_cannot_slide_are_named():
    with pytest.raises(UsageError, match="holds a Sigmoid where this is not possible"):
        dense(net_with_head(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Sigmoid(), nn.Linear(16, 3)), (8, 8))
    with pytest.raises(UsageError, match="holds a Softmax"):
        dense(net_with_head(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3), nn.Softmax(1)), (8, 8))
    with pytest.raises(UsageError, match=r"begins with nn\.AdaptiveAvgPool2d, and that of mine does not"):
        dense(net_with_head(nn.Flatten(), nn.Linear(256, 3)), (8, 8))


class Functional(nn.Module):
    """An external net whose pooling is a call in its forward method."""

    def __init__(self, side, fixed=False):
        super().__init__()
        self.conv, self.side, self.fixed = nn.Conv2d(1, 4, 3, padding=1), side, fixed
        self.fc = nn.Linear(4 * (64 if fixed else side**2), 3)

    def forward(self, x):
        x = self.conv(x).relu()
        x = x if self.fixed else nn.functional.adaptive_avg_pool2d(x, self.side)
        return self.fc(x.flatten(1))


def elsewhere(module):
    facts = NetFacts(name="theirs", title="theirs", family="external", input=(1, 8, 8), min_size=8)
    return adapt(module, facts, channels=1, classes=3).eval()


def test_an_external_net_is_used_where_it_averages_its_maps_whole():
    net = elsewhere(Functional(1))
    assert dense(net, (8, 8)) is net
    assert total_stride(net, (8, 8)) == 1
    with pytest.raises(UsageError, match="pools any map to 2x2"):
        dense(elsewhere(Functional(2)), (8, 8))
    with pytest.raises(UsageError, match="takes no image of 16x16, only of 8x8"):
        dense(elsewhere(Functional(1, fixed=True)), (8, 8))
