"""Processes killed outright and resumed: three, and three more among the slow tests; `make torture` kills sixty."""

import pytest

from bench.torture import CASES, Case, torture, write_pictures

SMALL = Case("lenet5-bn", "files", 0, size=28)


@pytest.mark.parametrize(
    ("case", "seed"),
    [pytest.param(SMALL, 1, marks=pytest.mark.full), pytest.param(CASES[2], 2, marks=pytest.mark.slow)],
    ids=lambda value: getattr(value, "net", ""),
)
def test_killed_runs_end_with_the_bits_of_the_unbroken_one(tmp_path, case, seed):
    write_pictures(tmp_path)
    found = torture(tmp_path, case, ("checkpoint", "validation", "training"), seed=seed)
    assert found["kills"] == found["resumed_runs"] == found["identical"] == 3
    assert found["in_checkpoint"] >= 1
    assert found["in_validation"] >= 1
