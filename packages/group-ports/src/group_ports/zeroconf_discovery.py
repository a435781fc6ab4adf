"""Members that find each other on the local network, by DNS-SD over multicast DNS.

Needs the library zeroconf: ``pip install group-ports[zeroconf]``. It is imported
when a `ZeroconfDiscovery` is made.

========= =====================================================================
service   ``_group-ports._tcp.local.``
instance  member id as 32 hexadecimal digits, ``-``, 8 digits: a checksum of the key
SRV, A    TCP port and IPv4 address of the publisher
TXT       ``version=1``, ``type``, ``instance``, ``message``, ``member`` (the id)
========= =====================================================================

Nothing of this is secret, or proves anything: whoever is on the network can announce
a publisher, and so make members connect to it and read it. Groups with members that
do not trust the network have keys (`group_ports.security`).
"""

from __future__ import annotations

import importlib
import ipaddress
import threading
from collections import Counter
from typing import TYPE_CHECKING

from group_ports._socket_options import port_number
from group_ports._zeroconf_engine import Engine
from group_ports._zeroconf_records import properties_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["ZeroconfDiscovery"]

_LONGEST_LIFETIME_S = 4500


class ZeroconfDiscovery:
    """Finds publishers by multicast DNS; a `Discovery`.

    Parameters
    ----------
    interfaces : iterable of str, optional
        IPv4 addresses of the interfaces that are spoken on. That of the first
        member if not given, so members on 127.0.0.1 are not heard of elsewhere.
    lifetime_s : int
        Seconds for which what was announced is believed, 1 to 4500. A member that
        leaves says goodbye; one that dies is gone after twice this time and 3 s.

    Raises
    ------
    ImportError
        The library zeroconf is not installed.
    TypeError, ValueError
        An impossible address or number.

    Notes
    -----
    Any number of members may share one; it may be used by any thread, also by one that
    runs an event loop, which waits meanwhile: a quarter of a second to say goodbye.
    A thread and sockets of its own exist as long as there are members.

    Examples
    --------
    >>> from group_ports import Group
    >>> discovery = ZeroconfDiscovery()
    >>> with Group.standalone("rack", "demo", discovery=discovery) as one:
    ...     with Group.standalone("rack", "demo", discovery=discovery) as other:
    ...         one.wait_until(lambda status: status.size >= 2)
    True
    """

    def __init__(self, interfaces: Iterable[str] | None = None, *, lifetime_s: int = 120) -> None:
        try:
            importlib.import_module("zeroconf")
        except ImportError as error:
            raise ImportError(
                "ZeroconfDiscovery needs the library zeroconf: pip install group-ports[zeroconf]"
            ) from error
        if isinstance(interfaces, str):
            raise TypeError(f"a list of addresses, not {interfaces!r}")
        self._interfaces = (
            None if interfaces is None else [str(ipaddress.IPv4Address(one)) for one in interfaces]
        )
        if self._interfaces == []:
            raise ValueError("no interface")
        if isinstance(lifetime_s, bool) or not isinstance(lifetime_s, int):
            raise TypeError(f"a lifetime is a whole number of seconds, not {lifetime_s!r}")
        if not 1 <= lifetime_s <= _LONGEST_LIFETIME_S:
            raise ValueError(f"a lifetime of {lifetime_s} s")
        self._lifetime_s = lifetime_s
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._engine: Engine | None = None

    @property
    def dropped(self) -> dict[str, int]:
        """How often a service was refused, by cause: bad records, no answer, too many."""
        return dict(self._dropped)

    def register(
        self,
        key: str,
        host: str,
        port: int,
        member_id: bytes,
        *,
        found: Callable[[str, int], None],
        gone: Callable[[str, int], None],
    ) -> None:
        """Announce a publisher; see `Discovery.register`.

        Raises
        ------
        OSError
            An interface that cannot be used.
        PortTimeout
            mDNS does not start, or takes longer than 10 s.
        ValueError
            A host that is no IPv4 address, an impossible port, a member that is announced
            already, or a name that is too long: message, type and instance have about
            240 bytes each.
        """
        place = (str(ipaddress.IPv4Address(host)), port_number(port))
        properties_of(key, member_id)
        with self._lock:
            if self._engine is None:
                self._engine = Engine(self._interfaces or [place[0]], self._lifetime_s, self._dropped)
            try:
                self._engine.add(key, place, member_id, found, gone)
            finally:
                self._end_if_idle()

    def unregister(self, key: str, host: str, port: int) -> None:
        """Say goodbye; see `Discovery.unregister`. Twice is fine.

        Raises
        ------
        PortTimeout
            It takes longer than 10 s.
        """
        with self._lock:
            if self._engine is not None:
                try:
                    self._engine.remove(key, (host, port))
                finally:
                    self._end_if_idle()

    def _end_if_idle(self) -> None:
        engine = self._engine
        if engine is not None and engine.is_idle:
            self._engine = None
            engine.stop()
