"""Ends of groups of zeromq-pyre, the library that a program for groups would take otherwise.

Its members find each other by broadcasts, so they run in a network of their
own only; see `loopback_network`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import pyre  # type: ignore[import-not-found,import-untyped,unused-ignore]
from group_kinds import WAIT_S, Ends
from loopback_network import BROADCASTING

if TYPE_CHECKING:
    from group_kinds import Receive, Send

GROUP: Final = "bench"
#: Seconds between two looks at who is there.
PAUSE_S: Final = 0.05


class Members(Ends):
    """Members of a group, each of which hears what the first one shouts."""

    def publish(self, subscribers: int) -> tuple[Send, list[Receive]]:
        """Return what publishes and what receives.

        Raises
        ------
        TimeoutError
            They do not find each other.
        """
        shouter = self._member()
        members = [self._member() for _ in range(subscribers)]
        deadline = time.monotonic() + WAIT_S
        while len(shouter.peers_by_group(GROUP)) < subscribers:
            if time.monotonic() > deadline:
                raise TimeoutError("the members of zeromq-pyre do not find each other")
            time.sleep(PAUSE_S)
        return lambda payload: shouter.shout(GROUP, payload), [self._receives(member) for member in members]

    @staticmethod
    def _member() -> Any:
        member = pyre.Pyre()
        member.set_interface(BROADCASTING)
        member.join(GROUP)
        member.start()
        return member

    @staticmethod
    def _receives(member: Any) -> Receive:
        def receive() -> bytes:
            while True:
                what, *_, payload = member.recv()
                if what == b"SHOUT":
                    return bytes(payload)

        return receive
