"""The run that the tests of the report show."""

from collections.abc import Callable
from pathlib import Path

import pytest

from striate.run import Run
from tests.report.run_files import write_run


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Run]:
    """A function that writes a run of given classes, epochs and status under runs/first."""
    return lambda *args, **options: write_run(tmp_path / "runs" / "first", *args, **options)
