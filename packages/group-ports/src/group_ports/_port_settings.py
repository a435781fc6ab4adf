"""How ports behave where the protocol leaves it open; every number is finite."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wireframe.group import MAX_SIZE, MEMBER_LENGTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports.security import CurveKeys

#: Seconds. Where the original waits for ever, these ports wait this long.
LONGEST_WAIT_S: Final = 10.0
#: Bytes of the longest name of a group.
_MAX_NAME: Final = 255


@dataclass(frozen=True, slots=True)
class PortSettings:
    """What a port is told once.

    Parameters
    ----------
    send_timeout, recv_timeout : float or None
        Seconds; None is the longest wait of this package, 10 s.
    send_hwm, recv_hwm : int
        Messages that are kept for, and from, each peer; at least 1.
    max_size : int
        Bytes of the longest frame that is accepted. A peer that announces more
        is disconnected.
    linger_s : float
        Seconds that messages sent before a close may take to leave. Subscribers have none.
    heartbeat_s, liveness_s : float
        When the computer of a peer, or the network to it, is taken for dead (TCP
        keepalive, in whole seconds, rounded up): silent for the first it is asked
        whether it is there, and given up if nothing comes for the second after
        that. So is a peer that takes nothing of what waits for it for both
        together; of a publisher with `back_pressure` for 60 s at the least. A
        process that is stopped while nothing is sent to it is not noticed: its
        system answers.
    handshake_timeout : float
        Seconds that a peer may take to connect and to say who it is.
    reconnect_s, reconnect_max_s : float
        First and longest pause between two attempts to connect.
    back_pressure : bool
        Of publishers: wait for a subscriber that is slow, up to the send
        timeout, and then raise `PortTimeout`, instead of dropping its messages.
        One slow subscriber then holds up all, a dead one for 60 s.
    numbering : bool
        Of publishers: add the stamp and the frame that let subscribers of this
        package count losses (`wireframe.group.Extension`). Needs `group`. Off by
        default: members of the original deliver such messages, but do not read
        the stamp of a message with four frames, and see a different message
        from the one recorded from their kind. A `Group` always does so.
    group : str, optional
        ``type.instance``. Then messages that are numbered for another group are
        dropped.
    member_id : bytes, optional
        16 bytes, the first not zero: who publishes, and the routing identity of
        the query port. Drawn at random for each port if not given.
    port : int
        Of ports that bind: the TCP port, 0 for any that is free.
    keys : CurveKeys, optional
        Encryption and who may connect; else the keys of the parent, if it has any.
    allowed_classes : tuple of type
        Classes whose objects `recv_pyobj` may build beside plain data; by
        module and name, nothing is imported for it.
    max_objects : int
        Parts of which a received object may consist.
    clock : callable
        Returns seconds since 1970, for stamps only.

    Raises
    ------
    ValueError
        A number is not finite, or out of its range.

    Examples
    --------
    >>> PortSettings(send_timeout=2.5).send_wait_ms
    2500
    """

    send_timeout: float | None = None
    recv_timeout: float | None = None
    send_hwm: int = 1000
    recv_hwm: int = 1000
    max_size: int = MAX_SIZE
    linger_s: float = 1.0
    heartbeat_s: float = 1.0
    liveness_s: float = 3.0
    handshake_timeout: float = 2.0
    reconnect_s: float = 0.1
    reconnect_max_s: float = 1.0
    back_pressure: bool = False
    numbering: bool = False
    group: str | None = None
    member_id: bytes | None = None
    port: int = 0
    keys: CurveKeys | None = None
    allowed_classes: tuple[type, ...] = ()
    max_objects: int = 1_000_000
    clock: Callable[[], float] = field(default=time.time, repr=False)

    def __post_init__(self) -> None:
        for name in ("heartbeat_s", "liveness_s", "handshake_timeout", "reconnect_s", "reconnect_max_s"):
            if not 0.001 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is at least a millisecond, not {getattr(self, name)}")
        if not 0 <= self.linger_s < math.inf:
            raise ValueError(f"linger_s is finite, not {self.linger_s}")
        if min(self.send_hwm, self.recv_hwm, self.max_size, self.max_objects) < 1:
            raise ValueError(f"a limit below 1: {self}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"there is no TCP port {self.port}")
        if self.member_id is not None and (len(self.member_id) != MEMBER_LENGTH or not self.member_id[0]):
            raise ValueError(f"a member id is 16 bytes and begins with no zero, not {self.member_id!r}")
        if self.group is not None and not 0 < len(self.group.encode()) <= _MAX_NAME:
            raise ValueError(f"the name of a group has 1 to {_MAX_NAME} bytes, not {self.group!r}")
        if self.numbering and self.group is None:
            raise ValueError("messages are numbered for a group, so it needs a name")
        milliseconds(self.send_timeout)
        milliseconds(self.recv_timeout)

    @property
    def send_wait_ms(self) -> int:
        """The send timeout in milliseconds."""
        return milliseconds(self.send_timeout)

    @property
    def recv_wait_ms(self) -> int:
        """The receive timeout in milliseconds."""
        return milliseconds(self.recv_timeout)


def milliseconds(seconds: float | None) -> int:
    """Return a timeout in the unit of ZeroMQ, rounded up; ValueError if it is none.

    Parameters
    ----------
    seconds : float or None
        None is the longest wait, 10 s.
    """
    if seconds is None:
        seconds = LONGEST_WAIT_S
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"a timeout is a number of seconds or None, not {seconds!r}")
    # A larger number would not fit the option, and is longer than a program runs.
    if not 0 <= seconds <= 1e6:
        raise ValueError(f"a timeout is between 0 and 1e6 seconds, not {seconds}")
    return math.ceil(seconds * 1000)
