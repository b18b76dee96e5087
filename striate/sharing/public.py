"""The public form of a run: its contents are picked by name, and everything else is left out.

A run from others is brought into the same form before it is kept, so that only numbers, class names and weights are taken from
them: no code, no path, no page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from PIL import Image
from safetensors.torch import save

from striate.data import is_name
from striate.drawing.sheet import noted, read_tiles
from striate.errors import DataError, UsageError
from striate.evaluation.summary import PER_CLASS_COLUMNS, PREDICTION_COLUMNS
from striate.files import write_atomic, write_csv, write_json
from striate.inference import ANSWER, KEPT_IMAGES, MOST_BYTES, weights_notes
from striate.machine import PACKAGES
from striate.nets.external import is_external
from striate.nets.sources import source_path
from striate.nets.weightfiles import read_weights
from striate.outofdistribution import FILE as REFERENCES
from striate.recipe import Recipe
from striate.report.facts import place_in, read_robustness
from striate.run import Run
from striate.runfiles import number, place, read_csv, read_json
from striate.runforms.config import DataConfig, Origin, RecipeConfig, RunConfig
from striate.runforms.data import Data
from striate.runforms.evaluation import EvaluationFigures, Seen, Views
from striate.runforms.summary import Ended, Summary

PRIVATE = "private-pictures"
"""The public name of data that are no set by name."""
CODE = "code"
"""The public name of the file of a net."""
GRIDS = ("mistakes.png", "attention.png")
MOST_PIXELS = 50_000_000
"""Limit on the pixels of a sheet of images."""

_MACHINE = (*PACKAGES, "python", "cpu", "cores", "threads", "device")
_COMMAND = re.compile(r"(striate train ([A-Za-z0-9 ._,=:+-]|runs/again)+\n?)+")
_CAPTION = re.compile(r"^(read as|predicted) |, [<>]?[0-9]+\s%$")
"""The text around a class name in a caption; runs of earlier versions have `read as`."""
_FROM_FILE = re.compile(r"^it begins with the weights in .*")


def write_public(run: Run, folder: Path, with_pictures: bool = False) -> None:
    """Writes a run's public form into an empty folder, from which charts, report and card can be made.

    Args:
        with_pictures: the sheets of images, their file names and the features of validation images too. Without that, of
            data that are no set by name nothing is kept but the class names and numbers.

    Raises:
        DataError: the run has no finished weights, or its files are not those of a run.
    """
    try:
        _write(run, folder, with_pictures)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, UsageError) as error:
        raise DataError(f"{run.path} is not a run as Striate writes it ({type(error).__name__}: {error})") from error


def _write(run: Run, folder: Path, with_pictures: bool) -> None:
    config = public_config(run)
    known = is_name(config.data.location)
    weights = place(run.path, f"weights/{config.recipe.keep}.safetensors", MOST_BYTES)
    if weights is None:
        raise DataError(f"{run.path} has no finished weights: resume it with striate train --resume {run.path}")
    tensors, _ = read_weights(weights, most=MOST_BYTES)
    write_atomic(folder / "weights" / weights.name, save(tensors, weights_notes(config, run.data.classes)))
    Run(folder).keep(config)
    write_json(folder / "data.json", _public_data(run.data, config.data.name, known).as_dict())
    write_json(folder / "environment.json", _public_environment(run.environment.values))
    write_json(folder / "summary.json", _public_summary(run, config, known).as_dict())
    _write_answer(run, folder)
    if rows := run.metrics:
        write_csv(folder / "metrics.csv", rows, list(rows[0]))
    if known:
        write_json(folder / "split.json", replace(run.split, content=None).as_dict())
    _write_calibration(run, folder, known or with_pictures)
    evaluations, names = run.evaluations, {run.config.data.name: config.data.name}
    keys = {key: _public_key(key, found, names) for key, found in evaluations.items()}
    for key, found in evaluations.items():
        found = replace(found, data=names[found.data], by_position="")
        _write_evaluation(run, run.path / "evaluations" / key, found, folder / "evaluations" / keys[key], with_pictures)
    _write_views(run, folder, keys)
    if with_pictures:
        _copy_sheet(run, "samples.png", folder / "samples.png")


def public_config(run: Run) -> RunConfig:
    """A run's config without the place of its data, what chose among its files, the file of its net, and what was asked
    for, which may name all of these.

    A net of somebody's code is one whose module must be given, then: see `striate.inference.build_net`.
    """
    config, net = run.config, run.config.net
    known = is_name(config.data.location)
    name, target = net.name, net.origin.target
    origin = Origin(min_size=net.origin.min_size, given=net.origin.given)
    if target is not None and source_path(target) is None:
        origin = replace(origin, target=target)  # of torchvision or timm
    elif is_external(name):
        name = f"{CODE}:{name.rpartition(':')[2]}"
    return replace(
        config,
        net=replace(
            net,
            name=name,
            weights=None,
            published=False,
            origin=origin,
            notes=_without_files(net.notes),
            pretrained=_without_files(net.pretrained),
        ),
        data=DataConfig(
            name=config.data.name if known else PRIVATE, location=config.data.location if known else PRIVATE
        ),
        recipe=RecipeConfig.from_dict(Recipe.from_dict(config.recipe.values).as_dict()),
        log=None,
        deterministic=False,
        settings={},
        asked=None,
        only_in_python=None,
    )


def _without_files(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_FROM_FILE.sub("it begins with weights from a file", note) for note in notes)


def _public_data(data: Data, name: str, known: bool) -> Data:
    """data.json without names of files. Its findings, which name some, are left out."""
    kept = ("source", "classes", "counts", "class_counts", "shape", "fingerprint", "junk", "seen_in_training")
    return Data(
        name=name, title=data.title if known else "private images", licence=data.licence if known else "",
        **{key: getattr(data, key) for key in kept},
    )  # fmt: skip


def _public_environment(environment: Mapping[str, object]) -> dict[str, object]:
    found = {key: environment[key] for key in _MACHINE if isinstance(environment.get(key), str | int)}
    # What follows names the kernel, which may be somebody's own.
    return {**found, "platform": str(environment.get("platform", "")).partition("-")[0]}


def _public_summary(run: Run, config: RunConfig, known: bool) -> Summary:
    """summary.json; the command that repeats the run only where it names nothing private, and nothing that a shell would run."""
    summary = run.summary
    command = _without_place(summary.command or "")
    plain = known and not config.net.origin.given and not config.net.name.startswith(f"{CODE}:")
    clean = plain and _COMMAND.fullmatch(command) and not {"--group-by", "--exclude", "--splits"} & set(command.split())
    return Summary(
        started=_time(summary.started),
        command=command if clean else None,
        status=summary.status if summary.status in ("finished", "failed") else "interrupted",
        finished=_time(summary.finished),
        seconds=summary.seconds,
        ending=Ended.of(run.ending),
        learning=run.learning.public(),
    )


def _without_place(command: str) -> str:
    """A command without the folder of a set by name, which other machines keep elsewhere or download."""
    return re.sub(r" --data-dir ('([^']|'\"'\"')*'|[^ '\n]+)+", "", command)


def _write_answer(run: Run, folder: Path) -> None:
    """answer.json, by which the net is recognised wherever it is loaded: its logits for synthetic images."""
    answer, classes = run.answer, run.config.net.classes
    if answer is None:
        return
    if any(len(row) != classes for row in answer):
        raise DataError(
            f"{run.path / ANSWER}: logits must be rows of {classes:,} numbers, as net.classes in config.yaml"
        )
    write_json(folder / ANSWER, {"images": KEPT_IMAGES, "logits": answer})


def _time(text: str | None) -> str | None:
    return text if text and re.fullmatch(r"[0-9T:.+Z-]{10,40}", text) else None


def _write_calibration(run: Run, folder: Path, with_features: bool) -> None:
    """calibration.json. The features of validation images reveal what those look like; without them `abstain` is left out."""
    found = run.calibration
    if found is None:
        return
    references = place(run.path, REFERENCES, MOST_BYTES)
    if references is not None and with_features:
        tensors, _ = read_weights(references, most=MOST_BYTES)
        write_atomic(folder / REFERENCES, save({"references": tensors["references"]}))
    elif references is not None:
        found = replace(found, abstain=None)
    write_json(folder / "calibration.json", found.as_dict())


def _public_key(key: str, found: Seen, names: dict[str, str]) -> str:
    """The name of an evaluation's folder, which begins with that of its data; `names` learns what those are called."""
    name = found.data
    if name not in names:
        others = sum(one.startswith("other-pictures") for one in names.values())
        names[name] = name if is_name(name) else "other-pictures" + (f"-{others + 1}" if others else "")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "data"
    rest = key.removeprefix(stem) if key.startswith(stem) else f"-{found.split}-{found.views}"
    return names[name] + re.sub(r"[^A-Za-z0-9._-]+", "-", rest)


def _write_evaluation(run: Run, source: Path, found: EvaluationFigures, target: Path, with_pictures: bool) -> None:
    """The figures of an evaluation; with `with_pictures` the names of files below the data's folder, and sheets of images."""
    write_json(target / "evaluation.json", found.as_dict())
    write_csv(target / "per_class.csv", [row.as_dict() for row in found.per_class], PER_CLASS_COLUMNS)
    if robustness := read_robustness(source):
        write_json(target / "robustness.json", robustness.as_dict())
    classes = set(found.classes)
    location = run.config.data.location if with_pictures else None

    def public(row: Mapping[str, str]) -> dict[str, object]:
        return {
            key: _place(row.get(key), location) if key == "path" else _field(row.get(key), classes)
            for key in PREDICTION_COLUMNS
        }

    if rows := read_csv(run.path, f"evaluations/{source.name}/predictions.csv", public):
        write_csv(target / "predictions.csv", rows, PREDICTION_COLUMNS)
    if with_pictures:
        for sheet in GRIDS:
            _copy_sheet(run, f"evaluations/{source.name}/{sheet}", target / sheet)


def _write_views(run: Run, folder: Path, keys: Mapping[str, str]) -> None:
    """The tables of views, each beside the evaluations of its rows."""
    for path in sorted((run.path / "evaluations").glob("*-views.json")):
        table = read_json(run.path, f"evaluations/{path.name}", Views) or Views(rows=())
        kept = tuple(replace(row, key=keys[row.key]) for row in table.rows if row.key in keys)
        if kept:
            stem = kept[0].key.removesuffix(f"-{kept[0].views}")
            write_json(folder / "evaluations" / f"{stem}-views.json", Views(rows=kept).as_dict())


def _place(path: str | None, location: object) -> str:
    return place_in(path, str(location)) if path and location is not None else ""


def _field(value: str | None, classes: Collection[str]) -> str | float | None:
    """A field of predictions.csv: the name of a class, or a number."""
    if value is None or value in classes:
        return value
    try:
        found = number(value)
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) else None


def _copy_sheet(run: Run, name: str, target: Path) -> None:
    """Writes a PNG anew, without its metadata except captions of class names and shares."""
    source = place(run.path, name)
    if source is None:
        return
    try:
        with Image.open(source, formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{source} has {image.width}x{image.height} pixels, at most {MOST_PIXELS:,} are kept")
            tiles, classes = read_tiles(source), set(run.data.classes)
            known = all(_CAPTION.sub("", line) in classes for tile in tiles for line in tile.lines)
            kept = [(tile.box, "\n".join(tile.lines)) for tile in tiles if known]
            write_atomic(target, noted(image.convert("RGB"), kept))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{source} is not a readable PNG: {error}") from error
