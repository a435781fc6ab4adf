"""Groups of processes over ZeroMQ: ports that tell the truth, and a leader you can trust."""

from __future__ import annotations

from group_ports._actions import (
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    VoteRequested,
    VoteResult,
)
from group_ports._duplex import GroupAnsPort, GroupQryPort
from group_ports._events import GroupEvent, Message, MessageFailed, MessageKind
from group_ports._parent import Actor, Owner, Parent, StandaloneParent
from group_ports._port_settings import PortSettings
from group_ports._publish import GroupPubPort
from group_ports._reception import Arrival
from group_ports._settings import Timing
from group_ports._statistics import PortStatistics
from group_ports._status import GroupStatistics, GroupStatus
from group_ports._subscribe import GroupSubPort
from group_ports._version import __version__
from group_ports.discovery import Discovery, StaticDiscovery
from group_ports.errors import GroupError, ObjectRefused, OperationError, PortError, PortTimeout
from group_ports.group import Group
from group_ports.leader_source import Leadership, LeaderSource
from group_ports.port_info import PortInfo, PortScope
from group_ports.security import AllowList, CurveKeys

__all__ = [
    "Actor",
    "AllowList",
    "Arrival",
    "CurveKeys",
    "Discovery",
    "Group",
    "GroupAnsPort",
    "GroupError",
    "GroupEvent",
    "GroupPubPort",
    "GroupQryPort",
    "GroupStatistics",
    "GroupStatus",
    "GroupSubPort",
    "LeaderElected",
    "LeaderExited",
    "LeaderSource",
    "Leadership",
    "MemberJoined",
    "MemberLeft",
    "Message",
    "MessageFailed",
    "MessageKind",
    "ObjectRefused",
    "OperationError",
    "Owner",
    "Parent",
    "PortError",
    "PortInfo",
    "PortScope",
    "PortSettings",
    "PortStatistics",
    "PortTimeout",
    "StandaloneParent",
    "StaticDiscovery",
    "Timing",
    "VoteRequested",
    "VoteResult",
    "__version__",
]
