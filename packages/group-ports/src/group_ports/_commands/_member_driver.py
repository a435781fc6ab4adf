"""Commands to calls, events to lines."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from group_ports._actions import (
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    VoteRequested,
    VoteResult,
)
from group_ports._commands._member_config import VOTES
from group_ports._events import Message, MessageFailed, MessageKind
from group_ports._parent import StandaloneParent
from group_ports._port_settings import PortSettings
from group_ports.errors import GroupError
from group_ports.group import Group
from wireframe.group import Voting

if TYPE_CHECKING:
    from collections.abc import Callable

    from group_ports._actions import Event
    from group_ports._commands._member_config import MemberConfig
    from group_ports._events import GroupEvent

_OF_KIND = {
    MessageKind.GROUP: "msg",
    MessageKind.TO_LEADER: "to_leader",
    MessageKind.FROM_LEADER: "from_leader",
}

_logger = logging.getLogger(__name__)


class MemberDriver:
    """A member and what it is told to do.

    Parameters
    ----------
    config : MemberConfig
    write : callable
        Writes an event: its name, and its fields by keyword.

    Raises
    ------
    PortError, ValueError
        The configuration cannot be used.
    """

    def __init__(self, config: MemberConfig, write: Callable[..., None]) -> None:
        self.config = config
        self._write = write
        self._vote = config.vote
        self._clock_offset = 0.0
        self._stopping = threading.Event()
        self._leaving = threading.Lock()
        keys = config.curve_keys()
        self._parent = StandaloneParent(config.host, keys)
        group_type, instance = config.group
        try:
            self.group = Group(
                self._parent,
                None,
                group_type,
                instance,
                config.name,
                config.spec,
                config.min_size,
                settings=PortSettings(keys=keys, clock=self._wall_time),
            )
        except (KeyError, TypeError) as error:
            self._parent.close()
            raise ValueError(f"not the configuration of a member: {error!r}") from error
        except BaseException:
            self._parent.close()
            raise

    def leave(self) -> None:
        """Leave the group and end what was begun."""
        self._stopping.set()
        with self._leaving:
            try:
                self.group.leave()
                self._parent.close()
            except GroupError:
                _logger.exception("the member could not leave")

    def vote(self, event: Event) -> None:
        """Answer a poll as told."""
        if isinstance(event, VoteRequested) and self._vote != "abstain":
            self.group.sendVote(event.rfv_id, self._vote == "yes")

    def line_of(self, event: GroupEvent) -> tuple[str, dict[str, Any]]:
        """Return the name and the fields of an event."""
        match event:
            case Message():
                fields: dict[str, Any] = {"data": event.data.hex()}
                if event.kind is MessageKind.TO_LEADER:
                    fields["from"] = (event.sender or b"").hex()
                return _OF_KIND[event.kind], fields
            case MemberJoined():
                return "joined", {"id": event.member_id.hex()}
            case MemberLeft():
                return "left", {"id": event.member_id.hex()}
            case LeaderElected():
                return "leader", {"id": event.leader_id.hex()}
            case LeaderExited():
                return "leader_exit", {"id": event.leader_id.hex()}
            case VoteRequested():
                topic = event.topic.hex()
                return "vote_request", {"rfv": event.rfv_id, "topic": topic, "when": event.release}
            case VoteResult():
                return "vote_result", {"rfv": event.rfv_id, "vote": event.vote.name.lower()}
            case MessageFailed():
                return "handler_error", {"error": event.error}

    def obey(self, line: bytes) -> bool:
        """Carry a command out; False if it was to stop. What cannot be done is logged."""
        if not line.strip():
            return True
        name: object = None
        try:
            command = json.loads(line)
            name = command.get("command", command.get("op"))
            if name == "stop":
                return False
            self._do(name, command)
        except (GroupError, ValueError, TypeError, KeyError, AttributeError) as error:
            _logger.error("command %.200r: %s: %s", line, type(error).__name__, error)  # noqa: TRY400 - no fault
            if name in _ANSWERED:
                self._result(name, _ANSWERED[name])
        return True

    def _do(self, name: object, command: dict[str, Any]) -> None:
        group = self.group
        match name:
            case "update":
                group.update(command["host"], command["port"])
            case "send":
                self._result(name, group.send(_data(command)))
            case "to_leader":
                self._result(name, group.sendToLeader(_data(command)))
            case "to_member":
                self._result(name, group.sendToMember(_data(command), bytes.fromhex(command["id"])))
            case "request_vote":
                kind = _kind(command, Voting.MAJORITY)
                topic = bytes.fromhex(command["topic"])
                self._result(name, group.requestVote(topic, kind, command.get("timeout_ms")))
            case "request_action":
                kind = _kind(command, Voting.CONSENSUS)
                topic = bytes.fromhex(command["topic"])
                when = command["when"]
                self._result(name, group.requestActionVote(topic, when, kind, command.get("timeout_ms")))
            case "cast":
                self._result(name, group.sendVote(command["rfv"], command["vote"]))
            case "set_vote":
                self._set_vote(command["vote"])
            case "status":
                self._result(name, self._status())
            case "clock":
                self._clock_offset += float(command["by"])
            case "flood":
                flood = (_data(command), float(command["seconds"]), float(command.get("gap", 0.0)))
                threading.Thread(target=self._flood, args=flood, name="flood", daemon=True).start()
            case "leave":
                group.leave()
            case _:
                raise ValueError(f"there is no command {name!r}")

    def _set_vote(self, vote: object) -> None:
        if vote not in VOTES:
            raise ValueError(f"vote is one of {', '.join(VOTES)}, not {vote!r}")
        self._vote = str(vote)

    def _status(self) -> dict[str, Any]:
        status = self.group.status
        return {
            "leader": None if status.leader_id is None else status.leader_id.hex(),
            "is_leader": status.is_leader,
            "size": status.size,
            "id": self.group.getGroupId().hex(),
        }

    def _flood(self, data: bytes, seconds: float, gap: float) -> None:
        sent = 0
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end and not self._stopping.is_set():
                sent += self.group.send(data)
                if gap > 0:
                    self._stopping.wait(gap)
        except GroupError as error:
            _logger.error("flood: %s", error)  # noqa: TRY400 - no fault
        self._result("flood", sent)

    def _result(self, name: object, value: object) -> None:
        self._write("result", op=name, value=value)

    def _wall_time(self) -> float:
        return time.time() + self._clock_offset


#: Commands with an answer, and the answer when they fail.
_ANSWERED: dict[object, object] = {
    "send": False,
    "to_leader": False,
    "to_member": False,
    "request_vote": None,
    "request_action": None,
    "cast": False,
    "status": None,
}


def _data(command: dict[str, Any]) -> bytes:
    return bytes.fromhex(command["data"])


def _kind(command: dict[str, Any], default: Voting) -> Voting:
    name = command.get("kind") or default.name
    for kind in Voting:
        if kind.name.lower() == str(name).lower():
            return kind
    raise ValueError(f"the kind of a vote is majority or consensus, not {name!r}")
