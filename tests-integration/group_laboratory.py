"""A laboratory of members, or ports, on hosts that are network namespaces, and an observer.

The observer is on the switch, where no cut line concerns it, and hears what the members publish
(`group_book`); the test reads what each of them says.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from group_book import Book
from namespaces import Namespace, Program, python

SCRIPT = str(Path(__file__).with_name("group_program.py"))
SIZE = 5
QUORUM = 3
# Milliseconds, and those that matter here in seconds.
TIMES = {
    "heartbeat": 300,
    "electionMin": 450,
    "electionMax": 600,
    "peerTimeout": 1500,
    "consensusTimeout": 450,
}
ELECTION_MAX_S, PEER_TIMEOUT_S = 0.6, 1.5
# A leader without quorum is none after the peer timeout. Others give it up within that, and have another one
# within an election, or two if votes were split. Machines may be busy: four times that.
STEPPED_DOWN_WITHIN_S = 4 * PEER_TIMEOUT_S
ELECTED_WITHIN_S = 4 * 2 * (PEER_TIMEOUT_S + ELECTION_MAX_S)
# Connections come back before: given up, broken or not, within 4 s and made again within 2 s.
HEALED_WITHIN_S = ELECTED_WITHIN_S + 6.0
# Python and the package are read from the disk five times.
STARTED_WITHIN_S = 120.0
GLANCE_S = 0.01
# What was on its way before somebody said something is heard no later than this afterwards, busy or not.
GRACE_S = 2.0

# Lines from one host to another are cut by their addresses, all at one moment.
FILTER = """
table bridge lab {
    counter dropped {}
    set cut { type ipv4_addr . ipv4_addr; }
    chain forward {
        type filter hook forward priority 0
        ip saddr . ip daddr @cut counter name dropped drop
    }
}
"""


class Member:
    """One member, and how the group stands as far as it has said."""

    def __init__(self, program: Program, address: str) -> None:
        self.program = program
        self.address = address
        self.events: list[dict[str, Any]] = []
        self.id = ""
        self.leader: str | None = None
        self.followed: list[str] = []
        self.peers: set[str] = set()
        self.vote = "abstain"
        # Polls to which it says yes; and who was there, as it knew, when they began.
        self.yes: set[str] = set()
        self.electorates: dict[str, set[str]] = {}

    @property
    def is_leader(self) -> bool:
        return self.leader == self.id

    def listen(self) -> None:
        """Take in what it has said meanwhile."""
        while self.program.has_line():
            event = {**json.loads(self.program.line()), "at": time.monotonic()}
            self.events.append(event)
            match event["event"]:
                case "register":
                    self.id = event["id"]
                case "joined":
                    self.peers.add(event["id"])
                case "left":
                    self.peers.remove(event["id"])
                case "leader":
                    self.leader = event["id"]
                    self.followed.append(event["id"])
                case "leader_exit":
                    assert self.leader == event["id"], "gave up a leader that it did not have"
                    self.leader = None
                case "vote_request":
                    self.electorates[event["rfv"]] = {self.id, *self.peers}
                    if self.vote == "yes":
                        self.yes.add(event["rfv"])
                case "died" | "handler_error":
                    raise AssertionError(f"{event}: {self.program.describe()}")

    def find(self, since: int, fields: dict[str, Any]) -> list[dict[str, Any]]:
        """Return such events, of those since a mark."""
        return [event for event in self.events[since:] if fields.items() <= event.items()]

    def say(self, command: str, **fields: Any) -> None:
        self.program.tell(json.dumps({"command": command, **fields}))

    def set_vote(self, vote: str) -> None:
        self.vote = vote
        self.say("set_vote", vote=vote)


class Laboratory:
    """The hosts on their switch, the members on the hosts, and the observer."""

    def __init__(
        self, switch: Namespace, hosts: list[Namespace], stack: contextlib.ExitStack, directory: Path
    ) -> None:
        self.switch, self.hosts = switch, hosts
        self._stack = stack
        self._directory = directory
        self.members: list[Member] = []
        self.book = Book()
        # Whether the observer could hear everything.
        self.is_complete = True
        # Whether all was in order when it was last looked at, so that it can be used again.
        self.is_in_order = False
        self._dropped = 0
        self._observer: Program | None = None
        switch.nft(FILTER)

    def start(self, host: Namespace, *command: str) -> Program:
        return self._stack.enter_context(Program(host, python("-W", "error", *command), self._directory))

    def start_group(self) -> list[Member]:
        """Start the members; return them when they have a leader."""
        for number, host in enumerate(self.hosts, 1):
            address = f"10.77.0.{number}"
            config = {
                "host": address,
                "group": ["rack", "a"],
                "spec": {"kind": "leader", "message": "m", "timed": False, "params": TIMES},
                "min_size": SIZE,
            }
            program = self.start(host, "-m", "group_ports", "member", json.dumps(config))
            self.members.append(Member(program, address))
        self.until(
            lambda: all(member.id for member in self.members), "they did not register", STARTED_WITHIN_S
        )
        publishers = [(member.address, member.events[0]["port"]) for member in self.members]
        self._observer = self.start(self.switch, SCRIPT, "observer", json.dumps(publishers))
        assert self._observer.line() == "ready"
        for member, (host, port) in itertools.product(self.members, publishers):
            member.say("update", host=host, port=port)
        self.agreed(self.members)
        return self.members

    def listen(self) -> None:
        """Take in what members and observer have said meanwhile."""
        for member in self.members:
            member.listen()
        sender = {member.address: member.id for member in self.members}
        while self._observer is not None and self._observer.has_line():
            said = json.loads(self._observer.line())
            self.book.take(said, sender[said["host"]])

    def until(self, condition: Callable[[], bool], what: str, within: float = 20.0) -> None:
        """Listen until the condition holds; `what` is wrong if it does not in time."""
        deadline = time.monotonic() + within
        while self.listen() or not condition():
            assert time.monotonic() < deadline, f"{what} within {within} s: {self._describe()}"
            time.sleep(GLANCE_S)

    def hold(self, seconds: float) -> None:
        """Listen for so long."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time stood still", seconds + 20.0)

    def calm(self, seconds: float, within: float = 60.0) -> None:
        """Wait until nobody was elected for so long: a busy machine may have elections of its own."""
        deadline = time.monotonic() + within
        while True:
            elections = len(self.book.leaders)
            self.hold(seconds)
            if len(self.book.leaders) == elections:
                return
            assert time.monotonic() < deadline, f"elections go on and on: {self._describe()}"

    def silent(self, leader: Member, since: float, term: float = math.inf) -> None:
        """Wait a while: but for what was on its way, this one says no more that it leads, up to a term."""
        self.hold(since + GRACE_S + 1.0 - time.monotonic())
        assert self.book.count_notes(leader.id, since + GRACE_S, term) == 0

    def agreed(self, members: Sequence[Member], within: float = ELECTED_WITHIN_S) -> Member:
        """Wait until these know each other, and one of them as their leader; return it."""
        ids = {member.id for member in members}

        def agree() -> bool:
            leaders = {member.leader for member in members}
            return len(leaders) == 1 and leaders <= ids and all(ids <= {m.id, *m.peers} for m in members)

        self.until(agree, "they do not agree", within)
        return next(member for member in members if member.is_leader)

    def exited(self, member: Member, leader: Member, mark: int, since: float) -> float:
        """Wait until a member has said, in time, that this one leads no more; return when."""
        exited = float(self.expect(member, mark, event="leader_exit", id=leader.id)["at"])
        assert exited - since < STEPPED_DOWN_WITHIN_S
        return exited

    def expect(self, member: Member, since: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait until the member says this; return it."""
        self.until(lambda: bool(member.find(since, fields)), f"{fields} was not said", HEALED_WITHIN_S)
        return member.find(since, fields)[0]

    def ask(self, member: Member, command: str, **fields: Any) -> Any:
        """Give a member an order; return its answer."""
        mark = len(member.events)
        member.say(command, **fields)
        return self.expect(member, mark, event="result", op=command)["value"]

    def others(self, *members: Member) -> list[Member]:
        return [member for member in self.members if member not in members]

    def cut(self, *lines: tuple[Sequence[Member | End], Sequence[Member | End]]) -> float:
        """Drop all that goes from the first to the second of these, and nothing else; return since when."""
        began = time.monotonic()
        pairs = [
            f"{one.address} . {other.address}"
            for senders, receivers in lines
            for one, other in itertools.product(senders, receivers)
        ]
        elements = f"add element bridge lab cut {{ {', '.join(pairs)} }}\n" if pairs else ""
        self.switch.nft(f"flush set bridge lab cut\n{elements}")
        return began

    def partition(self, one: Sequence[Member | End], other: Sequence[Member | End]) -> float:
        """Drop all between these, and nothing else; return since when."""
        return self.cut((one, other), (other, one))

    def heal(self) -> None:
        """Drop nothing any more; something must have been dropped since the last time."""
        dropped = self.switch.counters("bridge lab")["dropped"]
        assert dropped > self._dropped
        self._dropped = dropped
        self.cut()

    def _check_terms(self) -> None:
        """No member goes back to a leader of a lower term."""
        for member in self.members:
            term = 0
            for leader in member.followed:
                later = [t for t, known in sorted(self.book.leaders.items()) if known == leader and t >= term]
                assert later, f"{member.id} followed {leader} after a leader of term {term}"
                term = later[0]

    def _check_votes(self) -> None:
        """Whoever leads was voted for by a quorum, as far as the observer could hear votes."""
        for term, leader in self.book.leaders.items() if self.is_complete else ():
            voters = [v for (t, v), candidate in self.book.votes.items() if (t, candidate) == (term, leader)]
            assert len(voters) >= QUORUM, f"{leader} leads term {term} with {len(voters)} votes"

    def _check_polls(self) -> None:
        """Whatever is announced as yes had the ballots, and all members were told the same."""
        members = {member.id: member for member in self.members}
        for rfv, result in self.book.results.items():
            leader, is_consensus = self.book.polls[rfv]
            electorate = members[leader].electorates[rfv]
            yes = {voter for voter in electorate if rfv in members[voter].yes}
            needed = len(electorate) if is_consensus else len(electorate) // 2 + 1
            assert result != 0 or len(yes) >= needed, f"{rfv} was carried with {len(yes)} of {needed} ballots"
            said = ("yes", "no", "timeout")[result]
            for member in self.members:
                for event in member.find(0, {"event": "vote_result", "rfv": rfv}):
                    # Who asked and heard no result says so.
                    assert event["vote"] in (said, "timeout")

    def settles(self) -> bool:
        """Wait until all agree; tell whether they still did when each of them had written to the leader."""
        leader = self.agreed(self.members, HEALED_WITHIN_S)
        for member in self.members:
            mark = len(leader.events)
            if self.ask(member, "to_leader", data=member.id) is not True:
                return False
            self.expect(leader, mark, event="to_leader", data=member.id)
            status = {"leader": leader.id, "is_leader": member is leader, "size": SIZE, "id": member.id}
            if self.ask(member, "status") != status:
                return False
        return True

    def finish(self) -> None:
        """Wait until all agree and can write to their leader; check what was heard since the start."""
        # On a very busy machine they may miss each other in between.
        self.until(self.settles, "they do not agree for as long as it takes to write to the leader")
        self._check_terms()
        self._check_votes()
        self._check_polls()
        self.is_in_order = True

    def close(self) -> None:
        """End the members; none of them may have anything to complain of."""
        for member in self.members:
            member.say("stop")
        for member in self.members:
            assert member.program.ended() == 0, member.program.describe()
            assert "Traceback" not in member.program.errors, member.program.describe()

    def _describe(self) -> str:
        lines = [
            f"{member.address} {member.id} leader {member.leader} of {sorted(member.peers)}: "
            f"{member.events[-8:]}; {member.program.errors[-500:]}"
            for member in self.members
        ]
        return "\n".join(["", *lines, f"{self.book.leaders}"])


class End:
    """A port, or several, on a host."""

    def __init__(self, laboratory: Laboratory, host: int, kind: str, **settings: Any) -> None:
        self.address = f"10.77.0.{host}"
        settings = {"host": self.address, **settings}
        self.program = laboratory.start(laboratory.hosts[host - 1], SCRIPT, kind, json.dumps(settings))
        assert self.program.line() == "ready"

    def ask(self, command: str, *arguments: Any) -> Any:
        """Give an order, and return the answer."""
        self.order(command, *arguments)
        return self.answer()

    def order(self, command: str, *arguments: Any) -> None:
        self.program.tell(json.dumps([command, arguments]))

    def answer(self) -> Any:
        return json.loads(self.program.line())
