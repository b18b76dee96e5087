"""Every row of the catalogue against the papers, torchvision's counts and a second way to count; its sizes, gradients, exports.

Run: pytest tests/nets/test_catalogue.py; with the large nets: pytest -m "slow or not slow" tests/nets/test_catalogue.py
"""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from striate import catalogue
from striate.errors import UsageError
from striate.nets import CATALOGUE, FAMILIES, Net, build
from striate.testing import check_net

NAMES = list(CATALOGUE)

# name: (parameters, MACs), None where the source gives none. Taken from the sources, and not from the rows.
PUBLISHED: dict[str, tuple[int, int | None]] = {
    # LeCun et al. 1998, section II.B: "60,000 trainable free parameters"; MACs: 117,600 + 150,000 + 48,000 + 10,080
    "lenet5-1998": (60_000, 325_680),
    # The modern form, and Dive into Deep Learning's
    "lenet5": (61_706, 416_520),
    "lenet5-tutorial": (61_706, 416_520),
    "lenet5-bn": (44_878, 563_280 // 2),
    # Krizhevsky et al. 2012, section 3.5: 34,944 + 307,456 + 885,120 + 663,936 + 442,624 + 37,752,832 + 16,781,312 + 4,097,000
    "alexnet": (60_965_224, 724_406_816),
    "alexnet-owt": (61_100_840, 714_188_480),  # torchvision 0.29.1
    "alexnet-tutorial": (46_764_746, 938_146_176),
    "alexnet-halfwidth-tutorial": (16_630_440, 311_191_824),
    # torchvision 0.29.1; A-LRN and C counted from Table 1
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11-lrn": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16-1x1": (133_638_952, 11_770_888_192),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg11-bn": (132_868_840, 7_609_090_048),
    "vgg13-bn": (133_053_736, 11_308_466_176),
    "vgg16-1x1-bn": (133_647_400, None),
    "vgg16-bn": (138_365_992, 15_470_264_320),
    "vgg19-bn": (143_678_248, 19_632_062_464),
    "vgg16-tutorial": (134_304_586, None),
    "vgg16-eighth-tutorial": (2_104_882, 243_921_920),
    "vgg11-d2l": (128_806_154, 7_547_232_256),
    "vgg11-quarter-d2l": (43_093_322, 512_155_648),
    # The author's configurations, counted; an independent port counts the first one alike
    "nin-cifar10": (966_986, 222_486_528),
    "nin-cifar100": (966_986 + 90 * 193, 222_486_528 + 90 * 192 * 64),  # the last 1x1 convolution has 100 maps for 10
    "nin-imagenet": (7_595_176, 1_100_188_800),
    "nin-tutorial": (1_992_166, 762_297_352),
    # Counted from Table 1; the tutorial's own table; torchvision 0.29.1
    "googlenet": (6_998_552, 1_582_671_872),
    "googlenet-torchvision": (6_624_904, 1_498_376_192),
    # 7,280 channels of convolutions, each with a scale and a shift for a bias
    "googlenet-bn": (6_998_552 + 7_280, 1_582_671_872),
    "googlenet-bn-tutorial": (7_041_172, 1_582_700_544),
    "googlenet-d2l": (5_977_530, 276_066_304),
    "inception-mnist": (97_298, 6_019_200),
    # A published port has 11,295,240, of which 10,016 are biases ahead of batch norm that the paper leaves out
    "bn-inception": (11_295_240 - 10_016, None),
    # torchvision 0.29.1 for B and v1.5; the others counted from Table 1
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 3_857_973_248),
    "resnet101": (44_549_160, 7_570_194_432),
    "resnet152": (60_192_808, 11_282_415_616),
    "resnet50-v1.5": (25_557_032, 4_089_184_256),
    "resnet101-v1.5": (44_549_160, 7_801_405_440),
    "resnet152-v1.5": (60_192_808, 11_513_626_624),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "resnet18-a": (11_515_688, 1_794_805_760),
    "resnet18-c": (12_043_816, 1_878_298_624),
    "resnet34-a": (21_623_848, 3_644_493_824),
    "resnet34-c": (22_716_840, 3_830_747_136),
    # He et al. 2015, section 4.2 (0.27M, 0.46M, 0.66M, 0.85M, 1.7M, 19.4M), counted
    "resnet20": (269_722, 40_551_040),
    "resnet32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144),
    "resnet56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "resnet1202": (19_421_274, None),
    # Option B adds two 1x1 projections with batch norm: 16 * 32 + 64 + 32 * 64 + 128 = 2,752, and 2 * 131,072 MACs
    "resnet20-b": (272_474, 40_551_040 + 262_144),
    "resnet32-b": (466_906, 68_862_592 + 262_144),
    "resnet44-b": (661_338, 97_174_144 + 262_144),
    "resnet56-b": (855_770, 125_485_696 + 262_144),
    "resnet110-b": (1_730_714, 252_887_680 + 262_144),
    "plain20": (269_722, 40_551_040),
    "plain32": (464_154, 68_862_592),
    "plain44": (658_586, 97_174_144),
    "plain56": (853_018, 125_485_696),
    "plain110": (1_727_962, 252_887_680),
    "plain1202": (19_421_274, None),
    "resnet18-d2l": (11_178_378, 318_657_536),
    "resnet-mnist": (41_514, 2_013_184),
    # He et al. 2016 (1.7M, 10.2M), counted
    "resnet110-conv-shortcut": (1_826_202, None),
    "resnet164": (1_704_154, None),
    "preresnet164": (1_703_258, 244_500_992),
    "preresnet1001": (10_327_706, None),
    # torchvision 0.29.1; 264 counted from Table 1; Huang et al. 2016, Table 2 (1.0M, 7.0M, 27.2M, 0.8M, 15.3M, 25.6M), counted
    "densenet121": (7_978_856, 2_834_161_664),
    "densenet161": (28_681_000, 7_727_907_072),
    "densenet169": (14_149_480, 3_359_843_328),
    "densenet201": (20_013_928, 4_291_365_888),
    "densenet264": (33_337_704, 5_751_653_376),
    "densenet264-k48": (72_686_632, None),
    "densenet40-k12": (1_019_722, 264_812_928),
    "densenet100-k12": (6_979_642, 1_769_516_448),
    "densenet100-k24": (27_249_082, None),
    "densenet100-bc-k12": (769_162, 287_929_692),
    "densenet250-bc-k24": (15_324_406, None),
    "densenet190-bc-k40": (25_624_430, None),
    "densenet-tutorial": (758_226, 129_077_168),
}
# With the auxiliary heads: counted from section 5 (3,188,840 and 3,190,888 more); torchvision 0.29.1
PUBLISHED_TRAINING = {
    "googlenet": 6_998_552 + 3_188_840 + 3_190_888,
    "googlenet-torchvision": 13_004_888,
    "googlenet-bn": 7_005_832 + (13_004_888 - 6_624_904),  # its heads are torchvision's but for the first pooling
}

# Gradients and steps need real weights: these rows have each kind of layer and unit once, the others are among the slow tests.
QUICK = {
    "lenet5", "lenet5-1998", "lenet5-tutorial", "lenet5-bn", "alexnet-native", "vgg16-eighth-tutorial", "vgg11-bn-native",
    "nin-cifar10", "nin-native", "googlenet", "googlenet-torchvision", "googlenet-bn-tutorial", "inception-mnist",
    "googlenet-native", "resnet18-d2l", "resnet-mnist", "resnet-mnist-constant-scaling",
    "resnet-mnist-conv-shortcut", "resnet20", "plain20", "resnet18-native", "densenet40-k12", "densenet-tutorial",
    "densenet-native", *(name for name in NAMES if re.search("resnet20-|^preresnet20", name)),
}  # fmt: skip
QUICK_FIRST = [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in NAMES]
HUGE = {"resnet1202", "plain1202", "preresnet1001"}
WITH_HUGE = [pytest.param(name, marks=pytest.mark.slow if name in HUGE else ()) for name in NAMES]
ONE_A_FAMILY = {
    "lenet5", "lenet5-1998", "alexnet-native", "vgg11-native", "nin-native", "inception-mnist", "resnet-mnist",
    "preresnet20", "densenet-tutorial",
}  # fmt: skip


def on_meta(name: str, channels: int | None = None, classes: int | None = None) -> Net:
    """The net without memory for its weights, in evaluation mode."""
    with torch.device("meta"):
        return build(name, channels=channels, classes=classes).eval()


def every_output(net: Net, x: Tensor) -> list[Tensor]:
    """Each stage's map, and the logits of the head and of the auxiliary heads."""
    outputs = []
    for name, stage in net.stages.items():
        x = stage(x)
        outputs.append(x)
        if name in net.auxiliary:
            outputs.append(net.auxiliary[name][1](x))
    return [*outputs, net.head(x)]


def training_loss(net: Net, x: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy, with the auxiliary heads' at their weights."""
    loss = torch.zeros((), dtype=x.dtype)
    for name, stage in net.stages.items():
        x = stage(x)
        if name in net.auxiliary:
            weight, head = net.auxiliary[name]
            loss = loss + weight * F.cross_entropy(head(x), targets)
    return loss + F.cross_entropy(net.head(x), targets)


@pytest.mark.parametrize("name", WITH_HUGE)
def test_numbers(name: str) -> None:
    row = CATALOGUE[name]
    net = on_meta(name)
    macs = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.Conv2d):
            kernel = module.kernel_size[0] * module.kernel_size[1]
            macs += output.numel() * module.in_channels // module.groups * kernel
        else:
            macs += output.numel() * inputs[0].shape[1]

    handles = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    last_map = torch.Size()

    def see(head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal last_map
        last_map = inputs[0].shape

    handles.append(net.head.register_forward_pre_hook(see))
    with FlopCounterMode(display=False) as counter:
        logits = net(torch.zeros(1, *row.input, device="meta"))
    for handle in handles:
        handle.remove()
    assert logits.shape == (1, row.classes)
    assert counter.get_total_flops() // 2 == row.macs
    assert macs == row.macs

    # Dense evaluation takes the pooling out: it averages globally, or changes nothing at this size.
    assert list(net.head._modules)[:2] == ["pool", "flatten"]
    assert net.head.pool.output_size in (1, last_map[2] if last_map[2] == last_map[3] else None)

    auxiliary = sum(p.numel() for p in net.auxiliary_heads.parameters())
    total = sum(p.numel() for p in net.parameters())
    assert total - auxiliary == row.params
    assert row.params_training == (total if auxiliary else None)


def test_numbers_are_the_published_ones() -> None:
    for name, (params, macs) in PUBLISHED.items():
        row = CATALOGUE[name]
        assert (name, row.params) == (name, params)
        assert macs is None or (name, row.macs) == (name, macs)
    for name, params in PUBLISHED_TRAINING.items():
        assert CATALOGUE[name].params_training == params


def test_a_row_says_what_it_is() -> None:
    for name, row in CATALOGUE.items():
        assert name == row.name
        assert re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", name)
        assert row.title
        assert row.citation
        assert row.source
        assert 1998 <= row.year <= 2016
        if row.geometry != "paper":
            assert row.deviations, f"{name} says nowhere how it departs from the paper"
        if row.geometry == "native":
            assert "stem" in " ".join(row.deviations)
        assert min(row.input[1:]) >= row.min_size
        assert bool(row.biases_before_norm) == ("bias-before-batchnorm" in row.known_findings)
    titles = [row.title for row in CATALOGUE.values()]
    assert len(titles) == len(set(titles))


def test_a_family_is_its_file_its_rows_and_what_was_published() -> None:
    for name, family in FAMILIES.items():
        assert {row.family for row in family.rows} == {name}
        assert family.drawn in {row.name for row in family.rows}
        for row in family.rows:
            assert all(re.search(r": .*\d.*\(.*\)$", line) for line in row.results)  # where: what (source)
    assert sum(len(family.rows) for family in FAMILIES.values()) == len(CATALOGUE)  # no name twice


def test_the_facts_without_torch_are_the_catalogue() -> None:
    assert catalogue.rows() == json.loads(json.dumps({name: row.as_dict() for name, row in CATALOGUE.items()}))
    assert catalogue.card("resnet50")["new"] == FAMILIES["resnet"].new
    with pytest.raises(UsageError, match="resnet50"):
        catalogue.card("resnet5O")


@pytest.mark.full
@pytest.mark.parametrize("name", WITH_HUGE)
def test_smallest_size_with_other_channels_and_classes(name: str) -> None:
    row = CATALOGUE[name]
    classes = 10 if name == "lenet5-1998" else 7
    net = on_meta(name, channels=2, classes=classes)
    assert (net.channels, net.classes, net.spec) == (2, classes, row)

    outputs = every_output(net, torch.zeros(1, 2, row.min_size, row.min_size, device="meta"))
    assert all(output.numel() for output in outputs)
    assert outputs[-1].shape == (1, classes)
    # An oblong image is as legal.
    if row.min_size > 1:
        assert net(torch.zeros(1, 2, row.min_size, row.min_size + 5, device="meta")).shape == (1, classes)

    below = row.min_size - 1
    try:
        outputs = every_output(net, torch.zeros(1, 2, below, below, device="meta"))
    except (RuntimeError, ValueError):
        return  # an operation fails below the smallest size
    assert not all(output.numel() for output in outputs)


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOGUE[name].geometry == "native"])
def test_native_nets_take_28_and_32_and_leave_a_map_for_grad_cam(name: str) -> None:
    row = CATALOGUE[name]
    for channels, size in ((1, 28), (3, 32)):
        net = on_meta(name, channels=channels)
        outputs = every_output(net, torch.zeros(1, channels, size, size, device="meta"))
        assert outputs[-1].shape == (1, row.classes)
        maps = [output for output in outputs if output.dim() == 4]
        late = maps[len(maps) // 2 :]
        assert max(min(output.shape[2:]) for output in late) >= 4


def size_for_gradients(name: str) -> int:
    """Small, but not so small that batch norm sees two values a map, which it would make +1 and -1 whatever the weights."""
    row = CATALOGUE[name]
    return max(row.min_size, min(row.input[1], 64))


@pytest.mark.parametrize("name", QUICK_FIRST)
def test_it_keeps_the_contract_of_a_net(name: str) -> None:
    """The one that `check_net` offers to everybody's nets; of the fast ones one a family is exported, of the others all."""
    row = CATALOGUE[name]
    size = size_for_gradients(name)
    if name == "plain1202":
        return _gradients_need_float64(name, size)
    skip = ("export",) if name in QUICK - ONE_A_FAMILY else ()
    check_net(lambda: settled(name, size), (row.input[0], size, size), classes=row.classes, skip=skip)


def settled(name: str, size: int) -> Net:
    """The net, with statistics of some images where hundreds of additions overflow with those that batch norm begins with."""
    net = build(name)
    if name in ("resnet1202", "preresnet1001"):
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            net.train()(torch.randn(2, CATALOGUE[name].input[0], size, size))
    return net


def _gradients_need_float64(name: str, size: int) -> None:
    """Without shortcuts, 1202 layers multiply the gradient to 1e88: the row says that float32 cannot hold it."""
    channels = CATALOGUE[name].input[0]
    check_net(lambda: build(name).double(), (channels, size, size), classes=10, skip=("fit", "answers", "export"))
    torch.manual_seed(3)
    net = build(name).double().train()
    training_loss(net, torch.randn(2, channels, size, size, dtype=torch.float64), torch.tensor([0, 1])).backward()
    largest = max(float(parameter.grad.abs().max()) for parameter in net.parameters() if parameter.grad is not None)
    assert largest > torch.finfo(torch.float32).max


@pytest.mark.parametrize("name", [name for name in QUICK_FIRST if CATALOGUE[str(name.values[0])].biases_before_norm])
def test_batch_norm_cancels_exactly_the_biases_that_the_row_lists(name: str) -> None:
    """In float64: those biases' gradients are rounding, all other biases' are not."""
    row = CATALOGUE[name]
    torch.manual_seed(4)
    net = build(name).double().train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    size = size_for_gradients(name)
    x = torch.randn(6, row.input[0], size, size, dtype=torch.float64)
    training_loss(net, x, torch.arange(6) % row.classes).backward()
    gradients = {key: parameter.grad for key, parameter in net.named_parameters() if key.endswith("bias")}
    listed = {key for key in gradients if any(fnmatchcase(key, pattern) for pattern in row.biases_before_norm)}
    assert listed
    for key, gradient in gradients.items():
        assert gradient is not None
        assert (gradient.abs().max() < 1e-11) == (key in listed), (key, gradient.abs().max())


@pytest.mark.parametrize("init", ["default", "paper"])
@pytest.mark.parametrize("name", sorted(ONE_A_FAMILY | {"vgg16-eighth-tutorial", "googlenet-native"}))
def test_logits_begin_finite_and_moderate(name: str, init: str) -> None:
    row = CATALOGUE[name]
    torch.manual_seed(6)
    net = build(name, init=init).train()  # type: ignore[arg-type]
    with torch.no_grad():
        logits = net(torch.randn(4, *row.input))
    assert logits.isfinite().all()
    if init == "default":
        assert F.cross_entropy(logits, torch.arange(4) % row.classes) < 15


def test_build_refuses() -> None:
    with pytest.raises(UsageError, match=r"no net named 'vgg61'. Did you mean .*vgg16"):
        build("vgg61")
    with pytest.raises(UsageError, match="channels must be at least 1, got 0"):
        build("lenet5", channels=0)
    with pytest.raises(UsageError, match="classes must be at least 1, got -1"):
        build("lenet5", classes=-1)
