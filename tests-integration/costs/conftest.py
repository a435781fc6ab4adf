"""What the tests of costs share, and where they find the scenarios and the meters."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# They are modules beside the tests.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def tracer() -> object:
    """What counts system calls; a test that needs it fails with a sentence if it may not."""
    from cost_tracing import RefusedError, Tracer, strace

    try:
        return Tracer(strace())
    except RefusedError as error:
        pytest.fail(str(error))


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Take what a test has measured; it gets into the report of the run, and is shown if the test fails.

    As `record_property` does, which warns where reports are of the kind that is the default.
    """

    def take(text: str) -> None:
        request.node.user_properties.append(("cost", text))
        print(text)

    return take
