"""Recipes: the schedule's closed form, what is refused, and that every shipped one is complete."""

from dataclasses import replace

import pytest
import torch

from striate.errors import UsageError
from striate.experiment.recipes import normed
from striate.namedrecipes import FAST_NORM, FAST_PLAIN, FAST_SMALL, PAPER, TUTORIAL, named_recipe
from striate.nets import CATALOGUE, build
from striate.recipe import Recipe

SHIPPED = {"small": FAST_SMALL, "plain": FAST_PLAIN, "norm": FAST_NORM, "tutorial": TUTORIAL, **PAPER}


def test_one_cycle_rises_linearly_falls_linearly_and_ends_at_zero():
    recipe = replace(TUTORIAL, schedule="one-cycle", lr=0.5, warmup=0.25)
    for progress in [i / 1000 for i in range(1000)]:
        expected = 0.5 * progress / 0.25 if progress < 0.25 else 0.5 * (1 - progress) / 0.75
        assert recipe.rate(progress) == pytest.approx(expected, abs=1e-12)
    assert max(recipe.rate(i / 1000) for i in range(1000)) == pytest.approx(0.5)
    assert recipe.rate(1.0) == 0.0


def test_step_and_constant_schedules():
    assert [PAPER["resnet"].rate(p) for p in (0, 0.49, 0.5, 0.74, 0.75, 0.99)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    )
    assert PAPER["preresnet"].rate(0) == pytest.approx(0.01)
    assert PAPER["preresnet"].rate(0.01) == pytest.approx(0.1)
    assert {TUTORIAL.rate(i / 10) for i in range(10)} == {1e-3}


@pytest.mark.parametrize("recipe", SHIPPED.values(), ids=SHIPPED)
def test_every_shipped_recipe_survives_the_config_and_names_its_source(recipe):
    assert Recipe.from_dict(recipe.as_dict()) == recipe
    assert len(recipe.source) > 20
    assert all(recipe.rate(i / 100) >= 0 for i in range(100))


def test_every_net_of_the_catalogue_has_every_recipe():
    for row in CATALOGUE.values():
        for name in ("fast", "paper", "tutorial"):
            assert named_recipe(name, family=row.family, batch_norm=False, params=row.params).name == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", float("nan")),
        ("budget", -1.0),
        ("batch_size", 0),
        ("lr", float("inf")),
        ("momentum", 1.0),
        ("weight_decay", -1e-4),
        ("warmup", 1.5),
        ("label_smoothing", 1.0),
        ("ema", 1.0),
        ("patience", 0),
        ("validation", 1.0),
        ("seed", -1),
        ("optimizer", "lion"),
        ("schedule", "cosine"),
    ],
)
def test_values_out_of_range_are_named_with_their_limit(field, value):
    with pytest.raises(UsageError, match=rf"^{field} must be .*got '?{value}"):
        replace(TUTORIAL, **{field: value})


def test_unknown_fields_of_a_config_are_named():
    with pytest.raises(UsageError, match=r"no recipe field named 'learning_rate'"):
        Recipe.from_dict({**TUTORIAL.as_dict(), "learning_rate": 1})


def test_of_few_pictures_fast_makes_smaller_batches_with_a_rate_to_fit():
    found = {
        n: named_recipe("fast", family="resnet", batch_norm=True, params=10**6, images=n)
        for n in (24, 208, 400, 1000, 1536, 60_000)
    }
    assert {n: recipe.batch_size for n, recipe in found.items()} == {
        24: 16,
        208: 16,
        400: 32,
        1000: 64,
        1536: 128,
        60_000: 128,
    }
    assert found[208].lr == pytest.approx(0.2 / 8)
    adam = named_recipe("fast", family="lenet", batch_norm=False, params=60_000, images=400)
    assert (adam.batch_size, adam.lr) == (32, pytest.approx(8e-3 / 2))
    assert named_recipe("tutorial", family="lenet", batch_norm=False, params=60_000, images=24).batch_size == 64


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "resnet20": True,
        "lenet5-bn": True,
        "densenet-native": True,
        "bn-inception": True,
        "googlenet-torchvision": True,  # but for its auxiliary heads
        "vgg11-bn": False,  # its hidden linear layers have none
        "lenet5": False,
        "nin-native": False,
    }.items(),
)
def test_only_nets_with_batch_norm_behind_every_linear_layer_take_the_high_rate(name, expected):
    with torch.device("meta"):
        assert normed(build(name)) == expected
