"""The size calculator: what a convolution makes of a length, the sum spelled out, and other settings that make the same."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from striate.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Kernel, stride, padding and dilation of a convolution or a pool along one axis, in pixels."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    @property
    def span(self) -> int:
        """Pixels from its first tap to its last."""
        return self.dilation * (self.kernel - 1) + 1

    def size(self, length: int, ceil_mode: bool = False) -> int:
        """Output length; 0 or less where the window does not fit.

        In ceil mode it is rounded up, and a last window that would begin outside is left out.
        """
        room = length - self.span + 2 * self.padding
        if not ceil_mode:
            return room // self.stride + 1
        size = -(-room // self.stride) + 1
        return size - ((size - 1) * self.stride >= length + self.padding)

    def transposed_size(self, length: int, output_padding: int = 0) -> int:
        """Output length of a transposed convolution."""
        return (length - 1) * self.stride - 2 * self.padding + self.span + output_padding

    def sum(self, length: int, *, ceil_mode: bool = False) -> str:
        """`floor((227 - 11 + 2*0) / 4) + 1 = 55`"""
        steps, size = (
            f"({length} - {self._spelled_span} + 2*{self.padding}) / {self.stride}",
            self.size(length, ceil_mode),
        )
        if not ceil_mode:
            return f"floor({steps}) + 1 = {size}"
        rounded = -(-(length - self.span + 2 * self.padding) // self.stride) + 1
        more = f", but the last window would begin outside: {size}" if size < rounded else ""
        return f"ceil({steps}) + 1 = {rounded}{more}"

    def transposed_sum(self, length: int, output_padding: int = 0) -> str:
        """`(13 - 1)*2 - 2*1 + 3 = 25`"""
        more = f" + {output_padding}" if output_padding else ""
        size = self.transposed_size(length, output_padding)
        return f"({length} - 1)*{self.stride} - 2*{self.padding} + {self._spelled_span}{more} = {size}"

    @property
    def _spelled_span(self) -> str:
        return str(self.kernel) if self.dilation == 1 else f"({self.dilation}*({self.kernel} - 1) + 1)"

    def __str__(self) -> str:
        text = f"kernel {self.kernel}, stride {self.stride}, padding {self.padding}"
        return text + (f", dilation {self.dilation}" if self.dilation != 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSum:
    """The calculation of one convolution along one axis."""

    input: int
    setting: Window
    transposed: bool
    output: int
    sum: str
    """`floor((227 - 11 + 2*0) / 4) + 1 = 55`"""
    unused: int
    """Pixels at the end that no window reaches, because the stride does not divide the size evenly; 0 if transposed."""
    same_padding: int | None
    """Padding that keeps the size at stride 1: (window - 1) / 2; None where that is no whole number."""
    same_size: tuple[Window, ...]
    """Other usual settings that make the same output of the same input, nearest first."""

    def __str__(self) -> str:
        lines = [f"{self.input} -> {self.output}", f"  {self.sum}"]
        if self.unused:
            pixels = "the last pixel is" if self.unused == 1 else f"the last {self.unused} pixels are"
            lines.append(
                f"  {pixels} not read by any window: the stride of {self.setting.stride} does not divide the size evenly"
            )
        if self.same_padding is not None and not self.transposed:
            lines.append(f"  padding {self.same_padding} would keep the size at stride 1")
        if self.same_size:
            lines += [f"The same size from {self.input}:", *(f"  {setting}" for setting in self.same_size)]
        return "\n".join(lines)


def conv_sizes(
    input: int, kernel: int, stride: int = 1, padding: int = 0, *, dilation: int = 1, transposed: bool = False
) -> SizeSum:
    """The output length of a convolution (or of a pool, by the same sum) on an input of `input` pixels.

    Raises:
        UsageError: a number out of range, or a window wider than the padded input.
    """
    for name, value, least in (
        ("input", input, 1), ("kernel", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
    ):  # fmt: skip
        if value < least:
            raise UsageError(f"{name} must be at least {least}, got {value}")
    window = Window(kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    padded = input + 2 * padding
    if not transposed and window.span > padded:
        raise UsageError(
            f"a window of {window.span} pixels does not fit into {input} + 2*{padding} = {padded}: use a kernel of at most "
            f"{(padded - 1) // dilation + 1}, or a padding of at least {-(-(window.span - input) // 2)}"
        )
    output = window.transposed_size(input) if transposed else window.size(input)
    spelled = window.transposed_sum(input) if transposed else window.sum(input)
    if output < 1:
        raise UsageError(f"nothing remains: {spelled}; use less padding")
    return SizeSum(
        input=input,
        setting=window,
        transposed=transposed,
        output=output,
        sum=spelled,
        unused=0 if transposed else max(0, input + padding - (output - 1) * stride - window.span),
        same_padding=(window.span - 1) // 2 if window.span % 2 else None,
        same_size=_alternatives(input, window, transposed, output),
    )


def _alternatives(length: int, window: Window, transposed: bool, output: int, most: int = 8) -> tuple[Window, ...]:
    """Usual settings: kernels of 1 to 11, strides to 8, at most half a window of padding (torch's own limit for pools)."""
    same = []
    for kernel, stride in product(range(1, 12), range(1, 9)):
        for padding in range(kernel // 2 + 1) if stride <= kernel else ():
            other = Window(kernel=kernel, stride=stride, padding=padding, dilation=window.dilation)
            fits = transposed or other.span <= length + 2 * padding
            size = other.transposed_size(length) if transposed else other.size(length)
            if other != window and fits and size == output:
                same.append(other)

    def distance(other: Window) -> tuple[int, int, int]:
        changed = (other.stride != window.stride, other.kernel != window.kernel, other.padding != window.padding)
        return (sum(changed), abs(other.stride - window.stride), abs(other.kernel - window.kernel))

    return tuple(sorted(same, key=distance)[:most])
