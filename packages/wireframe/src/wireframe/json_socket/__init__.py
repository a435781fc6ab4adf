"""JSON messages over TCP: the endpoint behind `wireframe.Socket`.

This package is the only part of wireframe that does I/O. A message is one
frame of `wireframe.lenjson`; a conversation is::

    client                          server
    connect            ------->     waits in receive()
    0000000021{...}    ------->     receive() returns the value
                       <-------     send(reply), any number of times
    close              ------->

The whole tree of errors::

    ValueError
    └── FrameError                  the peer sent something else than frames,
                                    see wireframe.errors
    OSError
    ├── TimeoutError                a deadline passed; the text names the peer
    └── ConnectionError
        └── BrokenConnection        the connection ended too early;
            │                       also a RuntimeError
            └── SocketClosed        this side closed it
"""

from __future__ import annotations

from wireframe.json_socket._drops import DroppedPeer
from wireframe.json_socket._errors import BrokenConnection, SocketClosed
from wireframe.json_socket._socket import DEFAULT_PORT, Socket

__all__ = ["DEFAULT_PORT", "BrokenConnection", "DroppedPeer", "Socket", "SocketClosed"]
