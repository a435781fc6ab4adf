"""Frame codecs of lab-network protocols: bytes in, messages out, no I/O.

`Socket` is imported when it is first asked for: the codecs are used without
sockets, threads and a log, and so are imported without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wireframe._decoder import NEED_DATA
from wireframe._version import __version__
from wireframe.errors import BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame

if TYPE_CHECKING:
    from wireframe.json_socket import Socket

__all__ = [
    "NEED_DATA",
    "BadHeader",
    "BadPayload",
    "FrameError",
    "FrameTooLarge",
    "Socket",
    "TruncatedFrame",
    "__version__",
]

if not TYPE_CHECKING:  # pragma: no branch - who checks types would take any name for one of ours

    def __getattr__(name: str) -> object:
        if name not in ("Socket", "json_socket"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import wireframe.json_socket as module

        found = module.Socket if name == "Socket" else module
        return globals().setdefault(name, found)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
