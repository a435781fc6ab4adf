"""What the original does when it is run as a program.

Apart from `echo_rig.app`, so that ``python -m echo_rig.app`` does not find that module imported already.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from echo_rig.protocol import EchoProtocol

#: Seconds that the example server serves over UDP.
SERVE_S: Final = 3600.0
#: What the example client starts.
EXAMPLE_REFERENCE: Final = "2022-01-01_1_subject"


async def main(role: str, server_uri: Any, name: str | None = None, **kwargs: Any) -> None:
    """Serve for a while, or start an example experiment.

    Parameters
    ----------
    role : {'server', 'client'}
        A server serves for one hour over UDP and until it is cancelled over
        TCP; a client sends one `start` message.
    server_uri : str or IP address
        See `echo_rig.uri`.
    name : str, optional
        See `EchoProtocol`.
    **kwargs
        For `EchoProtocol.server` or `EchoProtocol.client`.

    Raises
    ------
    ValueError
        The role is none.
    """
    if role == "server":
        print("Starting server")
        async with await EchoProtocol.server(server_uri, name=name, **kwargs) as server:
            # Not `serve_forever`: when cancelled, it waits in newer Pythons until all clients have left.
            limit_s = None if server.Server is not None else SERVE_S
            await asyncio.wait([server.on_connection_lost], timeout=limit_s)
    elif role == "client":
        print("Starting client")
        async with await EchoProtocol.client(server_uri, name=name, **kwargs) as client:
            await client.start(EXAMPLE_REFERENCE)
    else:
        raise ValueError(f'Unknown role "{role}"')
