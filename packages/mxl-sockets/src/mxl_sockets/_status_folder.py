"""Where a hub's status socket is, given where the hub listens.

The rule, for a hub and for whoever looks for it::

    FOLDER/NAME.status

    FOLDER  $XDG_RUNTIME_DIR/mxl_sockets; if that cannot be used,
            mxl_sockets-UID in the folder for temporary files; in /tmp if
            that one's path is too long for a socket's
    NAME    HOST:PORT with the numeric address the hub is bound to, or the
            path of its UNIX socket; if that holds a slash or is longer than
            24 characters, 16 hexadecimal digits of its BLAKE2b digest

The folder is the user's own and closed to others (0700), and nothing is
believed about a folder that is not: others can write to the folder for
temporary files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mxl_sockets._connect import TcpTarget, UnixTarget
from mxl_sockets._listen import unix_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mxl_sockets._connect import Target
    from mxl_sockets._listen import Address

#: Longest address that is a file's name as it is: socket paths are short on some systems.
LONGEST_NAME: Final = 24

_SUFFIX: Final = ".status"


def check_system() -> None:
    """Raise where there are no UNIX sockets.

    Raises
    ------
    OSError
        This is Windows.
    """
    if sys.platform == "win32" or not hasattr(socket, "AF_UNIX"):
        raise OSError(
            f"a status socket is a UNIX socket, which {sys.platform} does not offer; use hub.status() there"
        )


def folders() -> list[Path]:
    """Return where status sockets may be, the best place first."""
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime):  # noqa: PTH117 - the variable counts only if it is an absolute path
        found.append(Path(runtime, "mxl_sockets"))
    if hasattr(os, "getuid"):
        name = f"mxl_sockets-{os.getuid()}"
        temporary = Path(tempfile.gettempdir(), name)
        # That of a job may be so deep that no socket fits into it.
        fits = _fits(temporary / ("x" * LONGEST_NAME + _SUFFIX))
        found.append(temporary if fits else Path("/tmp", name))  # noqa: S108 - ours alone, or not used
    return found


def _fits(path: Path) -> bool:
    """Whether a socket can have this path."""
    try:
        unix_path(str(path))
    except ValueError:
        return False
    return True


def check_folder(folder: Path) -> None:
    """Raise unless a folder is ours alone.

    Raises
    ------
    PermissionError
        It belongs to somebody else, is open to others, or is no folder.
    OSError
        It cannot be looked at.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{folder} is not a folder that only its owner, this user, may enter (0700)")


def make_folder(name: str = "") -> Path:
    """Make the folder for new status sockets and return it: the first that can be used.

    Parameters
    ----------
    name : str
        Of the socket, which has to fit.

    Raises
    ------
    OSError
        None can be made, or is ours alone.
    """
    *others, last = folders()
    for folder in others:
        # In a batch job the variable may name a folder that is not there, or is too deep.
        with contextlib.suppress(OSError):
            if _fits(folder / name):
                return _made(folder)
    return _made(last)


def _made(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    check_folder(folder)
    return folder


def file_name(address: Address) -> str:
    """Return the name of the status socket of a hub at an address.

    Examples
    --------
    >>> file_name(("127.0.0.1", 31415)), file_name("/tmp/socketmxl_lab")
    ('127.0.0.1:31415.status', 'de7444f99b097c23.status')
    """
    text = address if isinstance(address, str) else str(TcpTarget(*address))
    if "/" in text or len(os.fsencode(text)) > LONGEST_NAME:
        text = hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()
    return text + _SUFFIX


def own_path(wish: bool | str, address: Address) -> str:
    """Return the path for a hub's status socket, making the folder if it is ours to make.

    Parameters
    ----------
    wish : bool or str
        True for the rule above, a name in the folder, or an absolute path.
    address : address
        Where the hub listens.

    Raises
    ------
    OSError
        The system has no UNIX sockets, or no folder that is ours alone.
    ValueError
        The name is empty or has a slash.
    """
    check_system()
    if isinstance(wish, str):
        if wish.startswith("/"):
            return wish
        check_name(wish)
        name = wish + _SUFFIX
    else:
        name = file_name(address)
    return str(make_folder(name) / name)


def check_name(name: str) -> None:
    """Raise `ValueError` unless a text can name a status socket."""
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is neither an absolute path nor a name for a status socket")


def find(target: Target | None, named: str | None = None) -> Path:
    """Return the path of the status socket of a hub.

    Parameters
    ----------
    target : TcpTarget or UnixTarget or None
        How drivers reach the hub.
    named : str, optional
        The path or name that the hub was given for it; `target` is not used then.

    Raises
    ------
    FileNotFoundError
        There is none.
    OSError
        The system has no UNIX sockets, a host's name is unknown, or the folder
        is not ours alone.
    ValueError
        The name cannot be one.
    """
    check_system()
    if named is not None and named.startswith("/"):
        return Path(named)
    if named is not None:
        check_name(named)
        names = [named + _SUFFIX]
    else:
        names = [file_name(address) for address in _addresses(target)]
    for folder in folders():
        for name in names:
            path = folder / name
            if path.exists():
                check_folder(folder)
                return path
    places = " or ".join(map(str, folders()))
    raise FileNotFoundError(
        f"no status socket of {named or target} in {places}: was the hub made with status_socket=True, "
        "on this machine, by this user?"
    )


def _addresses(target: Target | None) -> Iterator[Address]:
    """Yield what a hub that is reached like this may be bound to."""
    if isinstance(target, UnixTarget):
        yield target.path
    elif target is not None:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        for host in dict.fromkeys(str(entry[4][0]) for entry in found):
            yield host, target.port
        # A hub on all interfaces is reached at any of them.
        yield "0.0.0.0", target.port  # noqa: S104 - a name to look for, nothing is bound
        yield "::", target.port
