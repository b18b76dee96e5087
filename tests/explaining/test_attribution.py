"""Maps against the formulas of their papers, worked out by plain loops and finite differences, and against captum's."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop, LayerGradCam
from torch import nn

from striate.errors import UsageError
from striate.explaining.attributing import METHODS, WINDOWS, attribution
from striate.explaining.layers import find_layer, layers
from striate.nets import build
from striate.nets.external import adapt, make
from striate.nets.netspec import NetFacts
from tests.explaining.patch_pictures import Linear, enlarged, small_net

LAYERED = "grad-cam"


def elsewhere(target, classes=5):
    facts = NetFacts(name=target, title=target, family="external", input=(3, 64, 64), min_size=1, origin={})
    return adapt(make(target, classes=classes).module, facts, 3, classes).eval()


def test_grad_cam_is_the_papers_formula_by_finite_differences():
    """Selvaraju et al. 2017, eq. 1 and 2, on LeNet-5: alpha_k is the mean of dy/dA_k, the map ReLU(sum of alpha_k A_k)."""
    torch.manual_seed(1)
    net = build("lenet5").double().eval()
    picture, target = torch.randn(1, 1, 28, 28, dtype=torch.float64), 7
    with torch.no_grad():
        maps = picture
        for stage in net.stages.values():
            maps = stage(maps)
        weights, step = [], 1e-5
        for k in range(16):
            gradients = []
            for i in range(5):
                for j in range(5):
                    nudge = torch.zeros_like(maps)
                    nudge[0, k, i, j] = step
                    rise = net.head(maps + nudge)[0, target] - net.head(maps - nudge)[0, target]
                    gradients.append(float(rise) / (2 * step))
            weights.append(sum(gradients) / 25)
    small = np.zeros((5, 5))
    for k in range(16):
        small += weights[k] * maps[0, k].numpy()
    # Position 0 of S4 reads the pixels -2 to 13: C1 pads by two pixels, S2 reads two maps' pixels, C3 five of those, S4 two.
    expected = enlarged(np.maximum(small, 0), 28, 28, middle=5.5, stride=4)
    assert expected.max() > 0
    np.testing.assert_allclose(attribution(net, picture, target)[0], expected, atol=1e-6 * expected.max())


def test_grad_cam_of_a_pooled_linear_head_is_the_class_activation_map():
    """dy/dA_k = w_k / (h w) then, so alpha_k = w_k / (h w): Zhou et al. 2016's map, up to that factor."""
    torch.manual_seed(0)
    net = small_net(
        {"conv": nn.Conv2d(1, 6, 3, padding=1)}, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))
    )
    pictures = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        maps = torch.einsum("nkhw,k->nhw", net.stages["conv"](pictures), net.head[2].weight[1]).relu() / 64
    np.testing.assert_allclose(attribution(net, pictures, 1), maps, atol=1e-6)


@pytest.mark.parametrize(
    ("target", "layer", "middle", "stride"),
    [
        ("torchvision:resnet18", "layer4", 0, 32),
        ("torchvision:resnet18", "layer3.0.conv1", 0, 16),
        ("torchvision:squeezenet1_1", "features.7", 7, 8),  # three unpadded windows of 3x3 at stride 2: 1 + 2 + 4
    ],
)
def test_grad_cam_of_torchvisions_nets_is_captums(target, layer, middle, stride):
    """Their ReLUs work in place, which must not change the maps that were kept."""
    torch.manual_seed(0)
    net = elsewhere(target)
    pictures, targets = torch.randn(2, 3, 64, 64), torch.tensor([0, 3])
    module = net.get_submodule(f"stages.net.{layer}")
    maps = LayerGradCam(net, module).attribute(pictures, targets, relu_attributions=True)
    expected = np.stack([enlarged(one, 64, 64, middle, stride) for one in maps.squeeze(1).detach().numpy()])
    found = attribution(net, pictures, targets, layer=layer)
    np.testing.assert_allclose(found, expected, atol=1e-5 * expected.max())


def test_gradients_of_a_linear_net_are_its_weights():
    model = Linear()
    net = small_net({"same": nn.Identity()}, model, channels=2)
    pictures, targets = torch.randn(4, 2, 8, 8), torch.tensor([0, 1, 2, 1])
    weights = model.weight[targets].detach()
    np.testing.assert_allclose(attribution(net, pictures, targets, "saliency"), weights.abs().amax(1), atol=1e-6)
    # Completeness: along the path from 0 the gradient is constant, so each pixel's share is weight times value.
    shares = (weights * pictures).sum(1).clamp(min=0)
    np.testing.assert_allclose(attribution(net, pictures, targets, "integrated-gradients"), shares, atol=1e-5)


def test_occlusion_is_the_fall_of_the_logit_averaged_over_the_windows_on_a_place():
    net = small_net({"same": nn.Identity()}, nn.Sequential(Linear(1, 16), nn.Tanh()), size=16)
    picture = torch.randn(1, 1, 16, 16) / 10
    window = 16 // WINDOWS
    falls, covered = np.zeros((16, 16)), np.zeros((16, 16))
    with torch.no_grad():
        for top in range(0, 16 - window + 1, window // 2):
            for left in range(0, 16 - window + 1, window // 2):
                hidden = picture.clone()
                place = np.s_[top : top + window, left : left + window]
                hidden[0, 0][place] = 0
                falls[place] += float(net(picture)[0, 2] - net(hidden)[0, 2])
                covered[place] += 1
    np.testing.assert_allclose(attribution(net, picture, 2, "occlusion")[0], np.maximum(falls / covered, 0), atol=1e-5)


def test_guided_backprop_is_captums_where_captum_can():
    torch.manual_seed(0)
    net = build("lenet5").eval()
    pictures = torch.randn(3, 1, 28, 28, requires_grad=True)
    with pytest.warns(UserWarning, match="backward hooks"):
        expected = GuidedBackprop(net).attribute(pictures, target=4).abs().amax(1).detach()
    np.testing.assert_allclose(attribution(net, pictures, 4, "guided-backprop"), expected, atol=1e-7)


class Functional(nn.Module):
    """Two convolutions with ReLU as a function, once in place."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return torch.relu_(self.second(F.relu(self.first(x))))


def test_guided_backprop_sees_relus_that_are_no_modules():
    torch.manual_seed(0)
    one = Functional()
    head = nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
    written = small_net({"all": one}, head)
    modules = small_net({"all": nn.Sequential(one.first, nn.ReLU(), one.second, nn.ReLU())}, head)
    pictures = torch.randn(2, 1, 8, 8)
    found = attribution(written, pictures, 0, "guided-backprop")
    np.testing.assert_allclose(found, attribution(modules, pictures, 0, "guided-backprop"), atol=1e-7)
    assert not np.allclose(found, attribution(written, pictures, 0, "saliency"))


def test_guided_backprop_says_where_it_cannot_be():
    with pytest.raises(UsageError, match="lenet5-1998 has none: use saliency"):
        attribution(build("lenet5-1998"), torch.zeros(1, 1, 32, 32), 0, "guided-backprop")


@pytest.mark.parametrize(
    ("name", "size", "layer", "maps"),
    [
        ("lenet5", 28, "s4", (16, 5, 5)),
        ("lenet5-1998", 32, "s4", (16, 5, 5)),
        ("resnet20", 32, "conv4", (64, 8, 8)),
        ("inception-mnist", 28, "inception2", (88, 4, 4)),
        ("densenet-tutorial", 64, "dense3", (240, 4, 4)),
        ("densenet-tutorial", 96, "dense3", (240, 6, 6)),
    ],
)
def test_the_last_stage_with_maps_of_4x4_is_found(name, size, layer, maps):
    net = build(name)
    found = find_layer(net, torch.zeros(1, net.channels, size, size))
    assert (found.name, found.maps) == (layer, maps)
    assert found.module is net.stages[layer]


@pytest.mark.parametrize(
    ("target", "layer"),
    [
        ("torchvision:resnet18", "layer3"),
        ("torchvision:squeezenet1_1", "features.7"),
    ],
)
def test_in_a_net_from_elsewhere_the_last_module_that_does_not_merely_pool(target, layer):
    assert find_layer(elsewhere(target), torch.zeros(1, 3, 64, 64)).name == layer


def test_layers_inside_of_a_stage_have_names():
    net = build("inception-mnist")
    found = layers(net, torch.zeros(1, 1, 28, 28))
    assert found["inception1.branches.conv5x5.reduce"].maps == (16, 12, 12)
    assert list(found)[-1] == "inception2"


@pytest.mark.parametrize("method", METHODS)
def test_the_net_is_left_as_it_was(method):
    net = build("resnet20", channels=1).train()
    net.stages["conv1"].eval()
    net.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.inference_mode():
        pictures = torch.randn(2, 1, 16, 16)
        heat = attribution(net, pictures, [3, 4], method)
    assert heat.shape == (2, 16, 16)
    assert heat.dtype == np.float32
    assert heat.min() >= 0
    assert heat.max() > 0
    assert net.training
    assert not net.stages["conv1"].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())


@pytest.mark.parametrize("method", METHODS)
def test_a_picture_has_the_same_map_alone_and_among_others(method):
    torch.manual_seed(0)
    net, pictures = build("lenet5").eval(), torch.randn(3, 1, 28, 28)
    together = attribution(net, pictures, [1, 2, 3], method)
    alone = attribution(net, pictures[1:2], 2, method)[0]
    np.testing.assert_allclose(together[1], alone, atol=1e-5 * alone.max())


def test_no_pictures_no_maps():
    assert attribution(build("lenet5"), torch.zeros(0, 1, 28, 28), []).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 10}, "classes 0 to 9"),
        ({"target": -1}, "classes 0 to 9"),
        ({"target": 0, "method": "gradcam"}, "no method named 'gradcam'. Did you mean grad-cam"),
        (
            {"target": 0, "layer": "c2"},
            "no layer with feature maps in lenet5 named 'c2'. Did you mean .* c1, s2, c3, s4",
        ),
        ({"target": 0, "method": "saliency", "layer": "c1"}, "^layer is for grad-cam"),
    ],
)
def test_what_cannot_be_asked_for(arguments, message):
    with pytest.raises(UsageError, match=message):
        attribution(build("lenet5"), torch.zeros(1, 1, 28, 28), **arguments)


def test_a_net_whose_maps_are_too_small_is_told_apart():
    with pytest.raises(UsageError, match="no stage of resnet20 has feature maps of 4x4 or more for images of 3x3"):
        attribution(build("resnet20"), torch.zeros(1, 3, 3, 3), 0)


@pytest.mark.full
def test_captum_is_loaded_by_the_methods_that_use_it_only():
    program = (
        "import sys, torch; from striate.nets import build; from striate.explaining.attributing import attribution\n"
        "for method in ('grad-cam', 'saliency', 'guided-backprop'):\n"
        "    attribution(build('lenet5'), torch.zeros(1, 1, 28, 28), 0, method)\n"
        "print('captum' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
