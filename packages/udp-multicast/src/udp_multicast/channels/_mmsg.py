"""The headers of ``recvmmsg`` and ``sendmmsg`` of Linux, which move several datagrams in one call."""

from __future__ import annotations

import ctypes
import errno
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Descriptor, address of the headers, how many of them, flags; for
    #: ``recvmmsg`` also a time limit. Returns how many datagrams it moved, or -1.
    Call: TypeAlias = Callable[..., int]


class Piece(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Message(ctypes.Structure):
    """``struct msghdr``."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Header(ctypes.Structure):
    """``struct mmsghdr``; the system writes `size`."""

    _fields_ = (("message", Message), ("size", ctypes.c_uint32))


def find(name: str) -> Call | None:
    """Return ``recvmmsg`` or ``sendmmsg``, or None if the system has it not or does not allow it."""
    try:
        call = ctypes.CDLL(None, use_errno=True)[name]
    except (OSError, AttributeError):
        return None
    limit = (ctypes.c_void_p,) if name == "recvmmsg" else ()
    call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, *limit)
    # Without a descriptor it has to complain about just that.
    call(-1, 0, 0, 0, *(None,) * len(limit))
    return call if ctypes.get_errno() == errno.EBADF else None


def address_of(memory: bytearray | memoryview) -> int:
    """Return where writable memory is; the caller keeps it."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
