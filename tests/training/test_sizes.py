"""Progressive sizes: images of training grow on the way, and nothing else changes."""

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from striate.data import Preprocessing
from striate.data.augmentation import Augmentation
from striate.data.batches import Batches, Order
from striate.errors import Interrupted, StriateError, UsageError
from striate.namedrecipes import progressive
from striate.recipe import Recipe, ResizeSchedule
from tests.training.tiny import RECIPE, pictures, same_bits

GROWING = {"resize_schedule": ((0.0, 20), (0.5, 28))}


def test_sizes_are_read_as_they_are_written():
    sizes = ((0.0, 112), (0.5, 168), (0.75, 224))
    assert ResizeSchedule.parse("112,168@0.5,224@0.75") == sizes
    assert str(ResizeSchedule(sizes)) == "112,168@0.5,224@0.75"
    assert ResizeSchedule.parse("full") == ResizeSchedule.parse(str(ResizeSchedule())) == ()
    assert Recipe.from_dict(replace(RECIPE, resize_schedule=sizes).as_dict()).resize_schedule == sizes


@pytest.mark.parametrize("text", ["big", "112@half", "112;168", "11.5"])
def test_what_is_no_size_is_an_error_that_shows_how(text):
    with pytest.raises(UsageError, match=r"112,168@0\.5,224@0\.75"):
        ResizeSchedule.parse(text)


@pytest.mark.parametrize(
    "sizes", [((0.5, 28),), ((0.0, 20), (0.5, 24), (0.5, 28)), ((0.0, 20), (1.0, 28)), ((0.0, 0),)]
)
def test_sizes_begin_at_the_beginning_and_are_in_order(sizes):
    with pytest.raises(UsageError, match="resize_schedule must be"):
        replace(RECIPE, resize_schedule=sizes)


def test_fast_begins_with_half_the_side_from_96_pixels_on():
    assert progressive((224, 224), 32) == ((0.0, 112), (0.5, 168), (0.75, 224))
    assert progressive((96, 128), 1) == ((0.0, 48), (0.5, 72), (0.75, 96))
    assert progressive((224, 224), 150) == ((0.0, 150), (0.5, 168), (0.75, 224))
    assert progressive((224, 224), 224) == progressive((95, 95), 1) == ()


def test_work_is_the_share_of_the_area():
    recipe = replace(RECIPE, resize_schedule=((0.0, 50), (0.5, 75), (0.75, 100)))
    areas = np.array([recipe.side((step + 0.5) / 1000) ** 2 for step in range(1000)])
    for done in (1, 250, 500, 600, 750, 999, 1000):
        assert recipe.work(done / 1000) == pytest.approx(areas[:done].sum() / areas.sum())
    assert RECIPE.work(0.3) == pytest.approx(0.3)


def test_pictures_are_scaled_as_pillow_scales_them():
    data = pictures(6, seed=3)
    preprocessing = Preprocessing(size=(28, 28), channels=1, mean=(0.5,), std=(0.25,))
    batches = Batches(data, preprocessing, Augmentation(), Order(6, 0), torch.device("cpu"))
    samples = torch.arange(6)
    x, labels = batches.inputs(0, samples, 20)
    assert x.shape == (6, 1, 20, 20)
    assert labels.tolist() == data.labels.tolist()
    for got, picture in zip(x, data.pixels, strict=True):
        scaled = Image.fromarray(picture[..., 0].astype(np.float32)).resize((20, 20), Image.Resampling.BILINEAR)
        assert np.allclose(got[0].numpy(), (np.asarray(scaled) / 255 - 0.5) / 0.25, atol=1e-5)
    assert torch.equal(batches.inputs(0, samples, 28)[0], batches.inputs(0, samples)[0])


def test_the_net_sees_each_size_at_its_time_and_validation_sees_the_whole(tiny):
    run = tiny(**GROWING)
    seen = []
    stem = next(iter(run.job.net.stages.values()))
    stem.register_forward_pre_hook(lambda module, args: seen.append((module.training, args[0].shape[2])))
    run.fit()
    assert [side for training, side in seen if training] == [20] * 12 + [28] * 12
    assert {side for training, side in seen if not training} == {28}


def test_a_run_with_sizes_resumes_to_the_bit(tiny):
    whole, broken = tiny("whole", **GROWING), tiny("broken", **GROWING)
    whole.fit()
    taken = []
    broken.job.optimizer.register_step_post_hook(
        lambda *_: taken.append(1) or (len(taken) == 11 and signal.raise_signal(signal.SIGTERM))
    )
    with pytest.raises(Interrupted):
        broken.fit()
    resumed = tiny("broken", resume=True, **GROWING)
    assert resumed.state.step == 11
    resumed.fit()
    assert same_bits(resumed.bits(), whole.bits())


def test_a_loss_that_is_not_finite_is_looked_for_at_the_size_of_its_step(tiny):
    run = tiny(**GROWING)
    stem = next(iter(run.job.net.stages.values()))
    sides = []

    def spoil(module, args, output):
        sides.append(args[0].shape[2])
        return output * float("nan") if sides.count(20) > 3 else output

    stem.register_forward_hook(spoil)
    with pytest.raises(StriateError, match="in step 4"):
        run.fit()
    assert set(sides) == {20}
