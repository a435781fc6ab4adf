"""Where a channel is, as senders and receivers are told."""

from __future__ import annotations

from udp_multicast._url import ChannelUrl, parse_url


def resolve(url: str | None, group: str | None, port: int | None) -> ChannelUrl:
    """Return where a channel is, from a URL, a group and port, or nothing at all.

    Raises
    ------
    ValueError
        The URL cannot be used, or a group or port is given beside it.
    """
    if url is not None:
        if group is not None or port is not None:
            raise ValueError("give a URL or a group and port, not both")
        return parse_url(url)
    default = ChannelUrl()
    return ChannelUrl(
        default.group if group is None else group,
        default.port if port is None else port,
        # Who names a group means the network, as with MulticastSender.
        default.ttl if group is None else 1,
    )
