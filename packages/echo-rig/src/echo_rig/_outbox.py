"""What was sent and waits for its echo, what waits for its turn, and when to repeat.

Without a number a message is known by its bytes alone. Over UDP several may be
on their way, but not two with the same bytes. Over TCP only one, because
two of them might arrive together and an old peer can read them only apart.

With a number any message is unique. Up to `window` of them are on their way,
and none is more than `span` ahead of the oldest one still wanted, because that
is how many the other end keeps for us. Over TCP this begins when the other end is
known to number too.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

from echo_rig._line import Line
from echo_rig._recent import LateEchoes, Recent
from echo_rig._reminders import Reminders
from echo_rig._sending import RoundTrip, Sending
from wireframe.echo import MAX_NUMBER, TAG_LENGTH, Number, add_number, is_ping

if TYPE_CHECKING:
    from echo_rig._limits import Limits

_PING: Final = b"[32]"


class Outbox:
    """The sending half of a conversation.

    Parameters
    ----------
    datagrams : bool
        UDP; else TCP.
    session, first_number : int
        What our numbers begin with.
    numbers : bool
        Whether to number from the start.
    largest : int
        Bytes of the longest message that gets a number, with the number.
    limits : Limits
        Window, timeouts and memory.

    Attributes
    ----------
    waiting : dict
        What is on the wire and not confirmed, by its exact bytes.
    session : int
        Our present session; `former` is the one before, or the same.
    numbers, peer_numbers : bool
        Whether this end, and the other end, put numbers on messages.
    timer : float
        When to call `on_time`, monotonic seconds; infinity for never.
    retransmissions : int
        How often anything was repeated.
    """

    def __init__(
        self, *, datagrams: bool, session: int, first_number: int, numbers: bool, largest: int, limits: Limits
    ) -> None:
        self._datagrams = datagrams
        self._largest = largest
        self._limits = limits
        self._greetings = limits.greetings if datagrams else 1
        self.session = session
        self.former = session
        self.next_number = first_number
        self.numbers = numbers
        self.peer_numbers = False
        self.timer = inf
        self.retransmissions = 0
        self.waiting: dict[bytes, Sending] = {}
        self.recent = Recent(limits.recent_messages, limits.recent_s, limits.late_responses)
        self.late = LateEchoes(limits.late_messages)
        self.round_trip = RoundTrip(
            limits.first_timeout_s, limits.shortest_timeout_s, limits.longest_timeout_s
        )
        #: Those of `waiting` with a number, in its order.
        self._open: dict[int, Sending] = {}
        self._line = Line()
        self._greeted = False
        #: The greeting that is on its way or in line.
        self._greeting: Sending | None = None
        self._reminders = Reminders(limits)

    @property
    def floor(self) -> int:
        """The oldest number still wanted, or the next one."""
        return next(iter(self._open), self.next_number)

    @property
    def greeted(self) -> bool:
        """Whether a greeting was echoed, or may still be."""
        return self._greeted

    @property
    def unnumbered(self) -> int:
        """Messages without a number that wait for their echo."""
        return len(self.waiting) - len(self._open)

    def oldest_unnumbered(self) -> Sending:
        """Return the one of them that waits longest; there must be one."""
        return next(sending for sending in self.waiting.values() if sending.number is None)

    @property
    def queued(self) -> int:
        """Messages that wait for their turn."""
        return len(self._line) + self._line.twins

    def send(
        self, message: bytes, now: float, confirm: bool, numbered: bool, context: Any
    ) -> tuple[Sending, tuple[bytes, ...]]:
        """Take a message; return its handle and what to write now."""
        sending = Sending(message, now, context)
        if not confirm:
            sending.transmissions = 1
            if message[1:2] != b"0":
                self._note_late(message, now)
            return sending, (message,)
        if self.numbers and numbered and self.may_be_numbered(message):
            sending.tagged = True
            first = () if self._greeted or self.peer_numbers else self.greet(now)
            if self._line or not self._has_room(True):
                self._line.put(sending)
                return sending, first
            return sending, (*first, self._transmit(sending, now))
        if self._line or not self._has_room(False):
            self._line.put(sending)
            return sending, ()
        return sending, self._transmit_alone(sending, now)

    def greet(self, now: float) -> tuple[bytes, ...]:
        """Send a numbered ping, unless one is on its way; return what to write now."""
        self._greeted = True
        if self._greeting is not None:
            return ()
        sending = self._greeting = Sending(_PING, now)
        sending.tagged = sending.greeting = True
        if self._line or not self._has_room(True):
            self._line.put_first(sending)
            return ()
        return (self._transmit(sending, now),)

    def learn(self, now: float, *, new_session: bool) -> tuple[bytes, ...]:
        """Take notice that the other end numbers; return what to write now."""
        first, self.peer_numbers = not self.peer_numbers, True
        self._reminders.greet_at = inf
        if first and self._datagrams:
            self.timer = min(self.timer, now + self.round_trip.timeout_s)
            if self._reminders.is_untold and self._open:
                # What was repeated until now carries an older floor.
                self.timer = min(self.timer, self._reminders.tell_soon(now))
        # A known end that has begun a new session has forgotten that we number; one whose
        # greeting was given up may never have known.
        greeting = self.greet(now) if not self._greeted or (new_session and not first) else ()
        return (*greeting, *self._next(now)) if self._line else greeting

    def confirm(self, sending: Sending, now: float) -> tuple[bytes, ...]:
        """Take a message off that has its echo; return what to write now."""
        sending.round_trip_s = seconds = now - sending.sent_at
        if sending.transmissions == 1:
            self.round_trip.add(seconds)
        del self.waiting[sending.data]
        if sending.number is None:
            if self._datagrams:
                self.recent.note(sending.data, now, late=False)
        else:
            del self._open[sending.number]
            if sending.greeting:
                self._greeting = None
        return self._next(now, sending.data) if self._line or self._line.twins else ()

    def give_up(self, sending: Sending, now: float) -> tuple[bytes, ...]:
        """Forget a message, wherever it is; return what to write now."""
        data = sending.data
        if self.waiting.get(data) is not sending:
            self._line.leave(sending)
            return self._next(now)
        del self.waiting[data]
        if sending.number is None or not self._datagrams:
            self._note_late(data, now)
        if sending.number is not None:
            del self._open[sending.number]
            if sending.greeting:
                self._greeting = None
            if not self.peer_numbers:
                self._reminders.is_untold = True
            elif not sending.greeting and self._datagrams and sending.number + 1 < self.next_number:
                # Later ones may be kept at the other end because of it.
                self.timer = min(self.timer, self._reminders.tell_soon(now))
        return self._next(now, data)

    def on_time(self, now: float) -> tuple[bytes, ...]:
        """Repeat what is overdue; return what to write now."""
        writes: list[bytes] = []
        expired: list[Sending] = []
        reminders = self._reminders
        if reminders.tell_at <= now:
            # A greeting on its way may carry an older floor: another one after it.
            again = now + self.round_trip.timeout_s if self._greeting is not None else inf
            writes += self.greet(now)
            reminders.tell_at = again
        if reminders.greet_at <= now and reminders.is_greeting_due(now, self._oldest_sent_at()):
            writes += self.greet(now)
        timer = min(reminders.tell_at, reminders.greet_at)
        for sending in self._open.values():
            if not (self.peer_numbers or sending.repeatable):
                continue
            if sending.again_at <= now:
                if sending.greeting and sending.transmissions >= self._greetings:
                    expired.append(sending)
                    continue
                sending.transmissions += 1
                sending.interval = min(sending.interval * 1.5, self._limits.longest_timeout_s)
                sending.again_at = now + sending.interval
                self.retransmissions += 1
                writes.append(sending.data)
            if sending.again_at < timer:
                timer = sending.again_at
        self.timer = timer
        for sending in expired:
            self._greeted = False
            writes += self.give_up(sending, now)
        return tuple(writes)

    def clear(self) -> list[Sending]:
        """Forget everything; return what was on its way or in line."""
        gone = [*self.waiting.values(), *self._line.leave_all()]
        self.waiting.clear()
        self._open.clear()
        self._greeting = None
        self._reminders.stop()
        self.timer = inf
        return [sending for sending in gone if not sending.greeting]

    def _oldest_sent_at(self) -> float:
        """Return since when the oldest message with a number waits; infinity if there is none."""
        return next((sending.sent_at for sending in self._open.values() if not sending.greeting), inf)

    def _note_late(self, data: bytes, now: float) -> None:
        if self._datagrams:
            self.recent.note(data, now, late=True)
        else:
            self.late.note(data)

    def may_be_numbered(self, message: bytes) -> bool:
        """Whether a message can have a number: it is a list, and leaves room for one."""
        return (
            message[:1] == b"["
            and message[1:2] != b"0"
            and len(message) + TAG_LENGTH <= self._largest
            and (message[-1:] == b"]" or is_ping(message))
        )

    def _has_room(self, tagged: bool) -> bool:
        if not self._datagrams and not (tagged and self.peer_numbers):
            return not self.waiting
        if not tagged:
            return len(self.waiting) < self._limits.window
        if self.next_number > MAX_NUMBER:
            return not self._open
        return (
            len(self._open) < self._limits.window
            and self.next_number - self.floor < self._limits.span
            and (self._datagrams or len(self.waiting) == len(self._open))
        )

    def _transmit_alone(self, sending: Sending, now: float) -> tuple[bytes, ...]:
        """Send a message that has no number, unless the same bytes are on their way."""
        if sending.message in self.waiting:
            self._line.put_behind_its_twin(sending)
            return ()
        return (self._transmit(sending, now),)

    def _transmit(self, sending: Sending, now: float) -> bytes:
        sending.sent_at = now
        sending.transmissions = 1
        if sending.tagged:
            number = self.next_number
            if number > MAX_NUMBER:
                self.former, self.session, number = self.session, self.session % MAX_NUMBER + 1, 1
            self.next_number = number + 1
            sending.number = number
            floor = next(iter(self._open), number)
            sending.data = add_number(sending.message, Number(self.session, number, floor))
            self._open[number] = sending
            reminders = self._reminders
            reminders.tell_at = inf  # the number says it
            if self._datagrams and not self.peer_numbers and reminders.greet_at == inf:
                self.timer = min(self.timer, reminders.greet_later(now))
            self._schedule(sending, now)
        self.waiting[sending.data] = sending
        return sending.data

    def _schedule(self, sending: Sending, now: float) -> None:
        if self._datagrams:
            sending.repeatable = sending.greeting or is_ping(sending.message)
            sending.interval = self.round_trip.timeout_s
        elif sending.greeting:
            sending.repeatable = True
            sending.interval = self._limits.greeting_s
        else:
            sending.interval = inf
        sending.again_at = now + sending.interval
        if sending.again_at < self.timer and (self.peer_numbers or sending.repeatable):
            self.timer = sending.again_at

    def _next(self, now: float, freed: bytes | None = None) -> tuple[bytes, ...]:
        """Send what has room now; `freed` are bytes that are not on their way any more."""
        writes: list[bytes] = []
        twin = None if freed is None else self._line.twin_of(freed)
        if twin is not None:
            self._line.leave(twin)
            writes.append(self._transmit(twin, now))
        while self._line:
            sending = self._line.first
            if not self._has_room(sending.tagged):
                break
            self._line.leave(sending)
            if sending.tagged:
                writes.append(self._transmit(sending, now))
            else:
                writes += self._transmit_alone(sending, now)
        return tuple(writes)
