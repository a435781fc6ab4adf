"""Commands of a client that goes on, and of clients that are killed."""

from __future__ import annotations

import threading
from pathlib import Path

from scene import LIMIT_S, Scene

from wireframe import Socket

_COMMANDS = 50


class Commands(Scene):
    """A server in this process; every connection is for one command, or for all."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._asked = self._next = 0
        self.server = Socket("server", port=0)
        self._port = self.server.port
        self._serve()
        self.callback(self._stop)
        self._steady = self.enter_context(Socket("client", port=self._port, timeout=LIMIT_S))
        for _ in range(2):
            self.add("commands", self._port)

    def _serve(self) -> None:
        commands = {"double": self._double}
        self._thread = threading.Thread(target=self.server.serve, args=(commands,), kwargs={"stop": "done"})
        self._thread.start()

    def _stop(self) -> None:
        self.server.shutdown()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()

    def _double(self, number: int) -> int:
        # Ours are negative.
        self._asked += number < 0
        return 2 * number

    def play(self) -> None:
        """Give commands; each is carried out once, and the reply is its own."""
        for _ in range(_COMMANDS):
            self._next -= 1
            reply = self._steady.tcpcmd({"command": "double", "number": self._next}, timeout=LIMIT_S)
            assert reply == 2 * self._next, "a reply to another command"
            assert self._asked == -self._next, "a command was lost or carried out twice"
            self.checked += 1
