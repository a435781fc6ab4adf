"""Members of a group that leave, join and are killed, while two go on."""

from __future__ import annotations

import time
from pathlib import Path

from scene import LIMIT_S, Peer, Scene

from group_ports import Group, Message

#: Milliseconds; quick, but a busy machine is not taken for a dead one.
PARAMS = {
    "heartbeat": 50,
    "electionMin": 200,
    "electionMax": 500,
    "peerTimeout": 5000,
    "consensusTimeout": 400,
}
#: So slow that one of the others always leads: who leads has a port more.
GUEST_PARAMS = {**PARAMS, "electionMin": 8000, "electionMax": 9000, "peerTimeout": 80_000}
_EACH = 20


def member(params: dict[str, int]) -> Group:
    """Another member of the one group."""
    return Group.standalone("rack", "a", size=2, params=params)


class Members(Scene):
    """Two members in this process, two in programs that are killed, and one that comes and goes."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.members = [self.enter_context(member(PARAMS)) for _ in range(2)]
        for one, other in (self.members, reversed(self.members)):
            one.update(*other.address)
        # Before others join: a newcomer, who may have voted in a life before, votes for nobody for a while.
        for one in self.members:
            assert one.wait_until(lambda status: status.leader_id is not None, LIMIT_S), "nobody leads"
        self._size = len(self.members)
        self._next = 0
        # The last number that each member has heard from each, by name and number.
        self._heard: list[dict[bytes, int]] = [{} for _ in self.members]
        self._addresses: dict[Peer, tuple[str, int]] = {}
        for _ in range(2):
            self._join(self.add("member", *(part for one in self.members for part in one.address)))

    def _join(self, peer: Peer) -> None:
        """Follow a new one; it speaks when everybody does."""
        host, port = peer.line().split()
        self._addresses[peer] = host, int(port)
        self._follow(*self._addresses[peer])
        peer.tell("go")

    def _follow(self, host: str, port: int) -> None:
        self._size += 1
        for one in self.members:
            one.update(host, port)
        self._wait()

    def _forget(self, host: str, port: int) -> None:
        self._size -= 1
        for one in self.members:
            one.forget(host, port)
        self._wait()

    def _wait(self) -> None:
        for one in self.members:
            assert one.wait_until(lambda status: status.size == self._size, LIMIT_S), (
                "they do not find together"
            )

    def disturb(self) -> None:
        """Kill one, and let another one join."""
        peer = self.random.choice(self.peers)
        peer.kill()
        self._forget(*self._addresses[peer])
        peer.start()
        self._join(peer)

    def mend(self) -> None:
        """Let one join, speak and leave; forget who was killed; and see that somebody leads."""
        with member(GUEST_PARAMS) as guest:
            for one in self.members:
                guest.update(*one.address)
            self._follow(*guest.address)
            for number in range(_EACH):
                guest.send(b"guest%d %d" % (id(guest), number))
            self._hear(b"guest%d" % id(guest), _EACH - 1)
            address = guest.address
        self._forget(*address)
        alive = {b"%d" % peer.process_id for peer in self.peers}
        for heard in self._heard:
            for name in heard.keys() - alive - {b"member"}:
                del heard[name]
        deadline = time.monotonic() + LIMIT_S
        while not any(one.isLeader() for one in self.members):
            assert time.monotonic() < deadline, "nobody leads"
            self.play()

    def play(self) -> None:
        """One of both says something; the other one hears it, and meanwhile what the guests say."""
        for _ in range(_EACH):
            self.members[0].send(b"member %d" % self._next)
            self._next += 1
        self._hear(b"member", self._next - 1)

    def _hear(self, name: bytes, last: int) -> None:
        """Take what comes until all who hear this name have heard this number of it."""
        deadline = time.monotonic() + LIMIT_S
        for one, heard in zip(self.members, self._heard, strict=True):
            if name == b"member" and one is self.members[0]:
                self._take(one, heard, 0.0)
                continue
            while heard.get(name, -1) < last:
                assert time.monotonic() < deadline, f"{name!r} was heard up to {heard.get(name)} of {last}"
                self._take(one, heard, 0.1)

    def _take(self, one: Group, heard: dict[bytes, int], timeout: float) -> None:
        """Take what there is, after waiting for the first of it; nobody's numbers may have a gap."""
        event = one.receive(timeout)
        while event is not None:
            if isinstance(event, Message):
                name, _, text = event.data.partition(b" ")
                number = int(text)
                assert number == heard.get(name, -1) + 1, f"{number} after {heard.get(name)} of {name!r}"
                heard[name] = number
                self.checked += 1
            event = one.receive(0.0)
