"""A free TCP port and the address under which others reach it.

The port is free at the moment of asking and may be taken a moment later. A hub
that binds port 0 itself and tells its address has no such gap.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mxl_sockets.mpi import am_master

if TYPE_CHECKING:
    import os

__all__ = ["get_available_host_port"]

_LOOPBACK: Final = "127.0.0.1"

#: From the range reserved for documentation: never a real machine. Connecting
#: a datagram socket to it sends nothing, it only makes the system choose the
#: interface that leads outside.
_OUTSIDE: Final = ("192.0.2.1", 9)


def get_available_host_port(
    localhost: bool = True,
    save_to_file: str | os.PathLike[str] | None = None,
) -> tuple[str, int]:
    r"""Return a host address of this machine and a TCP port that is free now.

    Parameters
    ----------
    localhost : bool
        True: ``127.0.0.1`` and a port free there. False: the outward IPv4
        address and a port free on all interfaces. Without a network it is the
        address of the host name, or ``127.0.0.1``.
    save_to_file : path, optional
        Where to write the two for drivers to read, as ``host\nport\n``. Rank 0
        alone writes, and a reader sees either the old file or the whole new one.

    Returns
    -------
    host : str
        Numeric IPv4 address.
    port : int
        Port number.

    Raises
    ------
    OSError
        No port is free, or the file cannot be written.

    Notes
    -----
    Every rank of a parallel job gets a port of its own: hand on the master's
    with `mpi_bcast_from_master`.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((_LOOPBACK if localhost else "", 0))
        port: int = probe.getsockname()[1]
    host = _LOOPBACK if localhost else _outward_address()
    if save_to_file is not None and am_master():
        _write_whole(Path(save_to_file), f"{host}\n{port}\n")
    return host, port


def _outward_address() -> str:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(_OUTSIDE)
        host: str = probe.getsockname()[0]
        if host != "0.0.0.0":  # noqa: S104 - some systems say so when there is no route
            return host
    with contextlib.suppress(OSError):
        return socket.gethostbyname(socket.gethostname())
    return _LOOPBACK


def _write_whole(path: Path, text: str) -> None:
    """Write beside the file and move it there; links are followed, the umask applies."""
    path = path.resolve()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with draft.open("x", encoding="ascii", newline="\n") as file:
            file.write(text)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
