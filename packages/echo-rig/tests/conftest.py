"""What the tests of ends share."""

from __future__ import annotations

import pytest


@pytest.fixture
def figure(request):
    """Take what a test of a fault has measured, for the report of the run."""
    return lambda text: request.node.user_properties.append(("figure", text))
