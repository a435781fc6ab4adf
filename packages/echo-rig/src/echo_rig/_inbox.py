"""What it is that arrived: an echo, a copy, a crossing or news.

`echo_rig._conversation` has the rules. The order in which a message is asked:

1. may it not be echoed? Then it reports an error;
2. are these exactly the bytes that wait for their echo?
3. has it a number? With our session it is an echo nobody waits for; else
   `echo_rig._order` says what it is;
4. is it a copy of something sent here (`echo_rig._recent`), or part of a loop?
5. is it no message at all, while something without a number waits for its echo?
6. then it is news.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from echo_rig._brake import CopyBrake, EchoBudget, LoopBreaker, Suspicion
from echo_rig._order import Order
from echo_rig._verdict import Counters, Received, Verdict
from wireframe.echo import TAG_LENGTH, decode_event, is_echoed, is_ping, read_number
from wireframe.errors import BadPayload

if TYPE_CHECKING:
    from echo_rig._limits import Limits
    from echo_rig._outbox import Outbox
    from echo_rig._sending import Sending
    from wireframe.echo import Number

_WHITE: Final = b" \t\r\n"

# Bound once: looking up a member of an Enum is slow.
_CONFIRMED: Final = Verdict.CONFIRMED
_GREET: Final = Suspicion.GREET
_NONE: Final = Suspicion.NONE
_NEWS: Final = Verdict.NEWS
_HELD: Final = Verdict.HELD
_DUPLICATE: Final = Verdict.DUPLICATE
_REFUSED: Final = Verdict.REFUSED


class Inbox:
    """The receiving half of a conversation.

    Parameters
    ----------
    outbox : Outbox
        The sending half.
    datagrams : bool
        UDP; else TCP.
    reads_numbers : bool
        Whether numbers of the other end mean anything.
    max_message_size : int
        An echo of exactly this size may be the beginning of what was sent.
    limits : Limits
        What the other end may cost.

    Attributes
    ----------
    order : Order
        What waits for its turn.
    counters : Counters
        What has arrived.
    """

    __slots__ = (
        "_breaker",
        "_budget",
        "_copies",
        "_datagrams",
        "_head",
        "_limits",
        "_max_message_size",
        "_outbox",
        "_reads_numbers",
        "_waiting",
        "counters",
        "order",
    )

    def __init__(
        self, outbox: Outbox, *, datagrams: bool, reads_numbers: bool, max_message_size: int, limits: Limits
    ) -> None:
        self._outbox = outbox
        self._waiting = outbox.waiting
        self._datagrams = datagrams
        self._reads_numbers = reads_numbers
        self._max_message_size = max_message_size
        self._limits = limits
        self._breaker = LoopBreaker(limits.identical, limits.recent_messages)
        self._copies = CopyBrake(limits.copies, limits.copies_per_s, limits.held_messages)
        self._budget = EchoBudget(limits.echoes_per_s, limits.echo_burst)
        #: The beginning of an echo of raw text over TCP.
        self._head = b""
        self.order = Order(limits)
        self.counters = Counters()

    def receive(self, data: bytes, now: float) -> Received:
        """Take one datagram, or one message split from a stream, exactly as it came."""
        if self._head:
            data, self._head = self._head + data, b""
        if not is_echoed(data):
            self.counters.error_messages += 1
            return Received(Verdict.ERROR_MESSAGE, (), (data,))
        sending = self._waiting.get(data)
        if sending is not None:
            return self._confirm(sending, now, _CONFIRMED)
        if not self._datagrams:
            return self._from_stream(data, now)
        if data[-1:] in (b" ", b"\t") and self._reads_numbers:
            number = read_number(data)
            if number is not None:
                return self._numbered(number, data, now)
        if self._waiting and len(data) == self._max_message_size:
            for sending in self._waiting.values():
                if sending.data.startswith(data):
                    return self._confirm(sending, now, Verdict.TRUNCATED_ECHO)
        return self._unnumbered(data, now)

    def _confirm(self, sending: Sending, now: float, verdict: Verdict) -> Received:
        if verdict is _CONFIRMED:
            self.counters.confirmed += 1
        else:
            self.counters.truncated_echoes += 1
        return Received(verdict, self._outbox.confirm(sending, now), (), sending)

    def _numbered(self, number: Number, data: bytes, now: float) -> Received:
        outbox, counters = self._outbox, self.counters
        if number.session in (outbox.session, outbox.former):
            outbox.late.takes(data[:-TAG_LENGTH])
            counters.surplus_echoes += 1
            return Received(Verdict.SURPLUS_ECHO)
        if not self._budget.take(now):
            counters.refused += 1
            return Received(_REFUSED)
        if self._datagrams:
            new = number.session not in self.order
            verdict, deliver, write = self.order.take(number, data, now)
        else:
            new = not outbox.peer_numbers
            # Alone: its message came before it, and was echoed and delivered.
            is_cut = not data.strip(_WHITE)
            verdict, deliver = (Verdict.FILLER, ()) if is_cut else (_NEWS, (data,))
            write = deliver
        if verdict is _NEWS:
            counters.news += 1
        elif verdict is _DUPLICATE:
            counters.duplicates += 1
            if not self._copies.passes(data, now):
                counters.bounces += 1
                return Received(Verdict.BOUNCE, (), deliver)
            write = (data,)
        elif verdict is _REFUSED:
            counters.refused += 1
            return Received(verdict, write, deliver)
        elif verdict is _HELD:
            counters.held += 1
        else:
            counters.fillers += 1
        if new or not outbox.peer_numbers or (self._datagrams and not outbox.greeted):
            outbox.numbers = True
            write += outbox.learn(now, new_session=new)
        return Received(verdict, write, deliver)

    def _from_stream(self, data: bytes, now: float) -> Received:
        """Take a message that may lack the white space behind it, or have that of the one before.

        White space with a tab before a message is the rest of a number and is not
        echoed; it would get behind another message and be read there.
        """
        outbox = self._outbox
        for sent, sending in self._waiting.items():
            if not sent.startswith(data):
                continue
            if len(data) == self._max_message_size:
                return self._confirm(sending, now, Verdict.TRUNCATED_ECHO)
            if sent[:1] != b"[":
                # Raw text of several words: they come one by one.
                self._head = data
                self.counters.fillers += 1
                return Received(Verdict.FILLER)
        body = data.lstrip(_WHITE)
        if len(body) != len(data) and body:
            received = self.receive(body, now)
            if received.verdict is _NEWS and b"\t" not in data[: len(data) - len(body)]:
                # An old end waits for exactly what it sent.
                received.write = (data, *received.write[1:])
            return received
        if self._reads_numbers and data[-1:] in (b" ", b"\t"):
            number = read_number(data)
            if number is not None:
                return self._numbered(number, data, now)
        if not body:
            self.counters.fillers += 1
            return Received(Verdict.FILLER)
        text = data.rstrip(_WHITE)
        for sent, sending in self._waiting.items():
            if sent.startswith(text) and sent.rstrip(_WHITE) == text:
                return self._confirm(sending, now, _CONFIRMED)
        if outbox.late.takes(text):
            self.counters.surplus_echoes += 1
            return Received(Verdict.SURPLUS_ECHO)
        return self._unnumbered(data, now)

    def _unnumbered(self, data: bytes, now: float) -> Received:
        outbox, counters, limits = self._outbox, self.counters, self._limits
        greeting: tuple[bytes, ...] = ()
        if self._datagrams:
            trip = outbox.round_trip
            loop_s = limits.identical_s if trip.smoothed_s is None else 2 * trip.timeout_s
            if outbox.recent.takes(data, now, max(limits.surplus_s, loop_s)):
                counters.surplus_echoes += 1
                return Received(Verdict.SURPLUS_ECHO)
            numbered = outbox.peer_numbers and outbox.may_be_numbered(data)
            suspicion = self._breaker.judge(data, now, loop_s, would_be_numbered=numbered)
            if suspicion is not _NONE:
                if suspicion is not _GREET:
                    # Delivered, for it may ask for no echo; what is not echoed goes round no more.
                    counters.bounces += 1
                    return Received(Verdict.BOUNCE, (), (data,))
                if self._reads_numbers and not outbox.peer_numbers:
                    greeting = outbox.greet(now)
        if outbox.unnumbered and not _is_message(data):
            counters.unexpected += 1
            failed = outbox.oldest_unnumbered()
            return Received(Verdict.UNEXPECTED, outbox.give_up(failed, now), (), failed)
        if not self._budget.take(now):
            counters.refused += 1
            return Received(_REFUSED)
        counters.news += 1
        return Received(_NEWS, (data, *greeting), (data,))


def _is_message(data: bytes) -> bool:
    """Whether this is about an event, or a ping, and so no part of an echo."""
    try:
        decode_event(data)
    except BadPayload:
        return is_ping(data)
    return True
