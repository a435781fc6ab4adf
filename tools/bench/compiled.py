"""``epoll_hub.c``: built with the compiler of the system, and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bare_loop import REPLY_SIZE, init_message, prepared_request

if TYPE_CHECKING:
    import socket

    import numpy as np
    from numpy.typing import NDArray

SOURCE: Final = Path(__file__).with_name("epoll_hub.c")
COMPILERS: Final = ("cc", "gcc", "clang")
COMPILE_TIMEOUT_S: Final = 60

#: Most bytes that a driver is sent outside of steps, and that are read at once.
ROOM: Final = 65536


def compiler() -> str | None:
    """Return the compiler of this system, or None."""
    return next(filter(None, map(shutil.which, COMPILERS)), None)


def build(command: str, folder: Path) -> str:
    """Build the library in a folder; return its path.

    Raises
    ------
    subprocess.CalledProcessError
        The compiler refuses.
    """
    library = folder / "epoll_hub.so"
    subprocess.run(
        [command, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)],
        check=True,
        timeout=COMPILE_TIMEOUT_S,
    )
    return str(library)


def _descriptors(connections: list[socket.socket]) -> ctypes.Array[ctypes.c_int]:
    return (ctypes.c_int * len(connections))(*[connection.fileno() for connection in connections])


class CompiledHub:
    """Steps in C over accepted connections.

    Parameters
    ----------
    library : str
    connections : list of socket
        Sent their ``INIT`` here; the caller's to close.
    extra : int
        Bytes of extra that every reply carries.
    """

    def __init__(self, library: str, connections: list[socket.socket], extra: int) -> None:
        self._library = ctypes.CDLL(library, use_errno=True)
        self._connections = connections
        self._descriptors = _descriptors(connections)
        self._size = REPLY_SIZE + extra
        for molecule, connection in enumerate(connections):
            connection.sendall(init_message(molecule))
            connection.setblocking(False)

    def steps(self, fields: NDArray[np.float64], count: int) -> None:
        """Make steps; the fields change as those of the other hubs do."""
        amplitudes = fields.copy()
        result = self._library.run_steps(
            self._descriptors,
            ctypes.c_int(len(self._descriptors)),
            prepared_request(),
            ctypes.c_int(self._size),
            ctypes.c_void_p(fields.ctypes.data),
            ctypes.c_double(1e-6),
            ctypes.c_void_p(amplitudes.ctypes.data),
            ctypes.c_long(count),
        )
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class CompiledLoad:
    """Drivers in C.

    Parameters
    ----------
    library : str
    connections : list of socket
        Non-blocking; the caller's to close.
    reply : bytes
        Answer to every request.
    """

    def __init__(self, library: str, connections: list[socket.socket], reply: bytes) -> None:
        self._library = ctypes.CDLL(library, use_errno=True)
        self._descriptors = _descriptors(connections)
        self._reply = reply
        self._data = ctypes.create_string_buffer(ROOM)
        self._got = ctypes.c_long()
        self._epoll = self._library.watch(self._descriptors, ctypes.c_int(len(connections)))
        if self._epoll < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def serve(self) -> tuple[int, bytes]:
        """Answer requests until something else comes; return whose it is and what, nothing at the end."""
        index = self._library.answer_requests(
            ctypes.c_int(self._epoll),
            self._descriptors,
            self._reply,
            ctypes.c_int(len(self._reply)),
            self._data,
            ctypes.c_int(ROOM),
            ctypes.byref(self._got),
        )
        if index < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return index, self._data.raw[: max(0, self._got.value)]

    def close(self) -> None:
        """Close the epoll object."""
        os.close(self._epoll)
