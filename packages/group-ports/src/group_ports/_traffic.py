"""One way in and one way out, the same for all ports: messages, whole or not at all.

Each message passes through here, so this is written for speed: the methods of
the compiled socket class, and no call that is not needed for a short message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, Final

import zmq

from group_ports._lifecycle import SocketHolder
from group_ports._port_settings import milliseconds
from group_ports._reception import MAX_FRAMES, Reception
from group_ports.errors import PortError, PortTimeout, port_error
from wireframe.group import ANSWER_TAGS, PUBLISHED_TAGS, QUERY_TAGS, encode_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

    from group_ports._parent import Parent
    from group_ports._port_settings import PortSettings
    from group_ports._reception import Arrival

_KNOWN_TAGS: Final = PUBLISHED_TAGS | QUERY_TAGS | ANSWER_TAGS
_MORE: Final = int(zmq.SNDMORE)
_RCVMORE: Final = int(zmq.RCVMORE)
_NOW: Final = int(zmq.NOBLOCK)
#: Frames beyond those that are kept, read in one go; the rest of a message of millions waits for the next.
_SKIPPED_AT_ONCE: Final = 1000
#: Flags of the frames of a message, by their number.
_FLAGS: Final = [(_MORE,) * (count - 1) + (0,) for count in range(6)]


class Traffic(SocketHolder):
    """A port as far as messages go in and out.

    Parameters
    ----------
    parent : Parent
    name : str
    settings : PortSettings
    timed : bool
        Whether messages carry the time when they were sent.
    group : bytes or None
        16 bytes; numbered messages of other groups are dropped.
    """

    #: The tags that it reads.
    _READS: ClassVar[frozenset[bytes]]

    def __init__(
        self, parent: Parent, name: str, settings: PortSettings, *, timed: bool, group: bytes | None
    ) -> None:
        super().__init__(parent, name, settings)
        self.isTimed = timed  # the name is that of the original
        self._max_size = settings.max_size
        self._sent = 0
        #: It may be within a message, the rest of which nobody wants.
        self._skips = False
        self._reception = Reception(
            f"{self._KIND} {name}",
            self._READS,
            max_size=settings.max_size,
            group=group,
            timed=timed,
            clock=settings.clock,
        )

    # -- the way in ---------------------------------------------------------------------------------

    def _next(
        self, only: bytes | None, wait_s: float | None = None
    ) -> tuple[Arrival | list[bytes], list[bytes]]:
        """Return the next good message; those that are not do not prolong the wait."""
        deadline = time.monotonic() + (self._recv_wait_s if wait_s is None else wait_s)
        flags = 0 if wait_s is None else _NOW
        while True:
            try:
                if self._skips and not self._skip_more():
                    # Others wait too: heartbeats, for one.
                    if time.monotonic() >= deadline:
                        raise PortTimeout("recv error: no message for the caller in time", PortError.EAGAIN)
                    continue
                frames = self._read(flags)
            except zmq.Again as error:
                rest = deadline - time.monotonic()
                if flags == 0 or rest <= 0:
                    raise port_error("recv", error) from error
                self._wait_readable(rest)
                continue
            except zmq.ZMQError as error:
                raise port_error("recv", error) from error
            good = self._reception.judge(frames, only)
            if good is not None:
                return good, frames
            if time.monotonic() >= deadline:
                raise PortTimeout("recv error: no message for the caller in time", PortError.EAGAIN)
            flags = _NOW

    def _read(self, flags: int) -> list[bytes]:
        """Return the frames of a message."""
        recv = self._recv_frame
        try:
            # A frame that is not copied at once knows whether more follow. To ask
            # the socket costs more than all the rest: pyzmq looks the option up.
            frame = recv(flags, False)
            frames = [frame.bytes]
            while frame.more:
                if len(frames) > MAX_FRAMES:
                    self._skips = True
                    break
                frame = recv(_NOW, False)
                frames.append(frame.bytes)
        except (zmq.ZMQError, PortError):
            raise
        except BaseException:
            # Interrupted. The rest of the message must not be taken for the next one.
            self._skips = True
            self._reception.drop("interrupted")
            raise
        return frames

    def _skip_more(self) -> bool:
        """Read on in a message that nobody wants; tell whether its end is reached."""
        # Asked for, as the socket may be another one by now, or an interrupt have come.
        more = bool(self._socket_option(_RCVMORE))
        for _ in range(_SKIPPED_AT_ONCE):
            if not more:
                break
            more = self._recv_frame(_NOW, False).more
        self._skips = more
        return not more

    def _wait_readable(self, seconds: float) -> None:
        if self._socket is not None:
            try:
                self._socket.poll(milliseconds(seconds))
            except zmq.ZMQError as error:
                raise port_error("poll", error) from error

    # -- the way out --------------------------------------------------------------------------------

    def _frames_of(self, tag: bytes, payload: Buffer) -> Sequence[bytes]:
        """Return the frames of a message of ours."""
        if type(payload) is not bytes:
            payload = memoryview(payload).tobytes()
        if len(payload) > self._max_size:
            raise ValueError(f"{len(payload)} bytes, and at most {self._max_size} are accepted")
        if self.isTimed or self.settings.numbering or tag not in _KNOWN_TAGS:
            return self._encode(tag, payload)
        return tag, payload

    def _encode(self, tag: bytes, payload: bytes) -> list[bytes]:
        """Return the frames of a message that needs more than tag and payload, or a check."""
        return encode_frames(tag, payload, stamp=self.settings.clock() if self.isTimed else None)

    def _transmit(self, frames: Sequence[bytes]) -> None:
        """Send a message."""
        try:
            # One call into C for all frames: an interrupt comes before the first
            # frame or behind the last. Each send returns None, so `any` stops at none.
            any(map(self._send_frame, frames, _FLAGS[len(frames)]))
        except zmq.ZMQError as error:
            raise port_error("send", error) from error
        self._sent += 1
