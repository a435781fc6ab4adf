"""A player that sends messages from an end of echo-rig and writes down what it was told."""

from __future__ import annotations

from typing import Any

import history

from echo_rig import EchoProtocol


async def tell(end: EchoProtocol, book: history.History, request: list[Any], timeout: float) -> None:
    """Send a message, and write down what is known about it."""
    operation = book.begin(request[0], tuple(request))
    try:
        await end.confirmed_send([1, request], timeout=timeout)
    # What the system said, as TimeoutError and ConnectionError are too.
    except OSError as error:
        operation.unknown(repr(error))
    else:
        operation.done()
