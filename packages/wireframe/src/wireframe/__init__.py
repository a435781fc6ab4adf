"""Frame codecs of lab-network protocols: bytes in, messages out, no I/O."""

from __future__ import annotations

from wireframe._decoder import NEED_DATA
from wireframe._version import __version__
from wireframe.errors import BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame
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
