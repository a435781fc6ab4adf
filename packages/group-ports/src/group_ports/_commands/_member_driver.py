"""Commands to calls, events to lines."""

from __future__ import annotations

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
from group_ports._commands._member_config import VOTES, ConfigError, read_object
from group_ports._events import Message, MessageFailed, MessageKind
from group_ports._parent import StandaloneParent
from group_ports._port_settings import PortSettings
from group_ports.errors import GroupError, PortError
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

#: Seconds that the wall clock may be off: as long as all dates make sense.
_LONGEST_JUMP_S = 1e10
#: Seconds of the longest flood.
_LONGEST_FLOOD_S = 1e6

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
    ConfigError
        The configuration cannot be used.
    PortError
        The address cannot be bound.
    """

    def __init__(self, config: MemberConfig, write: Callable[..., None]) -> None:
        self.config = config
        self._write = write
        self._vote = config.vote
        self._clock_offset = 0.0
        self._stopping = threading.Event()
        self._leaving = threading.Lock()
        try:
            keys = config.curve_keys()
            self._parent = StandaloneParent(config.host, keys)
            self.group = self._join(PortSettings(keys=keys, clock=self._wall_time))
        except PortError:
            raise
        except (LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(f"not the configuration of a member: {error}") from error

    def _join(self, settings: PortSettings) -> Group:
        config = self.config
        group_type, instance = config.group
        try:
            return Group(
                self._parent,
                None,
                group_type,
                instance,
                config.name,
                config.spec,
                config.min_size,
                settings=settings,
            )
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
        name = ""
        try:
            command = read_object(line)
            name = _text(command, "command" if "command" in command else "op")
            if name == "stop":
                return False
            self._do(name, command)
        except (GroupError, ValueError, TypeError, KeyError) as error:
            _logger.error("command %.200r: %s: %s", line, type(error).__name__, error)  # noqa: TRY400 - no fault
            if name in _ANSWERED:
                self._result(name, _ANSWERED[name])
        return True

    def _do(self, name: str, command: dict[str, Any]) -> None:
        group = self.group
        match name:
            case "update":
                group.update(_text(command, "host"), command["port"])
            case "send":
                self._result(name, group.send(_data(command)))
            case "to_leader":
                self._result(name, group.sendToLeader(_data(command)))
            case "to_member":
                self._result(name, group.sendToMember(_data(command), _bytes(command, "id")))
            case "request_vote":
                kind = _kind(command, Voting.MAJORITY)
                topic = _bytes(command, "topic")
                self._result(name, group.requestVote(topic, kind, command.get("timeout_ms")))
            case "request_action":
                kind = _kind(command, Voting.CONSENSUS)
                topic = _bytes(command, "topic")
                when = command["when"]
                self._result(name, group.requestActionVote(topic, when, kind, command.get("timeout_ms")))
            case "cast":
                vote = command["vote"]
                if not isinstance(vote, bool):
                    raise TypeError(f"a vote is true or false, not {vote!r:.40}")
                self._result(name, group.sendVote(_text(command, "rfv"), vote))
            case "set_vote":
                self._set_vote(command["vote"])
            case "status":
                self._result(name, self._status())
            case "clock":
                by = _number(command, "by", -_LONGEST_JUMP_S, _LONGEST_JUMP_S)
                # So far at the most, however often.
                self._clock_offset = min(max(self._clock_offset + by, -_LONGEST_JUMP_S), _LONGEST_JUMP_S)
            case "flood":
                seconds = _number(command, "seconds", 0.0, _LONGEST_FLOOD_S)
                gap = _number(command, "gap", 0.0, _LONGEST_FLOOD_S) if "gap" in command else 0.0
                flood = (_data(command), seconds, gap)
                threading.Thread(target=self._flood, args=flood, name="flood", daemon=True).start()
            case "leave":
                group.leave()
            case _:
                raise ValueError(f"there is no command {name!r}")

    def _set_vote(self, vote: object) -> None:
        if vote not in VOTES:
            raise ValueError(f"vote is one of {', '.join(VOTES)}, not {vote!r:.40}")
        self._vote = str(vote)

    def _status(self) -> dict[str, Any]:
        status = self.group.status()
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


def _text(command: dict[str, Any], name: str) -> str:
    value = command[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is a string")
    return value


def _bytes(command: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(_text(command, name))


def _data(command: dict[str, Any]) -> bytes:
    return _bytes(command, "data")


def _number(command: dict[str, Any], name: str, least: float, most: float) -> float:
    value = command[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} is a number")
    if not least <= value <= most:
        raise ValueError(f"{name} is between {least:g} and {most:g}")
    return float(value)


def _kind(command: dict[str, Any], default: Voting) -> Voting:
    name = command.get("kind") or default.name
    for kind in Voting:
        if kind.name.lower() == str(name).lower():
            return kind
    raise ValueError(f"the kind of a vote is majority or consensus, not {name!r}")
