"""What the tests of training share."""

import pytest

from tests.training.tiny import make_tiny


@pytest.fixture
def tiny(tmp_path):
    """Makes a training: `tiny("name")` afresh, `tiny("name", resume=True)` from the newest checkpoint of that name; other
    arguments change the recipe."""
    return lambda name="tiny", resume=False, steps=None, **changes: make_tiny(tmp_path / name, resume, steps, changes)
