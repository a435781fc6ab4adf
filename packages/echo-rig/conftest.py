"""The README runs once at a time on a computer: its rigs listen at ports that a reader can type."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Whoever holds it runs the README, tools/bare_environment.py too. The next ports are those of its rigs.
TURN = ("127.0.0.1", 14480)
LIMIT_S = 50.0


@pytest.fixture(autouse=True)
def turn_of_the_readme(request: pytest.FixtureRequest) -> Iterator[None]:
    """Wait until no other environment runs it."""
    if request.node.name != "README.md":
        yield
        return
    with socket.socket() as turn:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                turn.bind(TURN)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                break
        yield
