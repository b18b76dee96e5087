"""Blocks of the kinds that people write, (N, 4, H, W) to (N, 4, h, w), for nets that are composed at random."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint
from torchvision.ops import DeformConv2d

C = 4


class Block(nn.Module):
    """A function of the maps with layers of its own."""

    def __init__(
        self, run: Callable[..., Tensor], extra_macs: Callable[[int, int], int] | None = None, **parts: Any
    ) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.run = run
        self.extra_macs = extra_macs  # of (height, width) of the input: what torch's counter leaves out

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def _weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def _conv(*arguments: Any, **settings: Any) -> nn.Conv2d:
    return nn.Conv2d(C, C, *arguments, **settings)


class _Double(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


def _tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def _maps(tokens: Tensor, x: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(x.shape)


def _patchify(b: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    x = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(n, h // 2 * (w // 2), 4 * c)
    return b.mix(x).transpose(1, 2).reshape(n, C, h // 2, w // 2)


def _hooked(b: Any, x: Tensor) -> Tensor:
    return b.inner(x)


def _hook(conv: nn.Module) -> nn.Module:
    inner = nn.Sequential(_conv(3, padding=1))
    inner.extra = conv
    inner.register_forward_hook(lambda module, _, output: module.extra(output))
    return inner


def _swin(b: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    windows = x.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 3, 5, 1).reshape(-1, 4, c)
    windows = b.attention(windows, windows, windows, need_weights=False)[0]
    return windows.view(n, h // 2, w // 2, 2, 2, c).permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def _write(b: Any, x: Tensor) -> Tensor:
    y = b.one(x)
    y[:, :2] = x[:, 1:3] * 2
    return y


def _padded_by_hand(b: Any, x: Tensor) -> Tensor:
    y = x.new_zeros(x.shape[0], x.shape[1], x.shape[2] + 2, x.shape[3] + 2)
    y[:, :, 1:-1, 1:-1] = x
    return b.conv(y)


def _mask(weight: Tensor) -> Tensor:
    mask = torch.ones_like(weight)
    mask[:, :, 2:] = 0
    return mask


def _rows(b: Any, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    return b.cell(x.mean(3).transpose(1, 2))[0].transpose(1, 2)[..., None].expand(n, c, h, w) * x


def _focus(b: Any, x: Tensor) -> Tensor:
    parts = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
    return b.mix(torch.cat(parts, 1))


def _sorted(b: Any, x: Tensor) -> Tensor:
    return x + x.sort(-1)[0]


def _grid(b: Any, x: Tensor) -> Tensor:
    theta = torch.eye(2, 3, dtype=x.dtype, device=x.device).expand(len(x), 2, 3)
    return F.grid_sample(x, F.affine_grid(theta * 0.9, list(x.shape), align_corners=False), align_corners=False)


def _queries(b: Any, x: Tensor) -> Tensor:
    seen = b.attention(b.queries.expand(len(x), -1, -1), _tokens(x), _tokens(x), need_weights=False)[0]
    return x * b.head(seen.mean(1))[:, :, None, None]


def _halves(b: Any, x: Tensor) -> Tensor:
    one, two = x.chunk(2, 1)
    return torch.cat([two, b.part(one)], 1)


def _kept_apart(b: Any, x: Tensor) -> Tensor:
    one, two = torch.cat([x, b.conv(x)], 1).chunk(2, 1)
    return one * 2 if b.first else two


def _hyper(b: Any, x: Tensor) -> Tensor:
    weights = b.make(x.mean((2, 3))).view(-1, 1, 1, 1)
    return F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights.expand(-1, 1, 3, 3), padding=1, groups=len(x) * C).view(
        x.shape
    )


def _rnn(b: Any, x: Tensor) -> Tensor:
    last = b.cell(x.permute(0, 2, 1, 3).flatten(2)[..., : 4 * C])[0][:, -1]
    return x * last[:, :C, None, None]


def _causal(b: Any, x: Tensor) -> Tensor:
    t = _tokens(x)
    return _maps(F.scaled_dot_product_attention(t, t, t, is_causal=True), x)


def _filtered(b: Any, x: Tensor) -> Tensor:
    waves = torch.fft.rfft2(x)
    return x + torch.fft.irfft2(torch.complex(waves.real.tanh(), waves.imag), s=x.shape[2:])


def _dropped_token(b: Any, x: Tensor) -> Tensor:
    tokens = torch.cat([b.token.expand(len(x), 1, -1), _tokens(x)], 1)
    tokens = tokens + b.attention(tokens, tokens, tokens, need_weights=False)[0]
    return _maps(tokens[:, 1:], x)


def _attention(width: int = C) -> nn.MultiheadAttention:
    return nn.MultiheadAttention(width, 2, batch_first=True)


def _deform_macs(high: int, wide: int) -> int:
    return high * wide * C * C * 9


def _masked_softmax(b: Any, x: Tensor) -> Tensor:
    mask = torch.ones(x.shape[3], x.shape[3], dtype=x.dtype, device=x.device).tril().log()
    return x * (x.mean((1, 2))[:, None] + mask).softmax(2).mean(1)[:, None, None]


def _rows_alone(b: Any, x: Tensor) -> Tensor:
    rows = b.c(x.permute(0, 2, 1, 3).flatten(0, 1))
    return rows.view(len(x), -1, *x.shape[1::2]).transpose(1, 2)


Make = Callable[[random.Random], Block]
KINDS: dict[str, Make] = {
    "conv": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, padding=d.choice([0, 1]))),
    "conv5": lambda d: Block(lambda b, x: b.c(x), c=_conv((5, 1), padding=(2, 0), bias=False)),
    "conv1": lambda d: Block(lambda b, x: b.c(x), c=_conv(1)),
    "strided": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, stride=2, padding=1)),
    "dilated": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, padding=2, dilation=2)),
    "depthwise": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, padding=1, groups=C)),
    "grouped": lambda d: Block(lambda b, x: b.c(x).tanh(), c=_conv(3, padding=1, groups=2)),
    "transposed": lambda d: Block(lambda b, x: b.c(x), c=nn.ConvTranspose2d(C, C, *d.choice([(2, 2), (4, 2, 1)]))),  # type: ignore[arg-type]
    "functional": lambda d: Block(lambda b, x: F.conv2d(x, b.w, padding=1), w=_weight(C, C, 3, 3)),
    "residual": lambda d: Block(lambda b, x: F.silu(x + b.c(b.n(x))), c=_conv(3, padding=1), n=nn.BatchNorm2d(C)),
    "max": lambda d: Block(lambda b, x: F.max_pool2d(x, 2)),
    "average": lambda d: Block(lambda b, x: F.avg_pool2d(x, 3, 2, 1)),
    "adaptive": lambda d: Block(lambda b, x: F.adaptive_avg_pool2d(x, (x.shape[2] // 2, x.shape[3] // 2))),
    "nearest": lambda d: Block(lambda b, x: F.interpolate(x, scale_factor=2)),
    "exact": lambda d: Block(lambda b, x: F.interpolate(x, scale_factor=2, mode="nearest-exact")),
    "bilinear": lambda d: Block(lambda b, x: F.interpolate(x, scale_factor=2, mode="bilinear")),
    "antialias": lambda d: Block(lambda b, x: F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)),
    "oddscale": lambda d: Block(lambda b, x: F.interpolate(x, scale_factor=1.3)),
    "repeat": lambda d: Block(lambda b, x: x.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    "shuffle": lambda d: Block(lambda b, x: F.pixel_shuffle(b.c(x), 2), c=nn.Conv2d(C, 4 * C, 1)),
    "unshuffle": lambda d: Block(lambda b, x: b.c(F.pixel_unshuffle(x, 2)), c=nn.Conv2d(4 * C, C, 1)),
    "patchify": lambda d: Block(_patchify, mix=nn.Linear(4 * C, C)),
    "focus": lambda d: Block(_focus, mix=nn.Conv2d(4 * C, C, 1)),
    "slice": lambda d: Block(lambda b, x: x[:, :, 1::2, ::2]),
    "shifted": lambda d: Block(lambda b, x: x[:, :, 2:] + x[:, :, :-2] * 2),
    "flip": lambda d: Block(lambda b, x: x.flip(2)),
    "flipsum": lambda d: Block(lambda b, x: x + x.flip(3)),
    "rot": lambda d: Block(lambda b, x: x.rot90(1, (2, 3))),
    "transpose": lambda d: Block(lambda b, x: b.c(x).transpose(2, 3), c=_conv((3, 1), padding=(1, 0))),
    "roll": lambda d: Block(lambda b, x: x.roll(3, 2)),
    "circular": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, padding=1, padding_mode="circular")),
    "reflect": lambda d: Block(lambda b, x: b.c(x), c=_conv(3, padding=1, padding_mode="reflect")),
    "einsum": lambda d: Block(lambda b, x: torch.einsum("bchw,cd->bdhw", x, b.w), w=_weight(C, C)),
    "gram": lambda d: Block(lambda b, x: x * torch.einsum("bchw,bdhw->bcd", x, x).mean(2)[..., None, None]),
    "left": lambda d: Block(lambda b, x: (b.w @ x.flatten(2)).view(x.shape), w=_weight(C, C)),
    "bmm": lambda d: Block(
        lambda b, x: torch.bmm(b.w.expand(len(x), C, C), x.flatten(2)).view(x.shape), w=_weight(C, C)
    ),
    "outer": lambda d: Block(lambda b, x: x.mean(3, keepdim=True) @ x.mean(2, keepdim=True)),
    "channels_last": lambda d: Block(
        lambda b, x: b.m(b.n(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2), m=nn.Linear(C, C), n=nn.LayerNorm(C)
    ),
    "groupnorm": lambda d: Block(lambda b, x: b.n(x), n=nn.GroupNorm(2, C)),
    "instancenorm": lambda d: Block(lambda b, x: b.n(x), n=nn.InstanceNorm2d(C)),
    "layernorm": lambda d: Block(lambda b, x: F.layer_norm(x, x.shape[1:])),
    "batchnorm": lambda d: Block(lambda b, x: b.n(x), n=nn.BatchNorm2d(C)),
    "response": lambda d: Block(lambda b, x: F.local_response_norm(x, 3)),
    "gate": lambda d: Block(lambda b, x: x * b.m(x.mean((2, 3))).sigmoid()[..., None, None], m=nn.Linear(C, C)),
    "spatial_gate": lambda d: Block(
        lambda b, x: x * b.c(torch.stack([x.mean(1), x.amax(1)], 1)).sigmoid(), c=nn.Conv2d(2, 1, 3, padding=1)
    ),
    "branches": lambda d: Block(
        lambda b, x: torch.cat([b.a(x), b.c(x)[:, :2]], 1), a=nn.Conv2d(C, 2, 5, padding=2), c=_conv(3, padding=1)
    ),
    "halves": lambda d: Block(_halves, part=nn.Conv2d(2, 2, 3, padding=1)),
    "apart": lambda d: Block(_kept_apart, conv=_conv(3, padding=1), first=d.random() < 0.5),
    "joined_rows": lambda d: Block(lambda b, x: b.c(torch.cat(x.chunk(2, 2), 2)), c=_conv(3, padding=1)),
    "swapped_rows": lambda d: Block(lambda b, x: torch.cat(x.chunk(2, 2)[::-1], 2)),
    "channel_shuffle": lambda d: Block(
        lambda b, x: F.channel_shuffle(torch.cat([x[:, :2], b.h(x[:, 2:])], 1), 2), h=nn.Conv2d(2, 2, 3, padding=1)
    ),
    "attention": lambda d: Block(
        lambda b, x: x + _maps(b.attention(_tokens(x), _tokens(x), _tokens(x))[0], x), attention=_attention()
    ),
    "sdpa": lambda d: Block(lambda b, x: _maps(F.scaled_dot_product_attention(*[_tokens(x)] * 3), x)),  # type: ignore[arg-type]
    "causal": lambda d: Block(_causal),
    "swin": lambda d: Block(_swin, attention=_attention()),
    "token": lambda d: Block(_dropped_token, attention=_attention(), token=_weight(1, 1, C)),
    "queries": lambda d: Block(_queries, attention=_attention(), queries=_weight(1, 3, C), head=nn.Linear(C, C)),
    "encoder": lambda d: Block(
        lambda b, x: _maps(b.e(_tokens(x)), x), e=nn.TransformerEncoderLayer(C, 2, 8, batch_first=True)
    ),
    "fourier": lambda d: Block(_filtered),
    "fourier_rows": lambda d: Block(lambda b, x: x + torch.fft.fft(x, dim=3).abs()),
    "deform": lambda d: Block(
        lambda b, x: b.d(x, b.o(x)), _deform_macs, o=nn.Conv2d(C, 18, 3, padding=1), d=DeformConv2d(C, C, 3, padding=1)
    ),
    "unfold": lambda d: Block(lambda b, x: b.m(_tokens_of(x)).transpose(1, 2).reshape(x.shape), m=nn.Linear(9 * C, C)),
    "fold": lambda d: Block(lambda b, x: F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)),
    "method_unfold": lambda d: Block(lambda b, x: F.pad(x, (1, 1, 1, 1)).unfold(2, 3, 1).unfold(3, 3, 1).mean((4, 5))),
    "conv1d": lambda d: Block(lambda b, x: b.c(x.flatten(2)).view(x.shape), c=nn.Conv1d(C, C, 3, padding=1)),
    "conv1d_rows": lambda d: Block(_rows_alone, c=nn.Conv1d(C, C, 3, padding=1)),
    "conv3d": lambda d: Block(lambda b, x: b.c(x.unsqueeze(1)).squeeze(1), c=nn.Conv3d(1, 1, 3, padding=1)),
    "cumsum": lambda d: Block(lambda b, x: x.cumsum(2)),
    "sort": lambda d: Block(_sorted),
    "index": lambda d: Block(lambda b, x: x[:, [3, 1, 0, 2]]),
    "index_rows": lambda d: Block(lambda b, x: x[:, :, torch.arange(x.shape[2] - 1, -1, -1)]),
    "grid": lambda d: Block(_grid),
    "softmax": lambda d: Block(lambda b, x: x * x.softmax(1)),
    "softmax_space": lambda d: Block(lambda b, x: x * x.flatten(2).softmax(2).view(x.shape)),
    "masked_softmax": lambda d: Block(_masked_softmax),
    "where": lambda d: Block(lambda b, x: torch.where(x > 0, x, b.c(x)), c=_conv(3, padding=1)),
    "checkpoint": lambda d: Block(lambda b, x: checkpoint(b.c, x, use_reentrant=False), c=_conv(3, padding=1)),
    "function": lambda d: Block(lambda b, x: _Double.apply(x)),
    "complex": lambda d: Block(lambda b, x: torch.view_as_real(torch.complex(x, x * 2) * 1j)[..., 0] + x),
    "hyper": lambda d: Block(_hyper, make=nn.Linear(C, C)),
    "weight_norm": lambda d: Block(lambda b, x: b.c(x), c=parametrizations.weight_norm(_conv(3, padding=1))),
    "twice": lambda d: Block(lambda b, x: b.c(b.c(x)), c=_conv(3, padding=1)),
    "hook": lambda d: Block(_hooked, inner=_hook(_conv(1))),
    "written": lambda d: Block(_write, one=_conv(3, padding=1)),
    "pad_by_hand": lambda d: Block(_padded_by_hand, conv=_conv(3)),
    "masked_weight": lambda d: Block(lambda b, x: F.conv2d(x, b.w * _mask(b.w), padding=1), w=_weight(C, C, 3, 3)),
    "rows": lambda d: Block(_rows, cell=nn.GRU(C, C, batch_first=True)),
    "lstm": lambda d: Block(_rnn, cell=nn.LSTM(4 * C, C, batch_first=True, bidirectional=True)),
    "prelu": lambda d: Block(lambda b, x: b.p(x), p=nn.PReLU(C)),
    "glu": lambda d: Block(lambda b, x: F.glu(b.c(x), 1), c=nn.Conv2d(C, 2 * C, 3, padding=1)),
    "positions": lambda d: Block(lambda b, x: x + torch.linspace(0, 1, x.shape[3], dtype=x.dtype, device=x.device)),
    "coordinates": lambda d: Block(
        lambda b, x: b.c(torch.cat([x, x.new_ones(len(x), 1, *x.shape[2:])], 1)), c=nn.Conv2d(C + 1, C, 3, padding=1)
    ),
    "low_rank": lambda d: Block(
        lambda b, x: F.conv2d(x, (b.u @ b.v)[..., None, None]), u=_weight(C, 2), v=_weight(2, C)
    ),
    "strip": lambda d: Block(lambda b, x: x + x[:, :, :1].mean(3, keepdim=True)),
    "topk": lambda d: Block(lambda b, x: x * x.flatten(2).topk(3)[0].mean(2)[..., None, None]),
    "tile": lambda d: Block(lambda b, x: x.repeat(1, 1, 2, 1)[:, :, : x.shape[2] + 2]),
    "lp": lambda d: Block(lambda b, x: F.lp_pool2d(x, 2.0, 2)),
    "normalize": lambda d: Block(lambda b, x: F.normalize(x, dim=1)),
    "standardise": lambda d: Block(lambda b, x: (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)),
}


def _tokens_of(x: Tensor) -> Tensor:
    return F.unfold(x, 3, padding=1).transpose(1, 2)


class RandomNet(nn.Module):
    """Blocks one after the other; after the last a head of three classes. Sizes stay even and between 8 and 64."""

    def __init__(self, seed: int, side: int, kinds: list[str] | None = None) -> None:
        super().__init__()
        draw = random.Random(seed)
        torch.manual_seed(seed)
        self.kinds: list[str] = []
        self.blocks = nn.ModuleList()
        self.uncounted = 0
        """MACs that torch's counter leaves out."""
        wanted = list(kinds) if kinds else [draw.choice(list(KINDS)) for _ in range(draw.randint(2, 4))]
        x = torch.zeros(1, 3, side, side)
        self.stem = nn.Conv2d(3, C, 3, padding=1)
        x = self.stem(x)
        for kind in wanted:
            block = KINDS[kind](draw)
            with torch.no_grad():
                y = block.eval()(x)
            if (
                min(y.shape[2:]) < 8
                or max(y.shape[2:]) > 2 * side
                or (len(wanted) > 1 and any(n % 4 for n in y.shape[2:]))
            ):
                continue  # sizes that the next block may not take
            self.kinds.append(kind)
            self.blocks.append(block)
            self.uncounted += block.extra_macs(*x.shape[2:]) if block.extra_macs else 0
            x = y
        self.head = nn.Linear(C, 3)

    def maps(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        found = []
        for block in self.blocks:
            x = block(x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(x)
        return self.head((maps[-1] if maps else self.stem(x)).mean((2, 3)))
