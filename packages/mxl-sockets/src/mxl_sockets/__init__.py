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

from mxl_sockets._driver_protocol import End
from mxl_sockets._model import Model, Parameters
from mxl_sockets._roster import WaitingDriver
from mxl_sockets._step_watch import StepRecord
from mxl_sockets._version import __version__
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
