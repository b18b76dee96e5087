"""`striate look`: what is inside a net, as images in files."""

from __future__ import annotations

from pathlib import Path

import torch

from striate.anatomy.targets import describe
from striate.arguments import checked
from striate.classifier import Classifier
from striate.data import Preprocessing
from striate.drawing import page, vega
from striate.drawing.sheet import Sheet
from striate.drawing.theme import PAGE
from striate.errors import UsageError, unknown_name
from striate.evaluation.subject import subject_of
from striate.explaining.embedding import Embedding, embed, embedding_chart
from striate.explaining.looking import feature_maps, filters, units
from striate.files import write_beside
from striate.machine import pick_device, use_cores
from striate.nets import build
from striate.nets.external import adapt, is_external, make
from striate.run import Run

WHAT = ("filters", "maps", "unit", "embedding")


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
    """What is inside a net.

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
