"""Six processes killed outright and resumed; `make torture` kills sixty."""

import pytest

from bench.torture import CASES, torture, write_pictures


@pytest.mark.parametrize(("case", "seed"), [(CASES[0], 1), (CASES[2], 2)], ids=lambda value: getattr(value, "net", ""))
def test_killed_runs_end_with_the_bits_of_the_unbroken_one(tmp_path, case, seed):
    write_pictures(tmp_path)
    found = torture(tmp_path, case, ("checkpoint", "validation", "training"), seed=seed)
    assert found["kills"] == found["resumed_runs"] == found["identical"] == 3
    assert found["in_checkpoint"] >= 1
    assert found["in_validation"] >= 1
