"""bfloat16, torch.compile and deterministic operations are other executions of the same training."""

import numpy as np
import pytest
import torch
from test_exactness import QUIET, weights

import striate
from striate.errors import UsageError
from striate.experiment.repeat import repeat_command
from striate.nets import build
from striate.training import Execution
from striate.training.step import TrainingStep


@pytest.fixture
def few(tmp_path):
    """The settings of a training of 200 images."""
    noise = np.random.default_rng(0)
    arrays = {
        f"{letter}_{split}": noise.integers(0, 256, (count, 28, 28), np.uint8)
        if letter == "x"
        else np.arange(count) % 10
        for split, count in (("train", 200), ("test", 20))
        for letter in "xy"
    }
    np.savez(tmp_path / "few.npz", **arrays)
    return {
        "data": tmp_path / "few.npz",
        "out": tmp_path,
        "threads": 1,
        "report": False,
        "layout": "nchw",
        "progress": QUIET,
    }


def test_bf16_rounds_what_the_net_computes_and_neither_weights_nor_loss():
    torch.manual_seed(0)
    step = TrainingStep(build("googlenet-native-light"))  # with auxiliary heads
    pictures, labels = torch.randn(4, 1, 28, 28), torch.arange(4)
    torch.manual_seed(1)
    exact, _ = step(pictures, labels)
    step.bf16 = True
    torch.manual_seed(1)
    loss, _ = step(pictures, labels)
    loss.backward()
    assert loss.dtype == torch.float32
    assert {parameter.grad.dtype for parameter in step.net.parameters()} == {torch.float32}
    # bfloat16 has 8 bits: the loss moves, by parts of a hundred at the most.
    assert 0 < abs(loss.item() - exact.item()) < 0.02 * exact.item()


def test_a_run_keeps_how_it_was_computed_and_goes_on_so(few, monkeypatch):
    adopted, switched = [], []
    adopt = Execution.apply_to
    monkeypatch.setattr(
        Execution, "apply_to", lambda execution, step: (adopted.append(execution), adopt(execution, step))
    )
    monkeypatch.setattr(torch, "use_deterministic_algorithms", switched.append)
    run = striate.train("lenet5", epochs=1, precision="bf16", deterministic=True, **few)
    assert run.config.plan.precision == "bf16"
    assert "--precision bf16 --deterministic" in repeat_command(run.config)
    adopted.clear()
    striate.resume(run.path, epochs=2, progress=QUIET)
    assert adopted == [Execution(1, "nchw", "bf16")]
    assert switched == [True, True]


def test_a_precision_that_there_is_not_is_named():
    with pytest.raises(UsageError, match="precision must be fp32 or bf16, got 'fp16'"):
        striate.train(precision="fp16", progress=QUIET)


@pytest.mark.slow
def test_a_compiled_run_has_the_weights_of_the_others(few):
    plain = striate.train("lenet5-bn", epochs=2, name="plain", **few)
    compiled = striate.train("lenet5-bn", epochs=2, name="compiled", compile=True, **few)
    assert compiled.config.plan.compiled is True
    one, other = weights(plain), weights(compiled)
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], rtol=1e-3, atol=1e-4)
