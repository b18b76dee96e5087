"""`striate look`: what is inside of a net, as images in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import altair as alt
import torch

from striate.anatomy.targets import describe
from striate.arguments import checked
from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.drawing import page, vega
from striate.drawing.images import Pixels, data_uri, to_image
from striate.drawing.sheet import Sheet
from striate.drawing.theme import HUES, PAGE, PAPER, Palette
from striate.errors import UsageError, unknown_name
from striate.evaluation import subject_of
from striate.explaining.embedding import Embedding, embed
from striate.explaining.looking import feature_maps, filters, units
from striate.files import write_beside
from striate.machine import pick_device, use_cores
from striate.nets import build
from striate.nets.external import adapt, is_external, make
from striate.run import Run
from striate.texts import percent

WHAT = ("filters", "maps", "unit", "embedding")
THUMBNAIL = 96


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
    """What is inside of a net.

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
    if what == "embedding":
        if not isinstance(subject, Run):
            raise UsageError(
                f"an embedding is of the images of a run, and {subject} is a net that has learnt nothing yet"
            )
        return embed(subject, data, split=split, device=device, data_dir=data_dir)
    if what == "unit" and isinstance(subject, Run):
        shown = subject_of(subject, data, split, device, data_dir)
        return units(shown.classifier, layer=layer, unit=unit, pictures=shown.sized, seed=seed)
    classifier = Classifier.of(subject, device=device) if isinstance(subject, Run) else _fresh(subject, device, seed)
    if what == "filters":
        return filters(classifier.net)
    if what == "unit":
        return units(classifier, layer=layer, unit=unit, seed=seed)
    assert picture is not None
    return feature_maps(classifier, classifier.preprocessing.read(picture), layer)


def write_look(found: Sheet | Embedding, stem: str, folder: Path) -> list[Path]:
    """Writes a PNG, and of an embedding a page with the image of each point under the pointer; gives the paths.

    A number is added rather than overwriting a file that holds something else.
    """
    if isinstance(found, Sheet):
        return [write_beside(folder, f"{stem}-{found.what}", "png", found.png())]
    drawn = page.chart_for_page(embedding_chart(found, pictures=True, palette=PAGE), found.title, 340)
    template = page.templates("striate.explaining").get_template("embedding.html.j2")
    return [
        write_beside(folder, f"{stem}-embedding", "png", vega.png(embedding_chart(found, pictures=False))),
        write_beside(
            folder,
            f"{stem}-embedding",
            "html",
            template.render(title=found.title, embedding=drawn, vega=page.vega_bundle()),
        ),
    ]


def embedding_chart(found: Embedding, *, pictures: bool, palette: Palette = PAPER) -> alt.Chart:
    """The points, coloured by true class; a cross where the net is wrong. With `pictures` each point holds its own."""
    rows = []
    for place, (point, label, guess) in enumerate(zip(found.points, found.labels, found.predicted, strict=True)):
        row: dict[str, object] = {
            "x": round(float(point[0]), 4),
            "y": round(float(point[1]), 4),
            "class": found.classes[label],
            "predicted": found.classes[guess],
            "answer": "right" if label == guess else "wrong",
            "file": found.names[place],
        }
        if pictures:
            row["image"] = _thumbnail(found.pixels[place])
        rows.append(row)
    side: Any = "bottom" if pictures else "right"  # below, a page that is narrow shows it whole
    shown = [name for name in found.classes if name in {row["class"] for row in rows}]
    tooltip = [alt.Tooltip(f"{key}:N") for key in ("class", "predicted", "file", *(["image"] if pictures else []))]
    shares = [
        f"{number} component, {percent(share, 0)} of the variance"
        for number, share in zip(("first", "second"), found.explained, strict=True)
    ]
    chart = (
        alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]
        .mark_point(filled=True, size=34, opacity=0.75)
        .encode(
            x=alt.X("x:Q", title=shares[0], axis=alt.Axis(labels=False, ticks=False)),
            y=alt.Y("y:Q", title=shares[1], axis=alt.Axis(labels=False, ticks=False, grid=False)),
            color=alt.Color(
                "class:N", scale=alt.Scale(domain=shown, range=[HUES[i % len(HUES)] for i in range(len(shown))]),
                legend=alt.Legend(orient=side, symbolLimit=40, columns=4 if pictures else 1),
            ),
            shape=alt.Shape(
                "answer:N", scale=alt.Scale(domain=["right", "wrong"], range=["circle", "cross"]),
                legend=alt.Legend(orient=side, symbolFillColor=palette.text),
            ),
            tooltip=tooltip,
        )
        .properties(
            width=620, height=520,
            title=alt.TitleParams(found.title, subtitle="what enters the last layer, by its two principal components"),
        )
    )  # fmt: skip
    movable: alt.Chart = chart.interactive() if pictures else chart
    return vega.themed(movable, palette)


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
