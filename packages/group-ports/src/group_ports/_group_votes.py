"""What a member of a group can ask the others to decide, and how it answers."""

# ruff: noqa: N802, N803 - the names are those of the original
from __future__ import annotations

import math
import pickle
import time
from typing import TYPE_CHECKING, Any, Final

from group_ports._group_link import GroupLink
from wireframe.group import MAX_VOTE_SIZE, RequestForVote, Subject, Voting, encode_vote

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Milliseconds of the longest poll that can be asked for; as long as all timeouts of this package.
_LONGEST_MS: Final = 1e9
#: Bytes that a poll without a topic takes; topics are padded to 8 bytes.
_POLL_BYTES: Final = len(
    encode_vote(RequestForVote("ABCDEFGH", b"", Voting.MAJORITY, Subject.VALUE, 0.0, 0.0, 0.0))
)


class GroupVotes(GroupLink):
    """Asks for votes and casts them."""

    def requestVote(
        self, topic: Buffer, kind: Voting = Voting.MAJORITY, timeout: float | None = None
    ) -> str | None:
        """Ask the members, by way of the leader, for a vote about a value.

        Parameters
        ----------
        topic : bytes-like
        kind : Voting
            Who must say yes: more than half of the members, or all.
        timeout : float, optional
            Milliseconds until the poll is over; the consensus timeout of the
            group if not given.

        Returns
        -------
        str or None
            Identifier of the poll; None without a leader, or with too many open polls.

        Raises
        ------
        PortError
            The member has left.
        TypeError, ValueError
            A topic that is not bytes-like, or is too long for one message of a poll
            (8 MiB, ``max_size``); an impossible kind; a timeout that is not between
            0 and 1e9. Then nothing was asked.
        """
        return self._request(topic, kind, timeout, None)

    def requestVote_pyobj(
        self, topic: Any, kind: Voting = Voting.MAJORITY, timeout: float | None = None
    ) -> str | None:
        """Ask for a vote about an object, pickled; see `requestVote`."""
        return self.requestVote(pickle.dumps(topic), kind, timeout)

    def requestActionVote(
        self,
        action: Buffer,
        when: float = 0.0,
        kind: Voting = Voting.CONSENSUS,
        timeout: float | None = None,
    ) -> str | None:
        """Ask for a vote about an action at a certain time; see `requestVote`.

        Parameters
        ----------
        action : bytes-like
        when : float
            Seconds since 1970, a finite number.
        kind : Voting
        timeout : float, optional
            Milliseconds.

        Returns
        -------
        str or None
        """
        return self._request(action, kind, timeout, _number("a time", when, -math.inf, math.inf))

    def requestActionVote_pyobj(
        self,
        action: Any,
        when: float = 0.0,
        kind: Voting = Voting.CONSENSUS,
        timeout: float | None = None,
    ) -> str | None:
        """Ask for a vote about an action that is an object, pickled; see `requestActionVote`."""
        return self.requestActionVote(pickle.dumps(action), when, kind, timeout)

    def sendVote(self, rfvId: str, vote: bool) -> bool:
        """Vote in a poll, about a value or an action; False without a leader.

        Parameters
        ----------
        rfvId : str
            Which poll.
        vote : bool
            Yes or no.
        """

        def cast() -> bool:
            worker = self._worker
            is_sent, actions = worker.member.cast(rfvId, bool(vote), time.monotonic())
            worker.do(actions)
            return is_sent

        return self._call(cast)

    def _request(
        self, topic: Buffer, kind: Voting, timeout: float | None, release: float | None
    ) -> str | None:
        data = topic if type(topic) is bytes else memoryview(topic).tobytes()
        if not isinstance(kind, Voting):
            raise TypeError(f"the kind of a vote is a Voting, not {kind!r}")
        limit = min(MAX_VOTE_SIZE, self._settings.max_size)
        if (size := _POLL_BYTES + math.ceil(len(data) / 8) * 8) > limit:
            raise ValueError(f"a poll of {size} bytes, and at most {limit} are accepted")
        seconds = None if timeout is None else _number("a timeout", timeout, 0.0, _LONGEST_MS) / 1000

        def request() -> str | None:
            worker = self._worker
            rfv_id, actions = worker.member.request_vote(
                data,
                time.monotonic(),
                kind=kind,
                timeout=seconds,
                wall_time=self._settings.clock(),
                release=release,
            )
            worker.do(actions)
            return rfv_id

        return self._call(request)


def _number(what: str, value: float, least: float, most: float) -> float:
    """Check a number of the user's."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError(f"{what} is out of range: {error}") from error
    if not (math.isfinite(number) and least <= number <= most):
        raise ValueError(f"{what} is out of range: {number}")
    return number
