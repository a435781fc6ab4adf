"""What the tests of faults share, and where they find the tools."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The tools are modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what a test has measured; it gets into the report of the run, and from there into the table.

    As `record_property` does, which warns where reports are of the kind that is the default.
    """
    return lambda text: request.node.user_properties.append(("figure", text))
