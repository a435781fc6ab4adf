"""What the tests of faults share, and where they find the tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# The tools are modules beside the tests; `namespaces` is one folder above.
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent) if str(folder) not in sys.path]


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known, also to runs whose settings do not name it."""
    config.addinivalue_line(
        "markers", "fault(row, package, codes): plays a fault of the catalogue; see table.py"
    )


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what a test has measured; it gets into the report of the run, and from there into the table.

    As `record_property` does, which warns where reports are of the kind that is the default.
    """
    return lambda text: request.node.user_properties.append(("figure", text))
