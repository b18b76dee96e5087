"""The catalogue: one paper, one file, readable beside the paper. `CATALOGUE` is the list, `build` makes a net."""

from __future__ import annotations

from striate.arguments import checked
from striate.choices import Count, Init
from striate.errors import unknown_name
from striate.nets import alexnet, densenet, googlenet, lenet, nin, preresnet, resnet, vgg
from striate.nets.net import Net
from striate.nets.netspec import Family, NetSpec

__all__ = ["CATALOGUE", "FAMILIES", "Family", "Net", "NetSpec", "build", "spec"]

FAMILIES: dict[str, Family] = {
    module.FAMILY.name: module.FAMILY for module in (lenet, alexnet, vgg, nin, googlenet, resnet, preresnet, densenet)
}
CATALOGUE: dict[str, NetSpec] = {row.name: row for family in FAMILIES.values() for row in family.rows}


def spec(name: str) -> NetSpec:
    """The catalogue's row of that name. Raises UsageError with the nearest names if there is none."""
    if name not in CATALOGUE:
        raise unknown_name("net", name, CATALOGUE, "striate nets")
    return CATALOGUE[name]


@checked
def build(name: str, *, channels: Count | None = None, classes: Count | None = None, init: Init = "default") -> Net:
    """Makes the net of a catalogue row, with weights drawn from torch's global generator.

    Args:
        name: a row of `CATALOGUE`.
        channels: input channels; the row's own if None.
        classes: outputs; the row's own if None.
        init: `default` trains well today; `paper` draws the weights as the paper says.

    Raises:
        UsageError: unknown name or init, or a number of channels or classes that the net cannot have.
    """
    row = spec(name)
    channels = row.input[0] if channels is None else channels
    classes = row.classes if classes is None else classes
    net = row.builder(channels, classes)
    if draw := (row.paper_init if init == "paper" else None) or row.init:
        draw(net)
    net.spec, net.channels, net.classes = row, channels, classes
    return net
