"""torchvision's weights in our nets: the same logits, and back again bit for bit."""

from __future__ import annotations

import pytest
import torch
import torchvision
import torchvision.transforms.v2.functional
from torch import Tensor, nn

from striate.errors import DataError, StriateError, UsageError
from striate.nets import CATALOGUE, build
from striate.nets import torchvision as ours

QUICK = ("resnet18", "resnet50-v1.5", "densenet121", "googlenet-torchvision")
ROWS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in ours.TWINS]


def their_net(twin: str, classes: int = 1000, seed: int = 0) -> nn.Module:
    """torchvision's, with random weights and statistics of batch norm that are not the ones it begins with."""
    torch.manual_seed(seed)
    model: nn.Module
    if twin == "googlenet":
        model = torchvision.models.googlenet(weights=None, init_weights=False, num_classes=classes)
    else:
        model = torchvision.models.get_model(twin, weights=None, num_classes=classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def logits_in_train_mode(model: nn.Module, x: Tensor) -> Tensor:
    """As the loop has them, but for dropout, which would draw differently."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    out = model(x)
    return out if isinstance(out, Tensor) else out.logits


@pytest.mark.parametrize("name", ROWS)
def test_same_logits_and_back(name: str) -> None:
    theirs = their_net(ours.TWINS[name], classes=10)
    before = {key: tensor.clone() for key, tensor in theirs.state_dict().items()}
    net = ours.load(name, theirs.state_dict())
    assert (net.channels, net.classes) == (3, 10)

    back = ours.save(net)
    assert back.keys() == before.keys()
    assert all(torch.equal(back[key], before[key]) for key in before)

    net.eval()
    theirs.eval()
    with torch.no_grad():
        for seed in range(3):
            x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(seed))
            torch.testing.assert_close(net(x), theirs(x), rtol=1.3e-6, atol=1e-5)
        if any(isinstance(module, nn.BatchNorm2d) for module in net.modules()):
            torch.testing.assert_close(
                logits_in_train_mode(net, x), logits_in_train_mode(theirs, x), rtol=1.3e-6, atol=1e-5
            )
            statistics, expected = ours.save(net), theirs.state_dict()
            # Our forward leaves the auxiliary heads to the training step, so their statistics have not moved.
            for key in (key for key in expected if "running" in key and not key.startswith("aux")):
                torch.testing.assert_close(statistics[key], expected[key], rtol=1.3e-6, atol=1e-5)


def test_the_auxiliary_heads_give_the_same_logits() -> None:
    theirs = their_net("googlenet", classes=5)
    net = ours.load("googlenet-torchvision", theirs.state_dict())
    x = torch.randn(2, 3, 96, 96)
    theirs.train()
    net.train()
    for module in (*net.modules(), *theirs.modules()):
        if isinstance(module, nn.Dropout):
            module.eval()
    with torch.no_grad():
        expected = theirs(x)
        seen = {}
        for stage, module in net.stages.items():
            x = module(x)
            if stage in net.auxiliary:
                seen[stage] = net.auxiliary[stage][1](x)
    torch.testing.assert_close(seen["inception4a"], expected.aux_logits1, rtol=1.3e-6, atol=1e-5)
    torch.testing.assert_close(seen["inception4d"], expected.aux_logits2, rtol=1.3e-6, atol=1e-5)


@pytest.mark.parametrize("name", ours.TWINS)
def test_names_and_shapes_of_all_tensors_agree(name: str) -> None:
    with torch.device("meta"):
        net = build(name)
        twin = ours.TWINS[name]
        if twin == "googlenet":
            theirs = torchvision.models.googlenet(weights=None, init_weights=False)
        elif twin.startswith("vgg"):
            theirs = torchvision.models.get_model(twin, weights=None, init_weights=False)
        else:
            theirs = torchvision.models.get_model(twin, weights=None)
    shapes = {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    assert {key: tensor.shape for key, tensor in ours.save(net).items()} == shapes


def test_every_twin_is_a_row() -> None:
    assert ours.TWINS.keys() <= CATALOGUE.keys()


def test_a_row_without_twin() -> None:
    with pytest.raises(UsageError, match=r"lenet5 has no twin in torchvision; these have: alexnet-owt, "):
        ours.load("lenet5", {})
    with pytest.raises(UsageError, match="no twin"):
        ours.save(build("lenet5"))


def test_weights_of_another_net() -> None:
    with pytest.raises(DataError, match=r"not the weights of torchvision's resnet34: 96 tensors are missing"):
        ours.load("resnet34", torchvision.models.resnet18(weights=None).state_dict())


def test_weights_of_another_shape() -> None:
    weights = torchvision.models.resnet18(weights=None).state_dict()
    weights["layer1.0.conv1.weight"] = torch.zeros(64, 64, 5, 5)
    with pytest.raises(DataError, match=r"layer1\.0\.conv1\.weight of torchvision's resnet18 should have shape"):
        ours.load("resnet18", weights)


def test_loaded_weights_are_copies() -> None:
    theirs = torchvision.models.resnet18(weights=None)
    net = ours.load("resnet18", theirs.state_dict())
    with torch.no_grad():
        net.stages["conv1"].conv.weight.zero_()
    assert theirs.conv1.weight.abs().sum() > 0


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """ResNet-18 with random weights in place of a download."""
    theirs = their_net("resnet18").eval()
    monkeypatch.setattr(ours, "published", lambda name, progress: ("Test.V1", dict(theirs.state_dict())))
    return theirs


def test_pretrained_as_published(published: nn.Module) -> None:
    net, result = ours.pretrained("resnet18")
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), published(x), rtol=1.3e-6, atol=1e-5)
    assert result.notes == ("resnet18 starts from torchvision's weights Test.V1",)
    assert result.mean == (0.485, 0.456, 0.406)


def test_pretrained_on_grey_pictures_is_the_same_grey_in_three_colours(published: nn.Module) -> None:
    net, result = ours.pretrained("resnet18", channels=1)
    x = torch.randn(1, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), published(x.expand(1, 3, 64, 64)), rtol=1e-4, atol=1e-4)
    assert "takes 1 channel: the sum of its three colours" in result.notes[1]
    assert result.mean == pytest.approx(((0.485 + 0.456 + 0.406) / 3,))


def test_pretrained_with_more_channels_keeps_the_size_of_the_sum() -> None:
    weight = torch.randn(4, 3, 7, 7)
    folded = ours.fold_stem(weight, 6)
    assert folded.shape == (4, 6, 7, 7)
    torch.testing.assert_close(folded.sum(1), weight.sum(1))


def test_pretrained_with_other_classes_has_a_new_classifier(published: nn.Module) -> None:
    net, result = ours.pretrained("resnet18", classes=7)
    assert net.head.classifier.weight.shape == (7, 512)
    assert torch.equal(net.stages["conv1"].conv.weight, published.conv1.weight)
    assert result.notes[-1] == "the classifier of 1000 classes is replaced by a new one of 7"


def test_pretrained_googlenet_has_its_own_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's undoes ImageNet's mean and deviation inside the net; ours takes images as it was trained on them."""
    theirs = their_net("googlenet")
    monkeypatch.setattr(ours, "published", lambda name, progress: ("Test.V1", dict(theirs.state_dict())))
    net, result = ours.pretrained("googlenet-torchvision", progress=False)
    theirs.transform_input = True
    theirs.eval()
    pixels = torch.rand(2, 3, 96, 96)
    imagenet = torchvision.transforms.v2.functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    own = torchvision.transforms.v2.functional.normalize(pixels, list(result.mean), list(result.std))
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(own), theirs(imagenet), rtol=1e-4, atol=1e-4)
    assert "auxiliary heads were not trained" in result.notes[1]


def test_pretrained_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fail)
    with pytest.raises(StriateError, match=r"could not download https://.*resnet18.*no route to host"):
        ours.pretrained("resnet18")
