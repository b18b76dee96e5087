"""ONNX, .pt2 and safetensors of every row of the catalogue, opened in a fresh process, answer as the net does."""

import pytest

from striate.exporting.checking import LIMIT
from striate.nets import CATALOGUE
from tests.exporting.meaningful import check_rows

FAST = ("lenet5-1998", "inception-mnist")
"""Two that are unlike other nets and quickly written."""
SLOW = [name for name in CATALOGUE if name not in FAST]


def hold(found):
    assert found.keys() == {"onnx", "pt2", "safetensors"}
    for form, (comparison, *_) in found.items():
        assert comparison.difference <= LIMIT, form
        assert comparison.agreed == comparison.decided, form
        assert comparison.decided > 0, form
        assert comparison.pictures == 8


@pytest.mark.parametrize("name", [FAST[0], pytest.param(FAST[1], marks=pytest.mark.full)])
def test_small_rows(name, tmp_path):
    hold(check_rows([name], tmp_path)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_all_other_rows(name, tmp_path):
    hold(check_rows([name], tmp_path)[name])
