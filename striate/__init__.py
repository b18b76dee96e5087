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
    from striate.explaining import Explanation, explain
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

_HOME = {
    "Anatomy": "anatomy",
    "CATALOGUE": "nets",
    "Classifier": "classifier",
    "DataError": "errors",
    "DataSet": "data",
    "Event": "events",
    "Exported": "exporting",
    "ImageData": "data",
    "Explanation": "explaining",
    "Net": "nets",
    "NetSpec": "nets",
    "Prediction": "predicting",
    "Preprocessing": "data",
    "Recipe": "recipe",
    "Run": "run",
    "Settings": "experiment",
    "Stop": "training",
    "StriateError": "errors",
    "UsageError": "errors",
    "build": "nets",
    "compare_views": "experiment",
    "evaluate": "experiment",
    "export": "exporting",
    "explain": "explaining",
    "follow": "live",
    "inspect": "anatomy",
    "list_runs": "runlist",
    "load": "run",
    "load_data": "data",
    "look": "explaining.look",
    "predict": "classifier",
    "pull": "sharing",
    "push": "sharing",
    "resume": "experiment",
    "search_rate": "experiment",
    "stop": "live",
    "train": "experiment",
    "try_out": "experiment",
}

__all__ = [
    "CATALOGUE",
    "Anatomy",
    "Classifier",
    "DataError",
    "DataSet",
    "Event",
    "Explanation",
    "Exported",
    "ImageData",
    "Net",
    "NetSpec",
    "Prediction",
    "Preprocessing",
    "Recipe",
    "Run",
    "Settings",
    "Stop",
    "StriateError",
    "UsageError",
    "build",
    "compare_views",
    "evaluate",
    "explain",
    "export",
    "follow",
    "inspect",
    "list_runs",
    "load",
    "load_data",
    "look",
    "predict",
    "pull",
    "push",
    "resume",
    "search_rate",
    "stop",
    "train",
    "try_out",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'striate' has no attribute {name!r}")
    return getattr(import_module(f"striate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
