"""A run's log in TensorBoard or MLflow, as it trains.

The run's folder is the record: a log is a copy of metrics.csv, the config and the evaluation, for those who watch runs there. A
log that fails costs a warning, never the training. Nothing goes over the network unless MLFLOW_TRACKING_URI names a server.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml

from striate.arguments import check
from striate.choices import LogKind
from striate.errors import Interrupted, Signalled, UsageError
from striate.events import EpochEnded, Evaluated, Event
from striate.files import write_json
from striate.forms import Form
from striate.run import Run
from striate.runfiles import read_json

EXPERIMENT = "striate"
"""Name of the MLflow experiment that runs are filed under, unless MLFLOW_EXPERIMENT_NAME gives another."""


class _Known(Form):
    """tracking.json"""

    mlflow: str | None = None


class Tracker(ABC):
    """Where a log goes. Each method may raise anything: `Log` says so, once, and goes on without it.

    Attributes:
        logged: the steps whose rows are there.
    """

    def __init__(self) -> None:
        self.logged: set[int] = set()

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Takes rows of metrics.csv; those of steps that are logged already are not logged twice."""
        for row in rows:
            if row["step"] not in self.logged:
                figures = {key: row[key] for key in row.keys() - {"step", "seconds"} if row[key] is not None}
                self.write(figures, row["step"], row["seconds"])
                self.logged.add(row["step"])

    @abstractmethod
    def write(self, values: Mapping[str, float], step: int, seconds: float | None = None) -> None:
        """Takes figures of a step, and when it was, in seconds since the run started."""

    @abstractmethod
    def close(self, status: Literal["finished", "interrupted", "failed"]) -> None:
        """Ends the log with that status."""


class Log:
    """An observer that keeps the log of a run, where its config asks for one; a context that closes it.

    Args:
        run: its config's `log` says which tracker.
        warn: is called, once, with why the log cannot be kept.

    Attributes:
        seconds: the time spent on it.
    """

    def __init__(self, run: Run, warn: Callable[[str], None]) -> None:
        self.run, self.warn = run, warn
        self.step = 0
        self.seconds = 0.0
        self.tracker: Tracker | None = None
        kind = run.config.log
        if kind is not None:
            with self._guarded():
                self.tracker = TensorBoard(run) if kind == "tensorboard" else MLflow(run)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self.tracker is not None:
            stopped = isinstance(error, Interrupted | Signalled | KeyboardInterrupt)
            with self._guarded():
                self.tracker.close("finished" if error is None else "interrupted" if stopped else "failed")

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Logs those rows of metrics.csv that are not logged yet."""
        if self.tracker is not None and rows:
            self.step = int(rows[-1]["step"])
            with self._guarded():
                self.tracker.rows(rows)

    def __call__(self, event: Event) -> None:
        """Logs the row of an epoch, and the figures of the final evaluation."""
        if isinstance(event, EpochEnded):
            self.rows([event.row])
        elif isinstance(event, Evaluated) and self.tracker is not None:
            figures = {f"{event.split}_{name}": value for name, value in event.figures.items() if value is not None}
            with self._guarded():
                self.tracker.write(figures, self.step)

    @contextmanager
    def _guarded(self) -> Any:
        """Whatever a tracker raises ends the log, with a warning, and not the training. Warnings in it are not the user's."""
        began = time.perf_counter()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except Exception as error:
            self.tracker = None
            said = (str(error).splitlines() or [""])[0][:300]
            self.warn(
                f"logging to {self.run.config.log} ends here ({type(error).__name__}: {said}). Training continues, "
                "and the run's folder is complete; a resumed run tries again"
            )
        self.seconds += time.perf_counter() - began


def require(kind: str | None) -> None:
    """Loads what a log needs, before a training begins.

    Raises:
        UsageError: there is no such tracker, or it is not installed.
    """
    if kind is None:
        return
    check("log", kind, LogKind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _load(kind)
    except ImportError as error:
        raise UsageError(f"{kind} is not installed: pip install 'striate[{kind}]'") from error


class TensorBoard(Tracker):
    """Event files in the run's folder `tensorboard`; `tensorboard --logdir runs` shows all runs.

    A resumed run writes its log anew in another file, with the mark that what was logged before, from step 0 on, is void. So it
    holds what metrics.csv holds, even where rows were lost with the process that logged them.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.writer = _load("tensorboard").SummaryWriter(str(run.path / "tensorboard"), purge_step=0)
        started = run.summary.started
        self.started = datetime.fromisoformat(started).timestamp() if started else time.time()
        config = yaml.safe_dump(run.config.as_dict(), sort_keys=False)
        self.writer.add_text("config", f"```\n{config}```", 0, self.started)
        self.writer.flush()

    def write(self, values: Mapping[str, float], step: int, seconds: float | None = None) -> None:
        for name, value in values.items():
            split, _, what = name.partition("_")
            tag = f"{what}/{split}" if split in ("train", "val", "validation", "test") else name
            self.writer.add_scalar(tag, value, step, None if seconds is None else self.started + seconds)
        self.writer.flush()

    def close(self, status: Literal["finished", "interrupted", "failed"]) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run of the server that MLFLOW_TRACKING_URI names, or else of the SQLite file `mlflow.db` beside the runs.

    The run's `tracking.json` keeps its id there, so that a resumed run goes on with it.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        mlflow, beside = _load("mlflow"), (run.path.resolve().parent / "mlflow.db").as_posix()
        self.entities = import_module("mlflow.entities")
        self.client = mlflow.MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{beside}")
        self.id = self._known(run.path)
        if self.id is None:
            self.id = self._begin(run)
            write_json(run.path / "tracking.json", {"mlflow": self.id})
        self.client.update_run(self.id, status="RUNNING")
        self.logged = {metric.step for metric in self.client.get_metric_history(self.id, "train_loss")}

    def _known(self, folder: Path) -> str | None:
        """The MLflow run that this one was logged as, if the server has it."""
        known = read_json(folder, "tracking.json", _Known)
        if known is None or known.mlflow is None:
            return None
        try:
            run_id: str = self.client.get_run(known.mlflow).info.run_id
        except import_module("mlflow.exceptions").MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return run_id

    def _begin(self, run: Run) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if found is None else found.experiment_id
        run_id: str = self.client.create_run(experiment, run_name=run.name).info.run_id
        parameters = [self.entities.Param(key, value[:500]) for key, value in _flat(run.config.as_dict()).items()]
        for start in range(0, len(parameters), 100):  # as many as it takes at a time
            self.client.log_batch(run_id, params=parameters[start : start + 100])
        return run_id

    def write(self, values: Mapping[str, float], step: int, seconds: float | None = None) -> None:
        now, metric = int(time.time() * 1000), self.entities.Metric
        figures = [metric(name, float(value), now, step) for name, value in values.items()]
        self.client.log_batch(self.id, metrics=figures)

    def close(self, status: Literal["finished", "interrupted", "failed"]) -> None:
        ends = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}
        self.client.set_terminated(self.id, ends[status])


def _load(kind: str) -> Any:
    """The module of a tracker. MLflow's telemetry is off, and a server that is gone is given up after one more try."""
    if kind == "tensorboard":
        return import_module("torch.utils.tensorboard")
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    }.items():
        os.environ.setdefault(name, value)
    module = import_module("mlflow")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return module


def _flat(value: Any, name: str = "") -> dict[str, str]:
    """{"recipe.lr": "0.008", ...} of nested dicts; lists as one value."""
    if not isinstance(value, Mapping):
        return {name: str(value)}
    flat: dict[str, str] = {}
    for key, inner in value.items():
        flat |= _flat(inner, f"{name}.{key}" if name else str(key))
    return flat
