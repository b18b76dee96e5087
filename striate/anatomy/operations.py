"""The operations whose meaning is known: what each does to positions, and whether and how it multiplies.

An operation that is not in the table is unknown: its receptive field is `?`, and so are its multiply-accumulates if it reads
parameters or several tensors. Names are aten's without the overload and without the underscore of an in-place variant; those of
other libraries have their namespace in front.

One multiply-accumulate is one weight times one value, added to a sum: the unit in which the papers count, and which some
tools print as "FLOPs" (they are 2 x MACs). Products with zero padding are counted, as the dense arithmetic does them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

Shape = tuple[int, ...]

_POSITIONS = {
    # each value depends on the values at the same place, of all tensors that are broadcast together
    "pointwise": """
        abs acos acosh add addcdiv addcmul alias angle asin asinh atan atan2 atanh bernoulli bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor bucketize ceil celu clamp clamp_max clamp_min clip clone complex
        _conj conj conj_physical contiguous copysign cos cosh deg2rad detach digamma div dropout elu eq erf erfc erfinv exp exp2
        expm1 float_power floor floor_divide fmax fmin fmod frac ge gelu gt hardshrink hardsigmoid hardswish hardtanh heaviside
        hypot identity isfinite isinf isnan isneginf isposinf ldexp le leaky_relu lerp lgamma lift_fresh log log10 log1p log2
        log_sigmoid log_sigmoid_forward logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt
        masked_fill maximum minimum mish mul nan_to_num native_dropout ne neg _neg_view nextafter polar polygamma
        positive pow rad2deg reciprocal relu relu6 remainder resolve_conj resolve_neg round rrelu_with_noise rsqrt rsub selu sgn
        sigmoid sign signbit silu sin sinc sinh softplus softshrink special_entr special_erfcx special_i0e special_i1
        special_i1e special_log_ndtr special_ndtri special_xlog1py sqrt square sub tan tanh threshold to _to_copy true_divide
        trunc type_as where xlogy __and__ __or__ __xor__ __lshift__ __rshift__ i0 lift expand_copy
    """,
    # one weight a channel: dimension 1
    "activation": "_prelu_kernel prelu",
    # the shape alone is read
    "fresh": "empty_like zeros_like ones_like full_like rand_like randn_like randint_like new_empty new_zeros new_ones new_full "
    "new_empty_strided fill zero normal uniform bernoulli_p random exponential",
    "copied": "copy",
    "written": "write",
    "reshaped": "view _unsafe_view reshape flatten unflatten unsqueeze squeeze _reshape_alias view_copy",
    "permuted": "permute transpose t numpy_T swapaxes movedim adjoint",
    "expanded": "expand",
    "repeated": "repeat",
    "part": "slice select split split_with_sizes unbind narrow chunk",
    "unfolded": "unfold",
    "flipped": "flip",
    "rolled": "roll",
    "turned": "rot90",
    "joined": "cat stack",
    "padded": "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d "
    "replication_pad3d",
    "complex_to_real": "view_as_real",
    "real_to_complex": "view_as_complex",
    "part_of_complex": "real imag",
    "halved": "glu",
    "shuffled": "pixel_shuffle",
    "unshuffled": "pixel_unshuffle",
    "channels_shuffled": "channel_shuffle native_channel_shuffle",
    "patches": "im2col",
    "overlapped": "col2im",
    "indexed": "index index_select embedding",
    "window": "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d max_pool2d_with_indices "
    "max_pool3d_with_indices",
    "convolution": "convolution _convolution",
    "adaptive": "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool1d adaptive_max_pool2d "
    "adaptive_max_pool3d",
    "resized": "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d "
    "upsample_trilinear3d upsample_bicubic2d _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d",
    "summed": "mean sum nansum amax amin aminmax max min var std prod logsumexp linalg_vector_norm norm var_mean std_mean any "
    "all argmax argmin count_nonzero median nanmedian mode kthvalue topk",
    "along": "_softmax _log_softmax _safe_softmax softmax log_softmax sort argsort",
    "so_far": "cumsum cumprod cummax cummin logcumsumexp",
    "transformed": "_fft_r2c _fft_c2r _fft_c2c",
    # statistics over positions besides the values at the same place
    "batch_norm": "native_batch_norm cudnn_batch_norm batch_norm _native_batch_norm_legit _batch_norm_no_update "
    "_batch_norm_with_update",
    "batch_norm_of_evaluation": "_native_batch_norm_legit_no_training",
    "group_norm": "native_group_norm",
    "layer_norm": "native_layer_norm _fused_rms_norm",
    "product": "mm bmm addmm baddbmm mv addmv dot vdot addr linear",
    "attention": "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math",
    # known, but the positions read depend on values, or on an order that is not followed
    "moved": "gather scatter scatter_add scatter_reduce index_put index_add index_copy index_fill index_reduce take "
    "masked_select nonzero grid_sampler_2d grid_sampler_3d affine_grid_generator max_unpool2d max_unpool3d fractional_max_pool2d "
    "as_strided diagonal tril triu histc searchsorted _upsample_bilinear2d_aa _upsample_bicubic2d_aa take_along_dim "
    "masked_scatter unique_dim _unique2 slice_scatter select_scatter diagonal_scatter diag_embed trace "
    "torchvision::deform_conv2d torchvision::roi_align torchvision::roi_pool torchvision::ps_roi_align "
    "torchvision::ps_roi_pool torchvision::nms",
}  # fmt: skip
KINDS: Mapping[str, str] = {name: kind for kind, names in _POSITIONS.items() for name in names.split()}
"""Operation -> what it does to positions."""


_LETTERS: Mapping[str, tuple[str, ...]] = {
    "mm": ("mk", "kn", "mn"),
    "bmm": ("bmk", "bkn", "bmn"),
    "addmm": ("+", "mk", "kn", "mn"),
    "baddbmm": ("+", "bmk", "bkn", "bmn"),
    "mv": ("mk", "k", "m"),
    "addmv": ("+", "mk", "k", "m"),
    "dot": ("k", "k", ""),
    "vdot": ("k", "k", ""),
    "addr": ("+", "m", "n", "mn"),
}


def letters_of(operation: str, rank: int) -> tuple[str, ...]:
    """The dimensions of a matrix product as letters, operand by operand and those of its output, of that rank, last; `+` for an
    operand that is added."""
    if operation == "linear":
        batch = "abcdefgh"[: rank - 1]
        return f"{batch}k", "nk", "+", f"{batch}n"
    return _LETTERS[operation.rstrip("_")]


def _product_macs(operation: str, operands: Sequence[Shape], output: Shape) -> int:
    letters = zip(letters_of(operation, len(output)), operands, strict=False)
    return prod(
        {
            letter: length for own, shape in letters if own != "+" for letter, length in zip(own, shape, strict=True)
        }.values()
    )


def _convolution_macs(operands: Sequence[Shape], output: Shape, transposed: bool) -> int:
    """Each weight is used once at each place of the output; of the input, where the convolution is transposed."""
    picture, weight = operands[:2]
    return output[0] * prod((picture if transposed else output)[2:]) * prod(weight)


def _attention_macs(operands: Sequence[Shape]) -> int:
    query, key, value = operands[:3]
    return prod(query) * key[-2] + prod(query[:-1]) * prod(value[-2:])


def name_of(namespace: str, name: str) -> str:
    """The table's name of an operation: a stranger's `relu` is not aten's."""
    return name if namespace in ("aten", "prims") else f"{namespace}::{name}"


def kind_of(operation: str) -> str | None:
    """The effect of an operation on positions; None if unknown."""
    return KINDS.get(operation) or KINDS.get(operation.rstrip("_"))


def count_macs(
    operation: str, operands: Sequence[Shape], output: Shape, attributes: Mapping[str, Any], parameters: int
) -> int | None:
    """MACs of one operation from the shapes of its tensors; 0 for those that are no convolution and no matrix product, None
    where they are not known: of an unknown operation that reads `parameters` (their number) or several tensors.
    """
    kind = kind_of(operation)
    if kind == "convolution" or operation == "torchvision::deform_conv2d":
        return _convolution_macs(operands, output, bool(attributes.get("transposed")))
    if kind == "product":
        return _product_macs(operation, operands, output)
    if kind == "attention":
        return _attention_macs(operands)
    return 0 if kind is not None or not (parameters or len(operands) > 1) else None


def in_words(macs: int, uncounted: Mapping[str, int]) -> str:
    """`2,433,600 MACs`, and what they lack: ` and what 1 _trilinear computes`."""
    lacking = [f"{count} {operation}" for operation, count in uncounted.items()]
    if not lacking:
        return f"{macs:,} MACs"
    return f"{macs:,} MACs and what {' and '.join(lacking)} compute{'s' if sum(uncounted.values()) == 1 else ''}"
