"""Echoes that somebody else waits for: pairs of bytes and future, entered by hand.

The original keeps what it has sent in a dictionary, one entry for each
address, and programs and tests write to it. Messages sent here are not in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from echo_rig.futures import is_success
from wireframe.echo import decode_event, is_echoed
from wireframe.errors import BadPayload

if TYPE_CHECKING:
    import asyncio
    import logging

    from echo_rig._link import Address


class EnteredByHand(dict["Address", "tuple[bytes | None, asyncio.Future[Any]]"]):
    """Address to the bytes that are expected back and the future to be set then."""

    def waits(self, address: Address | None = None) -> bool:
        """Whether an echo is waited for, from one address or from any."""
        return any(not future.done() for where, (_, future) in self.items() if address in (None, where))

    def cancel(self) -> None:
        """Cancel all futures; the entries stay."""
        for _, future in self.values():
            future.cancel()

    def take(self, data: bytes, address: Address, max_message_size: int, logger: logging.Logger) -> bool:
        """Compare what came with the entry of its address; tell whether that was all about it."""
        expected, future = self.get(address, (None, None))
        if expected is None or future is None or is_success(future):
            return False
        if data == expected or (len(data) == max_message_size and expected.startswith(data)):
            if data != expected:
                logger.warning("Received truncated echo from %s:%s", *address)
            del self[address]
            future.set_result(True)
            return True
        if not is_echoed(data) or _is_event(data):
            return False
        logger.error("Expected an echo from %s:%s, got something else", *address)
        del self[address]
        future.set_exception(RuntimeError("Unexpected response instead of the echo"))
        return True


def _is_event(data: bytes) -> bool:
    try:
        decode_event(data)
    except BadPayload:
        return False
    return True
