"""Addresses of channels, written as LCM programs write them: ``udpm://group:port?ttl=1``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

#: What LCM programs use when they are told nothing.
DEFAULT_GROUP: Final = "239.255.76.67"
DEFAULT_PORT: Final = 7667
#: Datagrams with this lifetime do not leave the host.
DEFAULT_TTL: Final = 0
DEFAULT_URL: Final = f"udpm://{DEFAULT_GROUP}:{DEFAULT_PORT}?ttl={DEFAULT_TTL}"

_MAX_PORT: Final = 65535
_MAX_TTL: Final = 255
_DIGITS: Final = re.compile(r"[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class ChannelUrl:
    """Where a channel is.

    Attributes
    ----------
    group : str
        Numeric address, IPv4 or IPv6.
    port : int
        1 to 65535.
    ttl : int
        0 for this host alone, 1 for its subnet, up to 255.
    buffer_size : int or None
        Receive buffer that is asked for, bytes; None if the URL says nothing.
    """

    group: str = DEFAULT_GROUP
    port: int = DEFAULT_PORT
    ttl: int = DEFAULT_TTL
    buffer_size: int | None = None

    def __str__(self) -> str:
        host = f"[{self.group}]" if ":" in self.group else self.group
        size = "" if self.buffer_size is None else f"&recv_buf_size={self.buffer_size}"
        return f"udpm://{host}:{self.port}?ttl={self.ttl}{size}"


def parse_url(url: str) -> ChannelUrl:
    """Read the URL of an LCM network.

    Parameters
    ----------
    url : str
        ``udpm://group:port?ttl=N``. All but the scheme may be left out; what is
        missing is LCM's default, so ``udpm://`` means `DEFAULT_URL`. An IPv6
        group stands in brackets. Besides `ttl`, LCM's ``recv_buf_size`` (bytes)
        is understood.

    Returns
    -------
    ChannelUrl

    Raises
    ------
    ValueError
        It is none; the text says what is wrong with it.
    TypeError
        It is not text.

    Examples
    --------
    >>> parse_url("udpm://239.1.1.1:5007?ttl=1")
    ChannelUrl(group='239.1.1.1', port=5007, ttl=1, buffer_size=None)
    >>> str(parse_url("udpm://"))
    'udpm://239.255.76.67:7667?ttl=0'
    """
    if not isinstance(url, str):
        raise TypeError(f"a URL is a str, not {type(url).__name__}")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, _port(parts.netloc)
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ValueError(f"cannot read the URL {url!r}: {error}") from error
    if parts.scheme != "udpm" or not url[len("udpm") :].startswith("://"):
        raise ValueError(f"{url!r} is not udpm://group:port?ttl=N")
    if parts.path.strip("/") or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"{url!r} has more than a group, a port and options")
    ttl, buffer_size = DEFAULT_TTL, None
    for key, value in options:
        if key == "ttl":
            ttl = _number(url, key, value, 0, _MAX_TTL)
        elif key == "recv_buf_size":
            buffer_size = _number(url, key, value, 1, (1 << 31) - 1)
        else:
            raise ValueError(f"{url!r} has the unknown option {key!r}; known are ttl and recv_buf_size")
    return ChannelUrl(_group(url, host), port, ttl, buffer_size)


def _port(netloc: str) -> int:
    """Return the port of ``host:port``; urlsplit takes what is no number for none."""
    _, colon, text = netloc.rpartition(":")
    if not colon or text.endswith("]"):
        return DEFAULT_PORT
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= _MAX_PORT:
        raise ValueError(f"a port is 1 to {_MAX_PORT}, not {text!r}")
    return int(text)


def _group(url: str, host: str | None) -> str:
    if not host:
        return DEFAULT_GROUP
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise ValueError(f"{url!r} needs a numeric group such as {DEFAULT_GROUP}, not {host!r}") from error
    if not address.is_multicast:
        raise ValueError(f"{url!r}: {host} is no multicast group (224.0.0.0 to 239.255.255.255, or ff00::/8)")
    return host


def _number(url: str, key: str, value: str, low: int, high: int) -> int:
    if not _DIGITS.fullmatch(value) or not low <= int(value) <= high:
        raise ValueError(f"{url!r}: {key} is {low} to {high}, not {value!r}")
    return int(value)
