"""The form of a run that others may see: what is in it is picked by name, and all else stays at home.

A run that came from somebody is brought into the same form before it is kept, so that nothing but numbers, class names and
weights is taken over from a stranger: no code, no path, no page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save

from striate.data import NAMED
from striate.drawing.images import encoded
from striate.errors import DataError, UsageError
from striate.evaluation.summary import PER_CLASS_COLUMNS, PREDICTION_COLUMNS
from striate.files import write_atomic, write_csv, write_json, write_yaml
from striate.inference import ANSWER, KEPT_IMAGES, MOST_BYTES, weights_notes
from striate.machine import PACKAGES
from striate.nets.elsewhere import is_elsewhere
from striate.nets.sources import source_path
from striate.nets.weightfiles import read_weights
from striate.outofdistribution import FILE as REFERENCES
from striate.recipe import Recipe
from striate.report.facts import place_in, read_robustness
from striate.run import Run
from striate.runfiles import number, place, read_csv, read_json
from striate.runforms import Views

PRIVATE = "private-pictures"
"""What data that are no set by name are called elsewhere."""
CODE = "code"
"""What the file of a net is called elsewhere."""
GRIDS = ("mistakes.png", "attention.png")
MOST_PIXELS = 50_000_000
"""Of a sheet of pictures."""

_WORDS = {
    "split", "views", "protocol", "fingerprint", "classes", "class", "truth", "predicted", "name", "score", "source", "fit",
    "how", "device", "layout", "precision", "absent",
}  # fmt: skip
"""Keys whose values are words of ours, or class names."""
_MACHINE = (*PACKAGES, "python", "cpu", "cores", "threads", "device")
_COMMAND = re.compile(r"(striate train ([A-Za-z0-9 ._,=:+-]|runs/again)+\n?)+")
_FROM_FILE = re.compile(r"^it begins with the weights in .*")


def write_public(run: Run, folder: Path, with_pictures: bool = False) -> None:
    """Writes a run's public form into an empty folder; the charts, the report and the card can be made of it there.

    Args:
        with_pictures: the sheets of pictures, their file names and the features of validation pictures too. Without that, of
            data that are no set by name nothing is kept but the class names and numbers.

    Raises:
        DataError: the run has no finished weights, or its files are not those of a run.
    """
    try:
        _write(run, folder, with_pictures)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, UsageError) as error:
        raise DataError(f"{run.path} is not as Striate writes runs ({type(error).__name__}: {error})") from error


def _write(run: Run, folder: Path, with_pictures: bool) -> None:
    config = public_config(run.config)
    own = run.config["data"]["name"]
    known = config["data"]["location"] in NAMED
    weights = place(run.path, f"weights/{config['recipe']['keep']}.safetensors", MOST_BYTES)
    if weights is None:
        raise DataError(f"{run.path} has no finished weights: go on with striate train --resume {run.path}")
    tensors, _ = read_weights(weights, most=MOST_BYTES)
    write_atomic(folder / "weights" / weights.name, save(tensors, weights_notes(config, run.data["classes"])))
    write_yaml(folder / "config.yaml", config)
    write_json(folder / "data.json", _public_data(run.data, config["data"]["name"], known))
    write_json(folder / "environment.json", _public_environment(run.environment))
    write_json(folder / "summary.json", _public_summary(run, config, known))
    _write_answer(run, folder)
    rows = [_figures(row, ()) for row in run.metrics]
    if rows:
        write_csv(folder / "metrics.csv", rows, list(rows[0]))
    if known:
        held = run.validation_indices()
        write_json(folder / "split.json", {"validation": None if held is None else held.tolist(), "content": None})
    _write_calibration(run, folder, known or with_pictures)
    names: dict[str, str] = {own: config["data"]["name"]}
    keys = {key: _public_key(key, found, names) for key, found in run.evaluations.items()}
    for key, found in run.evaluations.items():
        target = folder / "evaluations" / keys[key]
        _write_evaluation(run, run.path / "evaluations" / key, found, names[found["data"]], target, with_pictures)
    _write_views(run, folder, keys)
    if with_pictures:
        _copy_sheet(run.path, "samples.png", folder / "samples.png")


def public_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's config without the place of its data, what chose among its files, and the file of its net.

    A net of somebody's code is one whose module must be given, then: see `striate.inference.build_net`.
    """
    data, net = config["data"], config["net"]
    known = data["location"] in NAMED
    origin = net.get("origin", {})
    name, target = str(net["name"]), origin.get("target")
    kept = {key: origin[key] for key in ("min_size", "given") if isinstance(origin.get(key), int)}
    if isinstance(target, str) and source_path(target) is None:
        kept["target"] = target  # of torchvision or timm
    elif is_elsewhere(name):
        name = f"{CODE}:{name.rpartition(':')[2]}"
    recipe = Recipe.from_dict(config["recipe"]).as_dict()
    return {
        "format": int(config["format"]),
        "striate": str(config["striate"]),
        "net": {
            "name": name,
            **{key: int(net[key]) for key in ("channels", "classes")},
            "init": str(net["init"]),
            "origin": kept,
            **{
                key: [_FROM_FILE.sub("it begins with weights from a file", str(note)) for note in net.get(key) or []]
                for key in ("notes", "pretrained")
            },
        },
        "data": {
            "name": data["name"] if known else PRIVATE,
            "location": data["location"] if known else PRIVATE,
            "group_by": None,
            "exclude": [],
        },
        "preprocessing": _figures(config["preprocessing"], _WORDS),
        "recipe": recipe,
        "plan": _figures(config["plan"], _WORDS),
    }


def _public_data(data: Mapping[str, Any], name: str, known: bool) -> dict[str, Any]:
    """data.json without names of files. Its findings, which name some, are left out."""
    words = ("title", "source", "licence") if known else ("source",)
    return {
        "name": name,
        "title": "private pictures",
        **{key: str(data.get(key) or "") for key in words},
        "classes": [str(one) for one in data["classes"]],
        **{key: _figures(data[key], ()) for key in ("counts", "class_counts", "shape")},
        "fingerprint": str(data["fingerprint"]),
        "unreadable": {},
        "excluded": [],
        "junk": int(data.get("junk", 0)),
        "ledger": None,
        "seen_in_training": _figures(data.get("seen_in_training", {}), ()),
        "findings": [],
    }


def _public_environment(environment: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: environment[key] for key in _MACHINE if isinstance(environment.get(key), str | int)}
    # What follows names the kernel, and some build their own.
    return {**found, "platform": str(environment.get("platform", "")).partition("-")[0]}


def _public_summary(run: Run, config: Mapping[str, Any], known: bool) -> dict[str, Any]:
    """summary.json; the command that repeats the run only where it names nothing private, and nothing that a shell would run."""
    summary = run.summary
    command = _without_place(str(summary.get("command") or ""))
    plain = known and "given" not in config["net"]["origin"] and not config["net"]["name"].startswith(f"{CODE}:")
    clean = plain and _COMMAND.fullmatch(command) and not {"--group-by", "--exclude", "--splits"} & set(command.split())
    status = summary.get("status")
    return {
        "started": _time(summary.get("started")),
        "status": status if status in ("finished", "failed") else "interrupted",
        "finished": _time(summary.get("finished")),
        **({"command": command} if clean else {}),
        "ending": run.ending.as_dict(),
        "learning": run.learning.public().as_dict(),
        "seconds": _figures(summary.get("seconds", {}), ()),
    }


def _without_place(command: str) -> str:
    """A command without the folder in which a set by name lay: elsewhere it lies elsewhere, or is downloaded."""
    return re.sub(r" --data-dir ('([^']|'\"'\"')*'|[^ '\n]+)+", "", command)


def _write_answer(run: Run, folder: Path) -> None:
    """answer.json, by which the net is known again wherever it is loaded: figures for images that are no pictures."""
    answer, classes = run.answer, run.config["net"]["classes"]
    if answer is None:
        return
    if any(len(row) != classes for row in answer):
        raise DataError(
            f"{run.path / ANSWER}: logits must be rows of {classes:,} numbers, as net.classes in config.yaml"
        )
    write_json(folder / ANSWER, {"images": KEPT_IMAGES, "logits": answer})


def _time(text: object) -> str | None:
    return text if isinstance(text, str) and re.fullmatch(r"[0-9T:.+Z-]{10,40}", text) else None


def _write_calibration(run: Run, folder: Path, with_features: bool) -> None:
    """calibration.json. The features of validation pictures tell what those look like: without them `abstain` is left out."""
    found = _figures(run.calibration, _WORDS)
    if not found:
        return
    references = place(run.path, REFERENCES, MOST_BYTES)
    if references is not None and with_features:
        tensors, _ = read_weights(references, most=MOST_BYTES)
        write_atomic(folder / REFERENCES, save({"references": tensors["references"]}))
    elif references is not None:
        found.pop("abstain", None)
    write_json(folder / "calibration.json", found)


def _public_key(key: str, found: Mapping[str, Any], names: dict[str, str]) -> str:
    """The name of an evaluation's folder, which begins with that of its data; `names` learns what those are called."""
    name = str(found["data"])
    if name not in names:
        others = sum(one.startswith("other-pictures") for one in names.values())
        names[name] = name if name in NAMED else "other-pictures" + (f"-{others + 1}" if others else "")
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "data"
    rest = key.removeprefix(stem) if key.startswith(stem) else f"-{found['split']}-{found['views']}"
    return names[name] + re.sub(r"[^A-Za-z0-9._-]+", "-", rest)


def _write_evaluation(
    run: Run, source: Path, found: Mapping[str, Any], name: str, target: Path, with_pictures: bool
) -> None:
    """The figures of an evaluation; with `with_pictures` the names of files below the data's folder, and sheets of pictures."""
    summary = {"data": name, **_figures(found, _WORDS)}
    write_json(target / "evaluation.json", summary)
    per_class = [{key: row.get(key) for key in PER_CLASS_COLUMNS} for row in summary["per_class"]]
    write_csv(target / "per_class.csv", per_class, PER_CLASS_COLUMNS)
    if robustness := read_robustness(source):
        write_json(target / "robustness.json", _figures(robustness, _WORDS))
    classes = set(summary["classes"])
    location = run.config["data"]["location"] if with_pictures else None

    def public(row: Mapping[str, str]) -> dict[str, Any]:
        return {
            key: _place(row.get(key), location) if key == "path" else _field(row.get(key), classes)
            for key in PREDICTION_COLUMNS
        }

    if rows := read_csv(run.path, f"evaluations/{source.name}/predictions.csv", public):
        write_csv(target / "predictions.csv", rows, PREDICTION_COLUMNS)
    if with_pictures:
        for sheet in GRIDS:
            _copy_sheet(run.path, f"evaluations/{source.name}/{sheet}", target / sheet)


def _write_views(run: Run, folder: Path, keys: Mapping[str, str]) -> None:
    """The tables of views, each beside the evaluations of its rows."""
    for path in sorted((run.path / "evaluations").glob("*-views.json")):
        rows = read_json(run.path, f"evaluations/{path.name}", Views.from_dict)["rows"]
        kept = [{**_figures(row, _WORDS), "key": keys[row["key"]]} for row in rows if row["key"] in keys]
        if kept:
            stem = kept[0]["key"].removesuffix(f"-{kept[0]['views']}")
            write_json(folder / "evaluations" / f"{stem}-views.json", {"rows": kept, "impossible": {}})


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


def _copy_sheet(run: Path, name: str, target: Path) -> None:
    """Draws a PNG anew: what was written beside its pixels stays behind."""
    source = place(run, name)
    if source is None:
        return
    try:
        with Image.open(source, formats=("PNG",)) as image:
            if image.width * image.height > MOST_PIXELS:
                raise DataError(f"{source} has {image.width}x{image.height} pixels, at most {MOST_PIXELS:,} are kept")
            write_atomic(target, encoded(image.convert("RGB")))
    except (OSError, SyntaxError) as error:
        raise DataError(f"{source} is no PNG that can be read: {error}") from error


def _figures(value: Any, words: Collection[str], key: str = "") -> Any:
    """Numbers, and text under the keys in `words`; dicts and lists of them. All other text is left out."""
    if isinstance(value, Mapping):
        return {name: _figures(inner, words, name) for name, inner in value.items() if _kept(inner, words, name)}
    if isinstance(value, list | tuple):
        return [_figures(inner, words, key) for inner in value if _kept(inner, words, key)]
    return value


def _kept(value: object, words: Collection[str], key: object) -> bool:
    return (
        key in words
        if isinstance(value, str)
        else value is None or isinstance(value, int | float | list | tuple | Mapping)
    )
