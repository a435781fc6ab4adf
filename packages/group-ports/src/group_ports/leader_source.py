"""Who leads, from elsewhere: for groups whose own election is not enough.

The election of a group needs no server, but it rests on counting heartbeats, and
its votes are forgotten with the process. Where a store that keeps its word is at
hand, such as etcd (`group_ports.etcd`), a `LeaderSource` lets that decide instead.
The group then follows the source: who leads, who stands, which term. It publishes
no election messages and ignores those of others, so all its members use a source,
and the same.

What a source says holds until a certain moment, and must be said again before
that. A leader that cannot reach the store any more, or was stopped, therefore does
not lead any more by its own clock, at the latest when the store may give the
leadership to another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from group_ports._socket_options import endpoint, port_number

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LeaderSource", "Leadership"]

_ID_SIZE: Final = 16
#: Terms of a source are signed 64-bit numbers, as most stores have them.
MAX_TERM: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Leadership:
    """Somebody leads.

    Parameters
    ----------
    leader_id : bytes
        Member id, 16 bytes.
    term : int
        Fencing token, 1 to 2**63 - 1: higher for each new leader, the same for as
        long as one leads.
    until : float
        Monotonic seconds (`time.monotonic`): from then on this does not hold any
        more. For the leader itself, it is earlier than any other can lead.
    address : tuple of str and int, optional
        Where the leader answers, once it has said so (`LeaderSource.answers_at`); until
        then it is no leader for the others, who could not reach it.

    Raises
    ------
    TypeError, ValueError
        An impossible id, term, time or address.

    Examples
    --------
    >>> Leadership(bytes(16), 7, 100.0, ("127.0.0.1", 5000)).term
    7
    """

    leader_id: bytes
    term: int
    until: float
    address: tuple[str, int] | None = None

    def __post_init__(self) -> None:
        if len(self.leader_id) != _ID_SIZE:
            raise ValueError(f"a member id of {len(self.leader_id)} bytes instead of {_ID_SIZE}")
        if isinstance(self.term, bool) or not isinstance(self.term, int):
            raise TypeError(f"a term is a number, not {self.term!r}")
        if not 1 <= self.term <= MAX_TERM:
            raise ValueError(f"a term of {self.term}")
        if self.until != self.until:
            raise ValueError("until is not a number")
        if self.address is not None:
            host, port = self.address
            endpoint(host, port_number(port))


class LeaderSource(Protocol):
    """Decides who leads a group; one object for each member.

    Notes
    -----
    `start` and `stop` are called once, `answers_at` each time the member begins to
    lead. None of them waits for the network but `stop`, and they do not raise
    unless it says so.

    Examples
    --------
    A source for groups in which an operator appoints the leader:

    >>> import math
    >>> class Appointed:
    ...     def start(self, key, member_id, tell):
    ...         self.member_id, self.tell = member_id, tell
    ...     def answers_at(self, host, port):
    ...         self.address = (host, port)         # to be made known to the other members
    ...     def appoint(self, leader_id, term, address=None):
    ...         self.tell(Leadership(leader_id, term, math.inf, address))
    ...     def stop(self):
    ...         pass
    >>> from group_ports import Group
    >>> source = Appointed()
    >>> with Group.standalone("rack", "a", leader_source=source) as group:
    ...     source.appoint(source.member_id, 7)
    ...     group.wait_until(lambda status: status.is_leader), group.term
    (True, 7)
    """

    def start(self, key: str, member_id: bytes, tell: Callable[[Leadership | None], None]) -> None:
        """Let a member stand for election, and say from now on who leads.

        Parameters
        ----------
        key : str
            ``<message>@<group type>.<instance>``: members with the same key belong
            together.
        member_id : bytes
            16 bytes.
        tell : callable
            Takes a `Leadership`, or None: nobody leads. From any thread, as often as
            need be; returns at once and does not raise. A term that goes back, or
            that two leaders have, is refused: then the group has no leader.

        Raises
        ------
        Exception
            The source cannot be used; then the group is not joined. `stop` is called.
        """
        ...

    def answers_at(self, host: str, port: int) -> None:
        """Take in where the member answers now that it leads; to be told to the others."""
        ...

    def stop(self) -> None:
        """Stand no more, give the leadership up and end; within some seconds, also if `start` failed."""
        ...
