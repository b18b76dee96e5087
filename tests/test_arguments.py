"""Arguments of a wrong type are errors in words, for every public function. Run: pytest tests/test_arguments.py"""

import inspect

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import striate
from striate.errors import UsageError
from striate.training import Progress

pytestmark = pytest.mark.usefixtures("no_charts")
QUIET = Progress(quiet=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": "a"}, "lr must be a number or None, got 'a'"),
        ({"lr": [0.1]}, r"lr must be a number or None, got \[0.1\], a list"),
        ({"epochs": "3"}, "epochs must be a number or None, got '3'"),
        ({"net": 3}, "net must be a text or a torch.nn.Module, got 3"),
        ({"net": None}, "net must be a text or a torch.nn.Module, got None"),
        ({"net": nn.Linear}, r"got the class Linear: make one, as in Linear\(\)"),
        ({"data": 5}, "data must be a text or a path or a DataSet"),
        ({"data": None}, "data must be a text or a path or a DataSet"),
        ({"data": TensorDataset(torch.zeros(2))}, r"a Dataset of \(image, label\): its item 0 is a tuple of 1"),
        ({"data": DataLoader(TensorDataset(torch.zeros(2)))}, r"For a DataLoader, give its dataset: loader.dataset"),
        ({"seed": 1.5}, "seed must be a whole number or None, got 1.5"),
        ({"seed": True}, "seed must be a whole number or None, got True"),
        ({"exclude": "ants"}, "exclude must be a list, each item a text, got 'ants'"),
        ({"compile": "yes"}, "compile must be True or False, got 'yes'"),
        ({"learning_rate": 1}, "unexpected keyword argument 'learning_rate'; it takes net, data"),
        ({"lr": np.float32(-1)}, "lr must be above 0"),
    ],
)
def test_what_training_is_not_told_so(arguments, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        striate.train(**{"out": tmp_path, "progress": QUIET, **arguments})
    assert not list(tmp_path.iterdir())


FUNCTIONS = [name for name in striate.__all__ if inspect.isfunction(getattr(striate, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("value", [3j, [None], object()])
def test_every_function_refuses_in_words_what_it_cannot_take(name, value):
    function = getattr(striate, name)
    first = next(iter(inspect.signature(function).parameters))
    needed = {
        key: "onnx"
        for key, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty and key != first
    }
    with pytest.raises(UsageError, match=f"{first} must be"):
        function(value, **needed)


def test_runs_are_listed_of_a_text_or_a_path(trained):
    out = trained.path.parent
    assert (
        [run.path for run in striate.list_runs(str(out))]
        == [run.path for run in striate.list_runs(out)]
        == [trained.path]
    )
    with pytest.raises(UsageError, match="out must be a text or a path, got 3"):
        striate.list_runs(3)


def test_a_set_shows_itself_in_few_lines_and_goes_into_a_loader():
    data = striate.load_data("fashion-mnist-sample")
    assert len(repr(data).splitlines()) <= 10
    assert "10,000 images of 28x28x1" in repr(data)
    assert len(repr(data.train).splitlines()) == 1
    images, labels = next(iter(DataLoader(data.train, batch_size=4)))
    assert (images.shape, images.dtype, labels.tolist()) == (
        (4, 1, 28, 28),
        torch.uint8,
        data.train.labels[:4].tolist(),
    )
    assert np.array_equal(images[3, 0].numpy(), data.train.pixels[3, :, :, 0])
    assert data.train[-1][1] == data.train.labels[-1]
    assert len(data.train[:5]) == 5
    with pytest.raises(IndexError):
        data.train[len(data.train)]


def test_a_loaded_set_trains_as_its_name_does_and_resumes(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("striate.training.timing.MEASURE_SECONDS", 0)
    data = striate.load_data(pictures, size=(32, 32), fit="squash", exclude=["00.png"])
    options = {
        "epochs": 2,
        "batch_size": 8,
        "threads": 1,
        "report": False,
        "layout": "nchw",
        "out": tmp_path / "runs",
        "progress": QUIET,
    }
    state = torch.get_rng_state()
    run = striate.train("resnet20", data, **options)
    assert torch.equal(torch.get_rng_state(), state)
    assert (run.config.preprocessing.fit, run.config.data.exclude) == ("squash", ("00.png",))
    striate.resume(run.path, epochs=3, progress=QUIET)
    with pytest.raises(UsageError, match=r"fit is for reading files.*load_data\(\.\.\., fit='pad'\)"):
        striate.train("resnet20", data, fit="pad", **options)
    for name, value in {"size": 64, "range": (0, 4095), "splits": "none", "group_by": "0", "on_bad": "stop"}.items():
        with pytest.raises(UsageError, match=f"{name} is for reading files"):
            striate.train("resnet20", data, **{name: value}, **options)
