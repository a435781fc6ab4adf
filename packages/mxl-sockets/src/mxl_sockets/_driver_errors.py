"""What can go wrong on the side of the driver, beside what Python already has a name for.

The whole tree::

    OSError
    ├── ConnectionError
    │   ├── HubProtocolError    the hub sent something the protocol does not allow
    │   └── _SocketClosed       the other side closed (`mxl_sockets.compat`)
    └── TimeoutError            raised as it is; the message says who and what was waited for
    RuntimeError
    └── ModelError              the model raised, or returned what cannot be sent

What the codecs say about illegal bytes is `wireframe.FrameError`; it is the
``__cause__`` of a `HubProtocolError`.
"""

from __future__ import annotations

__all__ = ["HubProtocolError", "ModelError"]


class HubProtocolError(ConnectionError):
    """The hub broke the protocol; the connection to it has been closed.

    Parameters
    ----------
    hub : str
        Address of the hub, for a person.
    reason : str
        What it sent.
    excerpt : bytes, optional
        The offending bytes, at most 32.

    Attributes
    ----------
    hub : str
        Address of the hub.
    excerpt : bytes
        The offending bytes.
    """

    def __init__(self, hub: str, reason: str, excerpt: bytes = b"") -> None:
        super().__init__(f"hub {hub} broke the protocol: {reason}")
        self.hub = hub
        self.excerpt = excerpt


class ModelError(RuntimeError):
    """The molecular model failed; its own exception is the ``__cause__``, if it raised one."""
