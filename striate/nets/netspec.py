"""NetFacts: what is known of any net. NetSpec: one row of the catalogue. Family: a paper's rows, and what was new in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from striate import notebook
from striate.nets.blocks import he_init

if TYPE_CHECKING:
    from striate.nets.net import Net

Geometry = Literal["paper", "native", "tutorial"]


@dataclass(frozen=True, kw_only=True, slots=True)
class NetFacts:
    """The facts that are needed of any net, from the catalogue or external."""

    name: str
    """The name to type. In the catalogue lower case, digits and hyphens: `lenet5`, `vgg16-native`."""
    title: str
    """As a paper would write it: `LeNet-5`."""
    family: str
    """The file of the catalogue that builds it: `lenet`, `alexnet`, ...; `external` for a net that is not of it."""
    input: tuple[int, int, int]
    """Default input (channels, height, width)."""
    min_size: int
    """Smallest possible height and width in pixels."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """What a run records besides the name to build the net
    again; nothing for the catalogue's. `striate.nets.external` has more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetSpec(NetFacts):
    """The facts of one form of a net. A test recomputes every number from the net that `builder` makes."""

    year: int
    citation: str
    """Authors, title, venue, arXiv number where there is one."""
    source: str
    """The table, figure or section that this row follows."""
    deviations: tuple[str, ...] = ()
    """Where this row departs from its source, in words; empty if nowhere."""
    geometry: Geometry = "paper"
    """`paper`: as published. `native`: stem changed for 28 to 32 pixels. `tutorial`: as a known tutorial trains it."""
    classes: int = 1000
    """Default number of classes."""
    params: int
    """Trainable parameters at the defaults, auxiliary heads left out."""
    params_training: int | None = None
    """Trainable parameters with the auxiliary heads, where there are any."""
    macs: int
    """Multiply-accumulates of convolutions and matrix products on one image of `input`. FLOPs are 2 x MACs."""
    known_findings: tuple[str, ...] = ()
    """Mistakes that the source itself makes, by the names that `striate inspect` gives them."""
    biases_before_norm: tuple[str, ...] = ()
    """Biases that the batch norm after them cancels, so that their gradient is zero: names, as shell patterns."""
    results: tuple[str, ...] = ()
    """What was published for it: `set, protocol: figures (source)`."""
    torchvision: str | None = None
    """torchvision's name for the same net, where it has one."""
    builder: Callable[[int, int], Net]
    """(channels, classes) -> Net."""
    init: Callable[[Net], None] | None = he_init
    """Draws its weights so that it trains well today; None leaves them as torch draws them."""
    paper_init: Callable[[Net], None] | None = None
    """Draws them as the paper says, where that differs."""

    def _repr_html_(self) -> str:
        fields = {
            name.replace("_", " "): f"{value:,}" if isinstance(value, int) and name != "year" else _words(value)
            for name, value in self.as_dict().items()
            if name != "title" and value not in (None, [])
        }
        return notebook.card(self.title, fields)

    def as_dict(self) -> dict[str, object]:
        """The facts in plain types, without what builds the net."""
        names = [field.name for field in fields(self) if field.name not in ("builder", "init", "paper_init", "origin")]
        facts = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in facts.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """The nets of one paper. Its file in `striate/nets` holds the code, and this object at its end."""

    name: str
    """The file's name."""
    title: str
    """The net's name as the paper writes it."""
    new: str
    """What was new about it, in a sentence."""
    mattered: str
    """Why it mattered."""
    drawn: str
    """The row that the family's page draws."""
    recipe: Mapping[str, Any]
    """How the paper trained its nets: fields of `striate.recipe.Recipe`, as a run's config has them."""
    torchvision: tuple[tuple[str, str], ...] = ()
    """Patterns to replace in our name of a tensor, in order, to get torchvision's; empty where those are numbered."""
    rows: tuple[NetSpec, ...]


def variant(base: NetSpec, name: str, title: str, source: str, counts: tuple[int, int], **changes: Any) -> NetSpec:
    """A row that differs from `base` in `changes`: fields of NetSpec, or of the form that its builder takes.

    Published results and a twin in torchvision belong to one row and are not inherited. `torchvision` is its name there and the
    accuracies of its weights, top-1 and top-5, which are added to the results.

    Args:
        counts: (params, macs).
    """
    own = {field.name for field in fields(NetSpec)}
    facts: dict[str, Any] = {"results": (), "torchvision": None, "builder": base.builder}
    facts |= {key: value for key, value in changes.items() if key in own}
    if facts["torchvision"]:
        facts["torchvision"], *accuracies = facts["torchvision"]
        facts["results"] += (torchvision_accuracy(*accuracies),)
    if form := {key: value for key, value in changes.items() if key not in own}:
        facts["builder"] = partial(facts["builder"], form=replace(facts["builder"].keywords["form"], **form))
    return replace(base, name=name, title=title, source=source, params=counts[0], macs=counts[1], **facts)


def torchvision_accuracy(top1: float, top5: float) -> str:
    """The published result of torchvision's first weights."""
    return f"ImageNet validation, centre crop: {top1} % top-1, {top5} % top-5 accuracy (torchvision's IMAGENET1K_V1 weights)"


def _words(value: object) -> str:
    if not isinstance(value, list):
        return str(value)
    return (" x " if all(isinstance(item, int) for item in value) else "; ").join(map(str, value))
