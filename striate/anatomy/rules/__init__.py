"""The effect of each kind of operation on the terms of its inputs."""

from __future__ import annotations

from collections.abc import Mapping

from striate.anatomy.rules import pointwise, rearranging, summing, windowing
from striate.anatomy.rules.basis import Rule, each

RULES: Mapping[str, Rule] = {
    "pointwise": pointwise.pointwise,
    "activation": pointwise.activation,
    "fresh": lambda node, inputs: [],
    "copied": pointwise.copied,
    "written": pointwise.written,
    "reshaped": each(rearranging.reshaped),
    "permuted": each(rearranging.permuted),
    "expanded": each(pointwise.expanded),
    "repeated": each(pointwise.repeated),
    "part": each(rearranging.part),
    "unfolded": each(windowing.unfolded),
    "flipped": each(rearranging.flipped),
    "rolled": each(rearranging.rolled),
    "turned": each(rearranging.turned),
    "joined": pointwise.concatenated,
    "padded": pointwise.bordered,
    "complex_to_real": each(rearranging.complex_to_real),
    "real_to_complex": each(rearranging.real_to_complex),
    "part_of_complex": each(lambda node, term: term),
    "halved": rearranging.gated,
    "shuffled": each(rearranging.shuffled),
    "unshuffled": each(rearranging.unshuffled),
    "channels_shuffled": each(rearranging.channels_shuffled),
    "patches": each(windowing.patches),
    "overlapped": each(windowing.overlapped),
    "indexed": rearranging.indexed,
    "window": each(windowing.pooled),
    "convolution": windowing.convolution,
    "adaptive": each(windowing.adaptive),
    "resized": each(windowing.resized),
    "summed": summing.reduced,
    "along": each(summing.along),
    "so_far": each(summing.so_far),
    "transformed": each(summing.transformed),
    "batch_norm": summing.with_statistics(summing.batch_statistics),
    "batch_norm_of_evaluation": summing.with_statistics(lambda node, term: None),
    "group_norm": summing.with_statistics(summing.group_statistics),
    "layer_norm": summing.with_statistics(summing.layer_statistics),
    "product": summing.product,
    "attention": summing.attention,
}
"""Kind of operation (`operations.KINDS`) -> its rule; a kind without one cannot be followed."""
