"""Where an end listens, or is to be found: ``scheme://host:port``.

::

    udp://192.168.0.1:11001       ws://[fe80::1%eth0]:11001       rig-pc

The scheme tells the transport: ``udp`` for datagrams; ``tcp``, ``ws`` and
``wss`` alike for a plain TCP stream. IPv6 addresses stand in brackets.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
from typing import Any, Final, TypeAlias

from wireframe.echo import LISTEN_PORT

__all__ = [
    "SCHEMES",
    "IPAddress",
    "external_ip",
    "hostname2ip",
    "is_valid_ip",
    "join_uri",
    "split_uri",
    "validate_uri",
]

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

#: Schemes that name a transport of this package.
SCHEMES: Final = ("udp", "tcp", "ws", "wss")
#: Tells the public address of who asks, as plain text.
EXTERNAL_IP_URL: Final = "https://ident.me"
#: Seconds to wait for it.
EXTERNAL_IP_TIMEOUT: Final = 10.0

# The host is either in brackets or without any colon, so the port cannot be mistaken.
_URI: Final = re.compile(
    r"(?:(?P<scheme>[A-Za-z]+)://)?(?:\[(?P<inside>[^\[\]]*)\]|(?P<host>[^:\[\]]*))(?::(?P<port>.*))?",
    re.DOTALL,
)
_SCHEME: Final = re.compile(r"[A-Za-z]+")
_NAME: Final = re.compile(r"[a-z0-9-]{1,63}")
_PORT: Final = re.compile(r"[0-9]{1,5}")


def is_valid_ip(ip_address: Any) -> bool:
    """Whether this is an IP address.

    Parameters
    ----------
    ip_address : object
        Whatever `ipaddress.ip_address` takes, or not.

    Examples
    --------
    >>> is_valid_ip("192.168.0.1"), is_valid_ip("::1"), is_valid_ip("rig-pc")
    (True, True, False)
    """
    try:
        ipaddress.ip_address(ip_address)
    except ValueError:
        return False
    return True


def external_ip() -> IPAddress:
    """Return the address under which the outer network sees this computer.

    Asks the public service ident.me over HTTPS and blocks meanwhile, for ten
    seconds without news at the most.

    Raises
    ------
    OSError
        The service cannot be reached.
    ValueError
        Its answer is not an address.
    """
    from urllib.request import urlopen

    with urlopen(EXTERNAL_IP_URL, timeout=EXTERNAL_IP_TIMEOUT) as answer:
        # An address has 45 characters at the most.
        return ipaddress.ip_address(answer.read(64).decode("ascii", "replace").strip())


def hostname2ip(hostname: str | None = None) -> IPAddress:
    """Return the address of a host; its IPv4 address if it has one.

    Blocks while the name is looked up; in a running event loop, call it in an executor.

    Parameters
    ----------
    hostname : str, optional
        Name or address; this computer by default.

    Raises
    ------
    ValueError
        The name does not resolve.

    Examples
    --------
    >>> hostname2ip("localhost")
    IPv4Address('127.0.0.1')
    """
    hostname = hostname or socket.gethostname()
    try:
        found = socket.getaddrinfo(hostname, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"Failed to resolve IP for hostname {hostname!r}") from error
    for family in (socket.AF_INET, socket.AF_INET6):
        for entry in found:
            if entry[0] == family:
                return ipaddress.ip_address(entry[4][0])
    raise ValueError(f"Hostname {hostname!r} has no IP address")


def validate_uri(
    uri: str | IPAddress,
    resolve_host: bool = True,
    default_port: int | str = LISTEN_PORT,
    default_proc: str = "udp",
) -> str:
    """Return the full URI of an end.

    Parameters
    ----------
    uri : str or IP address
        Host, or ``host:port``, or ``scheme://host:port``. IPv6 addresses as
        text stand in brackets, with a zone if they need one: ``[fe80::1%eth0]``.
    resolve_host : bool
        Replace a name by its address, which blocks while it is looked up (an
        empty name is this computer). Otherwise a name stays, and must be of
        at most 63 lower-case letters, digits and ``-``.
    default_port : int or str
        Port if the URI has none.
    default_proc : str
        Scheme if the URI has none.

    Returns
    -------
    str
        ``scheme://host:port``; the scheme in lower case. Any scheme of letters
        passes; which one a transport exists for is checked where a
        communicator is made.

    Raises
    ------
    ValueError
        Scheme, host or port cannot be meant so, or the host does not resolve.
    TypeError
        `uri` is of another type.

    Examples
    --------
    >>> validate_uri("192.168.0.1"), validate_uri("TCP://[::1]:9999")
    ('udp://192.168.0.1:11001', 'tcp://[::1]:9999')
    """
    if isinstance(uri, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        return join_uri(_valid_scheme(default_proc), str(uri), _valid_port(default_port))
    if not isinstance(uri, str):
        raise TypeError(f"a URI is a str or an IP address, not {type(uri).__name__}")
    parts = _URI.fullmatch(uri)
    if parts is None:
        raise ValueError(f"not scheme://host:port: {uri!r} (IPv6 addresses stand in brackets)")
    scheme = _valid_scheme(parts["scheme"] or default_proc)
    port = _valid_port(parts["port"] or default_port)
    if parts["inside"] is not None:
        return join_uri(scheme, _ipv6(parts["inside"]), port)
    host = parts["host"]
    if not is_valid_ip(host):
        if resolve_host:
            host = _resolved(host)
        elif not _NAME.fullmatch(host):
            raise ValueError(f"Invalid hostname: {host!r}")
    return join_uri(scheme, host, port)


def join_uri(scheme: str, host: str, port: int) -> str:
    """Return ``scheme://host:port``, with brackets around an IPv6 address.

    Examples
    --------
    >>> join_uri("udp", "::1", 11001)
    'udp://[::1]:11001'
    """
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@functools.lru_cache(maxsize=256)
def split_uri(uri: str) -> tuple[str, str, int]:
    """Return scheme, host (without brackets) and port of what `validate_uri` returned.

    Examples
    --------
    >>> split_uri("udp://[::1]:11001")
    ('udp', '::1', 11001)
    """
    scheme, _, rest = uri.partition("://")
    host, _, port = rest.rpartition(":")
    return scheme, host.strip("[]"), int(port)


def _valid_scheme(scheme: str) -> str:
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(f"Invalid scheme: {scheme!r}")
    return scheme.lower()


def _valid_port(port: int | str) -> int:
    # int() alone would also read "8 ", "+80" and "1_0".
    text = str(port)
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65535:
        raise ValueError(f"Invalid port number: {text[:32]!r}")
    return int(text)


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError as error:
        raise ValueError(f"no IPv6 address in the brackets: {text!r}") from error


def _resolved(host: str) -> str:
    if any(character.isspace() for character in host):
        raise ValueError(f"Invalid hostname: {host!r}")
    return str(hostname2ip(host))
