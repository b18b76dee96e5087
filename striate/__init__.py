"""Striate, the workbench of the classic convolutional networks: read, measure, train, see inside, compare, ship.

    import striate

    run = striate.train("lenet5", "fashion-mnist-sample")
    run.predict("boot.png")

Importing this package loads nothing heavy: each name is fetched from its module when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from striate.anatomy import Anatomy, inspect
    from striate.classifier import Classifier, predict
    from striate.data import DataSet, ImageData, Preprocessing, load_data
    from striate.errors import DataError, StriateError, UsageError
    from striate.events import Event
    from striate.experiment import Settings, compare_views, evaluate, resume, search_rate, train, try_out
    from striate.explaining.explanation import Explanation, explain
    from striate.explaining.look import look
    from striate.exporting import Exported, export
    from striate.live import follow, stop
    from striate.nets import CATALOGUE, Net, NetSpec, build
    from striate.predicting import Prediction
    from striate.recipe import Recipe
    from striate.run import Run, load
    from striate.runlist import list_runs
    from striate.sharing import pull, push
    from striate.training import Stop

_NAMES = {
    "anatomy": "Anatomy inspect",
    "classifier": "Classifier predict",
    "data": "DataSet ImageData Preprocessing load_data",
    "errors": "DataError StriateError UsageError",
    "events": "Event",
    "experiment": "Settings compare_views evaluate resume search_rate train try_out",
    "explaining.explanation": "Explanation explain",
    "explaining.look": "look",
    "exporting": "Exported export",
    "live": "follow stop",
    "nets": "CATALOGUE Net NetSpec build",
    "predicting": "Prediction",
    "recipe": "Recipe",
    "run": "Run load",
    "runlist": "list_runs",
    "sharing": "pull push",
    "training": "Stop",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "CATALOGUE", "Anatomy", "Classifier", "DataError", "DataSet", "Event", "Explanation", "Exported", "ImageData", "Net",
    "NetSpec", "Prediction", "Preprocessing", "Recipe", "Run", "Settings", "Stop", "StriateError", "UsageError", "build",
    "compare_views", "evaluate", "explain", "export", "follow", "inspect", "list_runs", "load", "load_data", "look", "predict",
    "pull", "push", "resume", "search_rate", "stop", "train", "try_out",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    return getattr(import_module(f"striate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
