"""Prediction: what a run's net sees in pictures that nobody has labelled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

from striate.arguments import checked
from striate.data.images import Pixels
from striate.data.picturefiles import PictureFiles
from striate.data.pictures import Picture, Unreadable, expanded, from_stream, ledger_of, read
from striate.evaluation.calibration import Strangers
from striate.predicting.predictor import Predictor
from striate.predicting.results import SHOWN, UNKNOWN, Prediction, Predictions
from striate.run import Run

_LOADED: WeakKeyDictionary[Run, tuple[tuple[object, ...], Predictor]] = WeakKeyDictionary()
"""Run -> (the state of its files, its predictor), for as long as the run is held."""

__all__ = [
    "UNKNOWN",
    "Picture",
    "PictureFiles",
    "Prediction",
    "Predictions",
    "Predictor",
    "Unreadable",
    "expanded",
    "from_stream",
    "ledger_of",
    "predict",
    "predict_many",
    "read",
]


@checked
def predict(
    run: Run, pictures: Iterable[Picture], *, top: int = 3, abstain: bool = False, device: str = "auto"
) -> Predictions:
    """Predictions in the order of the pictures; one that cannot be read gets an error and the rest are still predicted.

    The net stays loaded with the run until the run's files change.

    Args:
        run: a finished run.
        pictures: see `Picture`; of any size and mode.
        top: how many of the likeliest classes to give.
        abstain: whether a picture unlike those of validation gets the label `UNKNOWN`.
        device: see `striate.machine.pick_device`.

    Raises:
        DataError: the run has no weights, or its files are damaged.
        UsageError: `abstain` for a run without calibration; the net cannot be made; there is no such device.
    """
    found: list[Prediction] = []
    thumbnails: list[Pixels | None] = []
    strangers = Strangers(run) if abstain else None
    folders: list[PictureFiles] = []
    for prediction, pixels in _predictor(run, device).predict(expanded(pictures, folders), top, strangers):
        found.append(prediction)
        if len(thumbnails) < SHOWN:
            thumbnails.append(pixels)
    unreadable = {prediction.picture: prediction.error for prediction in found if prediction.error is not None}
    return Predictions(found, thumbnails, ledger_of(folders, unreadable))


def predict_many(
    run: Run, pictures: Iterable[Picture], *, top: int = 3, abstain: bool = False, device: str = "auto"
) -> Iterator[Prediction]:
    """As `predict`, one prediction after the other, in constant memory however many the pictures are.

    What is wrong with the run or the arguments is raised at once, not with the first prediction.
    """
    strangers = Strangers(run) if abstain else None
    seen = _predictor(run, device).predict(pictures, top, strangers)
    return (prediction for prediction, _ in seen)


def _predictor(run: Run, device: str) -> Predictor:
    """The run's predictor: made anew only if its files or the device changed, for people call this picture by picture."""
    files = [*run.path.glob("weights/*.safetensors"), run.path / "calibration.json"]
    stamp = (device, *((file.name, file.stat().st_mtime_ns) for file in files if file.is_file()))
    if run not in _LOADED or _LOADED[run][0] != stamp:
        _LOADED[run] = (stamp, Predictor(run, device))
    return _LOADED[run][1]
