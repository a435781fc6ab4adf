"""A player that sends messages from an end of echo-rig and writes down what it was told."""

from __future__ import annotations

from typing import Any

import history

from echo_rig import EchoProtocol, sync


async def tell(end: EchoProtocol, book: history.History, request: list[Any], timeout: float) -> None:
    """Send a message, and write down what is known about it."""
    operation = book.begin(request[0], tuple(request))
    try:
        await end.confirmed_send([1, request], timeout=timeout)
    # What the system said, as TimeoutError and ConnectionError are too, or something else than the echo.
    except (OSError, RuntimeError) as error:
        operation.unknown(repr(error))
    else:
        operation.done()


def tell_blocking(end: sync.Endpoint, book: history.History, request: list[Any], timeout: float) -> None:
    """Send a message by a blocking call, and write down what is known about it."""
    operation = book.begin(request[0], tuple(request))
    try:
        end.confirmed_send([1, request], timeout=timeout)
    except (OSError, RuntimeError) as error:
        operation.unknown(repr(error))
    else:
        operation.done()
