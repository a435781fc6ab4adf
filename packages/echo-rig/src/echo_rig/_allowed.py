"""Which addresses are listened to."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class AllowedSources:
    """Addresses and networks; ``address in sources`` tells whether one of them holds an address.

    Parameters
    ----------
    allow : iterable of str
        Addresses (``"10.0.0.7"``, ``"::1"``) and networks (``"10.0.0.0/24"``).

    Raises
    ------
    ValueError
        An entry is neither.
    TypeError
        A single text instead of an iterable of them.

    Examples
    --------
    >>> sources = AllowedSources(["10.0.0.0/24", "::1"])
    >>> "10.0.0.7" in sources, "::1" in sources, "10.0.1.7" in sources
    (True, True, False)
    """

    def __init__(self, allow: Iterable[str]) -> None:
        if isinstance(allow, str):
            raise TypeError(f"a list of addresses, not a single text: {allow!r}")
        networks = tuple(ipaddress.ip_network(entry) for entry in allow)

        # Asked for every datagram, mostly about the same few addresses.
        @lru_cache(maxsize=1024)
        def holds(address: str) -> bool:
            try:
                found = ipaddress.ip_address(address)
            except ValueError:
                return False
            # A socket for both families shows IPv4 addresses like this.
            found = getattr(found, "ipv4_mapped", None) or found
            return any(found in network for network in networks if network.version == found.version)

        self._holds = holds

    def __contains__(self, address: object) -> bool:
        return isinstance(address, str) and self._holds(address)
