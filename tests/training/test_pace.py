"""A budget is kept on the way: the end of a run moves when steps take longer, or less time, than was measured."""

import time
from dataclasses import replace

import pytest

from striate.run import Run
from striate.runforms.config import Span
from striate.training import Audience, Execution, Length, Speed, fit, plan_steps
from striate.training.clock import Clock
from striate.training.length import LOOKS, Pace
from striate.training.timing import REPORT_SECONDS
from tests import run_config
from tests.training.tiny import HELD, RECIPE, same_bits

PLAN = run_config.plan(100, 1000, seconds_per_step=1.0, seconds_per_epoch=1000.0)


@pytest.fixture
def at(monkeypatch):
    """Sets the time."""

    def set_time(seconds):
        monkeypatch.setattr(time, "perf_counter", lambda: seconds)

    return set_time


def test_looks_come_at_their_shares_and_once(at):
    pace, length = Pace(until=100.0, plan=PLAN, began=0.0), Length(((0, 100),))
    looked = []
    for done in range(1, 101):
        at(float(done))
        if pace.due(length, done):
            looked.append(done)
            assert pace.steps(length, done, RECIPE, Clock(0.0)) is None
    assert looked == [100 * share for share in LOOKS]


@pytest.mark.parametrize(("step_seconds", "wanted"), [(1.25, 80), (0.8, 125), (1.005, None)])
def test_the_end_is_where_the_time_is_up(at, step_seconds, wanted):
    pace = Pace(until=100.0, plan=PLAN, began=0.0)
    at(25 * step_seconds)
    assert pace.steps(Length(((0, 100),)), 25, RECIPE, Clock(0.0)) == wanted


def test_one_more_step_is_taken_where_the_time_is_up_already(at):
    at(200.0)
    assert Pace(until=100.0, plan=PLAN, began=0.0).steps(Length(((0, 100),)), 25, RECIPE, Clock(0.0)) == 26


def test_validations_to_come_are_counted(at):
    plan = run_config.plan(100, 20, seconds_per_step=1.0, seconds_per_epoch=25.0)
    clock = Clock(0.0)
    clock.add("validate", 5.0)  # after 20 of 25 steps of a second; four more are to come
    at(30.0)
    assert Pace(until=125.0, plan=plan, began=0.0).steps(Length(((0, 100),)), 25, RECIPE, clock) is None
    assert Pace(until=115.0, plan=plan, began=0.0).steps(Length(((0, 100),)), 25, RECIPE, clock) == 90


def test_smaller_pictures_at_the_beginning_are_no_sign_of_speed(at):
    recipe = replace(RECIPE, resize_schedule=((0.0, 50), (0.5, 100)))
    at(12.5)  # fifty steps at a quarter of a second; those to come take one
    assert Pace(until=62.5, plan=PLAN, began=0.0).steps(Length(((0, 100),)), 50, recipe, Clock(0.0)) is None


def test_calibration_and_test_are_kept_free_of_a_budget(tiny, at):
    run = tiny(budget=100.0)
    clock = Clock(0.0)
    at(10.0)
    speed = Speed(execution=Execution(1, "nchw"), step=1.0, image=0.5)
    plan_steps(run.job, speed, judged=20, clock=clock)
    pictures = 20 + 2 * HELD  # all 16 of validation are references too
    assert clock.until == pytest.approx(98 - REPORT_SECONDS - pictures * 0.5)


def test_a_moved_end_is_kept_and_trains_as_one_that_was_moved_before(tiny, monkeypatch):
    moves = iter([18, None, None, None])
    monkeypatch.setattr(Pace, "steps", lambda self, *_: setattr(self, "looked", self.looked + 1) or next(moves))
    hurried, told = tiny("hurried"), tiny("told")
    clock = Clock(0.0)
    clock.until = 1.0
    fit(hurried.job, hurried.run, hurried.state, clock, Audience())
    told.run.config = told.run.config.planned(Length(((0, 24), (6, 18))).planned(told.run.config.plan))
    told.fit()
    assert hurried.state.step == 18
    assert same_bits(hurried.bits(), told.bits())
    config = Run(hurried.run.path).config
    assert config.plan.lengths == (Span(after_step=0, steps=24), Span(after_step=6, steps=18))
    assert (config.plan.steps, config.plan.epochs, config.recipe.epochs) == (18, 2.25, 2.25)
