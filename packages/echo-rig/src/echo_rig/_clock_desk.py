"""Questions for the clock and their answers, for all other ends of one communicator.

::

    asking end                                   answering end
    t1  [32] + request(t1) + number  --------->  t2
        <---------  echo
    t4  <---------  [32] + answer(t1, t2, t3) + number  t3

Times in notes are those of the calendar. What passed between t1 and t4, and
between t2 and t3, is measured with a clock that nobody sets.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from wireframe.echo import ClockAnswer, ClockRequest, add_clock_answer, add_clock_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from echo_rig._link import Address, Link

_PING: Final = b"[32]"
#: Seconds to repeat an answer. One that needed longer would say little about the clock.
ANSWER_S: Final = 0.25
#: Messages on their way to an end, beyond which its questions are not answered.
MAX_ON_THE_WAY: Final = 64


@dataclass(frozen=True, slots=True)
class ClockSample:
    """One question and its answer.

    Attributes
    ----------
    offset_ns : int
        The other clock minus ours, in nanoseconds.
    round_trip_ns : int
        Time on the wire, there and back. The offset is wrong by half of it at the most.
    """

    offset_ns: int
    round_trip_ns: int

    @classmethod
    def of(cls, answer: ClockAnswer, elapsed_ns: int) -> ClockSample | None:
        """Read an answer that came so many nanoseconds after its question; None if it cannot be true.

        Examples
        --------
        >>> ClockSample.of(ClockAnswer(asked_ns=1000, receive_ns=6020, transmit_ns=6030), 50)
        ClockSample(offset_ns=5000, round_trip_ns=40)
        """
        held_ns = answer.transmit_ns - answer.receive_ns
        if not 0 <= held_ns <= elapsed_ns:
            return None
        back_ns = answer.transmit_ns - (answer.asked_ns + elapsed_ns)
        return cls((answer.receive_ns - answer.asked_ns + back_ns) // 2, elapsed_ns - held_ns)


class ClockDesk:
    """Answers questions for our clock, and keeps our own until they are answered.

    Parameters
    ----------
    calendar_ns, interval_ns : callable
        Nanoseconds of the clock that is asked for, and of one that nobody sets.
    """

    def __init__(
        self,
        calendar_ns: Callable[[], int] = time.time_ns,
        interval_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._calendar_ns = calendar_ns
        self._interval_ns = interval_ns
        #: Whom we asked at what time, with the time of the other clock and who waits.
        self._asked: dict[tuple[Address, int], tuple[int, asyncio.Future[ClockSample]]] = {}

    async def ask(self, link: Link) -> ClockSample:
        """Ask another end that is known to number; to be limited in time by the caller.

        Raises
        ------
        ConnectionError
            The connection is lost.
        """
        loop = asyncio.get_running_loop()
        echo: asyncio.Future[float] = loop.create_future()
        answer: asyncio.Future[ClockSample] = loop.create_future()
        asked_ns = self._calendar_ns()
        while (link.address, asked_ns) in self._asked:
            asked_ns += 1
        began_ns = self._interval_ns()
        sending = link.send(add_clock_request(_PING, ClockRequest(asked_ns)), confirm=True, context=echo)
        self._asked[link.address, asked_ns] = (began_ns, answer)
        try:
            _, sample = await asyncio.gather(echo, answer)
        finally:
            del self._asked[link.address, asked_ns]
            if sending.round_trip_s is None:
                link.give_up(sending)
        return sample

    def take(self, note: ClockRequest | ClockAnswer, address: Address, link: Link | None) -> None:
        """Take a note of another end. What nobody asked for is dropped."""
        if isinstance(note, ClockAnswer):
            self._take_answer(note, address)
        elif link is not None and link.conversation.numbers:
            self._answer(note, link)

    def lost(self, address: Address, error: Exception) -> None:
        """Let questions fail whose answer cannot come any more."""
        for (where, _), (_, future) in self._asked.items():
            if where == address and not future.done():
                future.set_exception(error)

    def _take_answer(self, note: ClockAnswer, address: Address) -> None:
        began_ns, future = self._asked.get((address, note.asked_ns), (0, None))
        if future is not None and not future.done():
            sample = ClockSample.of(note, self._interval_ns() - began_ns)
            if sample is not None:
                future.set_result(sample)

    def _answer(self, request: ClockRequest, link: Link) -> None:
        if link.conversation.outstanding + link.conversation.queued >= MAX_ON_THE_WAY:
            return
        # Both at once: nothing happens between them here.
        now_ns = self._calendar_ns()
        answer = ClockAnswer(request.transmit_ns, receive_ns=now_ns, transmit_ns=now_ns)
        sending = link.send(add_clock_answer(_PING, answer), confirm=True)
        asyncio.get_running_loop().call_later(ANSWER_S, link.give_up, sending)
