"""What one rig is asked in a round, and how far it is with its answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from echo_rig.sync._polled_link import Outcome

if TYPE_CHECKING:
    from echo_rig.sync._endpoint import Endpoint
    from wireframe.echo import ExpMessage


class Question:
    """What one rig was sent in a round, and how far it is with it."""

    def __init__(self, rig: Endpoint, event: ExpMessage, timeout: float) -> None:
        self.began = time.monotonic()
        #: Of the echo, then of the response.
        self.deadline = self.began + timeout
        self._rig = rig
        self._event = event
        self._timeout = timeout
        self._outcome: Outcome | None = None

    def ask(self, message: tuple[Any, ...] | None) -> None:
        """Send it; without a message only wait."""
        rig = self._rig
        if message is None:
            return
        rig.forget_events(self._event)
        self.deadline = self.began + rig.default_echo_timeout
        self._address = rig._checked_address(None)
        data = rig._encoded(message)
        self._link = rig.link_with_room(self._address, self.deadline)
        self._outcome = Outcome()
        self._sending = self._link.send(data, confirm=True, context=self._outcome)

    def answer(self, is_late: bool) -> list[Any] | None:
        """Return the data of the response, None if it is not here; raise why there will be none."""
        rig = self._rig
        is_late = is_late and time.monotonic() >= self.deadline
        if self._outcome is not None:
            if not self._outcome.is_done:
                if is_late:
                    raise TimeoutError(f"no echo within {rig.default_echo_timeout:g} s")
                return None
            rig.require_echo(self._outcome, self._address)
            self._outcome = None
            self.deadline = time.monotonic() + self._timeout
            is_late = False
        found = rig.take_event(self._event)
        if found is not None:
            return found.data
        rig.require_open()
        if is_late:
            raise TimeoutError(f"no response within {self._timeout:g} s")
        return None

    def close(self) -> None:
        """Stop waiting."""
        if self._outcome is not None:
            self._link.give_up(self._sending)
