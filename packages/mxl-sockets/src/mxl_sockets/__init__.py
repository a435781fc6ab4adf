"""Couples a field solver to molecule drivers over TCP and UNIX sockets.

The solver's side is `SocketHub`, the molecule's side is `Driver`::

    solver ── fields (N, 3) ──▶ SocketHub ──▶ one connection each ──▶ Driver ── field ──▶ model
           ◀── amplitudes ───             ◀──                    ◀──         ◀─ amplitude ─

Many molecules on many nodes share few connections: an `AggregatedSocketHub`
speaks to one `Bridge` per node, and the drivers connect to that.

Names that start with an underscore are those of the module that this package
succeeds, for programs that used them; see `mxl_sockets.compat`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mxl_sockets._version import __version__

if TYPE_CHECKING:
    from mxl_sockets._driver_protocol import End
    from mxl_sockets._model import Model, Parameters
    from mxl_sockets._roster import WaitingDriver
    from mxl_sockets._step_watch import StepRecord
    from mxl_sockets.aggregated import AggregatedSocketHub
    from mxl_sockets.bridge import Bridge, BridgeSummary
    from mxl_sockets.compat import (  # noqa: F401 - for programs that used them
        _EYE3_BYTES,
        _FIELDDATA_HDR,
        _FLOAT64,
        _GETSOURCE_HDR,
        _INT32,
        _NAT1_BYTES,
        _REPLY_EXTRA_LEN_OFFSET,
        _REPLY_FIXED_LEN,
        _REPLY_FORCES_OFFSET,
        _REPLY_NAT_OFFSET,
        _SEND_FIELD_OFFSET,
        _SEND_TEMPLATE,
        _SEND_TOTAL_LEN,
        _STRUCT_3D,
        _STRUCT_I,
        BYE,
        DT_FLOAT,
        DT_INT,
        FIELDDATA,
        FORCEREADY,
        GETFORCE,
        GETSOURCE,
        HAVEDATA,
        HEADER_LEN,
        INIT,
        NEEDINIT,
        POSDATA,
        READY,
        SOURCEREADY,
        STATUS,
        STOP,
        _ClientState,
        _connect_tcp_with_retry,
        _mpi_comm,
        _pack_init,
        _pad12,
        _recv_array,
        _recv_bytes,
        _recv_int,
        _recv_msg,
        _recv_posdata,
        _recvall,
        _send_array,
        _send_bytes,
        _send_force_ready,
        _send_int,
        _send_msg,
        _SocketClosed,
    )
    from mxl_sockets.driver import Driver, DriverSummary
    from mxl_sockets.errors import (
        ForeignProcessError,
        FrozenStepError,
        HubProtocolError,
        HubStopped,
        ModelError,
        StepTimeout,
        UnexpectedMessage,
    )
    from mxl_sockets.forces import ForceField, ForceResult
    from mxl_sockets.hub import SocketHub
    from mxl_sockets.manifest import BridgeManifest, RemoteBridgeSpec, read_manifest, write_manifest
    from mxl_sockets.mpi import am_master, mpi_bcast_from_master
    from mxl_sockets.ports import get_available_host_port
    from mxl_sockets.status import HubStatus, Loss, ReplyTimes
    from mxl_sockets.two_level import TwoLevelSystem

__all__ = [
    "BYE",
    "DT_FLOAT",
    "DT_INT",
    "FIELDDATA",
    "FORCEREADY",
    "GETFORCE",
    "GETSOURCE",
    "HAVEDATA",
    "HEADER_LEN",
    "INIT",
    "NEEDINIT",
    "POSDATA",
    "READY",
    "SOURCEREADY",
    "STATUS",
    "STOP",
    "AggregatedSocketHub",
    "Bridge",
    "BridgeManifest",
    "BridgeSummary",
    "Driver",
    "DriverSummary",
    "End",
    "ForceField",
    "ForceResult",
    "ForeignProcessError",
    "FrozenStepError",
    "HubProtocolError",
    "HubStatus",
    "HubStopped",
    "Loss",
    "Model",
    "ModelError",
    "Parameters",
    "RemoteBridgeSpec",
    "ReplyTimes",
    "SocketHub",
    "StepRecord",
    "StepTimeout",
    "TwoLevelSystem",
    "UnexpectedMessage",
    "WaitingDriver",
    "__version__",
    "am_master",
    "get_available_host_port",
    "mpi_bcast_from_master",
    "read_manifest",
    "write_manifest",
]

#: Names that `mxl_sockets.compat` is the home of.
_OF_COMPAT = frozenset({
    "BYE", "DT_FLOAT", "DT_INT", "FIELDDATA", "FORCEREADY", "GETFORCE", "GETSOURCE", "HAVEDATA",
    "HEADER_LEN", "INIT", "NEEDINIT", "POSDATA", "READY", "SOURCEREADY", "STATUS", "STOP", "_ClientState",
    "_EYE3_BYTES", "_FIELDDATA_HDR", "_FLOAT64", "_GETSOURCE_HDR", "_INT32", "_NAT1_BYTES",
    "_REPLY_EXTRA_LEN_OFFSET", "_REPLY_FIXED_LEN", "_REPLY_FORCES_OFFSET", "_REPLY_NAT_OFFSET",
    "_SEND_FIELD_OFFSET", "_SEND_TEMPLATE", "_SEND_TOTAL_LEN", "_STRUCT_3D", "_STRUCT_I", "_SocketClosed",
    "_connect_tcp_with_retry", "_mpi_comm", "_pack_init", "_pad12", "_recv_array", "_recv_bytes",
    "_recv_int", "_recv_msg", "_recv_posdata", "_recvall", "_send_array", "_send_bytes",
    "_send_force_ready", "_send_int", "_send_msg",
})  # fmt: skip

if not TYPE_CHECKING:  # pragma: no branch - who checks types would take any name for one of ours

    def __getattr__(name: str) -> object:
        """Import what a name stands for when it is first asked for: nobody uses all of it."""
        match name:
            case "End":
                module = import_module("mxl_sockets._driver_protocol")
            case "Model" | "Parameters":
                module = import_module("mxl_sockets._model")
            case "WaitingDriver":
                module = import_module("mxl_sockets._roster")
            case "StepRecord":
                module = import_module("mxl_sockets._step_watch")
            case "aggregated" | "AggregatedSocketHub":
                module = import_module("mxl_sockets.aggregated")
            case "bridge" | "Bridge" | "BridgeSummary":
                module = import_module("mxl_sockets.bridge")
            case "driver" | "Driver" | "DriverSummary":
                module = import_module("mxl_sockets.driver")
            case (
                "errors"
                | "ForeignProcessError"
                | "FrozenStepError"
                | "HubProtocolError"
                | "HubStopped"
                | "ModelError"
                | "StepTimeout"
                | "UnexpectedMessage"
            ):
                module = import_module("mxl_sockets.errors")
            case "forces" | "ForceField" | "ForceResult":
                module = import_module("mxl_sockets.forces")
            case "hub" | "SocketHub":
                module = import_module("mxl_sockets.hub")
            case "manifest" | "BridgeManifest" | "RemoteBridgeSpec" | "read_manifest" | "write_manifest":
                module = import_module("mxl_sockets.manifest")
            case "mpi" | "am_master" | "mpi_bcast_from_master":
                module = import_module("mxl_sockets.mpi")
            case "ports" | "get_available_host_port":
                module = import_module("mxl_sockets.ports")
            case "status" | "HubStatus" | "Loss" | "ReplyTimes":
                module = import_module("mxl_sockets.status")
            case "two_level" | "TwoLevelSystem":
                module = import_module("mxl_sockets.two_level")
            case _ if name == "compat" or name in _OF_COMPAT:
                module = import_module("mxl_sockets.compat")
            case _:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
        return globals().setdefault(name, found)

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
