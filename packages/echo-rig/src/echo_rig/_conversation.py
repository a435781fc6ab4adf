"""Echo, copy, crossing or news: what to do with each message, for one address.

No I/O and no clock: bytes and `now` go in, decisions come out.

Without numbers
---------------
A receiver sends each message back as it came, unless its second character is
``0``, and so confirms it. Echoes, responses and commands look alike; what
something is follows from what was sent, `echo_rig._recent` says how. While
a message waits for its echo, any other message about an event is a crossing: it
is echoed and delivered, and the wait goes on. What is no message at all fails the
oldest one that waits without a number.

Numbers
-------
A number stands in the white space behind a message, where old peers do not see
it (`wireframe.echo` has the format): session, number, floor. The rules:

1. Numbers are for confirmed messages that are JSON lists. An end numbers from
   the start, or from the first number of the other end on, or never; one that
   never does treats numbers as the white space that they are.
2. A session belongs to one end, is chosen at random when it starts, and its
   numbers are consecutive from any start on for one address; an end that has forgotten
   an address goes on above all numbers it may have used. After the number
   2^32 - 1 has been confirmed or given up the next session begins with 1.
3. The echo is the same bytes, number included. A number with our own
   session is therefore always an echo, whether still waited for or not.
4. The floor is the oldest number still wanted. Below it all are confirmed or
   given up, and the receiver waits for none of them. When a number was given up
   and no message follows soon, a ping tells the floor.
5. Datagrams are delivered in the order of their numbers, each once. One that came
   early is kept until those before it have come, or were given up
   as told by a floor, or until it is 5 s old: a number given up by its sender,
   told or by age, never blocks the order. It is echoed when it is delivered, so
   that nothing confirmed is lost with this end. `echo_rig._order` has the details.
6. A greeting is a numbered ``[32]``. Whoever numbers from the start sends one
   before its first numbered message; whoever sees the first number of a
   session answers with one, unless it has greeted this end before. So both
   ends know of each other after one round trip, and an old peer sees nothing but pings.
   A greeting is sent at most five times; if it was not echoed then, the next
   number of the other end is answered with a new one. While a message
   has waited for more than 1.5 s, which is longer than sends usually have, an end that is
   not known to number is greeted again, at growing intervals: all greetings may be lost.
   An end that sends the same text without
   a number hundreds of times at the pace of the network is greeted too: a loop
   is told from a busy program by numbers (`echo_rig._brake`).
7. Over UDP pings are repeated until echoed, for they are harmless to any
   peer; other numbered messages only when the other end is known to number,
   because an old peer would run its callbacks again. First after the timeout of the
   round trip, then at intervals growing by half up to 0.5 s. Repeated are the
   same bytes.
8. A copy is echoed again, for the echo may be what was lost; but of one message
   at most 16 copies, and then three a second. More would be a loop.
9. At most 128 messages are on their way, and none is 1024 or more above
   the oldest one still wanted. A receiver need not keep more, nor more than 4 MiB;
   what it cannot keep it does not echo, and the sender repeats.
10. Over TCP nothing is lost, doubled or reordered, so numbers only make messages
    unique. A message may arrive without its number or with a part of it, if
    the stream was cut there. An echo is recognised by the message alone then,
    and the rest of the number is dropped, not echoed.

What no rule can tell
---------------------
* Equal bytes without a number that cross are taken for echoes, by both ends.
* Without numbers, with an old end, a message that nobody here sent and that goes
  round and round looks like one that is sent again and again. In a network
  slower than 50 ms, as long as no round trip is known, such a loop goes on; an old
  program that says the same more than 1024 times at the pace of the network misses echoes.
* An end that comes back at the same address within the life time of a datagram may
  see echoes of what its predecessor said, takes them for news, once, and echoes
  them as often as rule 8 says.
* When an end that numbers is replaced by an old one at the same address, messages
  are repeated to the old one, and it may run its callbacks more than once.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from echo_rig._inbox import Inbox
from echo_rig._limits import Limits
from echo_rig._outbox import Outbox
from echo_rig._verdict import Counters, Due, Received, Verdict
from wireframe.echo import MAX_NUMBER

if TYPE_CHECKING:
    from echo_rig._sending import RoundTrip, Sending

__all__ = ["Conversation", "Counters", "Due", "Limits", "Received", "Verdict"]

#: Payload of the longest UDP datagram over IPv4.
MAX_DATAGRAM: Final = 65507


class Conversation:
    """All that is known about one other end.

    For UDP one for each address, for TCP one for each connection. For one
    thread at a time; needs no event loop. Never raises for what the peer sent.

    Parameters
    ----------
    datagrams : bool
        True for UDP, False for TCP.
    session : int
        1 to 2^32 - 1, at random, the same for all conversations of one socket.
    numbering : bool or None
        True: from the first message. None: as soon as the other end numbers.
        False: never, and numbers of the other end are ignored.
    first_number : int
        Above all numbers that were sent to this address in this session
        before; see `next_number`.
    max_message_size : int
        An echo of exactly this size may be the beginning of what was sent.
    limits : Limits
        What the other end may cost.

    Raises
    ------
    ValueError
        `session` or `first_number` does not fit.

    Attributes
    ----------
    counters : Counters
        What has arrived.

    Examples
    --------
    >>> here = Conversation(datagrams=True, session=1)
    >>> there = Conversation(datagrams=True, session=2)
    >>> sending, to_write = here.send(b"[1, null]", now=0.0)
    >>> arrived = there.receive(to_write[0], now=0.001)
    >>> arrived.verdict.name, arrived.deliver, arrived.write
    ('NEWS', (b'[1, null]',), (b'[1, null]',))
    >>> here.receive(arrived.write[0], now=0.002).sending is sending
    True
    >>> sending.round_trip_s
    0.002
    """

    __slots__ = ("_inbox", "_order", "_outbox", "counters")

    def __init__(
        self,
        *,
        datagrams: bool,
        session: int,
        numbering: bool | None = None,
        first_number: int = 1,
        max_message_size: int = 65535,
        limits: Limits | None = None,
    ) -> None:
        if not (0 < session <= MAX_NUMBER and 0 < first_number <= MAX_NUMBER):
            raise ValueError(f"session {session} or first number {first_number} is not one of 32 bits")
        limits = limits or Limits()
        self._outbox = Outbox(
            datagrams=datagrams,
            session=session,
            first_number=first_number,
            numbers=bool(numbering),
            largest=min(max_message_size, MAX_DATAGRAM) if datagrams else max_message_size,
            limits=limits,
        )
        self._inbox = Inbox(
            self._outbox,
            datagrams=datagrams,
            reads_numbers=numbering is not False,
            max_message_size=max_message_size,
            limits=limits,
        )
        self._order = self._inbox.order
        self.counters = self._inbox.counters

    @property
    def numbers(self) -> bool:
        """Whether this end numbers now."""
        return self._outbox.numbers

    @property
    def peer_numbers(self) -> bool:
        """Whether a numbered message of the other end has been seen."""
        return self._outbox.peer_numbers

    @property
    def next_number(self) -> int:
        """The `first_number` of a conversation that may follow this one in the same session."""
        return self._outbox.next_number

    @property
    def outstanding(self) -> int:
        """Messages on their way, greetings included."""
        return len(self._outbox.waiting)

    @property
    def queued(self) -> int:
        """Messages that wait for their turn."""
        return self._outbox.queued

    @property
    def held(self) -> int:
        """Messages of the other end that wait for those before them."""
        return self._order.held

    @property
    def retransmissions(self) -> int:
        """How often messages were repeated."""
        return self._outbox.retransmissions

    @property
    def round_trip(self) -> RoundTrip:
        """Last and smoothed round trip, in seconds."""
        return self._outbox.round_trip

    def send(
        self, message: bytes, now: float, *, confirm: bool = True, numbered: bool = True, context: Any = None
    ) -> tuple[Sending, tuple[bytes, ...]]:
        """Send a message.

        Parameters
        ----------
        message : bytes
            The text, as it should be without numbers.
        now : float
            Monotonic seconds.
        confirm : bool
            Whether to wait for the echo. If not, the bytes go out at once and as they are.
        numbered : bool
            False to leave out the number, such as behind raw text.
        context : object
            Kept in the handle.

        Returns
        -------
        sending : Sending
            The handle.
        write : tuple of bytes
            What to put on the wire now, each a datagram or a write of its own;
            nothing when the message has to wait for its turn.
        """
        self.counters.sent += 1
        return self._outbox.send(message, now, confirm, numbered, context)

    def greet(self, now: float) -> tuple[bytes, ...]:
        """Send a greeting, unless one is on its way; see rule 6.

        Whoever can number answers it with one of its own. Then both ends number.

        Returns
        -------
        tuple of bytes
            What to write now.
        """
        return self._outbox.greet(now)

    def give_up(self, sending: Sending, now: float) -> tuple[bytes, ...]:
        """Forget a message that is timed out or cancelled; nothing if it is confirmed.

        Its echo, should it come yet, is dropped.

        Returns
        -------
        tuple of bytes
            What to write now: messages whose turn has come.
        """
        return self._outbox.give_up(sending, now)

    def lost(self) -> list[Sending]:
        """Forget and return all that was on its way or waited for its turn: the connection is gone."""
        return self._outbox.clear()

    def next_deadline(self) -> float | None:
        """When to call `on_time`, in monotonic seconds; None for never. It may come too early."""
        deadline = min(self._outbox.timer, self._order.deadline)
        return None if deadline == inf else deadline

    def on_time(self, now: float) -> Due:
        """Do what is due: repeat messages, deliver what has waited long enough."""
        write = self._outbox.on_time(now) if self._outbox.timer <= now else ()
        deliver = self._order.on_time(now) if self._order.deadline <= now else ()
        return Due(write, deliver)

    def receive(self, data: bytes, now: float) -> Received:
        """Take one datagram, or one message split from a stream.

        Parameters
        ----------
        data : bytes
            Exactly as it came.
        now : float
            Monotonic seconds.

        Returns
        -------
        Received
            What it was and what to do, whatever the verdict.
        """
        return self._inbox.receive(data, now)
