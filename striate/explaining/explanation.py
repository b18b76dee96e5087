"""Explanations: images with their maps, the net's answer, and the figures that say how far each map can be believed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import Image

from striate.arguments import checked
from striate.classifier import Classifier
from striate.data.images import Pixels
from striate.data.inputs import Picture
from striate.drawing.heat import Heat, overlay
from striate.drawing.svg import to_png
from striate.errors import DataError, UsageError, unknown_name
from striate.explaining.attributing import METHODS, attribution, find_method
from striate.explaining.faithfulness import Faithfulness, faithfulness, weight_dependence
from striate.explaining.layers import find_layer
from striate.files import write_beside
from striate.run import Run
from striate.texts import percent

DEPENDENT = 0.5
"""A map that correlates by more with that of random weights hardly depends on what the net learned."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Explanation:
    """The evidence for a class in one image, and how far it can be believed.

    Attributes:
        picture: the file's path, or its place among the images given, as in `image 2`.
        pixels: uint8 (H, W, C), as the net saw them.
        heat: float32 (H, W), the map: 0 where nothing supports the class. Each map has its own scale.
        method: a name of `METHODS`.
        layer: whose maps were used, in words; None for a method that uses the pixels themselves.
        target: the class that the map is of.
        probability: of that class.
        predicted: the likeliest class.
        confidence: its probability.
        faithfulness: how the probability changes as patches are taken in the map's order; None for an empty map.
        random_weights: rank correlation, -1 to 1, of the map with that of the same net with weights drawn anew.
    """

    picture: str
    pixels: Pixels
    heat: Heat
    method: str
    layer: str | None
    target: str
    probability: float
    predicted: str
    confidence: float
    faithfulness: Faithfulness | None
    random_weights: float

    @property
    def heading(self) -> str:
        """The method, and where it looked."""
        title = METHODS[self.method].title
        return f"{title} at {self.layer}" if self.layer else title

    @property
    def areas(self) -> dict[str, float]:
        """Areas under the curves of `faithfulness`, by their names; empty for an empty map."""
        return {} if self.faithfulness is None else self.faithfulness.areas()

    @property
    def deletion(self) -> float | None:
        """Area under the deletion curve; smaller is better."""
        return self.areas.get("deletion")

    @property
    def insertion(self) -> float | None:
        """Area under the insertion curve; larger is better."""
        return self.areas.get("insertion")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons not to believe the map; empty if all checks passed."""
        areas, found = self.areas, []
        if not areas:
            found.append(f"The map is empty: this method finds no evidence for {self.target}.")
        if areas and areas["deletion"] >= areas["random_deletion"]:
            found.append(
                "Removing what the map marks changes the prediction no faster than removing patches at random."
            )
        if areas and areas["insertion"] <= areas["random_insertion"]:
            found.append("Showing what the map marks restores the prediction no faster than showing patches at random.")
        if self.random_weights > DEPENDENT:
            found.append(
                f"The same net with random weights gives nearly the same map: here {METHODS[self.method].title} shows the image "
                "rather than what was learned."
            )
        return tuple(found)

    def overlay(self) -> Pixels:
        """uint8 (H, W, 3): the map over the image."""
        return overlay(self.pixels, self.heat)

    def svg(self) -> str:
        """Image, map, both together, and the figures, as one drawing."""
        from striate.explaining.drawing import draw

        return draw(self)

    def png(self) -> bytes:
        """`svg` as a PNG, at twice its size."""
        return to_png(self.svg())

    def image(self) -> Image.Image:
        """`png` as a PIL image."""
        return Image.open(io.BytesIO(self.png()))

    def as_dict(self) -> dict[str, object]:
        """The explanation in plain types: all but the pixels and the map."""
        kept = ("picture", "method", "layer", "target", "probability", "predicted", "confidence")
        return {
            **{name: getattr(self, name) for name in kept},
            **(self.areas or dict.fromkeys(Faithfulness.__slots__)),
            "random_weights": self.random_weights,
            "warnings": list(self.warnings),
        }

    def _repr_png_(self) -> bytes:
        return self.png()

    def __str__(self) -> str:
        areas = self.areas
        figures = ", ".join(
            f"{name} {areas[name]:.2f} (random order {areas[f'random_{name}']:.2f})"
            for name in ("deletion", "insertion")
            if areas
        )
        asked = f", explained for {self.target} {percent(self.probability)}" if self.target != self.predicted else ""
        return (
            f"{self.picture}: {self.predicted} {percent(self.confidence)}{asked}; {figures or 'the map is empty'}, "
            f"correlation with random weights {self.random_weights:.2f}"
        )


@checked
def explain(
    run: Run,
    pictures: Picture | Sequence[Picture],
    *,
    method: str = "grad-cam",
    layer: str | None = None,
    target: str | None = None,
    device: str = "auto",
    seed: int = 0,
) -> list[Explanation]:
    """What the run's net looks at in images, with measures of each map's faithfulness.

    Args:
        run: a finished run.
        pictures: one or several: files, bytes, PIL images or pixel arrays, of any size and mode.
        method: one of `METHODS`: grad-cam, saliency, integrated-gradients, occlusion, guided-backprop.
        layer: for Grad-CAM; by default the last stage whose maps are at least 4x4.
        target: the class to explain; by default each image's likeliest one.
        device: see `striate.machine.pick_device`.
        seed: of the random orders and the random weights that a map is compared with.

    Raises:
        DataError: the run has no weights, some image cannot be read, or the net gives no number for it.
        UsageError: there is no such method, layer or class, or the method is not defined for this net.
    """
    find_method(method)
    classes = run.data.classes
    if target is not None and target not in classes:
        raise unknown_name("class", target, classes, ", ".join(classes))
    with Classifier.of(run, device=device) as classifier:
        return [
            _explain(classifier, picture, method, layer, target, seed) for picture in _read_all(classifier, pictures)
        ]


def write_explanations(explanations: Sequence[Explanation], folder: Path) -> list[Path]:
    """Writes each explanation's PNG and returns the paths, `<picture>-<method>.png` in `folder`.

    A number is added rather than overwriting a file that holds something else.
    """
    return [
        write_beside(folder, f"{Path(explanation.picture).stem}-{explanation.method}", "png", explanation.png())
        for explanation in explanations
    ]


def _explain(
    classifier: Classifier, picture: tuple[str, Pixels], method: str, layer: str | None, target: str | None, seed: int
) -> Explanation:
    (name, pixels), net, classes = picture, classifier.net, classifier.classes
    probabilities = classifier.probabilities(pixels[None])[0]
    if not bool(probabilities.isfinite().all()):
        raise DataError(f"{name}: the net returns NaN or infinity for this image, so there is nothing to explain")
    predicted = int(probabilities.argmax())
    wanted = predicted if target is None else classes.index(target)
    inputs = classifier.preprocessing.tensor(pixels[None]).to(classifier.device)
    explained = partial(attribution, inputs=inputs, target=wanted, method=method, layer=layer)
    heats = explained(net)
    temperature = classifier.temperature
    return Explanation(
        picture=name,
        pixels=pixels,
        heat=heats[0],
        method=method,
        layer=str(find_layer(net, inputs, layer)) if METHODS[method].layered else None,
        target=classes[wanted],
        probability=float(probabilities[wanted]),
        predicted=classes[predicted],
        confidence=float(probabilities[predicted]),
        faithfulness=faithfulness(net, inputs[0], wanted, heats[0], temperature=temperature, seed=seed),
        random_weights=weight_dependence(net, heats, explained, seed)[0],
    )


def _read_all(classifier: Classifier, pictures: Picture | Sequence[Picture]) -> list[tuple[str, Pixels]]:
    """(name, pixels) of each. Raises DataError that names every image which cannot be read: none is explained then."""
    found = [one for batch in classifier.decoded(pictures) for one in batch]
    if unreadable := [f"{name}: {pixels}" for name, pixels in found if isinstance(pixels, str)]:
        raise DataError(*unreadable)
    if not found:
        raise UsageError("there are no images to explain")
    return [(name, pixels) for name, pixels in found if not isinstance(pixels, str)]
