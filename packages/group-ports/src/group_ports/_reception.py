"""Judges what came: is it a message of this path, and what does it say."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from group_ports._losses import LossLedger
from group_ports._quiet_log import QuietLogger
from wireframe import FrameError
from wireframe.group import Extension, decode_body, decode_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from wireframe.group import Body

#: Messages of the application: any bytes.
_APPLICATION: Final = frozenset({b"msg", b"mtl", b"mfl"})
_PLAIN: Final = 2
#: Frames that are kept of one message. More than four are refused anyway.
MAX_FRAMES: Final = 5

_quiet = QuietLogger(logging.getLogger(__name__))


@dataclass(slots=True)
class Arrival:
    """A message that came, read.

    Attributes
    ----------
    tag : bytes
        Three ASCII characters.
    body : Body
        What it says; of ``msg``, ``mtl`` and ``mfl`` the bytes (`wireframe.group.decode_body`).
    payload : bytes
        The same, as it came.
    stamp : float or None
        When it was sent, in seconds since 1970 of the sender's wall clock.
    sender : bytes or None
        On an answer port the routing identity, else the publisher if it numbers
        its messages.
    """

    tag: bytes
    body: Body
    payload: bytes
    stamp: float | None = None
    sender: bytes | None = None


class Reception:
    """What a port keeps about what came. No sockets.

    Parameters
    ----------
    name : str
        Of the port, for the log.
    tags : frozenset of bytes
        The tags of its path.
    max_size : int
        Bytes of the longest payload.
    group : bytes, optional
        16 bytes; numbered messages of other groups are dropped.
    timed : bool
        Whether to note when messages come.
    clock : callable
        Returns seconds since 1970.

    Attributes
    ----------
    received : int
    dropped : Counter
    losses : LossLedger
    send_time, recv_time : float
        Of the last message that had a stamp, and of the last message of a timed
        group; 0.0 at first.
    """

    def __init__(
        self,
        name: str,
        tags: frozenset[bytes],
        *,
        max_size: int,
        group: bytes | None,
        timed: bool,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._tags = tags
        # A message of the application with two frames needs no decoding.
        self._plain_tags = tags & _APPLICATION
        self._max_size = max_size
        self._group = group
        self._timed = timed
        self._clock = clock
        self.received = 0
        self.dropped: Counter[str] = Counter()
        self.losses = LossLedger()
        self.send_time = 0.0
        self.recv_time = 0.0

    def judge(self, frames: list[bytes], only: bytes | None = None) -> Arrival | list[bytes] | None:
        """Return something if the caller is to have this message, None if it is dropped and counted.

        Parameters
        ----------
        frames : list of bytes
            Without routing identity.
        only : bytes, optional
            The one tag that the call is for.

        Returns
        -------
        Arrival, list of bytes or None
            The frames themselves stand for a message of the application that
            had two; they are what most messages are, and cost nothing more.
        """
        good: Arrival | list[bytes] | None
        if len(frames) == _PLAIN and frames[0] in self._plain_tags and len(frames[1]) <= self._max_size:
            good = frames
        else:
            good = self._read(frames)
            if good is None:
                return None
        if only is not None and frames[0] != only:
            self.dropped["skipped"] += 1
            return None
        if self._timed:
            self.recv_time = self._clock()
        self.received += 1
        return good

    def arrival(self, good: Arrival | list[bytes], sender: bytes | None) -> Arrival:
        """Return what `judge` returned as an `Arrival`, with its routing identity if there is one."""
        if isinstance(good, list):
            return Arrival(good[0], good[1], good[1], None, sender)
        if sender is not None:
            good.sender = sender
        return good

    def drop(self, cause: str, details: object = "") -> None:
        """Count a message that nobody gets."""
        self.dropped[cause] += 1
        _quiet.warn(self._name, cause, "%s: dropped a message, %s: %s", self._name, cause, details)

    def _read(self, frames: list[bytes]) -> Arrival | None:
        try:
            message = decode_frames(frames, max_size=self._max_size)
            if message.tag not in self._tags:
                self.drop("unknown tag", repr(message.tag))
                return None
            body = decode_body(message.tag, message.payload)
        except FrameError as error:
            self.drop(type(error).__name__, error)
            return None
        sender = None
        if message.extension is not None:
            if not self._is_ours(message.extension):
                self.drop("other group", message.extension.group.hex())
                return None
            sender = message.extension.sender
            self.losses.note(sender, message.extension.sequence)
        if message.stamp is not None:
            self.send_time = message.stamp
        return Arrival(message.tag, body, message.payload, message.stamp, sender)

    def _is_ours(self, extension: Extension) -> bool:
        return self._group is None or extension.group == self._group
