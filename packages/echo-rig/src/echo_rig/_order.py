"""Numbered messages in the order of their numbers, each once.

For each session of the other end there is one next number, `expected`:

* below it: delivered or skipped before, so a copy;
* equal: delivered, and with it all that was waiting for it;
* above: kept until those between have come, or nobody waits for them any more.

Nobody waits for a number any more when

1. it was *told*: each number comes with its floor, the oldest one that its
   sender still wants delivered. What is below has been given up; should it come
   after all, it is a copy, for its sender does not want it any more;
2. by *age*: no message is kept longer than `held_s`. What is skipped in this way may still
   be wanted: if it comes later it is refused, so that its sender hears nothing
   and reports it as failed, rather than delivered late or confirmed and lost;
3. a *new session* begins: the other end has started anew. What it said before is
   delivered before what it says now.

A message is echoed when it is delivered, not while it is kept: so what its sender knows to be
confirmed does not die with this end. It is not echoed when it is delivered by age, or because a new session
begins: its sender may have been replaced by one that does not know it. If not, it repeats the message, and
a copy is echoed.

So a number that never comes blocks nothing for longer than `held_s`. The first
number of a session that is seen sets `expected` to its floor; thus a receiver
that has been restarted goes on where its sender is.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from echo_rig._verdict import Verdict

if TYPE_CHECKING:
    from echo_rig._limits import Limits
    from wireframe.echo import Number

# Bound once: looking up a member of an Enum is slow.
_NEWS: Final = Verdict.NEWS
_HELD: Final = Verdict.HELD
_DUPLICATE: Final = Verdict.DUPLICATE
_REFUSED: Final = Verdict.REFUSED


class _Session:
    __slots__ = ("expected", "floor", "held", "skipped")

    def __init__(self, floor: int) -> None:
        self.expected = floor
        self.floor = floor
        #: Messages that came early, with the time, in the order in which they came.
        self.held: dict[int, tuple[bytes, float]] = {}
        #: Numbers skipped by age, as gaps: two datagrams can make one of a thousand.
        self.skipped: list[range] = []


class Order:
    """Puts the numbered messages of one address in order.

    Parameters
    ----------
    limits : Limits
        How much may be kept, and how long.

    Attributes
    ----------
    deadline : float
        When to call `on_time`, in monotonic seconds; infinity for never.
    held, held_bytes : int
        Messages kept now, and their size.
    """

    __slots__ = ("_last", "_last_session", "_limits", "_sessions", "deadline", "held", "held_bytes")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sessions: dict[int, _Session] = {}
        self._last_session = 0
        self._last = _Session(1)
        self.deadline = inf
        self.held = 0
        self.held_bytes = 0

    def __contains__(self, session: int) -> bool:
        return session in self._sessions

    def take(
        self, number: Number, data: bytes, now: float
    ) -> tuple[Verdict, tuple[bytes, ...], tuple[bytes, ...]]:
        """Take a message.

        Parameters
        ----------
        number : Number
            Its number.
        data : bytes
            The message.
        now : float
            Monotonic seconds.

        Returns
        -------
        verdict : Verdict
            `NEWS`, `HELD`, `DUPLICATE` or `REFUSED`.
        deliver : tuple of bytes
            What is to be delivered now, whatever the verdict.
        echo : tuple of bytes
            What of it is to be echoed.
        """
        if number.session == self._last_session:
            session = self._last
            if number.number == session.expected and not session.held and not session.skipped:
                session.expected += 1
                return _NEWS, (data,), (data,)
        deliver: list[bytes] = []
        session = self._find(number, deliver)
        former = len(deliver)
        verdict = self._place(session, number.number, number.floor, data, now, deliver)
        return verdict, tuple(deliver), tuple(deliver[former:])

    def on_time(self, now: float) -> tuple[bytes, ...]:
        """Return what has waited long enough; to be called at `deadline` or later."""
        deliver: list[bytes] = []
        held_s = self._limits.held_s
        self.deadline = inf
        for session in self._sessions.values():
            while session.held:
                oldest = next(iter(session.held))
                due_at = session.held[oldest][1] + held_s
                if due_at > now:
                    self.deadline = min(self.deadline, due_at)
                    break
                self._skip(session, oldest + 1, deliver)
        return tuple(deliver)

    def _find(self, number: Number, deliver: list[bytes]) -> _Session:
        session = self._sessions.get(number.session)
        if session is None:
            for other in self._sessions.values():
                if other.held:
                    self._skip(other, max(other.held) + 1, deliver)
            session = self._sessions[number.session] = _Session(number.floor)
            if len(self._sessions) > self._limits.sessions:
                del self._sessions[next(iter(self._sessions))]
        self._last_session, self._last = number.session, session
        return session

    def _place(
        self, session: _Session, number: int, floor: int, data: bytes, now: float, deliver: list[bytes]
    ) -> Verdict:
        if floor > session.floor:
            session.floor = floor
            if session.skipped:
                session.skipped = [gap for gap in session.skipped if gap.stop > floor]
            if floor > session.expected:
                self._give_up_below(session, floor, deliver)
        if number < session.expected:
            # A gap may reach below the floor, where nothing is wanted any more.
            is_skipped = number >= session.floor and any(number in gap for gap in session.skipped)
            return _REFUSED if is_skipped else _DUPLICATE
        if number in session.held:
            return _HELD
        if number == session.expected:
            deliver.append(data)
            session.expected += 1
            self._run(session, deliver)
            return _NEWS
        limits = self._limits
        if (
            number - session.expected >= limits.span
            or self.held >= limits.held_messages
            or self.held_bytes + len(data) > limits.held_bytes
        ):
            return _REFUSED
        session.held[number] = data, now
        self.held += 1
        self.held_bytes += len(data)
        if now + limits.held_s < self.deadline:
            self.deadline = now + limits.held_s
        return _HELD

    def _skip(self, session: _Session, end: int, deliver: list[bytes]) -> None:
        """Deliver what is held below `end` without those between, and what follows it."""
        # A sender keeps to the span, so nothing further back is wanted.
        oldest = end - self._limits.span
        session.skipped = [gap for gap in session.skipped if gap.stop > oldest]
        begin = session.expected
        for number in sorted(session.held):
            if number >= end:
                break
            if begin < number:
                session.skipped.append(range(begin, number))
            begin = number + 1
        if begin < end:
            session.skipped.append(range(begin, end))
        self._give_up_below(session, end, deliver)

    def _give_up_below(self, session: _Session, end: int, deliver: list[bytes]) -> None:
        early = sorted(number for number in session.held if number < end)
        deliver.extend(self._release(session, number) for number in early)
        session.expected = end
        self._run(session, deliver)

    def _run(self, session: _Session, deliver: list[bytes]) -> None:
        """Deliver what is held and has nothing missing before it."""
        while session.expected in session.held:
            deliver.append(self._release(session, session.expected))
            session.expected += 1

    def _release(self, session: _Session, number: int) -> bytes:
        data, _ = session.held.pop(number)
        self.held -= 1
        self.held_bytes -= len(data)
        return data
