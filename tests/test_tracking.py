"""The log of a run in TensorBoard and in MLflow: what readers of those find, and what a log that fails costs."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

import striate
from striate import tracking
from striate.errors import UsageError
from striate.events import Evaluated
from striate.files import write_json, write_yaml
from striate.run import Run
from striate.tracking import Log
from striate.training import Progress
from tests import run_config

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning", "ignore::ResourceWarning")

COLUMNS = {
    "lr": "lr",
    "loss/train": "train_loss",
    "accuracy/train": "train_accuracy",
    "loss/val": "val_loss",
    "accuracy/val": "val_accuracy",
    "epoch": "epoch",
}


@pytest.fixture(autouse=True)
def _no_server(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


def tensorboard(run):
    """{tag: [(step, value), ...]} as TensorBoard itself reads them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0})
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def mlflow_of(run, uri=None):
    """(status, {key: [(step, value), ...]}, parameters) of the one run that is filed."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri or f"sqlite:///{run.path.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("striate")
    (found,) = [one for one in client.search_runs([experiment.experiment_id]) if one.info.run_name == run.name]
    history = {
        key: [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, key)]
        for key in found.data.metrics
    }
    return found.info.status, history, found.data.params


def row(step, epoch, loss):
    return {
        "epoch": epoch, "step": step, "seconds": epoch * 1.5, "lr": 0.1, "train_loss": loss, "train_accuracy": 0.5,
        "val_loss": None, "val_accuracy": None, "pictures_per_second": 1000.0,
    }  # fmt: skip


@pytest.fixture
def bare(tmp_path):
    """A run that has not begun, with a log in what it is called with."""

    def make(kind, name="bare"):
        run = Run(tmp_path / "runs" / name)
        config = run_config.config(recipe={"lr": 0.1, "steps": [[0.1, 2]]}, log=kind)
        write_yaml(run.path / "config.yaml", config)
        write_json(run.path / "summary.json", {"started": "2026-01-02T03:04:05+00:00"})
        return run

    return make


def train(tmp_path, **settings):
    progress = Progress(quiet=True)
    return striate.train("lenet5", threads=1, layout="nchw", out=tmp_path / "runs", progress=progress, **settings)


@pytest.mark.full
def test_tensorboard_shows_what_metrics_csv_has_also_after_resume(tmp_path, monkeypatch, small_sample):
    monkeypatch.setattr("striate.experiment.finish.write_all", lambda run: [])  # the report is no part of this
    run = train(tmp_path, epochs=2, name="board", log="tensorboard")
    assert Run.open(run.path).config.log == "tensorboard"
    first = tensorboard(run)
    assert len(first["loss/train"]) == 2
    run = striate.resume(run.path, epochs=3, progress=Progress(quiet=True))
    found = tensorboard(run)
    for tag, column in COLUMNS.items():
        assert found[tag] == [(row["step"], pytest.approx(row[column], rel=1e-6)) for row in run.metrics], tag
    (evaluation,) = run.evaluations.values()
    assert found["accuracy/test"] == [(run.metrics[-1]["step"], pytest.approx(evaluation.accuracy))]
    assert "--log tensorboard" in run.summary.command
    assert "log" in run.summary.seconds


def test_rows_that_were_lost_with_their_process_are_not_there_twice(bare):
    run = bare("tensorboard")
    said = []
    killed = Log(run, said.append)
    killed.rows([row(10, 1, 2.0)])
    killed.rows([row(10, 1, 2.0), row(20, 2, 1.0)])  # and no checkpoint was written of step 20
    with Log(run, said.append) as log:
        log.rows([row(10, 1, 2.0)])
        log.rows([row(10, 1, 2.0), row(20, 2, 1.5)])
    assert tensorboard(run)["loss/train"] == [(10, 2.0), (20, 1.5)]
    assert said == []


@pytest.mark.slow
def test_mlflow_in_its_own_database(bare):
    run = bare("mlflow")
    said = []
    log = Log(run, said.append)
    log.rows([row(10, 1, 2.0)])
    log.rows([row(10, 1, 2.0), row(20, 2, 1.0)])
    log.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert mlflow_of(run)[0] == "KILLED"
    with Log(run, said.append) as log:
        log.rows([row(10, 1, 2.0), row(20, 2, 1.0)])
        log.rows([row(10, 1, 2.0), row(20, 2, 1.0), row(30, 3, 0.5)])
        log(Evaluated(data="d", split="test", n=100, figures={"accuracy": 0.75, "low": 0.7, "high": 0.8, "loss": 0.5}))
    status, history, parameters = mlflow_of(run)
    assert status == "FINISHED"
    assert history["train_loss"] == [(10, 2.0), (20, 1.0), (30, 0.5)]
    assert history["epoch"] == [(10, 1.0), (20, 2.0), (30, 3.0)]
    assert history["test_accuracy"] == [(30, 0.75)]
    assert "val_loss" not in history
    wanted = {"net.name": "lenet5", "recipe.lr": "0.1", "recipe.steps": "[[0.1, 2]]", "log": "mlflow"}
    assert wanted.items() <= parameters.items()
    assert said == []
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert str(run.path) not in (run.path / "tracking.json").read_text()

    # Elsewhere, or where somebody deleted it, the log begins anew, with all rows.
    write_json(run.path / "tracking.json", {"mlflow": "0" * 32})
    run.path.rename(run.path.with_name("moved"))
    moved = Run(run.path.with_name("moved"))
    with Log(moved, said.append) as log:
        log.rows([row(10, 1, 2.0)])
    assert mlflow_of(moved)[1]["train_loss"] == [(10, 2.0)]
    assert said == []


def test_a_log_that_fails_is_said_once_and_raises_nothing(bare, monkeypatch):
    class Failing(tracking.TensorBoard):
        def rows(self, rows):
            if len(rows) > 1:
                raise ConnectionError("the server is gone\nin many words")
            super().rows(rows)

    monkeypatch.setattr(tracking, "TensorBoard", Failing)
    run, said = bare("tensorboard"), []
    with Log(run, said.append) as log:
        log.rows([row(10, 1, 2.0)])
        log.rows([row(10, 1, 2.0), row(20, 2, 1.0)])
        log.rows([row(10, 1, 2.0), row(20, 2, 1.0), row(30, 3, 0.5)])
        log(Evaluated(data="d", split="test", n=100, figures={"accuracy": 0.75}))
    (warning,) = said
    assert "logging to tensorboard ends here (ConnectionError: the server is gone)" in warning
    assert tensorboard(run)["loss/train"] == [(10, 2.0)]


def test_what_is_missing_is_said_before_anything_is_loaded(monkeypatch, bare, call):
    real = tracking.import_module

    def missing(name):
        if name.startswith(("torch.utils.tensorboard", "mlflow")):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(tracking, "import_module", missing)
    for kind in ("tensorboard", "mlflow"):
        code, _, said = call("train", "--log", kind, "--data", "nowhere")
        assert code == 2
        assert f"{kind} is not installed: pip install 'striate[{kind}]'" in said
    warned = []
    with Log(bare("mlflow"), warned.append) as log:  # a run that is gone on with where there is none
        log.rows([row(1, 1, 1.0)])
    assert len(warned) == 1


def test_there_are_no_others(call):
    with pytest.raises(UsageError, match="log must be tensorboard or mlflow, got 'wandb'"):
        tracking.require("wandb")
    assert call("train", "--log", "wandb")[0] == 2


def test_no_log_unless_asked_for(trained):
    assert trained.config.log is None
    assert not (trained.path / "tensorboard").exists()
    assert "--log" not in trained.summary.command
    assert "log" not in trained.summary.seconds


@pytest.fixture
def server(tmp_path):
    """A real MLflow server on SQLite; gives (address, its process)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}", "--default-artifact-root", str(tmp_path / "artifacts"),
    ]  # fmt: skip
    with (tmp_path / "server.txt").open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, cwd=tmp_path,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/health", timeout=1).close()
            break
        except OSError:
            assert process.poll() is None, (tmp_path / "server.txt").read_text()
            time.sleep(0.2)
    yield address, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_a_real_server(tmp_path, server, monkeypatch):
    address, process = server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    run = train(tmp_path, epochs=2, name="served", log="mlflow")
    run = striate.resume(run.path, epochs=3, progress=Progress(quiet=True))
    status, history, parameters = mlflow_of(run, address)
    assert status == "FINISHED"
    for column in ("lr", "train_loss", "train_accuracy", "val_loss", "val_accuracy", "pictures_per_second"):
        assert history[column] == [(row["step"], pytest.approx(row[column])) for row in run.metrics], column
    (evaluation,) = run.evaluations.values()
    # A point of each time that the training ended.
    assert history["test_accuracy"][-1] == (run.metrics[-1]["step"], pytest.approx(evaluation.accuracy))
    assert parameters["recipe.batch_size"] == str(run.config.recipe.values["batch_size"])
    assert not (tmp_path / "runs" / "mlflow.db").exists()

    # It goes away in the middle.
    said = []
    log = Log(run, said.append)
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)
    began = time.perf_counter()
    log.rows([*run.metrics, row(10**6, 99, 0.1)])
    log.rows([*run.metrics, row(10**6, 99, 0.1), row(10**6 + 1, 100, 0.1)])
    assert time.perf_counter() - began < 30
    assert len(said) == 1
    assert "Training continues" in said[0]
