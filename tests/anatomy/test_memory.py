"""Predicted memory against what the allocator really hands out. Run: pytest tests/anatomy/test_memory.py (-m slow for all)"""

from __future__ import annotations

import gc

import psutil
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from striate.anatomy.memory import estimate_memory
from striate.nets import CATALOGUE, build

MIB = 2**20


def allocator_peak(net: nn.Module, picture: tuple[int, int, int], batch: int) -> int:
    """Bytes at the peak of the second training step: what lived before it, and the profiler's record of the step."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4)
    pictures, targets = torch.rand(batch, *picture), torch.zeros(batch, dtype=torch.long)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(net(pictures), targets).backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    gc.collect()
    momenta = [state["momentum_buffer"] for state in optimizer.state.values()]
    before = sum(t.numel() * t.element_size() for t in [*net.parameters(), *net.buffers(), *momenta, pictures, targets])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return before + peak


CASES = [
    ("lenet5", 1024), ("lenet5", 2048), ("inception-mnist", 256), ("inception-mnist", 512),
    ("resnet20", 48), ("resnet20", 96), ("alexnet-native", 16), ("alexnet-native", 64), ("densenet40-k12", 8),
    ("densenet40-k12", 16), ("vgg11-native", 8), ("vgg11-native", 32), ("nin-cifar10", 16), ("nin-cifar10", 32),
    ("googlenet-native", 8), ("googlenet-native", 32), ("resnet18-native", 8), ("resnet18-native", 32),
    ("preresnet20", 48), ("preresnet20", 96), ("alexnet", 2), ("alexnet", 8), ("resnet18", 2), ("resnet18", 4),
    ("densenet121", 2), ("densenet121", 4), ("vgg11-quarter-d2l", 2), ("vgg11-quarter-d2l", 4),
]  # fmt: skip
QUICK = {("resnet20", 48), ("alexnet-native", 16)}


@pytest.mark.parametrize(
    ("name", "batch"), [pytest.param(*case, marks=[] if case in QUICK else [pytest.mark.slow]) for case in CASES]
)
def test_training_memory_is_within_a_tenth(name: str, batch: int) -> None:
    net, picture = build(name), CATALOGUE[name].input
    predicted = estimate_memory(net, picture, batch).training
    assert predicted is not None
    real = allocator_peak(net, picture, batch)
    resident = psutil.Process().memory_info().rss
    print(
        f"{name} x {batch}: predicted {predicted / MIB:.1f} MiB, allocator {real / MIB:.1f} MiB "
        f"({predicted / real - 1:+.1%}), resident now {resident / MIB:.0f} MiB"
    )
    assert real > 50 * MIB
    assert predicted == pytest.approx(real, rel=0.10)


def test_the_parts_of_a_linear_net_are_what_one_counts_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 100, bias=False), nn.ReLU(), nn.Linear(100, 10, bias=False))
    memory = estimate_memory(net, (3, 2, 2), 5, "adam")
    weights = 4 * (12 * 100 + 100 * 10)
    assert memory.weights == memory.gradients == weights
    assert memory.optimizer_state == 2 * weights
    # images, the output of ReLU, log-probabilities, the loss; nothing keeps the output of the first layer
    assert memory.activations == 4 * 5 * (12 + 100 + 10) + 4
    # forward without gradients: images or hidden, and what comes of it
    assert memory.inference == weights + 4 * 5 * (12 + 100 + 100)


def test_the_module_is_left_alone() -> None:
    net = build("resnet20").eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    estimate_memory(net, (3, 32, 32), 2)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not any(part.training for part in net.modules())


def test_auxiliary_heads_train_but_do_not_infer() -> None:
    with torch.device("meta"):
        net = build("googlenet")
    with_heads = estimate_memory(net, (3, 224, 224), 4)
    heads = 4 * sum(p.numel() for p in net.auxiliary_heads.parameters())
    assert heads > 0
    assert with_heads.gradients == 4 * sum(p.numel() for p in net.parameters())


def test_a_batch_that_cannot_train_has_no_training_memory() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    memory = estimate_memory(net, (1, 3, 3), 1)
    assert memory.training is None
    assert memory.inference > 0
    assert estimate_memory(net, (1, 3, 3), 2).training is not None
