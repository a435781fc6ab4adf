"""A player that sends messages from an end of echo-rig and writes down what it was told; places for ends."""

from __future__ import annotations

import socket
from typing import Any

import history

from echo_rig import EchoProtocol, sync


def free_uri(scheme: str) -> str:
    """Return an address of this machine that is free."""
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"{scheme}://127.0.0.1:{probe.getsockname()[1]}"


def place_of(uri: str) -> tuple[str, int]:
    """Return host and port of an address."""
    host, _, port = uri.partition("://")[2].rpartition(":")
    return host, int(port)


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
