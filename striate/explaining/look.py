"""`striate look`: what is inside a net, as images in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from striate.anatomy.targets import describe
from striate.arguments import checked
from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.data.images import Labels, Pictures, Pixels
from striate.drawing import page, vega
from striate.drawing.images import data_uri, to_image
from striate.drawing.sheet import Sheet
from striate.drawing.theme import HUES, PAGE, PAPER, Palette
from striate.drawing.vega import plotted, themed
from striate.errors import UsageError, unknown_name
from striate.evaluation.subject import Subject, subject_of
from striate.explaining.looking import feature_maps, filters, units
from striate.files import write_beside
from striate.machine import pick_device, use_cores
from striate.nets import build
from striate.nets.external import adapt, is_external, make
from striate.run import Run
from striate.texts import percent

WHAT = ("filters", "maps", "unit", "embedding")
THUMBNAIL = 96
MOST = 2000
"""Images that are drawn: the first ones, which a split holds in no order of classes."""

Points = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Embedding:
    """Principal components of what enters the last linear layer.

    Attributes:
        title: the run, and whose images.
        points: float64 (N, 2).
        explained: the share of the variance of the features that lies along each axis.
        pixels: uint8 (N, H, W, C); `labels`, `predicted`: (N,), positions in `classes`; `names`: of the images.
    """

    title: str
    points: Points
    explained: tuple[float, float]
    pixels: Pixels
    labels: Labels
    predicted: Labels
    classes: tuple[str, ...]
    names: tuple[str, ...]


@checked
def look(
    subject: Run | str,
    picture: str | Path | None = None,
    *,
    what: str | None = None,
    layer: str | None = None,
    unit: int | None = None,
    split: str = "validation",
    data: str | Path | None = None,
    device: str = "auto",
    data_dir: str | Path | None = None,
    seed: int = 0,
) -> Sheet | Embedding:
    """Shows the inside of a net.

    Args:
        subject: a run, or a net by name, whose weights are drawn anew then.
        picture: a file, for maps.
        what: `filters` of the first convolution, feature `maps` of an image, what a `unit` responds to most, or the
            `embedding` of a split in two dimensions. If None, maps where there is an image, and else filters.
        layer: for maps and units; every stage, or the classes, if None.
        unit: its number; the first twelve if None.
        split: whose images units and the embedding are shown with.
        data: where they lie, if not where the run was trained; others with the run's classes will do too.
        device: see `striate.machine.pick_device`.
        data_dir: where to look for named sets first.
        seed: of the weights of a net without a run, and of gradient ascent.

    Raises:
        DataError: the run, its data or the image cannot be read.
        UsageError: what was asked for is not there, or needs an image or a run.
    """
    what = what or ("filters" if picture is None else "maps")
    if data is not None and (what not in ("unit", "embedding") or not isinstance(subject, Run)):
        raise UsageError("--data is for --what unit and --what embedding of a run, which show images of a split")
    if what not in WHAT:
        raise unknown_name("view", what, WHAT, ", ".join(WHAT))
    if what == "maps" and picture is None:
        raise UsageError("--what maps needs an image: striate look RUN IMAGE")
    if what in ("unit", "embedding") and isinstance(subject, Run):
        shown = subject_of(subject, data, split, device, data_dir)
        if what == "embedding":
            return embed(shown, subject.name)
        return units(shown.classifier, layer=layer, unit=unit, pictures=shown.sized, seed=seed)
    if what == "embedding":
        raise UsageError(f"an embedding is of the images of a run, and {subject} is an untrained net")
    classifier = Classifier.of(subject, device=device) if isinstance(subject, Run) else _fresh(subject, device, seed)
    if what == "filters":
        return filters(classifier.net)
    if what == "unit":
        return units(classifier, layer=layer, unit=unit, seed=seed)
    assert picture is not None
    return feature_maps(classifier, classifier.preprocessing.read(picture), layer)


def write_look(found: Sheet | Embedding, stem: str, folder: Path) -> list[Path]:
    """Writes a PNG, and for an embedding also a page that shows each image under the pointer; returns the paths.

    A number is added rather than overwriting a file that holds something else.
    """
    if isinstance(found, Sheet):
        return [write_beside(folder, f"{stem}-{found.what}", "png", found.png())]
    drawn = page.chart_for_page(embedding_chart(found, pictures=True, palette=PAGE), found.title, 340)
    template = page.templates("striate.explaining").get_template("embedding.html.j2")
    html = template.render(title=found.title, embedding=drawn, vega=page.vega_bundle())
    image = vega.png(embedding_chart(found, pictures=False))
    return [
        write_beside(folder, f"{stem}-embedding", "png", image),
        write_beside(folder, f"{stem}-embedding", "html", html),
    ]


def embed(subject: Subject, run: str) -> Embedding:
    """The first 2,000 images of a run's split by the first two principal components of the net's last features.

    Raises:
        UsageError: there are too few images.
    """
    shown, split = subject.sized, subject.split
    count = min(MOST, len(shown))
    if count < 3:
        raise UsageError(f"{subject.name} has {len(shown)} {split} images: an embedding needs at least three")
    pixels: Pictures = shown.pixels[:count]
    features, logits = last_features(subject.classifier, pixels)
    points, explained = principal_components(features)
    return Embedding(
        title=f"{run}: {count:,} {split} images",
        points=points,
        explained=explained,
        pixels=np.asarray(pixels),
        labels=shown.labels[:count],
        predicted=logits.argmax(1),
        classes=shown.classes,
        names=tuple(Path(path).name for path in shown.paths[:count]) if shown.paths else tuple(map(str, range(count))),
    )


def last_features(classifier: Classifier, pixels: Pictures) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """((N, D) what enters the last linear layer, (N, classes) logits) of uint8 (N, H, W, C).

    A net without a linear layer gives what enters its head, averaged over the map.
    """
    linear = [part for part in classifier.net.modules() if isinstance(part, nn.Linear)]

    def vectors(entering: Tensor) -> Tensor:
        return (entering.mean((2, 3)) if entering.ndim == 4 else entering.flatten(1)).float()

    last = linear[-1] if linear else classifier.net.head
    outputs, features = classifier.watched(pixels, last, vectors, entering=True)
    return features.numpy(), outputs.numpy()


def principal_components(features: npt.NDArray[np.floating[Any]]) -> tuple[Points, tuple[float, float]]:
    """((N, 2), the share of variance along each), by a singular value decomposition in double precision.

    A component's sign is such that its largest weight is positive, so that the same features give the same image.
    """
    centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    points = np.zeros((len(features), 2))
    kept = min(2, len(values))
    signs = np.sign(right[np.arange(kept), np.abs(right[:kept]).argmax(1)])
    points[:, :kept] = left[:, :kept] * values[:kept] * signs
    total = float((values**2).sum()) or 1.0
    shares = [float(value**2) / total for value in values[:2]] + [0.0]
    return points, (shares[0], shares[1])


def embedding_chart(found: Embedding, *, pictures: bool, palette: Palette = PAPER) -> alt.Chart:
    """The points, coloured by true class; a cross for a misclassified image. With `pictures` each point holds its own."""
    rows = [
        {
            "x": round(float(point[0]), 4),
            "y": round(float(point[1]), 4),
            "class": found.classes[label],
            "predicted": found.classes[guess],
            "answer": "correct" if label == guess else "misclassified",
            "file": name,
            **({"image": _thumbnail(pixels)} if pictures else {}),
        }
        for point, label, guess, name, pixels in zip(
            found.points, found.labels, found.predicted, found.names, found.pixels, strict=True
        )
    ]
    side: Any = "bottom" if pictures else "right"  # below, a page that is narrow shows it whole
    shown = [name for name in found.classes if name in {row["class"] for row in rows}]
    titles = [
        f"{number} component, {percent(share, 0)} of the variance"
        for number, share in zip(("first", "second"), found.explained, strict=True)
    ]
    hues = alt.Scale(domain=shown, range=[HUES[i % len(HUES)] for i in range(len(shown))])
    shapes = alt.Scale(domain=["correct", "misclassified"], range=["circle", "cross"])
    classes = alt.Legend(orient=side, symbolLimit=40, columns=4 if pictures else 1)
    chart = (
        plotted(rows)
        .mark_point(filled=True, size=34, opacity=0.75)
        .encode(
            x=alt.X("x:Q", title=titles[0], axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("y:Q", title=titles[1], axis=alt.Axis(labels=False, ticks=False, grid=False)),
            color=alt.Color("class:N", scale=hues, legend=classes),
            shape=alt.Shape("answer:N", scale=shapes, legend=alt.Legend(orient=side, symbolFillColor=palette.text)),
            tooltip=[f"{key}:N" for key in ("class", "predicted", "file", *(["image"] if pictures else []))],
        )
    )
    title = alt.TitleParams(found.title, subtitle="two principal components of the input of the last layer")
    sized: alt.Chart = chart.properties(width=620, height=520, title=title)
    return themed(sized.interactive() if pictures else sized, palette)


def _thumbnail(pixels: Pixels) -> str:
    image = to_image(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    return data_uri(image, "PNG" if max(image.size) <= 32 else "JPEG")


def _fresh(name: str, device: str, seed: int) -> Classifier:
    """A net by name, its weights drawn anew; fed its own size of input, grey in the middle."""
    chosen = pick_device(device)
    use_cores()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if is_external(name):
            known = describe(name)
            net = adapt(make(name).module, known, known.input[0], 0).eval()
            with torch.no_grad():
                net.classes = net(torch.zeros(1, *known.input)).shape[1]
        else:
            net = build(name)
    channels, *size = net.spec.input
    preprocessing = Preprocessing(
        size=(size[0], size[1]), channels=net.channels, mean=(0.5,) * channels, std=(0.25,) * channels
    )
    return Classifier(net=net.to(chosen), preprocessing=preprocessing, device=chosen)
