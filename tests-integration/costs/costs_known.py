"""What is known before: the meters are tried on it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from cost_meters import SYSTEM_CALLS, Counted, Run, Scenario


@contextlib.contextmanager
def three_calls(counted: Counted) -> Iterator[Run]:
    """Three system calls, and one that is not counted."""

    def run(messages: int) -> None:
        for _ in range(messages):
            os.getppid()
            with counted("known"):
                for _ in range(3):
                    os.getppid()

    yield run


SCENARIOS = [Scenario("three calls", three_calls, 10, (SYSTEM_CALLS,))]
