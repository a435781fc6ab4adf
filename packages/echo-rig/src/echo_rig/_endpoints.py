"""Names looked up, sockets opened, protocol objects joined with them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from echo_rig._allowed import AllowedSources
from echo_rig._patient_listener import PatientListener
from echo_rig.uri import is_valid_ip, split_uri, validate_uri

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable

    from echo_rig._exchange import Exchange

    ProtocolT = TypeVar("ProtocolT", bound=Exchange)


async def serve(
    kind: Callable[..., ProtocolT],
    server_uri: Any,
    name: str | None,
    log: logging.Logger | None,
    numbering: bool | None,
    allow: Iterable[str] | None,
    options: dict[str, Any],
) -> ProtocolT:
    """Listen at an address; see `EchoProtocol.server`."""
    allowed = None if allow is None else AllowedSources(allow)
    end = kind(await _resolved(server_uri), "server", name=name or str(server_uri), logger=log)
    end.numbering = numbering
    end.allowed = allowed
    loop = asyncio.get_running_loop()
    place = (end.hostname, end.port)
    try:
        if end.is_datagram:
            await loop.create_datagram_endpoint(lambda: end, **{"local_addr": place, **options})
        else:
            start = options.pop("start_serving", True)
            # Started apart: a cancellation within `create_server` would leave the listener to nobody.
            server = await loop.create_server(end.new_connection, *place, start_serving=False, **options)
            server = await _made_patient(end, server, options)
            end.listens_with(server)
            if start:
                await server.start_serving()
    except BaseException:
        end.close()
        raise
    return end


async def _made_patient(end: Exchange, server: asyncio.Server, options: dict[str, Any]) -> asyncio.Server:
    """Return a server at the same address that accepts again soon after descriptors were short."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.SelectorEventLoop):
        return server  # others do not accept by calls of the socket
    encryption = {name: value for name, value in options.items() if name.startswith("ssl")}
    listener = PatientListener.of(server.sockets[0], end.new_connection, end.cannot_accept, encryption)
    server.close()
    return await loop.create_server(end.new_connection, sock=listener, start_serving=False, **options)


async def connect(
    kind: Callable[..., ProtocolT],
    server_uri: Any,
    name: str | None,
    log: logging.Logger | None,
    numbering: bool | None,
    options: dict[str, Any],
) -> ProtocolT:
    """Connect to a server; see `EchoProtocol.client`."""
    end = kind(await _resolved(server_uri), "client", name=name or str(server_uri), logger=log)
    end.numbering = numbering
    loop = asyncio.get_running_loop()
    place = (end.hostname, end.port)
    try:
        if end.is_datagram:
            await loop.create_datagram_endpoint(lambda: end, **{"remote_addr": place, **options})
        else:
            await loop.create_connection(lambda: end, *place, **options)
    except BaseException:
        end.close()
        raise
    return end


async def _resolved(uri: Any) -> str:
    """Return the full URI with an address in it."""
    try:
        given = validate_uri(uri, resolve_host=False)
    except ValueError:
        given = ""  # perhaps a name with dots, which only a resolver can judge
    if given and is_valid_ip(split_uri(given)[1]):
        return given
    # In a thread, because looking up a name may take seconds.
    return await asyncio.get_running_loop().run_in_executor(None, validate_uri, uri)
