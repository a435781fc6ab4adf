"""What is to go to a leader that is not connected yet: kept for a while, in order.

The worker cannot wait for a connection, because its timers would wait with it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from group_ports.errors import GroupError, PortError, PortTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

#: Messages to the leader that wait at the most.
MAX_LETTERS: Final = 1000


@dataclass(slots=True)
class Letter:
    """A message to the leader; `answer`, if somebody waits, says whether there was one."""

    tag: bytes
    payload: bytes
    deadline: float
    answer: Future[bool] | None = None


class Letters:
    """Messages to the leader that wait.

    Parameters
    ----------
    send : callable
        Takes tag and payload; False without a leader, PortTimeout if it is not connected.
    """

    def __init__(self, send: Callable[[bytes, bytes], bool]) -> None:
        self._send = send
        self._waiting: deque[Letter] = deque()
        #: Letters that nobody waited for and that did not leave.
        self.lost = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def next_deadline(self) -> float:
        """Tell when a letter is given up."""
        return min((letter.deadline for letter in self._waiting), default=math.inf)

    def post(self, letter: Letter, now: float) -> None:
        """Send it, or keep it."""
        if len(self._waiting) >= MAX_LETTERS:
            self._fail(letter, PortTimeout("too many messages wait for the leader", PortError.EAGAIN))
            return
        self._waiting.append(letter)
        self.flush(now)

    def flush(self, now: float) -> None:
        """Send what can be sent, and give up what has waited too long."""
        while self._waiting and self._try(self._waiting[0]):
            self._waiting.popleft()
        if now < self.next_deadline():
            return
        for letter in [letter for letter in self._waiting if letter.deadline <= now]:
            self._waiting.remove(letter)
            self._fail(letter, PortTimeout("the leader was not reached in time", PortError.EAGAIN))

    def drop(self) -> None:
        """There is no leader any more, or another one: nothing of this was sent."""
        while self._waiting:
            letter = self._waiting.popleft()
            if letter.answer is None:
                self.lost += 1
            elif letter.answer.set_running_or_notify_cancel():
                letter.answer.set_result(False)

    def _try(self, letter: Letter) -> bool:
        """Tell whether the letter is done with."""
        answer = letter.answer
        if answer is not None and answer.cancelled():
            return True
        try:
            sent = self._send(letter.tag, letter.payload)
        except PortTimeout:
            return False
        except (GroupError, ValueError, TypeError) as error:
            self._fail(letter, error)
            return True
        if answer is None:
            self.lost += not sent
        elif answer.set_running_or_notify_cancel():
            answer.set_result(sent)
        return True

    def _fail(self, letter: Letter, error: Exception) -> None:
        if letter.answer is None:
            self.lost += 1
        elif letter.answer.set_running_or_notify_cancel():
            letter.answer.set_exception(error)
