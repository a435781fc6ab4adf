"""Where a command sends to or listens at, and on which wire."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from udp_multicast._url import DEFAULT_URL, ChannelUrl, parse_url
from udp_multicast.multicast_socket import DEFAULT_GROUP, DEFAULT_PORT

if TYPE_CHECKING:
    import argparse

#: What sockets take, as a URL may have it too.
_RANGES: Final = {"ttl": (0, 255), "buffer": (1, (1 << 31) - 1)}
#: Where LCM programs look for a URL that nobody gave them.
URL_VARIABLE: Final = "LCM_DEFAULT_URL"


class UsageError(Exception):
    """What was typed cannot be used; the text says why."""


@dataclass(frozen=True)
class Place:
    """Where, and on which wire.

    Attributes
    ----------
    group, port : str, int
        Address of the group.
    ttl : int or None
        How far datagrams go; None for the default of the package.
    interface : str or None
        Name or address; None leaves it to the routing table.
    on_channels : bool
        Channels, as LCM programs use them; otherwise one datagram is one readout.
    channels : tuple of str
        Their names; empty for all.
    buffer_size : int or None
        Receive buffer to ask for, bytes.
    """

    group: str
    port: int
    ttl: int | None
    interface: str | None
    on_channels: bool
    channels: tuple[str, ...]
    buffer_size: int | None

    def __str__(self) -> str:
        if self.on_channels:
            return str(ChannelUrl(self.group, self.port, self.ttl or 0)).partition("?")[0]
        return f"[{self.group}]:{self.port}" if ":" in self.group else f"{self.group}:{self.port}"


def add_place(parser: argparse.ArgumentParser, *, sends: bool, channel_help: str) -> None:
    """Describe the arguments that `read_place` reads."""
    place = parser.add_argument_group(
        "where",
        "One datagram is one readout, unless --url or --channel is given: then messages travel on channels, "
        "as LCM programs send and receive them.",
    )
    place.add_argument("--group", help=f"group or host (default {DEFAULT_GROUP}, or LCM's on channels)")
    place.add_argument("--port", type=int, help=f"UDP port (default {DEFAULT_PORT}, or LCM's on channels)")
    place.add_argument(
        "--url",
        metavar="URL",
        help=f"udpm://group:port?ttl=N (default: ${URL_VARIABLE}, or {DEFAULT_URL})",
    )
    place.add_argument("--channel", metavar="NAME", action="append", default=[], help=channel_help)
    place.add_argument(
        "--interface", metavar="NAME", help="interface, by name or address (default: by routing table)"
    )
    if sends:
        place.add_argument("--ttl", type=int, help="0 this host, 1 its subnet, 2 and more beyond routers")
    else:
        place.add_argument(
            "--buffer", metavar="BYTES", type=int, help="receive buffer to ask for (default 4 MiB)"
        )


def read_place(options: argparse.Namespace) -> Place:
    """Understand what was typed.

    Raises
    ------
    UsageError
        It contradicts itself, a number is out of range, or the URL cannot be used.
    """
    if options.url is not None and (options.group is not None or options.port is not None):
        raise UsageError("give --url or --group and --port, not both")
    for name, (low, high) in _RANGES.items():
        value = getattr(options, name, None)
        if value is not None and not low <= value <= high:
            raise UsageError(f"--{name} is {low} to {high}, not {value}")
    ttl = getattr(options, "ttl", None)
    buffer_size = getattr(options, "buffer", None)
    channels = tuple(options.channel)
    if options.url is None and not channels:
        return Place(
            DEFAULT_GROUP if options.group is None else options.group,
            DEFAULT_PORT if options.port is None else options.port,
            ttl,
            options.interface,
            on_channels=False,
            channels=(),
            buffer_size=buffer_size,
        )
    default = os.environ.get(URL_VARIABLE) or DEFAULT_URL
    try:
        url = parse_url(default if options.url is None else options.url)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if ttl is None:
        # Who names a group means the network, unless a URL says otherwise.
        ttl = url.ttl if options.group is None else 1
    return Place(
        url.group if options.group is None else options.group,
        url.port if options.port is None else options.port,
        ttl,
        options.interface,
        on_channels=True,
        channels=channels,
        buffer_size=buffer_size or url.buffer_size,
    )
