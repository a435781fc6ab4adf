"""Couples a field solver to molecule drivers over TCP and UNIX sockets."""

from __future__ import annotations

from mxl_sockets._roster import WaitingDriver
from mxl_sockets._version import __version__
from mxl_sockets.errors import (
    ForeignProcessError,
    FrozenStepError,
    HubProtocolError,
    HubStopped,
    ModelError,
    StepTimeout,
    UnexpectedMessage,
)
from mxl_sockets.hub import SocketHub
from mxl_sockets.status import HubStatus, ReplyTimes

__all__ = [
    "ForeignProcessError",
    "FrozenStepError",
    "HubProtocolError",
    "HubStatus",
    "HubStopped",
    "ModelError",
    "ReplyTimes",
    "SocketHub",
    "StepTimeout",
    "UnexpectedMessage",
    "WaitingDriver",
    "__version__",
]
