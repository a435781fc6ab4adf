"""group-ports: publishing and receiving, asking and answering, and what members say to each other.

The calls of ZeroMQ's own threads are counted beside those of the thread that sends and receives: a message
costs them too. Each message finds all of them asleep, and each is received when all are asleep again; how
many calls are saved by messages that come closer together is chance.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from cost_meters import COPIES, KEPT, MOST_CALLS, OWN, PYTHON_CALLS, Counted, Run, Scenario
from cost_waits import LIMIT_S, until_idle

from group_ports import GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort, PortSettings
from group_ports._actions import BindAnswer, Publish
from group_ports._member import GroupMember
from group_ports._settings import GroupSettings
from wireframe.group import Body

SETTINGS = PortSettings(send_timeout=LIMIT_S, recv_timeout=LIMIT_S)
SMALL, LARGE = 64, 1 << 20
MEMBERS = 5
#: Simulated seconds, until a leader is elected and all is calm; and those that are looked at, each time.
BEGIN_S, CALM_S = 60.0, 10.0


def publishing(size: int) -> Callable[[Counted], contextlib.AbstractContextManager[Run]]:
    """A scenario of a publisher and its subscriber, in one thread."""

    @contextlib.contextmanager
    def scenario(counted: Counted) -> Iterator[Run]:
        payload = bytes(size)
        with (
            GroupPubPort.standalone(settings=SETTINGS) as publisher,
            GroupSubPort.standalone(settings=SETTINGS) as subscriber,
        ):
            subscriber.update(*publisher.address)
            publisher.wait_ready(1, LIMIT_S)

            def run(messages: int) -> None:
                for _ in range(messages):
                    with counted("send"):
                        publisher.send(payload)
                    until_idle()
                    with counted("recv"):
                        received = subscriber.recv()
                    assert received == payload
                    until_idle()

            yield run

    return scenario


@contextlib.contextmanager
def asking(counted: Counted) -> Iterator[Run]:
    """A question and its answer, in one thread."""
    payload = bytes(SMALL)
    with (
        GroupAnsPort.standalone(settings=SETTINGS) as answers,
        GroupQryPort.standalone(settings=SETTINGS) as queries,
    ):
        queries.update(*answers.address)

        def run(messages: int) -> None:
            for _ in range(messages):
                with counted("ask"):
                    assert queries.send(payload)
                until_idle()
                with counted("answer"):
                    assert answers.recv() == payload
                    assert answers.send(payload)
                until_idle()
                with counted("ask"):
                    assert queries.recv() == payload
                until_idle()

        yield run


class Calm:
    """Members of a group, and the messages between them, which take no time and are never lost."""

    def __init__(self, counted: Counted) -> None:
        generator = random.Random(5)
        self._counted = counted
        self._now = 0.0
        self._members = [
            GroupMember(GroupSettings(MEMBERS), bytes([1, number]) + bytes(14), generator, 0.0)
            for number in range(MEMBERS)
        ]
        self._way: deque[Body] = deque()
        self.published = 0

    def run(self, seconds: float) -> None:
        """Let simulated time pass."""
        end = self._now + seconds
        while (due := min(member.next_deadline() for member in self._members)) <= end:
            self._now = max(self._now, due)
            for member in self._members:
                if member.next_deadline() <= self._now:
                    with self._counted("member"):
                        actions = member.on_time(self._now)
                    self._follow(member, actions)
            while self._way:
                self._deliver(self._way.popleft())
        self._now = end

    def _deliver(self, body: Body) -> None:
        for member in self._members:
            with self._counted("member"):
                actions = member.receive(body, self._now, is_ours=True)
            self._follow(member, actions)

    def _follow(self, member: GroupMember, actions: Any) -> None:
        for action in actions:
            if isinstance(action, Publish):
                self._way.append(action.body)
                self.published += 1
            elif isinstance(action, BindAnswer):
                number = self._members.index(member)
                self._follow(member, member.answer_bound("127.0.0.1", 10_000 + number, self._now))

    def has_leader(self) -> bool:
        """Whether there is one, and one only."""
        return [member.is_leader for member in self._members].count(True) == 1


@contextlib.contextmanager
def calm_group(counted: Counted) -> Iterator[Run]:
    """A group that has elected its leader: what is published, and the work of all members."""
    calm = Calm(counted)
    calm.run(BEGIN_S)
    assert calm.has_leader()

    def run(times: int) -> dict[str, float]:
        before = calm.published
        for _ in range(times):
            calm.run(CALM_S)
        return {"messages of all members": calm.published - before}

    yield run


CALLS = (MOST_CALLS, PYTHON_CALLS)
SCENARIOS = [
    Scenario("publish 64 B", publishing(SMALL), 2, CALLS, times=10),
    Scenario("publish 64 B", publishing(SMALL), 20, (KEPT,)),
    Scenario("publish 1 MiB", publishing(LARGE), 5, (COPIES,), size=LARGE),
    Scenario("ask, 64 B", asking, 2, CALLS, times=10),
    Scenario("ask, 64 B", asking, 20, (KEPT,)),
    Scenario(f"{MEMBERS} members with a leader, {CALM_S:.0f} s", calm_group, 1, (PYTHON_CALLS, KEPT, OWN)),
]
