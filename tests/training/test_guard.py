"""What is not finite never reaches the weights: found before the update, with the step and the layer, at no cost to the bits."""

import math
import random
from functools import partial

import pytest
import torch

import striate
from striate.errors import StriateError
from striate.nets import build
from striate.training import Progress, trainer
from striate.training.checkpoint import load_checkpoint
from striate.training.guard import Guard
from tests.training.tiny import same_bits

STEPS = random.Random(3).sample(range(24), 20)
DEFERRED = pytest.mark.parametrize("deferred", [False, True], ids=["at once", "deferred, as on CUDA"])


@pytest.fixture
def defer(monkeypatch):
    """Lets the host learn of it only when it reads results, if wanted."""
    return lambda deferred: monkeypatch.setattr(trainer, "Guard", partial(Guard, deferred=deferred))


def poison(made, step, value, parameter=None):
    """Plants `value` in the inputs of a step, or in one place of a parameter's gradient."""
    batches, now = made.job.batches, []
    samples_of, inputs_of = batches.samples, batches.inputs

    def samples(epoch, place):
        now[:] = [epoch * batches.steps_per_epoch + place]
        return samples_of(epoch, place)

    def inputs(epoch, chosen, side=None):
        x, labels = inputs_of(epoch, chosen, side)
        if now == [step] and parameter is None:
            x[-1, 0, 3, 3] = value
        return x, labels

    batches.samples, batches.inputs = samples, inputs
    if parameter is not None:

        def plant(gradient):
            if now != [step]:
                return gradient
            gradient = gradient.clone()
            gradient.view(-1)[-1] = value
            return gradient

        made.job.net.get_parameter(parameter).register_hook(plant)


def bits_after(tiny, steps):
    made = tiny(f"until-{steps}", steps=24)
    real = made.job.optimizer.step
    taken = []

    class Enough(Exception):
        pass

    def step():
        if len(taken) == steps:
            raise Enough
        taken.append(real())

    made.job.optimizer.step = step
    with pytest.raises(Enough):
        made.fit()
    return {name: tensor for name, tensor in made.bits().items() if "running" not in name and "batches" not in name}


@DEFERRED
@pytest.mark.parametrize("value", [math.nan, -math.inf])
def test_a_gradient_that_is_not_finite_is_named_and_never_used(tiny, defer, deferred, value):
    defer(deferred)
    names = [name for name, _ in build("lenet5-bn").named_parameters()]
    for number, step in enumerate(STEPS):
        made = tiny(f"run-{number}")
        name = names[number % len(names)]
        poison(made, step, value, name)
        with pytest.raises(StriateError) as caught:
            made.fit()
        message = str(caught.value)
        assert f"the gradient of {name} is not finite" in message
        assert f"in step {step + 1} (epoch {step // 8 + 1}), which was not taken" in message
        rate = made.job.recipe.rate((step + 0.5) / 24)
        assert f"the learning rate {rate:.4g} of this step (0.02 at its highest) is too high" in message
        # While the rate still rises, a peak above what was too high already would break as soon.
        wanted = min(0.005, rate / 2) if step < 0.2 * 24 - 0.5 else 0.005
        assert f"try --lr {float(f'{wanted:.2g}'):g}" in message
        state, damaged = load_checkpoint(made.run)
        assert damaged == []
        assert state["step"] <= step
        assert all(tensor.isfinite().all() for tensor in state["net"].values())


@DEFERRED
def test_the_weights_are_those_before_the_step(tiny, defer, deferred):
    step = 5
    until = bits_after(tiny, step)
    defer(deferred)
    made = tiny()
    poison(made, step, math.nan, "head.2.weight" if "head.2.weight" in dict(made.job.net.named_parameters()) else None)
    with pytest.raises(StriateError):
        made.fit()
    after = {name: tensor for name, tensor in made.bits().items() if name in until}
    assert same_bits(until, after)


@DEFERRED
def test_a_loss_that_is_not_finite_is_named_with_the_first_module_that_gave_it(tiny, defer, deferred):
    defer(deferred)
    for number, step in enumerate(STEPS[:10]):
        made = tiny(f"run-{number}")
        poison(made, step, math.nan)
        with pytest.raises(StriateError) as caught:
            made.fit()
        first = next(name for name, module in made.job.net.named_modules() if isinstance(module, torch.nn.Conv2d))
        assert str(caught.value).startswith(f"the loss is nan, from the output of {first} on, in step {step + 1} (")


def test_a_batch_in_parts_is_looked_at_as_it_is_computed(tiny):
    made = tiny(micro_batches=3)
    poison(made, 9, math.nan)
    first = next(name for name, module in made.job.net.named_modules() if isinstance(module, torch.nn.Conv2d))
    with pytest.raises(StriateError, match=f"the loss is nan, from the output of {first} on, in step 10 "):
        made.fit()


@DEFERRED
def test_no_alarm_and_the_same_bits_where_all_is_finite(tiny, defer, deferred, monkeypatch):
    defer(deferred)
    for seed in range(10):
        guarded, plain = (tiny(f"{name}-{seed}", seed=seed, epochs=1) for name in ("guarded", "plain"))
        guarded.fit()
        with monkeypatch.context() as unguarded:
            unguarded.setattr(Guard, "before_update", lambda *_: None)
            plain.fit()
        assert same_bits(guarded.bits(), plain.bits())


def test_in_between_the_deferred_guard_changes_nothing_either(tiny, defer):
    """Steps after the bad one compute gradients that are finite; none of them moves a weight or a momentum."""
    defer(True)
    made = tiny()
    poison(made, 1, math.nan, "head.0.weight" if "head.0.weight" in dict(made.job.net.named_parameters()) else None)
    asked = []
    real = made.job.optimizer.step
    made.job.optimizer.step = lambda: (asked.append(made.state.step), real())
    with pytest.raises(StriateError, match="in step 2 "):
        made.fit()
    assert asked == list(range(8)), "the host learns of it when it reads the epoch's results"


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_every_optimizer_heeds_the_flag_on_the_device(tiny, defer, optimizer):
    defer(True)
    made = tiny(optimizer=optimizer, momentum=0.0 if optimizer != "sgd" else 0.9, nesterov=False)
    poison(made, 0, math.inf, next(name for name, _ in made.job.net.named_parameters()))
    before = {name: parameter.detach().clone() for name, parameter in made.job.net.named_parameters()}
    with pytest.raises(StriateError, match="in step 1 "):
        made.fit()
    assert same_bits(before, dict(made.job.net.named_parameters()))


def test_a_rate_that_blows_up_fails_the_run_with_the_way_out_and_a_good_checkpoint(tmp_path):
    with pytest.raises(StriateError, match=r"is not finite|is (nan|inf).*which was not taken.*try --lr") as caught:
        striate.train(
            "lenet5", epochs=1, lr=1e12, recipe="paper", batch_size=64, name="nan", out=tmp_path, threads=1, layout="nchw",
            progress=Progress(quiet=True),
        )  # fmt: skip
    assert caught.value.exit_code == 1
    run = striate.load(tmp_path / "nan")
    assert run.summary.status == "failed"
    assert load_checkpoint(run)[0]["step"] == 0
