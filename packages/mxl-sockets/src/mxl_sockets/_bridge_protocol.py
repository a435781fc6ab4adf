"""The bridge's half of the protocol, without I/O: a message in, work to do, an answer out.

===========  ==========================================================
message      what it makes the bridge do
===========  ==========================================================
``AGGINIT``  give all drivers their INIT, again if they had one; wait
             until all are there; answer ``AGGREADY``
``AGGSTEP``  have the drivers make the step; answer ``AGGRESULT``
``STOP``     stop the drivers; answer ``BYE``
===========  ==========================================================

A step that has begun is always brought to its end, because the drivers that
were asked will commit it. If the hub is lost meanwhile, or starts anew, its
result is thrown away, and the INIT that follows undoes it in every driver: the
hub, which has not got the result, will ask for the same step again.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

from mxl_sockets.errors import UnexpectedMessage
from wireframe import BadPayload, aggregate

if TYPE_CHECKING:
    from collections.abc import Sequence

_READY: Final = aggregate.encode_header(aggregate.AGGREADY)


class Work(enum.Enum):
    """What a bridge has to do next."""

    NOTHING = "wait for the hub"
    START = "give the drivers their INIT"
    BIND = "wait for the drivers"
    STEP = "make a step"
    END = "stop the drivers and leave"


class BridgeProtocol:
    """The conversations with a hub, one after the other.

    Parameters
    ----------
    group_id : str
        The group that this bridge stands for.

    Attributes
    ----------
    wanted : GroupInit or None
        The molecules, from the last AGGINIT.
    ids : tuple of int
        Molecules of the step at hand.
    fields : bytes
        24 bytes for each of them.
    steps : int
        Results made, over all connections.
    """

    def __init__(self, group_id: str) -> None:
        self.hello = aggregate.encode_hello(group_id)  # raises for what is no name
        self.wanted: aggregate.GroupInit | None = None
        self.ids: tuple[int, ...] = ()
        self.fields = b""
        self.steps = 0
        self._group_id = group_id
        self._admitted: tuple[int, ...] = ()
        self._next: aggregate.Step | None = None
        self._stepping = False
        #: Whether the result of the step at hand is nobody's any more.
        self._stale = False
        self._phase = Work.NOTHING
        self._stopping = False

    @property
    def work(self) -> Work:
        """What to do next."""
        if self._stopping:
            return Work.END
        return Work.STEP if self._stepping else self._phase

    @property
    def is_stale(self) -> bool:
        """Whether nobody wants the result of the step at hand any more."""
        return self._stepping and self._stale

    @property
    def can_receive(self) -> bool:
        """Whether there is room for another message: a step that came too early waits alone."""
        return self._next is None

    def begin(self) -> bytes:
        """Start a new connection; return what to say first."""
        self._stale = self._stepping
        self._next = None
        self._phase = Work.NOTHING
        self.wanted = None
        return self.hello

    def receive(self, event: aggregate.Event) -> None:
        """Take a message.

        Raises
        ------
        wireframe.FrameError
            It must not come now, or is not for this group.
        """
        if isinstance(event, aggregate.GroupInit):
            if event.group_id != self._group_id:
                raise BadPayload(f"the hub takes us for group {event.group_id!r:.80}, not {self._group_id!r}")
            self.wanted = event
            self._admitted = ()
            self._phase = Work.START
            self._stale = self._stepping
            self._next = None
        elif isinstance(event, aggregate.Step):
            if self.wanted is None or self._phase is not Work.NOTHING:
                raise UnexpectedMessage("the hub sent a step before AGGREADY", aggregate.AGGSTEP)
            if self._stepping:
                self._next = event  # 0.5.0 asks again before we have answered
            else:
                self._take(event)
        else:
            self._stopping = True

    def _take(self, step: aggregate.Step) -> None:
        """Begin a step."""
        ids = step.ids()
        if ids != self._admitted:
            known = {} if self.wanted is None else self.wanted.payloads
            strangers = [one for one in ids if one not in known]
            if strangers:
                raise BadPayload(f"the hub asks for molecules that it did not name: {strangers[:8]}")
            self._admitted = ids
        self.ids = ids
        self.fields = step.field_block()
        self._stepping = True

    def started(self) -> None:
        """Note that the drivers have been given, or will be given, their INIT."""
        self._phase = Work.BIND

    def bound(self) -> bytes:
        """Note that all drivers are there; return what to answer."""
        self._phase = Work.NOTHING
        return _READY

    def stepped(self, amplitudes: bytes, extras: Sequence[bytes]) -> list[bytes]:
        """Note that the step is made; return what to answer: nothing if nobody asked any more.

        Parameters
        ----------
        amplitudes : bytes
            24 bytes for each of `ids`.
        extras : sequence of bytes
            One for each.
        """
        stale, self._stepping, self._stale = self._stale, False, False
        ids = self.ids
        if self._next is not None:
            step, self._next = self._next, None
            self._take(step)
        if stale:
            return []
        self.steps += 1
        return aggregate.encode_result_block(ids, amplitudes, extras)
