"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.training.tiny import Tiny, make_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., Tiny]:
    """Makes a training: `tiny("name")` afresh, `tiny("name", resume=True)` from the newest checkpoint of that name; other
    arguments change the recipe."""
    return lambda name="tiny", resume=False, steps=None, **changes: make_tiny(tmp_path / name, resume, steps, changes)
