"""A leader source on etcd: `EtcdLeaderSource`.

::

    keeper   thread    each third of the lease, and at each hint:
                       keep the lease alive, or take one ──▶ read who leads ──▶ tell
                       (leading: proclaim where the member answers, if that is new)
    ears     threads   campaign, while not leading │ both only hint that the keeper should look:
                       observe                     │ what the keeper itself has read is the truth

A member leads if the key that leads hangs on its own lease, and only until
nine tenths of the lease after it asked for that to be kept alive: by its own
monotonic clock, whether etcd can be reached or not. etcd gives the leadership away
when the whole lease has passed since it got the question, so later.

A key is created once and dies with its lease, or with a resignation. So the
revision at which it was created is higher for each new leader: the term. Whoever
guards something by terms is safe even from a leader whose process was stopped
between looking at `Group.isLeader` and acting.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import ssl
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from group_ports import _etcd_messages as messages
from group_ports._etcd_ear import MIN_GAP_S, EtcdEar
from group_ports._etcd_gateway import EtcdFailure, EtcdRefusal, Gateway, Server
from group_ports._quiet_log import QuietLogger
from group_ports.errors import PortError
from group_ports.leader_source import Leadership

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from group_ports._etcd_messages import LeaderKey

__all__ = ["EtcdLeaderSource"]

#: Part of a lease that counts: clocks differ, and there is something between looking and acting.
_SAFE_PART: Final = 0.9
_LONGEST_LEASE_S: Final = 3600
#: Seconds for one question at the most; less for short leases.
_LONGEST_QUESTION_S: Final = 2.0
_MAX_CAUSES: Final = 32

_quiet = QuietLogger(logging.getLogger(__name__))


class EtcdLeaderSource:
    """Lets etcd decide who leads; one object for each member.

    Parameters
    ----------
    urls : iterable of str
        ``http://host:port`` or ``https://host:port`` of the servers of one cluster,
        as clients reach them. The next one is asked when one fails.
    lifetime_s : int
        Seconds of the lease, 1 to 3600: this long after a leader has died another
        one may lead; and if etcd cannot be reached for nine tenths of it, nobody does.
    prefix : str
        Of the keys; behind it comes the key of the group.
    ssl_context : ssl.SSLContext, optional
        For ``https``; that of Python if not given. A certificate of the client goes
        in here.

    Attributes
    ----------
    failures : collections.Counter
        How often etcd failed, by cause.

    Raises
    ------
    TypeError, ValueError
        An impossible URL or number.

    Notes
    -----
    Speaks the JSON gateway of etcd 3.4 and later, `_etcd_messages`, with the standard
    library. Every question ends within 65536 bytes and a quarter of the lease, 2 s at the
    most, and 2 s without a lease; except that a name of a host may take longer to be looked up.

    Examples
    --------
    >>> source = EtcdLeaderSource(["http://10.0.0.5:2379", "http://10.0.0.6:2379"], lifetime_s=5)
    >>> source.failures
    Counter()
    """

    def __init__(
        self,
        urls: Iterable[str] = ("http://127.0.0.1:2379",),
        *,
        lifetime_s: int = 5,
        prefix: str = "group-ports/",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        if isinstance(urls, str):
            raise TypeError(f"a list of URLs, not {urls!r}")
        self._servers = [Server.from_url(url) for url in urls]
        if not self._servers:
            raise ValueError("no server of etcd")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int):
            raise TypeError(f"a lease is a whole number of seconds, not {lifetime_s!r}")
        if not 1 <= lifetime_s <= _LONGEST_LEASE_S:
            raise ValueError(f"a lease of {lifetime_s} s")
        if ssl_context is None and any(server.is_secure for server in self._servers):
            ssl_context = ssl.create_default_context()
        self._ssl_context = ssl_context
        self._ttl_s = lifetime_s
        self._prefix = prefix
        self._question_s = min(lifetime_s / 4, _LONGEST_QUESTION_S)
        self._retry_s = min(lifetime_s / 10, 1.0)
        self._name = ""
        self._member_id = b""
        self._tell: Callable[[Leadership | None], None] = _tell_nobody
        self._address: tuple[str, int] | None = None
        self._lease: int | None = None
        self._leading: LeaderKey | None = None
        self._hint = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.failures: Counter[str] = Counter()
        self._gateway = self._new_gateway()
        self._campaign = self._new_ear("/v3/election/campaign", self._candidacy)
        self._observe = self._new_ear("/v3/election/observe", self._named)
        self._keeper = threading.Thread(target=self._keep, name="group-ports etcd", daemon=True)

    def start(self, key: str, member_id: bytes, tell: Callable[[Leadership | None], None]) -> None:
        """Stand for election; see `LeaderSource.start`. Returns at once, also if etcd is not there yet.

        Raises
        ------
        RuntimeError
            It serves another member already.
        PortError
            There is no room for more threads.
        """
        if self._name:
            raise RuntimeError("a leader source serves one member, once")
        self._name, self._member_id, self._tell = self._prefix + key, member_id, tell
        self._observe.wanted.set()
        started: list[EtcdEar] = []
        try:
            for ear in (self._campaign, self._observe):
                ear.start()
                started.append(ear)
            self._keeper.start()
        except RuntimeError as error:
            for ear in started:
                ear.stop(1.0)
            raise PortError(f"the leader source cannot begin: {error}", errno.EAGAIN) from error

    def answers_at(self, host: str, port: int) -> None:
        """Let the others know where the leader answers; see `LeaderSource.answers_at`."""
        self._address = (host, port)
        self._hint.set()

    def stop(self) -> None:
        """Resign, give the lease back and end, within about 6 s; see `LeaderSource.stop`."""
        self._stopping.set()
        self._hint.set()
        if not self._keeper.is_alive():
            return
        for ear in (self._campaign, self._observe):
            ear.stop(1.0)
        self._keeper.join(3 * _LONGEST_QUESTION_S)

    # -- the keeper ---------------------------------------------------------------------------------

    def _keep(self) -> None:
        while not self._stopping.is_set():
            try:
                self._look()
            except EtcdFailure as error:
                self._note_failure(self._gateway, error)
                self._stopping.wait(self._retry_s)
            else:
                self._hint.wait(self._ttl_s / 3)
                self._hint.clear()
                # However often it is hinted, etcd is not asked without end.
                self._stopping.wait(MIN_GAP_S)
        self._give_up()

    def _look(self) -> None:
        """Keep the lease, read who leads, and tell."""
        kept_until = self._keep_lease()
        asked_at = time.monotonic()
        leader = self._read_leader()
        is_leading = leader is not None and leader.lease == self._lease
        self._leading = leader if is_leading else None
        if is_leading:
            self._campaign.wanted.clear()
        else:
            self._address = None
            self._campaign.wanted.set()
        until = asked_at + self._ttl_s * _SAFE_PART
        if leader is None:
            self._tell(None)
        elif is_leading:
            self._tell(Leadership(self._member_id, leader.revision, min(until, kept_until)))
            self._proclaim(leader)
        else:
            word = messages.read_leadership(leader, until)
            # A former lease of ours that is not over yet leads nobody.
            self._tell(None if word.leader_id == self._member_id else word)

    def _keep_lease(self) -> float:
        """Keep the lease alive, or take a new one; return until when it is ours for certain."""
        asked_at = time.monotonic()
        seconds = 0
        if self._lease is not None:
            seconds = messages.read_keepalive(self._ask("/v3/lease/keepalive", {"ID": str(self._lease)}))
        if not seconds:
            self._lease = None
            asked_at = time.monotonic()
            answer = self._ask("/v3/lease/grant", {"TTL": str(self._ttl_s)})
            self._lease, seconds = messages.read_grant(answer)
            # A candidacy on the former lease came to an end with it.
            self._campaign.interrupt()
        return asked_at + min(seconds, self._ttl_s) * _SAFE_PART

    def _read_leader(self) -> LeaderKey | None:
        try:
            return messages.read_leader(self._ask("/v3/election/leader", self._named()))
        except EtcdRefusal as refusal:
            if str(refusal) == messages.NO_LEADER:
                return None
            raise

    def _proclaim(self, leader: LeaderKey) -> None:
        value = messages.value_of(self._member_id, self._address)
        if leader.value != value:
            question = {"leader": leader.named(self._name), "value": messages.encode(value)}
            self._ask("/v3/election/proclaim", question)

    def _give_up(self) -> None:
        """Let the next one lead at once, not only when the lease is over."""
        with contextlib.suppress(EtcdFailure):
            if self._leading is not None:
                question = {"leader": self._leading.named(self._name)}
                self._gateway.ask("/v3/election/resign", question, self._question_s)
            if self._lease is not None:
                self._gateway.ask("/v3/lease/revoke", {"ID": str(self._lease)}, self._question_s)

    def _ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        if self._stopping.is_set():
            raise EtcdFailure("ended")
        # Without a lease there is nothing to lose by waiting for a store that is slow to write.
        wait_s = _LONGEST_QUESTION_S if self._lease is None else self._question_s
        return self._gateway.ask(path, question, wait_s)

    # -- what all threads need ----------------------------------------------------------------------

    def _named(self) -> dict[str, Any]:
        return {"name": messages.encode(self._name)}

    def _candidacy(self) -> dict[str, Any]:
        value = messages.value_of(self._member_id, self._address)
        return {**self._named(), "lease": str(self._lease or 0), "value": messages.encode(value)}

    def _note_failure(self, gateway: Gateway, error: EtcdFailure) -> None:
        if self._stopping.is_set():
            return
        cause = str(error).partition(":")[0].partition(",")[0][:40]
        with self._lock:
            # Of an etcd that fails in ever new ways the first ones are enough.
            is_known = cause in self.failures or len(self.failures) < _MAX_CAUSES
            self.failures[cause if is_known else "other"] += 1
        _quiet.warn(gateway.server, cause, "etcd at %s: %s", gateway.server, error)
        gateway.turn()

    def _new_gateway(self) -> Gateway:
        return Gateway(self._servers, self._ssl_context)

    def _new_ear(self, path: str, question: Callable[[], dict[str, Any]]) -> EtcdEar:
        return EtcdEar(
            path,
            self._new_gateway(),
            question=question,
            hint=self._hint.set,
            failed=self._note_failure,
            pause_s=self._retry_s,
        )


def _tell_nobody(_: Leadership | None) -> None:
    """Take the place of a member before there is one."""
