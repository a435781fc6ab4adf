"""Confirmed experiment messages between acquisition PCs, over UDP or TCP."""

from __future__ import annotations

from echo_rig._example import main
from echo_rig._version import __version__
from echo_rig.clock import ClockOffset, clock_offset
from echo_rig.communicator import Communicator
from echo_rig.errors import ForeignProcessError, OldPeer, RemoteError, RigsFailed, RigsSilent, RoundError
from echo_rig.events import Event, EventStream
from echo_rig.futures import is_success
from echo_rig.heartbeat import Heartbeat, RigChange, RigState
from echo_rig.protocol import EchoProtocol
from echo_rig.service import AlyxClient, Service
from echo_rig.services import Services
from echo_rig.uri import external_ip, hostname2ip, is_valid_ip, validate_uri
from wireframe.echo import LISTEN_PORT, PROTOCOL_VERSION, ExpMessage, ExpStatus

__all__ = [
    "LISTEN_PORT",
    "PROTOCOL_VERSION",
    "AlyxClient",
    "ClockOffset",
    "Communicator",
    "EchoProtocol",
    "Event",
    "EventStream",
    "ExpMessage",
    "ExpStatus",
    "ForeignProcessError",
    "Heartbeat",
    "OldPeer",
    "RemoteError",
    "RigChange",
    "RigState",
    "RigsFailed",
    "RigsSilent",
    "RoundError",
    "Service",
    "Services",
    "__version__",
    "clock_offset",
    "external_ip",
    "hostname2ip",
    "is_success",
    "is_valid_ip",
    "main",
    "validate_uri",
]
