"""Sharing a run through the Hugging Face Hub, by the library of that name, an extra.

What is sent is first built in a temporary folder from what may be public (see `public`). A run that is pulled is brought into the
same form before it is kept.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from striate import __version__
from striate.arguments import checked
from striate.errors import DataError, StriateError, UsageError
from striate.files import write_atomic, write_json
from striate.inference import MOST_BYTES, load_net
from striate.nets.external import is_external
from striate.report import write_all
from striate.run import Run
from striate.runforms.summary import Pulled
from striate.sharing.public import write_public

__all__ = ["File", "Pushed", "pull", "push"]

MOST_FILES = 500
MOST_SMALL = 64 * 2**20
"""Bytes of a file that is no weights."""

_HUB_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_PULLED = re.compile(
    r"(config\.yaml|(data|environment|summary|split|calibration|answer)\.json|calibration\.safetensors|metrics\.csv|samples\.png"
    r"|weights/(last|best)\.safetensors|evaluations/[A-Za-z0-9._-]{1,120}-views\.json"
    r"|evaluations/[A-Za-z0-9][A-Za-z0-9._-]{0,120}/"
    r"(evaluation\.json|robustness\.json|per_class\.csv|predictions\.csv|mistakes\.png|attention\.png))"
)
"""The files that are pulled. Report and card are made here, since a page from others could run code in the browser."""
_OURS = ["*.yaml", "*.json", "*.csv", "*.png", "README.md", "report.html", "weights/*", "evaluations/*"]
"""The files that a second push replaces."""


@dataclass(frozen=True, slots=True)
class File:
    """A file that is to be sent."""

    name: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push: the address, the files, and whether they were sent."""

    url: str
    files: tuple[File, ...]
    sent: bool


@checked
def push(
    run: Run,
    to: str,
    *,
    private: bool = False,
    with_pictures: bool = False,
    agreed: Callable[[Sequence[File]], bool] = lambda files: True,
) -> Pushed:
    """Uploads a finished run to the Hugging Face Hub as the model `to`; an existing one gets a new version.

    Sent are numbers, class names, weights, charts, report and card; images, file names and paths are not.

    Args:
        to: `USER/NAME`.
        private: create a private repository.
        with_pictures: the sheets of images (samples, mistakes), names of files and features of validation images too.
        agreed: is called with the files before anything is sent; if it returns False, nothing is.

    Raises:
        UsageError: no such name, huggingface_hub is not installed, or it is to be private and is public there.
        DataError: the run is not finished.
        StriateError: the Hub did not take it.
    """
    api = _hub(to)
    with tempfile.TemporaryDirectory() as place:
        # The report and the card name this folder and the one above, as they are after `striate pull`.
        folder = Path(place) / "runs" / to.partition("/")[2]
        folder.mkdir(parents=True)
        write_public(run, folder, with_pictures)
        write_all(Run(folder))
        _say_where(folder / "README.md", to)
        sent = sorted(path for path in folder.rglob("*") if path.is_file())
        files = tuple(File(path.relative_to(folder).as_posix(), path.stat().st_size) for path in sent)
        if not agreed(files):
            return Pushed(_url(to), files, sent=False)
        with _speaking(to):
            api.create_repo(to, private=private, exist_ok=True)
            _check_there(to, api.model_info(to), private)
            api.upload_folder(
                repo_id=to, folder_path=folder, commit_message=f"Striate {__version__}", delete_patterns=_OURS
            )
    return Pushed(_url(to), files, sent=True)


@checked
def pull(source: str, *, out: str | Path = "runs", name: str | None = None, revision: str | None = None) -> Run:
    """Downloads a run from the Hugging Face Hub, as a new run that can predict at once.

    None of its code is run: of a net that is code only the weights come, and `Run.open(..., module=...)` needs that net.

    Args:
        source: `USER/NAME`.
        out, name: where to; the folder's name is NAME if None, with a number where there is such a run.
        revision: a branch, a tag or a commit; the newest if None.

    Raises:
        UsageError: no such name, huggingface_hub is not installed, or the run exists here.
        DataError: it is no run, too large, or its weights are refused.
        StriateError: the Hub did not give it.
    """
    api = _hub(source)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pulled"
        with _speaking(source):
            found = api.model_info(source, revision=revision, files_metadata=True)
            wanted = _chosen(source, [(one.rfilename, one.size) for one in found.siblings or []])
            api.snapshot_download(source, revision=found.sha, allow_patterns=wanted, local_dir=folder)
        odd = [path for path in folder.rglob("*") if path.is_symlink()]
        if odd or sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > MOST_BYTES:
            raise DataError(f"{source} contains links, or more than it announced: it is not kept")
        run = Run.create(Path(out), name, source.partition("/")[2])
        try:
            write_public(Run.open(folder), run.path, with_pictures=True)
            if not is_external(run.config.net.name) or run.config.net.origin.target is not None:
                load_net(run, torch.device("cpu"))
            pulled = Pulled(from_=source, revision=found.sha)
            write_json(run.path / "summary.json", replace(run.summary, pulled=pulled).as_dict())
            write_all(run)
        except BaseException as error:
            shutil.rmtree(run.path, ignore_errors=True)
            if isinstance(error, DataError):  # of files that are gone by now
                raise DataError(str(error).replace(str(folder), source).replace(str(run.path), source)) from error
            raise
    return run


def _chosen(source: str, there: Sequence[tuple[str, int | None]]) -> list[str]:
    """The files of a model that are taken. Raises DataError if they are not a run's, or too large, before any is."""
    wanted = {name: size or 0 for name, size in there if _PULLED.fullmatch(name)}
    if "config.yaml" not in wanted or not any(name.startswith("weights/") for name in wanted):
        raise DataError(f"{source} is not a run of Striate: it has no config.yaml, or no weights")
    if len(wanted) > MOST_FILES or sum(wanted.values()) > MOST_BYTES:
        raise DataError(
            f"{source} has {len(wanted):,} files of {sum(wanted.values()):,} bytes; at most {MOST_FILES:,} of {MOST_BYTES:,} are "
            "taken"
        )
    for name, size in wanted.items():
        if size > MOST_SMALL and not name.startswith("weights/"):
            raise DataError(f"{name} of {source} has {size:,} bytes, at most {MOST_SMALL:,} are taken")
    return list(wanted)


def _check_there(to: str, there: Any, private: bool) -> None:
    """Raises UsageError if what is there on the Hub is public and should not be, or is no run, whose files would be replaced."""
    if private and not there.private:
        raise UsageError(f"{to} already exists and is public: make it private first, or choose another name")
    names = {one.rfilename for one in there.siblings or []} - {".gitattributes", "README.md"}
    if names and "config.yaml" not in names:
        raise UsageError(f"{to} already exists and is not a run of Striate: choose another name")


def _say_where(card: Path, to: str) -> None:
    """Inserts the command that pulls the run before the first one that uses it."""
    text = card.read_text(encoding="utf-8")
    write_atomic(card, text.replace("striate predict ", f"striate pull {to}\nstriate predict ", 1))


def _hub(name: str) -> Any:
    """The Hub, its telemetry off. Raises UsageError if there can be no such name there, or huggingface_hub is not installed."""
    if not _HUB_NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"a name on the Hub is USER/NAME, as in ada/lenet5; got {name!r}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        return import_module("huggingface_hub").HfApi(library_name="striate", library_version=__version__)
    except ImportError as error:
        raise UsageError("huggingface_hub is not installed: pip install 'striate[hub]'") from error


def _url(name: str) -> str:
    return f"{import_module('huggingface_hub.constants').ENDPOINT}/{name}"


@contextmanager
def _speaking(name: str) -> Iterator[None]:
    """Makes a StriateError of whatever the library raises: its errors have no type in common."""
    try:
        yield
    except StriateError:
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise StriateError(
            f"{_url(name)}: {type(error).__name__}: {said}. Private repositories, and uploading, need: hf auth login"
        ) from error
