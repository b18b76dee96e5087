"""Small nets of kinds that people write, for images 3x32x32 and ten classes, and a look at a module that tells any change."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import weakref
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations


def head(channels: int, classes: int = 10) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


class Base(nn.Module):
    """A convolution, something between, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3)
        self.h = head(8)

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(self.between(self.c(x)))


class CachesTable(Base):
    """Makes a table on first use, and multiplies by it, so that autograd keeps it."""

    table = None

    def between(self, x: torch.Tensor) -> torch.Tensor:
        if self.table is None:
            self.table = torch.linspace(0, 1, x.shape[-1], device=x.device).expand(x.shape[-2], -1).clone()
        return x * self.table


class CachesInDict(Base):
    def __init__(self) -> None:
        super().__init__()
        self.tables = {}  # type: ignore[var-annotated]

    def between(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[-1] not in self.tables:
            self.tables[x.shape[-1]] = torch.ones(x.shape[-2:], device=x.device)
        return x + self.tables[x.shape[-1]]


class CachesOnClass(Base):
    shared: dict[Any, torch.Tensor] = {}  # noqa: RUF012  # type: ignore[type-arg]
    calls = 0

    def between(self, x: torch.Tensor) -> torch.Tensor:
        type(self).calls += 1
        return x + self.shared.setdefault(tuple(x.shape), torch.zeros(x.shape[-2:], device=x.device))


GLOBAL_TABLES: dict[int, torch.Tensor] = {}


@functools.lru_cache
def table(height: int, width: int, device: torch.device) -> torch.Tensor:
    return torch.zeros(height, width, device=device)


class CachesInGlobals(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        GLOBAL_TABLES.setdefault(x.shape[-1], torch.zeros(x.shape[-2:], device=x.device))
        return x + GLOBAL_TABLES[x.shape[-1]] + table(*x.shape[-2:], x.device)


class Counts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("n", torch.zeros(()))
        self.calls, self.seen, self.last = 0, [], None  # type: ignore[var-annotated]

    def between(self, x: torch.Tensor) -> torch.Tensor:
        self.n += 1  # type: ignore[assignment, operator]
        self.calls += 1
        self.seen.append(tuple(x.shape))
        self.last = x  # type: ignore[assignment]
        return x


class HooksOnItself(Base):
    """Hooks and lambdas that close over the module: a copy that kept them would change the original."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.c.register_forward_hook(lambda module, given, out: self.bump(out))
        self.bound, self.partial = self.bump, functools.partial(self.bump)

    def bump(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.partial(self.bound(x))


class PatchedForward(Base):
    def __init__(self) -> None:
        super().__init__()
        plain, self.count = self.forward, [0]

        def counting(x: torch.Tensor) -> torch.Tensor:
            self.count[0] += 1
            return plain(x)

        self.forward = counting  # type: ignore[method-assign]


class Locks(Base):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.condition = threading.RLock(), threading.Condition()

    def between(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return x


class HoldsFile(Base):
    """An open file that forward does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.file, self.numbers = Path(__file__).open("rb"), (i for i in range(3))  # noqa: SIM115
        weakref.finalize(self, self.file.close)


class UsesGenerator(Base):
    def __init__(self) -> None:
        super().__init__()
        self.numbers = (i for i in range(1000))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x + next(self.numbers)


class HoldsOperators(Base):
    """torch's operators answer to any attribute, with another one: a copy of one never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.act, self.overload = torch.ops.aten.relu, torch.ops.aten.relu.default

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.overload(self.act(x))


class NonLeaf(Base):
    def __init__(self) -> None:
        super().__init__()
        self.twice = self.c.weight * 2

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.twice.mean().detach()


class OwnDeepcopy(Base):
    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise RuntimeError("not to be copied")


class SharesParent(nn.Module):
    """A child that knows its parent, one strongly by a list, one weakly."""

    class Child(nn.Module):
        def __init__(self, parent: nn.Module) -> None:
            super().__init__()
            self.parent, self.weak = [parent], weakref.ref(parent)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.weak().calls += 1  # type: ignore[operator, union-attr]
            return self.parent[0].h(x)  # type: ignore[operator]

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.c, self.h = 0, nn.Conv2d(3, 8, 3), head(8)
        self.child = self.Child(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.child(self.c(x))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.d = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.d.weight, self.row, self.h = self.c.weight, self.c.weight.data[0], head(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(self.d(self.c(x).relu()))


class WeightNorms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        self.b = parametrizations.spectral_norm(nn.Conv2d(8, 8, 3))
        self.d = nn.utils.spectral_norm(nn.Conv2d(8, 8, 3))
        self.h = head(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(self.d(self.b(self.a(x).relu()).relu()))


class WeightStandardised(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        deviation = self.weight.std((1, 2, 3), keepdim=True) + 1e-5
        return self._conv_forward(x, (self.weight - mean) / deviation, self.bias)


class Standardised(Base):
    def __init__(self) -> None:
        super().__init__()
        self.c = WeightStandardised(3, 8, 3)


class AsksItsWeights(Base):
    """`.item()` of a buffer and a number of a parameter: known without any image."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("times", torch.tensor(2))
        self.scale = nn.Parameter(torch.ones(()))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(int(self.times.item())):  # type: ignore[operator]
            x = x.relu()
        return x * 2 if self.scale > 0 else x


class Recurrent(nn.Module):
    def __init__(self, kind: Callable[..., nn.Module] = nn.LSTM) -> None:
        super().__init__()
        self.l, self.h = kind(96, 16, batch_first=True), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.h(self.l(x.permute(0, 2, 1, 3).flatten(2))[0][:, -1])


class LearnedQueries(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.p, self.q, self.h = nn.Conv2d(3, 32, 8, 8), nn.Parameter(torch.randn(1, 5, 32)), nn.Linear(32, 10)
        self.d = nn.TransformerDecoderLayer(32, 4, 64, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.p(x).flatten(2).transpose(1, 2)
        return self.h(self.d(self.q.expand(len(x), -1, -1), x).mean(1))


@dataclass
class Out:
    logits: torch.Tensor
    maps: torch.Tensor
    loss: torch.Tensor | None = None


Named = namedtuple("Named", "logits maps")


class Gives(Base):
    """Answers in the way that `how` says."""

    def __init__(self, how: Callable[..., Any]) -> None:
        super().__init__()
        self.how = how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.c(x)
        y = self.h(x)
        return self.how(y, x)


class Conditional(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() if x.sum() > 0 else x.tanh()


class Items(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x / x.abs().max().item()


class ThroughNumpy(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_numpy(np.sort(x.detach().numpy(), -1))


class Experts(Base):
    """A mixture of experts that chooses rows by a mask."""

    def between(self, x: torch.Tensor) -> torch.Tensor:
        chosen = x.mean((1, 2, 3)) > 0
        out = x.clone()
        out[chosen] = x[chosen] * 2
        return out


class SoftExperts(Base):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(8, 2), nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.gate(x.mean((2, 3))).softmax(1)
        return sum(weights[:, i, None, None, None] * expert(x) for i, expert in enumerate(self.experts))


class FixedBatch(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(4, 8, *x.shape[2:])


class TwoInputs(Base):
    def forward(self, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x + other)


class KeywordOnly(Base):
    def forward(self, x: torch.Tensor, *, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x * mask)


class Prints(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        print("shape", x.shape)
        return x


class Raises(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("the image is upside down")


class NoForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 8, 3)


class NoParameters(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.l = nn.Conv2d(3, 8, 3, dtype=torch.complex64), nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.l(self.c(x.to(torch.complex64)).abs().mean((2, 3)))


class Autocast(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(x)


class Draws(Base):
    """Random numbers from three generators, whatever the mode."""

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(()) + np.random.rand() + torch.rand_like(x) * 0  # noqa: NPY002


class InPlace(Base):
    def between(self, x: torch.Tensor) -> torch.Tensor:
        x[:, 0] = 0
        return x.add_(1).relu_()


class SqueezeExcite(Base):
    def __init__(self) -> None:
        super().__init__()
        self.se = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.se(x)


class Siamese(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = self.c(x[..., :16]), self.c(x[..., 16:])
        return self.h((left - right).abs())


class Hypernetwork(Base):
    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(4, 8 * 8)
        self.code = nn.Parameter(torch.randn(4))

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.make(self.code).view(8, 8, 1, 1))


class Ode(Base):
    def __init__(self) -> None:
        super().__init__()
        self.f = nn.Conv2d(8, 8, 3, padding=1)
        self.evaluations = 0

    def between(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            self.evaluations += 1
            x = x + 0.1 * self.f(x).tanh()
        return x


class Capsules(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 16, 9, 4)
        self.w = nn.Parameter(torch.randn(36 * 2, 10, 4, 8) * 0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u = self.c(x).flatten(2).reshape(len(x), -1, 8)
        votes = torch.einsum("nco,bcij->bnci" if False else "ncij,bnj->bnci", self.w, u)
        logits = torch.zeros(votes.shape[:3], device=x.device)
        for _ in range(2):
            v = (logits.softmax(2)[..., None] * votes).sum(1)
            logits = logits + (votes * v[:, None]).sum(-1)
        return v.norm(dim=-1)


class OwnTrain(Base):
    """Keeps its first layer in eval mode, as frozen batch norm does."""

    def __init__(self) -> None:
        super().__init__()
        self.n = nn.BatchNorm2d(8)
        self.modes: list[bool] = []

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.n.eval()
        return self

    def between(self, x: torch.Tensor) -> torch.Tensor:
        return self.n(x)


class Discriminator(nn.Module):
    """DCGAN's, with a 1x1 map of ten at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 4, 2, 1), nn.LeakyReLU(0.2, True), nn.Conv2d(8, 16, 4, 2, 1, bias=False), nn.BatchNorm2d(16),
            nn.LeakyReLU(0.2, True), nn.AdaptiveAvgPool2d(4), nn.Conv2d(16, 10, 4),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def compiled_inside() -> nn.Module:
    net = Base()
    net.h = torch.compile(net.h)  # type: ignore[assignment]
    return net


def scripted() -> Any:
    return torch.jit.trace(Base().eval(), torch.zeros(1, 3, 32, 32))  # type: ignore[no-untyped-call]


def exported() -> nn.Module:
    return torch.export.export(Base().eval(), (torch.zeros(1, 3, 32, 32),)).module()


def frozen() -> nn.Module:
    net = Base()
    net.c.requires_grad_(False)
    net.c.weight.grad = torch.ones_like(net.c.weight)
    return net


READ = {
    "caches a table": CachesTable, "caches in a dict": CachesInDict, "caches on its class": CachesOnClass,
    "caches in globals": CachesInGlobals, "counts": Counts, "hooks on itself": HooksOnItself, "patched": PatchedForward,
    "locks": Locks, "holds a file": HoldsFile, "holds operators": HoldsOperators, "non-leaf": NonLeaf,
    "own deepcopy": OwnDeepcopy, "knows its parent": SharesParent,
    "tied": Tied, "weight norms": WeightNorms, "standardised": Standardised, "asks its weights": AsksItsWeights,
    "LSTM": Recurrent, "GRU": lambda: Recurrent(nn.GRU), "learned queries": LearnedQueries, "soft experts": SoftExperts,
    "dataclass": lambda: Gives(Out), "named tuple": lambda: Gives(Named),
    "dict": lambda: Gives(lambda y, x: OrderedDict(maps=x, logits=y)), "prints": Prints, "in place": InPlace,
    "squeeze-excite": SqueezeExcite, "siamese": Siamese, "hypernetwork": Hypernetwork, "ODE": Ode, "capsules": Capsules,
    "own train": OwnTrain, "autocast": Autocast, "draws": Draws, "frozen": frozen,
    "compiled": lambda: torch.compile(Base()), "compiled inside": compiled_inside, "parallel": lambda: nn.DataParallel(Base()),
}  # fmt: skip
"""They are inspected and trained."""

REFUSED = {
    "conditional": (Conditional, r"reads values", r"reads values"),
    "items": (Items, r"reads values", r"reads values"),
    "numpy": (ThroughNumpy, r"reads values", r"reads values"),
    "experts by mask": (Experts, r"reads values", r"reads values"),
    "generator": (UsesGenerator, r"uses a generator, which cannot be copied", r"uses a generator"),
    "fixed batch": (FixedBatch, r"takes 4 images at a time and no other number", r"takes 4 images at a time"),
    "two inputs": (TwoInputs, r"needs other besides the image", r"needs other besides"),
    "keyword only": (KeywordOnly, r"needs mask besides the image", r"needs mask besides"),
    "raises": (Raises, r"raises ValueError: the image is upside down", r"upside down"),
    "no forward": (NoForward, r"has no forward method", r"has no forward method"),
    "None": (lambda: Gives(lambda y, x: None), r"gives None", r"gives None"),
    "tuple": (lambda: Gives(lambda y, x: (y, x)), None, r"gives a tuple of 2 things"),
    "dict without logits": (lambda: Gives(lambda y, x: {"a": y, "b": x}), None, r"gives a dict of a, b"),
    "no parameters": (NoParameters, None, r"no weights to train"),
    "discriminator": (Discriminator, None, r"10x1x1 an image.*End it with nn.Flatten"),
    "complex": (Complex, None, r"has complex weights \(c.weight, c.bias\): it can be inspected, but not trained"),
    "float64": (lambda: Base().double(), None, r"weights are torch.float64.*net.float\(\)"),
    "half": (lambda: Base().half(), None, r"weights are torch.float16.*net.float\(\)"),
    "scripted": (scripted, None, None),
    "exported": (exported, None, r"exported program"),
}  # fmt: skip
"""How it is made, why it is not inspected, why it is not trained; None where it is."""


def snapshot(module: nn.Module) -> Any:
    """Everything that can be seen of a module, its class and the generators, in values that compare bit for bit."""
    seen: dict[int, int] = {}

    def look(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            if id(value) in seen:
                return ("again", seen[id(value)])
            seen[id(value)] = len(seen)
            bits = (
                value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
            )
            grad = None if not value.is_leaf or value.grad is None else look(value.grad)
            return (
                id(value),
                value.device,
                value.dtype,
                tuple(value.shape),
                value.stride(),
                value.requires_grad,
                bits,
                grad,
            )
        if isinstance(value, bool | int | float | str | bytes | type(None)):
            return value
        if id(value) in seen:
            return ("again", seen[id(value)])
        seen[id(value)] = len(seen)
        if isinstance(value, dict):
            return (id(value), type(value), [(look(key), look(item)) for key, item in value.items()])
        if isinstance(value, list | tuple):
            return (id(value), type(value), [look(item) for item in value])
        if isinstance(value, set | frozenset):
            return (id(value), type(value), sorted(map(repr, value)))
        inside = look(vars(value)) if isinstance(value, nn.Module) else ()
        return (id(value), type(value), inside)

    known = {name: look(value) for name, value in vars(type(module)).items() if not name.startswith("__")}
    with contextlib.suppress(TypeError):
        known |= {"names": list(module.state_dict())}
    outside = (look(GLOBAL_TABLES), table.cache_info().currsize)
    numpy_state: Any = np.random.get_state()  # noqa: NPY002
    drawn = (torch.get_rng_state().numpy().tobytes(), numpy_state[1].tobytes(), numpy_state[2], random.getstate())
    return look(module), known, outside, drawn
