"""What the tests of faults share, and where they find the tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

#: Seconds of a test that names no limit: so that it ends at all, however busy the machine is.
LIMIT_S = 300.0

# The tools are modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder and those in it their limit."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT_S))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what a test has measured; it gets into the report of the run, and from there into the table.

    As `record_property` does, which warns where reports are of the kind that is the default.
    """
    return lambda text: request.node.user_properties.append(("figure", text))
