"""The size calculator: what a convolution makes of a length, the sum spelled out, and other settings that make the same."""

from __future__ import annotations

from dataclasses import dataclass

from striate.errors import UsageError


def convolution_size(length: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Output length of a convolution or a pool; 0 or less where the window does not fit."""
    return (length - dilation * (kernel - 1) - 1 + 2 * padding) // stride + 1


def transposed_size(
    length: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Output length of a transposed convolution."""
    return (length - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def convolution_sum(length: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> str:
    """`floor((227 - 11 + 2*0) / 4) + 1 = 55`"""
    window = str(kernel) if dilation == 1 else f"({dilation}*({kernel} - 1) + 1)"
    size = convolution_size(length, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    return f"floor(({length} - {window} + 2*{padding}) / {stride}) + 1 = {size}"


def pool_sum(
    length: int, *, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil_mode: bool = False
) -> str:
    """As a convolution's; rounded up in ceil mode, where a last window that would begin outside is left out."""
    settings = {"kernel": kernel, "padding": padding, "dilation": dilation}
    if not ceil_mode:
        return convolution_sum(length, stride=stride, **settings)
    window = str(kernel) if dilation == 1 else f"({dilation}*({kernel} - 1) + 1)"
    size = -(-(length - dilation * (kernel - 1) - 1 + 2 * padding) // stride) + 1
    text = f"ceil(({length} - {window} + 2*{padding}) / {stride}) + 1 = {size}"
    if (size - 1) * stride >= length + padding:
        text += f", but the last window would begin outside: {size - 1}"
    return text


def transposed_sum(
    length: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> str:
    """`(13 - 1)*2 - 2*1 + 3 = 25`"""
    window = str(kernel) if dilation == 1 else f"({dilation}*({kernel} - 1) + 1)"
    more = f" + {output_padding}" if output_padding else ""
    size = transposed_size(
        length, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output_padding=output_padding
    )
    return f"({length} - 1)*{stride} - 2*{padding} + {window}{more} = {size}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Kernel, stride, padding and dilation of a convolution."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __str__(self) -> str:
        text = f"kernel {self.kernel}, stride {self.stride}, padding {self.padding}"
        return text + (f", dilation {self.dilation}" if self.dilation != 1 else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeSum:
    """What the calculator says about one convolution along one axis."""

    input: int
    setting: Setting
    transposed: bool
    output: int
    sum: str
    """`floor((227 - 11 + 2*0) / 4) + 1 = 55`"""
    unused: int
    """Pixels at the end that no window reaches, because the stride does not divide evenly; 0 if transposed."""
    same_padding: int | None
    """Padding that keeps the size at stride 1: (window - 1) / 2; None where that is no whole number."""
    same_size: tuple[Setting, ...]
    """Other usual settings that make the same output of the same input, nearest first."""

    def __str__(self) -> str:
        lines = [f"{self.input} -> {self.output}", f"  {self.sum}"]
        if self.unused:
            pixels = "the last pixel is" if self.unused == 1 else f"the last {self.unused} pixels are"
            lines.append(f"  {pixels} read by no window: the stride of {self.setting.stride} does not divide evenly")
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
    setting = Setting(kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    window = dilation * (kernel - 1) + 1
    if not transposed and window > input + 2 * padding:
        raise UsageError(
            f"a window of {window} pixels does not fit into {input} + 2*{padding} = {input + 2 * padding}: use a kernel of at "
            f"most {(input + 2 * padding - 1) // dilation + 1}, or a padding of at least {-(-(window - input) // 2)}"
        )
    output = _size(input, setting, transposed)
    if output < 1:
        raise UsageError(f"nothing is left: {_sum(input, setting, transposed)}; use less padding")
    return SizeSum(
        input=input,
        setting=setting,
        transposed=transposed,
        output=output,
        sum=_sum(input, setting, transposed),
        unused=0 if transposed else max(0, (input + 2 * padding - window) % stride - padding),
        same_padding=(window - 1) // 2 if window % 2 else None,
        same_size=_alternatives(input, setting, transposed, output),
    )


def _size(length: int, setting: Setting, transposed: bool) -> int:
    size = transposed_size if transposed else convolution_size
    return size(
        length, kernel=setting.kernel, stride=setting.stride, padding=setting.padding, dilation=setting.dilation
    )


def _sum(length: int, setting: Setting, transposed: bool) -> str:
    spell = transposed_sum if transposed else convolution_sum
    return spell(
        length, kernel=setting.kernel, stride=setting.stride, padding=setting.padding, dilation=setting.dilation
    )


def _alternatives(length: int, setting: Setting, transposed: bool, output: int, most: int = 8) -> tuple[Setting, ...]:
    """Usual settings: kernels of 1 to 11, strides to 8, at most half a window of padding (torch's own limit for pools)."""
    same = []
    for kernel in range(1, 12):
        for stride in range(1, 9):
            for padding in range(kernel // 2 + 1):
                other = Setting(kernel=kernel, stride=stride, padding=padding, dilation=setting.dilation)
                fits = transposed or setting.dilation * (kernel - 1) + 1 <= length + 2 * padding
                if other != setting and stride <= kernel and fits and _size(length, other, transposed) == output:
                    same.append(other)

    def distance(other: Setting) -> tuple[int, int, int]:
        changed = (other.stride != setting.stride, other.kernel != setting.kernel, other.padding != setting.padding)
        return (sum(changed), abs(other.stride - setting.stride), abs(other.kernel - setting.kernel))

    return tuple(sorted(same, key=distance)[:most])
