"""How an `Endpoint` is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echo_rig.sync._end import CONNECT_TIMEOUT
from echo_rig.sync._endpoint import Endpoint

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterable

    from echo_rig.uri import IPAddress

__all__ = ["connect", "listen"]


def connect(
    server_uri: str | IPAddress,
    name: str | None = None,
    logger: logging.Logger | None = None,
    *,
    numbering: bool | None = None,
    connect_timeout: float = CONNECT_TIMEOUT,
) -> Endpoint:
    """Connect to a server. Over UDP that succeeds also while nobody listens.

    Parameters
    ----------
    server_uri : str or IP address
        Where the server listens, see `echo_rig.validate_uri`.
    name : str, optional
        Name for logs and in `Rigs`; the URI by default.
    logger : logging.Logger, optional
        By default the logger called `name`.
    numbering : bool, optional
        Number messages invisibly: from the first one (True), once the
        other end does (None, the default), or never (False).
    connect_timeout : float
        Seconds for a TCP connection to be made.

    Returns
    -------
    Endpoint

    Raises
    ------
    ValueError
        The URI is none.
    OSError
        Nobody listens (TCP), or there is no way to the address.
    """
    return Endpoint(server_uri, "client", name, logger, numbering=numbering, connect_timeout=connect_timeout)


def listen(
    server_uri: str | IPAddress,
    name: str | None = None,
    logger: logging.Logger | None = None,
    *,
    numbering: bool | None = None,
    allow: Iterable[str] | None = None,
) -> Endpoint:
    """Listen at an address, for any number of clients.

    Parameters
    ----------
    server_uri, name, logger, numbering
        As for `connect`.
    allow : iterable of str, optional
        Addresses and networks (``"10.0.0.0/24"``) that are listened to;
        everybody by default.

    Returns
    -------
    Endpoint

    Raises
    ------
    ValueError
        The URI or an entry of `allow` is none.
    OSError
        The address cannot be bound.
    """
    return Endpoint(server_uri, "server", name, logger, numbering=numbering, allow=allow)
