"""Helpers of `maxwelllink.sockets`, under their names there, for programs that import them.

Each is a short way to a codec of `wireframe` over a *blocking* socket. New code
wants `Driver`, or the codec itself. Compared with the originals they make the whole
message before they send it, in one piece, and refuse lengths no peer means.
"""

from __future__ import annotations

import json
import math
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mxl_sockets._connect import Backoff, TcpTarget, connect
from mxl_sockets._listen import UNIX_PREFIX
from mxl_sockets._stop import StopSignal
from mxl_sockets.mpi import _mpi_comm
from wireframe import BadPayload, FrameTooLarge, ipi
from wireframe.ipi import (
    BYE,
    FIELDDATA,
    FORCEREADY,
    GETFORCE,
    GETSOURCE,
    HAVEDATA,
    INIT,
    NEEDINIT,
    POSDATA,
    READY,
    SOURCEREADY,
    STATUS,
    STOP,
)

if TYPE_CHECKING:
    import socket

    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Buffer

__all__ = [
    "BYE",
    "DT_FLOAT",
    "DT_INT",
    "FIELDDATA",
    "FORCEREADY",
    "GETFORCE",
    "GETSOURCE",
    "HAVEDATA",
    "HEADER_LEN",
    "INIT",
    "NEEDINIT",
    "POSDATA",
    "READY",
    "SOURCEREADY",
    "STATUS",
    "STOP",
    "UNIX_PREFIX",
    "_mpi_comm",
]

HEADER_LEN: Final = ipi.HEADER_LENGTH
DT_FLOAT: Final = np.float64
DT_INT: Final = np.int32

_INT32: Final = struct.Struct("<i")
_FLOAT64: Final = struct.Struct("<d")
_STRUCT_I: Final = _INT32
_STRUCT_3D: Final = struct.Struct("<3d")
_EYE3_BYTES: Final = ipi.IDENTITY
_NAT1_BYTES: Final = _INT32.pack(1)
_FIELDDATA_HDR: Final = ipi.encode_header(FIELDDATA)
_GETSOURCE_HDR: Final = ipi.encode_header(GETSOURCE)
_SEND_TEMPLATE: Final = ipi.encode_request((0.0, 0.0, 0.0))
_SEND_FIELD_OFFSET: Final = ipi.REQUEST_FIELD_OFFSET
_SEND_TOTAL_LEN: Final = ipi.REQUEST_LENGTH
_REPLY_FIXED_LEN: Final = ipi.REPLY_LENGTH
_REPLY_NAT_OFFSET: Final = 20
_REPLY_FORCES_OFFSET: Final = 24
_REPLY_EXTRA_LEN_OFFSET: Final = 120

#: Bytes: the largest byte string a peer may announce, as in the codecs.
_MAX_BYTES: Final = 16 << 20
#: Atoms: the largest count a peer may announce, as in the codecs.
_MAX_NAT: Final = 1 << 20
#: Bytes per read: memory grows with what arrives, not with what is announced.
_READ_SIZE: Final = 1 << 20


class _SocketClosed(ConnectionError):
    """The other side closed the connection."""


@dataclass
class _ClientState:
    """One driver connection, as the original hub kept it; plain data."""

    sock: socket.socket | None
    address: str
    molecule_id: int
    last_amp: NDArray[np.float64] | None = None
    pending_send: bool = False
    initialized: bool = False
    alive: bool = True
    extras: dict[str, Any] = field(default_factory=dict)


def _pad12(msg: bytes) -> bytes:
    """Return a 12-byte header; `ValueError` if `msg` is longer."""
    return ipi.encode_header(msg)


def _send_msg(sock: socket.socket, msg: bytes) -> None:
    """Send a header."""
    sock.sendall(_pad12(msg))


def _recv_msg(sock: socket.socket) -> bytes:
    """Receive a header, without its trailing blanks."""
    return _recvall(sock, HEADER_LEN).rstrip(b" ")


def _recvall(sock: socket.socket, n: int) -> bytes:
    """Receive exactly `n` bytes; `_SocketClosed` if the connection ends first."""
    if n < 0:
        raise ValueError(f"cannot receive {n} bytes")
    received = bytearray()
    while len(received) < n:
        try:
            piece = sock.recv(min(n - len(received), _READ_SIZE))
        except ConnectionError as error:
            raise _SocketClosed(f"connection broke after {len(received)} of {n} bytes: {error}") from error
        if not piece:
            raise _SocketClosed(f"connection closed after {len(received)} of {n} bytes")
        received += piece
    return bytes(received)


def _send_array(sock: socket.socket, arr: ArrayLike, dtype: DTypeLike) -> None:
    """Send an array row by row as little-endian `dtype`."""
    sock.sendall(np.asarray(arr, dtype=np.dtype(dtype).newbyteorder("<")).tobytes())


def _recv_array(sock: socket.socket, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Receive an array; the result is writable, in native byte order."""
    sizes = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if any(size < 0 for size in sizes):
        raise ValueError(f"cannot receive an array of shape {sizes}")
    wire = np.dtype(dtype).newbyteorder("<")
    block = _recvall(sock, math.prod(sizes) * wire.itemsize)
    return np.frombuffer(block, dtype=wire).reshape(sizes).astype(np.dtype(dtype))


def _send_int(sock: socket.socket, x: int) -> None:
    """Send a signed 32-bit integer; `ValueError` if it is none."""
    sock.sendall(_pack_int(x))


def _recv_int(sock: socket.socket) -> int:
    """Receive a signed 32-bit integer."""
    value: int = _INT32.unpack(_recvall(sock, 4))[0]
    return value


def _send_bytes(sock: socket.socket, b: Buffer) -> None:
    """Send a byte string: its length and itself, in one piece."""
    text = bytes(b)
    sock.sendall(_pack_int(len(text)) + text)


def _recv_bytes(sock: socket.socket) -> bytes:
    """Receive a byte string; `wireframe.FrameError` for a length below 0 or above 16 MiB."""
    return _recvall(sock, _recv_count(sock, "byte string length", _MAX_BYTES))


def _recv_posdata(
    sock: socket.socket,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Receive what follows a ``POSDATA`` header.

    Returns the cell and the inverse cell, (3, 3) with lattice vectors as rows,
    and the positions, (nat, 3). An atom count below 0 or above 2^20 is a
    `wireframe.FrameError`.
    """
    cell = _recv_array(sock, (3, 3), DT_FLOAT).T.copy()
    inverse_cell = _recv_array(sock, (3, 3), DT_FLOAT).T.copy()
    positions = _recv_array(sock, (_recv_count(sock, "atom count", _MAX_NAT), 3), DT_FLOAT)
    return cell, inverse_cell, positions


def _send_force_ready(
    sock: socket.socket,
    energy_ha: float,
    forces_Nx3_ha_per_bohr: ArrayLike,  # noqa: N803 - the original's name
    virial_3x3_ha: ArrayLike,
    more: Buffer = b"",
) -> None:
    """Send a ``FORCEREADY`` message in one piece; the virial is transposed for the wire."""
    forces = np.asarray(forces_Nx3_ha_per_bohr, dtype="<f8")
    virial = np.asarray(virial_3x3_ha, dtype="<f8")
    if forces.size % 3 or virial.shape != (3, 3):
        raise ValueError(f"forces of shape {forces.shape} and virial {virial.shape}, want (N, 3) and (3, 3)")
    sock.sendall(ipi.encode_forceready(forces.tobytes(), float(energy_ha), virial.T.tobytes(), more))


def _pack_init(sock: socket.socket, init_dict: dict[str, Any]) -> None:
    """Send an ``INIT`` message; its id is ``molecule_id``, or 0.

    What JSON cannot express raises `TypeError` before a byte is sent.
    """
    text = json.dumps(init_dict).encode()
    sock.sendall(ipi.encode_init(int(init_dict.get("molecule_id", 0)), text))


def _connect_tcp_with_retry(address: str, port: int, timeout: float, *, label: str = "hub") -> socket.socket:
    """Connect by TCP, trying for `timeout` seconds; the socket is blocking. `TimeoutError` if in vain."""
    stop = StopSignal()
    try:
        sock = connect(
            TcpTarget(address, int(port)),
            deadline=time.monotonic() + timeout,
            stop=stop,
            backoff=Backoff(),
            label=label,
        )
    finally:
        stop.close()
    if sock is None:
        raise ConnectionAbortedError(f"stopped connecting to {label} {address}:{port}")
    sock.setblocking(True)
    return sock


def _pack_int(value: int) -> bytes:
    try:
        return _INT32.pack(value)
    except struct.error as error:
        raise ValueError(f"{value!r} is not a signed 32-bit integer") from error


def _recv_count(sock: socket.socket, what: str, limit: int) -> int:
    count = _recv_int(sock)
    if count < 0:
        raise BadPayload(f"peer announced {what} {count}", _INT32.pack(count))
    if count > limit:
        raise FrameTooLarge(what, count, limit, _INT32.pack(count))
    return count
