"""What is known of each sender, for a bounded number of them.

Senders are what their source addresses say, and anybody can make those up, so
the number of accounts is bounded; the sender that was silent for longest goes
first, and its counts stay in the sums.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from udp_multicast.channels._statistics import SenderStatistics
from wireframe.datagram import SequenceCounter

if TYPE_CHECKING:
    from collections.abc import Callable

    from udp_multicast.channels._message import Address

#: Senders with an account at the same time.
MAX_SENDERS: Final = 1024
#: Seconds of silence after which a number that does not advance means that
#: the sender began anew. No network keeps a datagram that long.
RESTART_AFTER_S: Final = 1.0

_NUMBERS: Final = 1 << 32


class Account:
    """What is known of one sender."""

    __slots__ = ("bytes", "counter", "heard", "last", "messages", "quiet", "time")

    def __init__(self, now: float) -> None:
        self.counter = SequenceCounter(restart_after_s=RESTART_AFTER_S)
        self.messages = 0
        self.bytes = 0
        #: Number of the last message, -1 before the first.
        self.last = -1
        self.heard = now
        # A large message takes its time, and that is not silence: the counter
        # is told a time of its own, in which only the longest pause between
        # datagrams passes from one message to the next.
        self.quiet = 0.0
        self.time = 0.0

    def began_anew(self, number: int) -> bool:
        """Say whether a message that was not seen yet has a number from before, after a silence."""
        if self.quiet < RESTART_AFTER_S or self.last < 0:
            return False
        return not 0 < (number - self.last) % _NUMBERS < _NUMBERS >> 1

    def statistics(self, now: float) -> SenderStatistics:
        """Return its counts."""
        counter = self.counter
        return SenderStatistics(
            messages=self.messages,
            bytes=self.bytes,
            lost=counter.lost,
            gaps=counter.gaps,
            late=counter.late,
            duplicates=counter.duplicates,
            restarts=counter.restarts,
            silent_s=max(0.0, now - self.heard),
        )


class Accounts:
    """The accounts of all senders.

    Parameters
    ----------
    max_senders : int
        How many at the same time.
    on_forget : callable
        Told whose account is closed.

    Attributes
    ----------
    forgotten : int
        Senders whose account was closed.
    past : SenderStatistics
        The sums of their counts.

    Raises
    ------
    ValueError
        `max_senders` is less than 1.
    """

    def __init__(self, max_senders: int, on_forget: Callable[[Address], object]) -> None:
        if max_senders < 1:
            raise ValueError(f"max_senders must be at least 1, not {max_senders}")
        self._max_senders = max_senders
        self._on_forget = on_forget
        #: By address, the last one heard at the end.
        self._accounts: OrderedDict[Address, Account] = OrderedDict()
        self._latest: Address | None = None
        self.forgotten = 0
        self.past = SenderStatistics()

    def hear(self, sender: Address, now: float) -> Account:
        """Return the account of a sender that was heard now."""
        account = self._accounts.get(sender)
        if account is None:
            if len(self._accounts) >= self._max_senders:
                self._close_one(now)
            account = self._accounts[sender] = Account(now)
            self._latest = sender
            return account
        if sender != self._latest:
            self._accounts.move_to_end(sender)
            self._latest = sender
        quiet = now - account.heard
        if quiet > account.quiet:
            account.quiet = quiet
        account.heard = now
        return account

    def is_silent(self, sender: Address, now: float) -> bool:
        """Say whether it has no account, or may have begun anew since it was heard."""
        account = self._accounts.get(sender)
        return account is None or now - account.heard >= RESTART_AFTER_S

    def _close_one(self, now: float) -> None:
        """Close the account that was silent for longest; its counts stay in the sums."""
        address, account = self._accounts.popitem(last=False)
        self._on_forget(address)
        one, past = account.statistics(now), self.past
        self.forgotten += 1
        self.past = SenderStatistics(
            messages=past.messages + one.messages,
            bytes=past.bytes + one.bytes,
            lost=past.lost + one.lost,
            gaps=past.gaps + one.gaps,
            late=past.late + one.late,
            duplicates=past.duplicates + one.duplicates,
            restarts=past.restarts + one.restarts,
        )

    def statistics(self, now: float) -> dict[Address, SenderStatistics]:
        """Return the counts of all accounts."""
        return {address: account.statistics(now) for address, account in self._accounts.items()}
