"""Drivers and bridges beside a hub in the same process, and a model that remembers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

#: Seconds until a driver that was told to stop has to have done so, on a busy machine.
LIMIT_S = 45.0


class Recorder:
    """A molecule that answers with the field, turned round, and knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[np.ndarray[Any, Any]] = []

    def __call__(self, field: Any) -> np.ndarray[Any, Any]:
        self.asked.append(np.array(field))
        return np.asarray(field)[::-1]


@contextlib.contextmanager
def running(*clients: Any) -> Iterator[None]:
    """Drivers and bridges in threads of their own; they are stopped in the end."""
    threads = [threading.Thread(target=one.run, daemon=True) for one in clients]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for one in clients:
            one.stop()
        for thread in threads:
            thread.join(LIMIT_S)
            assert not thread.is_alive()
