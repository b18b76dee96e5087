"""What the tests of data share."""

import pytest


@pytest.fixture(autouse=True)
def _no_charts(no_charts: None) -> None:
    """Runs are trained and evaluated here; what their charts show is looked at in tests/report."""
