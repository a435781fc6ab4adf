"""Messages that wait for their turn: in line for room, or behind one with the same bytes."""

from __future__ import annotations

from echo_rig._sending import Sending


class Line(dict[Sending, None]):
    """The line for room, in its order; beside it the messages whose twin is on its way.

    A dictionary, to leave it at any place. Whether it is empty is asked with every message.

    Attributes
    ----------
    twins : int
        Messages behind one with the same bytes. They are not in the line.
    """

    __slots__ = ("_behind", "twins")

    def __init__(self) -> None:
        super().__init__()
        self.twins = 0
        self._behind: dict[bytes, dict[Sending, None]] = {}

    @property
    def first(self) -> Sending:
        """The message whose turn is next; there must be one."""
        return next(iter(self))

    def put(self, sending: Sending) -> None:
        """Let a message join at the end."""
        self[sending] = None

    def put_first(self, sending: Sending) -> None:
        """Let a message go before all others: it is what tells the other end how to read them."""
        others = list(self)
        self.clear()
        self[sending] = None
        self.update(dict.fromkeys(others))

    def put_behind_its_twin(self, sending: Sending) -> None:
        """Let a message wait until the one with the same bytes is not on its way any more."""
        self._behind.setdefault(sending.message, {})[sending] = None
        self.twins += 1

    def twin_of(self, data: bytes) -> Sending | None:
        """Return the oldest message that waits behind one with these bytes."""
        behind = self._behind.get(data)
        return None if behind is None else next(iter(behind))

    def leave(self, sending: Sending) -> None:
        """Let a message go, wherever it waits; nothing if it does not."""
        if sending in self:
            del self[sending]
            return
        behind = self._behind.get(sending.message)
        if behind is not None and sending in behind:
            del behind[sending]
            self.twins -= 1
            if not behind:
                del self._behind[sending.message]

    def leave_all(self) -> list[Sending]:
        """Let all messages go, and return them."""
        gone = [*self, *(sending for behind in self._behind.values() for sending in behind)]
        self.clear()
        self._behind.clear()
        self.twins = 0
        return gone
