"""What each kind of operation does to the terms of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from striate.anatomy.rules.basis import Rule, each
from striate.anatomy.rules.joining import bordered, concatenated
from striate.anatomy.rules.pointwise import activation, copied, expanded, pointwise, repeated, written
from striate.anatomy.rules.products import attention, product
from striate.anatomy.rules.rearranging import (
    channels_shuffled,
    complex_to_real,
    flipped,
    gated,
    indexed,
    part,
    permuted,
    real_to_complex,
    reshaped,
    rolled,
    same,
    shuffled,
    turned,
    unshuffled,
)
from striate.anatomy.rules.summing import (
    along,
    batch_statistics,
    group_statistics,
    layer_statistics,
    reduced,
    so_far,
    transformed,
    with_statistics,
)
from striate.anatomy.rules.windowing import adaptive, convolution, overlapped, patches, resized, unfolded, window_rule

RULES: Mapping[str, Rule] = {
    "pointwise": pointwise,
    "activation": activation,
    "fresh": lambda node, inputs: [],
    "copied": copied,
    "written": written,
    "reshaped": each(reshaped),
    "permuted": each(permuted),
    "expanded": each(expanded),
    "repeated": each(repeated),
    "part": each(part),
    "unfolded": each(unfolded),
    "flipped": each(flipped),
    "rolled": each(rolled),
    "turned": each(turned),
    "joined": concatenated,
    "padded": bordered,
    "complex_to_real": each(complex_to_real),
    "real_to_complex": each(real_to_complex),
    "part_of_complex": each(same),
    "halved": gated,
    "shuffled": each(shuffled),
    "unshuffled": each(unshuffled),
    "channels_shuffled": each(channels_shuffled),
    "patches": each(patches),
    "overlapped": each(overlapped),
    "indexed": indexed,
    "window": each(window_rule),
    "convolution": convolution,
    "adaptive": each(adaptive),
    "resized": each(resized),
    "summed": reduced,
    "along": each(along),
    "so_far": each(so_far),
    "transformed": each(transformed),
    "batch_norm": with_statistics(batch_statistics),
    "batch_norm_of_evaluation": with_statistics(lambda node, term: None),
    "group_norm": with_statistics(group_statistics),
    "layer_norm": with_statistics(layer_statistics),
    "product": product,
    "attention": attention,
}
"""Kind of operation (`operations.KINDS`) -> its rule; a kind without one cannot be followed."""
