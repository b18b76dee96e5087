"""Parts of a batch, frozen bodies, mean weights, the best epoch, patience: each against a plain loop or a plain count."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import nn

import striate
from striate.data.augmentation import Augmentation
from striate.data.images import ImageData
from striate.data.preprocessing import Preprocessing
from striate.errors import StriateError, UsageError
from striate.experiment import Settings
from striate.experiment.recipes import for_length
from striate.namedrecipes import LONG_RUN, for_long_runs, named_recipe
from striate.nets import build
from striate.training import Progress, loop
from striate.training.clock import Clock
from striate.training.job import make_job
from striate.training.loop import gradients
from striate.training.state import Average, State, fresh_state
from striate.training.timing import measure

pytestmark = pytest.mark.usefixtures("small_sample", "no_charts")


def train(tmp_path, net="lenet5", **choices):
    options = {
        "epochs": 2,
        "threads": 1,
        "report": False,
        "layout": "nchw",
        "out": tmp_path,
        "progress": Progress(quiet=True),
        **choices,
    }
    return striate.train(net, **options)


def weights(run, which="last"):
    return load_file(run.path / "weights" / f"{which}.safetensors")


@pytest.fixture
def job():
    generator = np.random.default_rng(0)
    data = ImageData(
        generator.integers(0, 256, (50, 28, 28, 1)).astype(np.uint8), np.arange(50) % 10, tuple("abcdefghij")
    )
    recipe = replace(
        named_recipe("fast", family="lenet", batch_norm=False, params=60_000),
        batch_size=25,
        augmentation=Augmentation(shift=2),
    )
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.3,))
    torch.manual_seed(0)
    return make_job(recipe, preprocessing, (data, None), torch.device("cpu"), build("lenet5", channels=1, classes=10))


def test_a_batch_in_parts_makes_the_same_gradients(job):
    job.net.double()
    job.batches.preprocessing = Doubled(job.preprocessing)
    found = []
    for parts in (1, 2, 7, 25):
        state = fresh_state(job)
        state.parts = parts
        sums = gradients(job, state, Clock(0.0))
        found.append((sums, [parameter.grad.clone() for parameter in job.net.parameters()]))
    for sums, grads in found[1:]:
        assert torch.allclose(sums, found[0][0], rtol=1e-12)
        for grad, whole in zip(grads, found[0][1], strict=True):
            assert torch.allclose(grad, whole, rtol=1e-10, atol=1e-14)


class Doubled:
    """A preprocessing in float64."""

    def __init__(self, plain):
        self.plain = plain

    def normalise(self, pixels):
        return self.plain.normalise(pixels).double()


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_when_memory_runs_out_the_step_is_made_in_parts_and_resuming_knows(tmp_path, monkeypatch, error):
    plain, failed = loop.gradients, []

    def limited(*arguments):
        state = next(one for one in arguments if isinstance(one, State))
        if state.step >= 5 and state.parts < 4:
            failed.append(state.step)
            raise error
        return plain(*arguments)

    monkeypatch.setattr(loop, "gradients", limited)
    said = Said()
    run = train(tmp_path, progress=said, epochs=2)
    assert failed == [5, 5]
    assert "out of memory in step 6: from here on each batch is split into 4 micro-batches" in "".join(said.lines)
    assert yaml.safe_load((run.path / "config.yaml").read_text())["plan"]["parts"] == 4
    monkeypatch.setattr(loop, "gradients", plain)
    extended = striate.resume(run.path, epochs=4, progress=Progress(quiet=True))
    assert extended.config.plan.parts == 4


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(loop, "gradients", broken)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        train(tmp_path)


def test_memory_that_does_not_hold_one_picture_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    def hopeless(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "gradients", hopeless)
    with pytest.raises(StriateError, match=r"use a smaller size, or a smaller net"):
        train(tmp_path)


def test_parts_are_found_when_the_step_is_measured(job, monkeypatch):
    from striate.training import Execution
    from striate.training import timing as module

    plain = module._steps_in_parts
    monkeypatch.setattr(
        module,
        "_steps_in_parts",
        lambda j, layout, limit, parts: plain(j, layout, limit, parts) if parts >= 8 else fail(),
    )

    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert measure(job, [Execution(1, "nchw")]).parts == 8


class Said(Progress):
    def __init__(self):
        super().__init__(quiet=True)
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_the_body_stays_as_it_is_while_it_is_frozen(tmp_path):
    import torch.nn.modules.batchnorm as norms

    net = build("lenet5-bn", channels=1, classes=10)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    run = train(tmp_path, net, data="fashion-mnist-sample", freeze=1.0, epochs=2, size=28)
    after = weights(run)
    assert any(isinstance(module, norms.BatchNorm2d) for module in net.modules())
    assert all(torch.equal(after[name], value) for name, value in before.items() if name.startswith("stages."))
    assert not torch.equal(after["head.classifier.weight"], before["head.classifier.weight"])
    half = weights(train(tmp_path, net, freeze=0.5, epochs=2, size=28))
    assert not all(torch.equal(half[name], value) for name, value in before.items() if name.startswith("stages."))


def test_freezing_a_net_without_a_head_of_its_own_is_refused(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(UsageError, match="a separate head"):
        train(tmp_path, net, freeze=0.5, size=28)


def test_the_mean_of_the_weights_follows_its_formula():
    net = build("lenet5", channels=1, classes=10).double()
    average = Average(net, 0.95)
    mean = [parameter.detach().clone() for parameter in net.parameters()]
    for step in range(1, 300):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        average.update(net, step)
        decay = min(0.95, step / (step + 10))
        mean = [decay * old + (1 - decay) * new for old, new in zip(mean, net.parameters(), strict=True)]
    for ours, plain in zip(average.net.parameters(), mean, strict=True):
        assert torch.allclose(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.full
def test_a_run_keeps_the_mean_weights_and_resumes_them_to_the_bit(tmp_path, monkeypatch):
    whole = train(tmp_path, ema=0.9, epochs=3)
    plain = train(tmp_path, epochs=3)
    assert not torch.equal(weights(whole)["head.classifier.weight"], weights(plain)["head.classifier.weight"])
    # Interrupted after five steps.
    ordinary, calls = loop.gradients, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return ordinary(*arguments)

    monkeypatch.setattr("striate.training.trainer.SECONDS", -1.0)
    monkeypatch.setattr("striate.training.checkpoint.RATIO", 0.0)
    monkeypatch.setattr(loop, "gradients", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, ema=0.9, epochs=3, name="cut")
    monkeypatch.setattr(loop, "gradients", ordinary)
    resumed = striate.resume(tmp_path / "cut", progress=Progress(quiet=True))
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(whole).items())


def test_the_best_epoch_is_kept_evaluated_and_predicted_with(tmp_path, monkeypatch):
    """A rate too high for long: the best epoch is not the last one."""
    plain = named_recipe("fast", family="lenet", batch_norm=False, params=60_000)
    for seed in range(4):
        # Without warm-up, whose length would hang on that of the run.
        recipe = replace(plain, schedule="constant", lr=0.02, warmup=0.0, seed=seed)
        run = train(tmp_path, recipe=recipe, keep="best", epochs=5)
        accuracies = [row["val_accuracy"] for row in run.metrics]
        best = max(range(5), key=lambda i: (accuracies[i], -run.metrics[i]["val_loss"]))
        if best < 4:
            break
    assert best < 4, "the last epoch is the best: this test shows nothing"
    shorter = train(tmp_path, recipe=recipe, epochs=best + 1)
    assert all(torch.equal(value, weights(run, "best")[name]) for name, value in weights(shorter).items())
    (evaluation,) = run.evaluations.values()
    (expected,) = shorter.evaluations.values()
    assert evaluation.accuracy == expected.accuracy
    again = striate.evaluate(run, split="validation")
    assert again.summary.accuracy == pytest.approx(accuracies[best])


def test_training_stops_when_validation_is_no_better_for_so_many_epochs(tmp_path):
    recipe = replace(
        named_recipe("fast", family="lenet", batch_norm=False, params=60_000), schedule="constant", lr=0.05
    )
    run = train(tmp_path, recipe=recipe, patience=2, epochs=12)
    rows = run.metrics
    best = max(range(len(rows)), key=lambda i: (rows[i]["val_accuracy"], -rows[i]["val_loss"]))
    assert len(rows) < 12
    assert len(rows) - 1 - best == 2
    assert run.config.plan.stopped_after_step == rows[-1]["step"]
    assert json.loads((run.path / "summary.json").read_text())["status"] == "finished"


def test_what_goes_by_validation_needs_validation(tmp_path):
    for choice in ({"keep": "best"}, {"patience": 3}):
        with pytest.raises(UsageError, match="needs validation images, but there are none"):
            train(tmp_path, validation=0, **choice)
    for choice, message in (
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"micro_batches": 0}, "micro_batches must be at least 1"),
        ({"keep": "first"}, "keep must be last or best"),
        ({"patience": 0}, "patience must be at least 1 epoch"),
        ({"freeze": 2.0}, "freeze must be from 0 to 1"),
    ):
        with pytest.raises(UsageError, match=message):
            train(tmp_path, **choice)


def test_the_command_in_the_run_spells_the_options_out(tmp_path):
    run = train(tmp_path, micro_batches=2, ema=0.9, keep="best", patience=5, epochs=2)
    for words in ("--micro-batches 2", "--ema 0.9", "--keep best", "--patience 5"):
        assert words in run.summary.command


@pytest.mark.full
def test_warnings_that_save_an_evening_come_before_and_after_the_first_epoch(tmp_path, monkeypatch):
    monkeypatch.undo()  # the whole sample: the few steps of the small one tell nothing of learning
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with torch.no_grad():
        net[1].weight *= 100
    said = Said()
    train(tmp_path, net, size=28, epochs=1, progress=said)
    assert any(line.startswith("warning: initial loss") and "too large" in line for line in said.lines)
    said = Said()
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    train(tmp_path, net, size=28, epochs=1, lr=1e-12, progress=said)
    assert any("the loss is still at chance level (2.302" in line for line in said.lines)
    said = Said()
    train(tmp_path, epochs=1, progress=said)
    assert not any(line.startswith("warning") for line in said.lines)


@pytest.mark.parametrize(
    ("given", "epochs", "altered"),
    [({}, LONG_RUN, True), ({}, LONG_RUN - 0.5, False), ({"augment": "none"}, LONG_RUN, False),
     ({"recipe": "tutorial"}, LONG_RUN, False)],
)  # fmt: skip
def test_fast_alters_the_pictures_of_a_long_run_unless_told_otherwise(job, given, epochs, altered):
    job = replace(job, batches=job.batches.altered_by(Augmentation()))
    longer = for_length(job, Settings(**given), True, round(epochs * job.batches.steps_per_epoch))
    assert (longer is not job) == altered
    if altered:
        assert longer.recipe.augmentation == longer.batches.augmentation == Augmentation(flip=True, shift=2)
        assert job.batches.augmentation == Augmentation()


def test_a_long_run_is_the_one_that_asked_for_what_it_got(tmp_path, monkeypatch):
    monkeypatch.setattr("striate.experiment.recipes.LONG_RUN", 1)
    long, asked = train(tmp_path, epochs=1), train(tmp_path, epochs=1, augment="flip,shift=2")
    assert long.config.recipe == asked.config.recipe
    long, asked = weights(long), weights(asked)
    assert all(torch.equal(tensor, asked[name]) for name, tensor in long.items())


def test_pictures_of_a_long_run_are_mirrored_only_where_they_keep_their_class():
    assert str(for_long_runs((28, 28), flippable=False)) == "shift=2"
    assert str(for_long_runs((224, 300), flippable=True)) == "flip,shift=16"
