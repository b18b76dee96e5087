"""Cells of Grad-CAM lie where they look, also in nets whose statistics read the whole image."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn
from torchvision.models import efficientnet_b0, resnet18

from striate.explaining.attributing import attribution
from striate.explaining.layers import places
from striate.nets.external import adapt
from striate.nets.netspec import NetFacts
from tests.explaining.patch_pictures import enlarged

GROUPS = partial(nn.GroupNorm, 4)
FACTS = NetFacts(name="given", title="given", family="external", input=(3, 64, 64), min_size=1, origin={})


class Excited(nn.Module):
    """A strided block, its paths and padding lopsided, its maps weighed by squeeze-and-excitation."""

    def __init__(self, norm=nn.BatchNorm2d, excited=False):
        super().__init__()
        self.stem, self.one = nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 1, 2)
        self.three, self.norm = nn.Conv2d(8, 8, (5, 3), 2), norm(8)
        self.weigh = nn.Conv2d(8, 8, 1) if excited else None

    def forward(self, x):
        x = self.stem(x).relu()
        x = self.norm(self.one(x) + self.three(F.pad(x, (2, 0, 4, 0))))
        return x if self.weigh is None else x * self.weigh(x.mean((2, 3), keepdim=True)).sigmoid()


@pytest.mark.parametrize(("excited", "norm"), [(False, GROUPS), (True, nn.BatchNorm2d), (True, nn.InstanceNorm2d)])
@pytest.mark.parametrize("size", [(32, 32), (41, 37)])  # of 32 the last row is never read
def test_statistics_move_no_cell(excited, norm, size):
    net = Excited(norm, excited)
    place = places(net, (1, 3, *size))[net]
    assert place == places(plain := Excited(), (1, 3, *size))[plain]
    # rows: stem 0..2 at stride 2; one of them, and four above: -8..2, middle -3. columns: -4..2
    assert (place.centre, place.stride) == ((-3.0, -1.0), (4.0, 4.0))


def test_a_resnet_with_group_norm_has_the_places_of_batch_norm():
    with torch.device("meta"):
        nets = resnet18(), resnet18(norm_layer=GROUPS)
    found = [
        {name: known[part] for name, part in net.named_modules() if part in known}
        for net, known in ((net, places(net, (1, 3, 97, 97))) for net in nets)
    ]
    assert found[0] == found[1]
    assert len(found[0]) > 60


def test_efficientnet_has_places_in_every_stage():
    with torch.device("meta"):
        net = efficientnet_b0()
    known = places(net, (1, 3, 224, 224))
    strides = [known[stage].stride[0] for stage in net.features]
    assert strides == [2, 2, 4, 8, 16, 16, 32, 32, 32]


def test_grad_cam_with_group_norm_is_captums_where_its_cells_look():
    torch.manual_seed(0)
    net = adapt(resnet18(norm_layer=GROUPS, num_classes=5), FACTS, 3, 5).eval()
    images, targets = torch.randn(2, 3, 64, 64), torch.tensor([0, 3])
    module = net.get_submodule("stages.net.layer3.0.conv1")
    maps = LayerGradCam(net, module).attribute(images, targets, relu_attributions=True)
    expected = np.stack([enlarged(one, 64, 64, 0, 16) for one in maps.squeeze(1).detach().numpy()])
    np.testing.assert_allclose(
        attribution(net, images, targets, layer="layer3.0.conv1"), expected, atol=1e-5 * expected.max()
    )


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, (2, 1))

    def forward(self, x):
        return self.conv(x).transpose(2, 3)


class LastChannels(Turned):
    def forward(self, x):
        return self.conv(x).permute(0, 2, 3, 1)


@pytest.mark.parametrize("kind", [Turned, LastChannels])
def test_maps_whose_rows_are_no_rows_of_the_image_have_no_place(kind):
    net = kind()
    known = places(net, (1, 3, 32, 32))
    assert net not in known
    assert known[net.conv].stride == (2, 1)
