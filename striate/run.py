"""The run directory: it explains itself, and every later command needs nothing else."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
import yaml

from striate import notebook
from striate.errors import DataError, StriateError, UsageError

if TYPE_CHECKING:
    from torch import nn

    from striate.predicting import Picture, Prediction, Predictions

LARGEST_CONFIG, LARGEST_TEXT = 2**18, 2**26
"""Bytes of config.yaml, and of another file, at most: a run can come from anybody."""
MOST_SETTINGS = 100_000
"""Values in config.yaml, with those counted again that it refers to again."""

FORMAT = 1
"""Of the run directory. Older ones stay readable; newer ones are refused."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Run:
    """One training run on disk. Attributes are read from its files when they are first used.

    Attributes:
        path: its directory.
        module: the net that was given to `striate.train`, where it was no name; the run holds its weights and not its code.
        trust_code: whether a net's file is run though it has changed, or came with the run.
    """

    def __init__(self, path: Path, module: nn.Module | None = None, trust_code: bool = False) -> None:
        self.path = path
        self.module = module
        self.trust_code = trust_code

    @classmethod
    def create(cls, out: Path, name: str | None, fallback: str) -> Run:
        """Makes a new, empty run directory in `out`.

        Args:
            out: made if it is not there.
            name: what the user asked for; an error if it is taken.
            fallback: the name where none was asked for; -2, -3, ... is added while it is taken.

        Raises:
            UsageError: the name is taken or cannot be a folder's name.
            StriateError: `out` cannot be written.
        """
        if name is not None and not _NAME.fullmatch(name):
            raise UsageError(f"a run's name is letters, digits, '.', '_' and '-', up to 100 of them; got {name!r}")
        fallback = re.sub(r"[^A-Za-z0-9._-]+", "-", fallback).strip("-.")[:90] or "run"
        try:
            out.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = out / (name or (fallback if number == 1 else f"{fallback}-{number}"))
                try:
                    path.mkdir()
                except FileExistsError:
                    if name is not None:
                        raise UsageError(f"{path} exists already: choose another --name, or leave it out") from None
                    number += 1
                    continue
                return cls(path)
        except OSError as error:
            raise StriateError(f"{out} cannot be written ({error.strerror}): name another folder with --out") from error

    @classmethod
    def open(cls, path: str | Path, *, module: nn.Module | None = None, trust_code: bool = False) -> Run:
        """The run in that directory.

        Args:
            path: the directory.
            module: a net like the one that was given to `striate.train`; needed where the run was trained so, and then for
                what uses the net only. It is copied, not changed.
            trust_code: run the file that holds the run's net though it has changed since, or lies in the run's directory. To
                load such a net is to run that file: read it first.

        Raises:
            DataError: it is not a run, or of a later format than this version reads.
        """
        run = cls(Path(path), module, trust_code)
        if not (run.path / "config.yaml").is_file():
            there = "is not a run: it has no config.yaml" if run.path.is_dir() else "does not exist"
            raise DataError(f"{path} {there}. The runs that there are: striate runs")
        if run.config.get("format", FORMAT) > FORMAT:
            raise DataError(f"{path} was written by a later version of striate (format {run.config['format']}): update")
        return run

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def config(self) -> dict[str, Any]:
        """Net, data, preprocessing, recipe and plan, resolved: enough to repeat the run."""
        path = self.path / "config.yaml"
        try:
            config = yaml.safe_load(_text(path, LARGEST_CONFIG))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged: {error}") from error
        if not isinstance(config, dict) or not isinstance(config.get("format", FORMAT), int):
            raise DataError(f"{path} is damaged: it holds no settings")
        if _values(config, MOST_SETTINGS) > MOST_SETTINGS:
            raise DataError(f"{path} is damaged: it holds more than {MOST_SETTINGS:,} settings")
        return config

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions and machine."""
        return self._json("environment.json")

    @cached_property
    def data(self) -> dict[str, Any]:
        """What it was trained on: name, classes, counts, fingerprint."""
        return self._json("data.json")

    @property
    def calibration(self) -> dict[str, Any]:
        """What was fitted on the validation pictures: temperature, and when to abstain; empty where there were none."""
        return self._json("calibration.json")

    def validation_indices(self) -> npt.NDArray[np.int64] | None:
        """Positions in the data's training split that the run kept for validation; None where the data has its own."""
        indices = self._json("split.json").get("validation")
        return None if indices is None else np.asarray(indices, dtype=np.int64)

    def split_content(self) -> dict[str, list[str]] | None:
        """Content hashes of the splits that were made of files, by name; None where all were given, or hold no files."""
        content: dict[str, list[str]] | None = self._json("split.json").get("content")
        return content

    @property
    def summary(self) -> dict[str, Any]:
        """Status, times and where they went."""
        return self._json("summary.json")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """One row an epoch; numbers as numbers, an empty field as None."""
        path = self.path / "metrics.csv"
        if not path.is_file():
            return []
        try:
            rows = csv.DictReader(io.StringIO(_text(path, LARGEST_TEXT), newline=""))
            return [{key: _number(value) for key, value in row.items()} for row in rows]
        except (ValueError, TypeError, csv.Error) as error:
            raise DataError(f"{path} is damaged: {error}") from error

    @property
    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Folder name -> evaluation.json, in the order in which they were made."""
        files = sorted(
            (self.path / "evaluations").glob("*/evaluation.json"), key=lambda file: (file.stat().st_mtime_ns, file)
        )
        return {file.parent.name: _mapping(file) for file in files}

    def predict(self, *pictures: Picture, top: int = 3, abstain: bool = False) -> Predictions:
        """What the net sees in pictures: see `striate.predicting.predict`."""
        from striate.predicting import predict

        return predict(self, pictures, top=top, abstain=abstain)

    def predict_many(self, pictures: Iterable[Picture], top: int = 3, abstain: bool = False) -> Iterator[Prediction]:
        """One prediction after the other, in constant memory: see `striate.predicting.predict_many`."""
        from striate.predicting import predict_many

        return predict_many(self, pictures, top=top, abstain=abstain)

    def overview(self) -> dict[str, Any]:
        """The run in one row, for lists: run, status, net, data, epochs, accuracy with its interval, seconds, started."""
        evaluations, summary = self.evaluations, self.summary
        evaluation = evaluations.get(leading(self.config, evaluations) or "", {})
        return {
            "run": str(self.path),
            "status": summary.get("status", "unknown"),
            "net": self.config["net"]["name"],
            "data": self.config["data"]["name"],
            "epochs": self.config["recipe"]["epochs"],
            "accuracy": evaluation.get("accuracy"),
            "low": evaluation.get("low"),
            "high": evaluation.get("high"),
            "seconds": summary.get("seconds", {}).get("total", 0.0),
            "started": summary.get("started"),
        }

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        if not path.is_file():
            return {}
        return _mapping(path)

    def __repr__(self) -> str:
        net, data = self.config["net"]["name"], self.config["data"]["name"]
        results = [f"{e['split']} accuracy {e['accuracy']:.1%}" for e in self.evaluations.values()]
        return f"<Run {self.path}: {', '.join([f'{net} on {data}', *results[:1]])}>"

    def _repr_html_(self) -> str:
        found = self.overview()
        fields = {"net": found["net"], "data": found["data"], "classes": ", ".join(self.data.get("classes", ()))}
        fields["training"] = f"{found['status']}, {found['epochs']:g} epochs, {found['seconds']:,.0f} s"
        for name, evaluation in self.evaluations.items():
            fields[name] = (
                f"accuracy {evaluation['accuracy']:.1%} of {evaluation['n']:,} pictures "
                f"(95 % interval {evaluation['low']:.1%} to {evaluation['high']:.1%})"
            )
        return notebook.card(f"Run {self.path}", fields, f"The whole report: {self.path / 'report.html'}")


def load(path: str | Path, *, module: nn.Module | None = None, trust_code: bool = False) -> Run:
    """The run in that directory: `striate.load("runs/lenet5").predict("boot.png")`. See `Run.open`."""
    return Run.open(path, module=module, trust_code=trust_code)


def leading(config: dict[str, Any], evaluations: dict[str, dict[str, Any]]) -> str | None:
    """The key of the evaluation that the headline quotes: of the set that the run was trained on, its test
    pictures, each seen once (`centre`), as far as there are such. None without an evaluation on that set: a run is
    not known for its accuracy on others."""
    own = [key for key, found in evaluations.items() if found["data"] == config["data"]["name"]]
    tests = [key for key in own if evaluations[key]["split"] == "test"]
    centre = [key for key in tests if evaluations[key]["views"] == "centre"]
    return next(iter(centre + tests + own), None)


def list_runs(out: Path) -> list[Run]:
    """The runs in a folder, oldest first; anything else in it is passed over."""
    return [Run(file.parent) for file in sorted(out.glob("*/config.yaml"), key=lambda file: file.stat().st_mtime_ns)]


def write_atomic(path: Path, content: bytes | str) -> None:
    """Writes a file so that a crash leaves either the old one or the new one, never a part: temporary name, fsync, rename."""
    # File names may hold bytes that are no UTF-8: Python keeps them as lone surrogates, which are written as escapes.
    data = content.encode(errors="backslashreplace") if isinstance(content, str) else content
    with writing(path) as file:
        file.write(data)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """As `write_atomic`, for what is written bit by bit: the file is there when the block ends, and not if it raises.

    Raises:
        OSError: the disk did not take it; the error names `path`.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives an error of the system that names no file, or a temporary one beside it, the name of what was to be written."""
    try:
        yield
    except OSError as error:
        named = error.filename
        unnamed = named is None or isinstance(named, int)
        beside = f".{path.name}."
        if error.errno is not None and (
            unnamed or any(part.startswith(beside) for part in Path(os.fsdecode(named)).parts)
        ):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise


def write_new(path: Path, content: bytes | str) -> None:
    """`write_atomic`, unless something else is there already.

    Raises:
        UsageError: `path` holds something else; the same content is left as it is.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and (not path.is_file() or path.read_bytes() != data):
        raise UsageError(f"{path} exists already and holds something else: name another file")
    write_atomic(path, data)


def write_beside(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """`write_atomic` as `folder/stem.suffix`, or `stem-2.suffix` and so on where something else is there; gives the path."""
    number = 1
    while True:
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}.{suffix}"
        if not path.exists() or (path.is_file() and path.read_bytes() == content):
            write_atomic(path, content)
            return path
        number += 1


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """`write_atomic` of a mapping as indented JSON."""
    write_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_yaml(path: Path, content: Mapping[str, Any]) -> None:
    """`write_atomic` of a mapping as YAML, in its own order."""
    write_atomic(path, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120))


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """`write_atomic` of rows as CSV with a header; None becomes an empty field."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomic(path, text.getvalue())


def _text(path: Path, most: int) -> str:
    """A file's text. Raises DataError if it is larger than `most` bytes, before it is read."""
    if (size := path.stat().st_size) > most:
        raise DataError(f"{path} has {size:,} bytes, and at most {most:,} are read: it was not written by striate")
    return path.read_text(encoding="utf-8")


def _mapping(path: Path) -> dict[str, Any]:
    """What a JSON file holds."""
    try:
        content = json.loads(_text(path, LARGEST_TEXT))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it holds no names and values")
    return content


def _values(value: object, most: int) -> int:
    """How many values there are in dicts and lists, `most` or a few more if there are more: YAML can refer to one many times."""
    found, left = 1, [value]
    while left and found <= most:
        one = left.pop()
        inside = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        found += len(inside)
        left += inside
    return found


def _number(value: str) -> int | float | None:
    if value == "":
        return None
    return float(value) if any(mark in value for mark in ".einf") else int(value)
