"""What the two papers on residual nets share: the block, the shortcut without parameters, the convolutions of a block."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """relu(body(x) + shortcut(x)). (N, C, H, W) -> (N, C', H/stride, W/stride)."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return y


class ZeroPadShortcut(nn.Module):
    """Option A: every stride-th pixel, with zeros as new channels. (N, inputs, H, W) -> (N, channels, H/stride, W/stride)."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.zeros = channels - inputs

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.zeros))


def convolutions(width: int, stride: int, bottleneck: bool, stride_on_3x3: bool = False) -> list[tuple[int, int, int]]:
    """(kernel, channels, stride) of a block's convolutions: two 3x3, or a bottleneck that leaves four times `width`."""
    if not bottleneck:
        return [(3, width, stride), (3, width, 1)]
    strides = (1, stride) if stride_on_3x3 else (stride, 1)
    return [(1, width, strides[0]), (3, width, strides[1]), (1, 4 * width, 1)]
