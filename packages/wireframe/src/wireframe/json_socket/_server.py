"""The server's side: takes messages, and knows whom it answers."""

from __future__ import annotations

import contextlib
import math
import os
from typing import TYPE_CHECKING, Any, Final

from wireframe.json_socket._answer import answer, command_of
from wireframe.json_socket._errors import BrokenConnection, SocketClosed

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Mapping

    from wireframe.json_socket._drops import Drops
    from wireframe.json_socket._guest import Guest
    from wireframe.json_socket._intake import Intake

#: Seconds `shutdown` waits for another thread to close what it holds.
PATIENCE: Final = 1.0


class Server:
    """Hands messages over, and replies to the connection of the last one.

    It works in the process that made it; a forked child may only close it.
    """

    def __init__(self, intake: Intake, drops: Drops, *, persistent: bool, strict: bool) -> None:
        self._intake = intake
        self._drops = drops
        self._persistent = persistent
        self._strict = strict
        self._pid = os.getpid()
        self._guest: Guest | None = None

    @property
    def last(self) -> socket.socket | None:
        """The connection of the last message."""
        return None if self._guest is None else self._guest.socket

    def send(self, frame: bytes, deadline: float) -> None:
        """Write a frame to the connection of the last message."""
        guest = self._guest
        if guest is None:
            self._checked()
            raise BrokenConnection("nobody to answer, no message was received yet")
        try:
            guest.send(frame, deadline)
        except BaseException:
            self._checked().release(guest)
            raise

    def receive(self, deadline: float) -> Any:
        """Return the next message."""
        intake = self._intake if self._pid == os.getpid() else self._checked()
        taken = intake.receive(deadline, keep=self._persistent, strict=self._strict)
        self._guest, message = taken
        return message

    def serve(
        self,
        handlers: Mapping[str, Callable[..., Any]],
        words: Collection[str],
        dumps: Callable[[Any], str | bytes] | None,
    ) -> None:
        """Answer commands until one of `words` was answered."""
        known = {**dict.fromkeys(words, _ok), **handlers}
        intake = self._checked()
        with intake.entered(), contextlib.suppress(SocketClosed):
            name = None
            while name not in words:
                self._guest, message = intake.take(math.inf, keep=True, strict=False)
                intake.post(self._guest, answer(message, known, dumps, self._drops.note))
                name = command_of(message)
            intake.flush()

    def close(self) -> None:
        """Close the connection of the last message."""
        guest, self._guest = self._guest, None
        if guest is not None and self._pid == os.getpid():
            self._intake.release(guest)
        elif guest is not None:  # only this process's copy of the descriptor
            guest.close()

    def shutdown(self) -> None:
        """Close everything and wake who waits."""
        if self._pid == os.getpid():
            self._intake.stop(PATIENCE)
        else:
            self._intake.close()

    def _checked(self) -> Intake:
        if self._pid != os.getpid():
            raise SocketClosed(f"this server belongs to process {self._pid}")
        return self._intake


def _ok() -> str:
    return "OK"
