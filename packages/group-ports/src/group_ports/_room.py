"""Whether files and threads are left: libzmq ends the process where it misses one.

The first socket of a context starts two threads with files of their own (thread.cpp,
epoll.cpp), and a bind looks at the interfaces through a socket (ip_resolver.cpp);
if that fails, it aborts. So it is asked only while there is room. That others take
the last of it in the same moment cannot be ruled out, but is rare.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import Final

from group_ports.errors import PortError

#: Interfaces and listener.
FOR_BIND: Final = 2
#: Files that a context and its first socket take: 6; some for the sockets behind it.
_FILES_OF_CONTEXT: Final = 10
#: Its own two, and one for the port.
_THREADS_OF_CONTEXT: Final = 3


def require_files(count: int) -> None:
    """Check that so many files can be opened.

    Raises
    ------
    PortError
        There are fewer.
    """
    held: list[int] = []
    try:
        while len(held) < count:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        raise PortError(f"no files left: {error}", error.errno or 0) from error
    finally:
        for file in held:
            os.close(file)


def require_room_for_context() -> None:
    """Check that a context can start.

    Raises
    ------
    PortError
        There are too few files or threads.
    """
    require_files(_FILES_OF_CONTEXT)
    done = threading.Event()
    started: list[threading.Thread] = []
    try:
        while len(started) < _THREADS_OF_CONTEXT:
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except RuntimeError as error:
        raise PortError(f"no threads left: {error}", errno.EAGAIN) from error
    finally:
        done.set()
        for thread in started:
            thread.join()
