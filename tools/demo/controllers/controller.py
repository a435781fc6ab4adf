"""A controller process: a member of the group, with a gauge and a valve of its own.

It is told by lines of JSON what a user at its desk would do, and reports:

=========== =================================================================================
listening   ``host``, ``port``, ``member_id``: it is in the group
joined left ``size``: so many members it knows now
elected     ``leader``, ``term``
exited      ``leader``; ``open``: its own messages to that leader that were not answered
asked       ``motion``, ``rfv_id``: it has asked for a vote; None if there is no leader
motion      ``rfv_id``: it was asked to vote
ballot      ``rfv_id``, ``yes``: so it voted, after a look at its gauge
result      ``rfv_id``, ``vote``
acted       ``rfv_id``, ``due``, ``done``, ``term``: it has carried out what was voted for
late        ``rfv_id``: the result came when the moment was over, and nothing was done
message     ``number``, ``outcome``, ``begin``: what `Group.sendToLeader` said of a message
answer      ``number``, ``term``: the leader has answered it
heard       ``sender``, ``number``: as leader, it was sent a message
unanswered  ``number``, ``why``: and could not answer it
quiet       It sends no more, and waits for no answer.
=========== =================================================================================

All have ``seconds``, monotonic.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from reporting import read_orders
from reporting import timed_report as report

from controllers.account import TIMES
from group_ports import (
    Group,
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    Message,
    MessageKind,
    PortError,
    PortSettings,
    PortTimeout,
    VoteRequested,
    VoteResult,
)
from wireframe.group import Vote, Voting

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from group_ports import GroupEvent

#: Members that the group is configured for: two of them are the quorum.
SIZE: Final = 3
#: Seconds from one message to the leader to the next, and that the leader takes to answer one.
PACE_S: Final = 0.025
WORK_S: Final = 0.05
#: Seconds that a message may wait for a leader that is not connected.
SEND_S: Final = 0.5
#: Seconds that a vote may take, and from its request to the moment that it is about.
VOTE_S: Final = 2.0
AHEAD_S: Final = 2.5
#: Seconds that the last answers may take.
DRAIN_S: Final = 20.0
#: What became of a message: the connection to the leader took it, there is no leader, it was not reached.
TAKEN: Final = "taken"
NO_LEADER: Final = "no leader"
NOT_REACHED: Final = "not reached"


class Controller:
    """A user of a group.

    Parameters
    ----------
    group : Group
    pressure : float
        What its gauge shows, in mbar.
    gauge_s : float
        Seconds that a look at the gauge takes.
    tasks : asyncio.TaskGroup
        For what it does at the same time; an error in it ends the process.
    """

    def __init__(self, group: Group, pressure: float, gauge_s: float, tasks: asyncio.TaskGroup) -> None:
        self._group = group
        self._pressure = pressure
        self._gauge_s = gauge_s
        self._due: dict[str, float] = {}
        self._talks = False
        self._open: set[int] = set()
        self._given_up: set[int] = set()
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()
        self._leaves = False

    async def follow(self) -> None:
        """Take the events of the group until `leave`.

        Raises
        ------
        PortError
            The member has ended for another reason.
        """
        while True:
            try:
                event = await self._group.receive_async()
            except PortError:
                if self._leaves:
                    return
                raise
            if event is not None:
                self._take(event)

    async def leave(self) -> None:
        """Break off whatever it does, and leave the group."""
        for task in self._running:
            task.cancel()
        self._leaves = True
        await asyncio.to_thread(self._group.leave)

    def obey(self, order: dict[str, Any]) -> None:
        """Do what a line says.

        Raises
        ------
        ValueError
            It says something else.
        """
        match order:
            case {"do": "meet", "addresses": addresses}:
                for host, port in addresses:
                    self._group.update(host, port)
            case {"do": "talk"}:
                self._talks = True
                self._begin(self._talk())
            case {"do": "hush"}:
                self._talks = False
            case {"do": "ask", "motion": str(motion), "limit": float(limit)}:
                self._ask(motion, limit)
            case _:
                raise ValueError(f"not an order: {order!r}")

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _take(self, event: GroupEvent) -> None:
        match event:
            case Message(kind=MessageKind.TO_LEADER):
                self._begin(self._answer(event))
            case Message(kind=MessageKind.FROM_LEADER):
                answer = json.loads(event.data)
                self._open.discard(answer["number"])
                report("answer", **answer)
            case MemberJoined():
                report("joined", size=self._group.groupSize())
            case MemberLeft():
                report("left", size=self._group.groupSize())
            case LeaderElected():
                report("elected", leader=event.leader_id.hex(), term=event.term)
            case LeaderExited():
                self._given_up |= self._open
                report("exited", leader=event.leader_id.hex(), open=sorted(self._open))
            case VoteRequested():
                self._begin(self._judge(event))
            case VoteResult():
                report("result", rfv_id=event.rfv_id, vote=event.vote.name.lower())
                if event.vote is Vote.YES and event.rfv_id in self._due:
                    self._begin(self._act(event.rfv_id))

    # -- votes --------------------------------------------------------------------------------------

    def _ask(self, motion: str, limit: float) -> None:
        topic = json.dumps({"motion": motion, "limit": limit}).encode()
        moment = time.time() + AHEAD_S
        rfv_id = self._group.requestActionVote(topic, moment, Voting.CONSENSUS, timeout=1000 * VOTE_S)
        report("asked", motion=motion, rfv_id=rfv_id)

    async def _judge(self, request: VoteRequested) -> None:
        """Vote, after a look at the gauge."""
        if request.release is None:
            return
        # In this order: a pause between the two clocks makes the action late, never early.
        in_s = request.release - time.time()
        self._due[request.rfv_id] = time.monotonic() + in_s
        report("motion", rfv_id=request.rfv_id)
        limit = json.loads(request.topic)["limit"]
        await asyncio.sleep(self._gauge_s)
        yes = self._pressure <= limit
        self._group.sendVote(request.rfv_id, yes)
        report("ballot", rfv_id=request.rfv_id, yes=yes)

    async def _act(self, rfv_id: str) -> None:
        """Do at its moment what all have voted for."""
        due = self._due[rfv_id]
        if time.monotonic() > due:
            report("late", rfv_id=rfv_id)
            return
        while (rest_s := due - time.monotonic()) > 0.0:
            await asyncio.sleep(rest_s)
        report("acted", rfv_id=rfv_id, due=due, done=time.monotonic(), term=self._group.term)

    # -- messages -----------------------------------------------------------------------------------

    async def _talk(self) -> None:
        """Send numbered messages to the leader until told to be quiet."""
        number = 0
        while self._talks:
            if not self._group.isLeader():
                number += 1
                self._open.add(number)
                begin = time.monotonic()
                outcome = await asyncio.to_thread(self._send, json.dumps({"number": number}).encode())
                if outcome != TAKEN:
                    self._open.discard(number)
                report("message", number=number, outcome=outcome, begin=begin)
            await asyncio.sleep(PACE_S)
        deadline = time.monotonic() + DRAIN_S
        while not self._open <= self._given_up and time.monotonic() < deadline:
            await asyncio.sleep(PACE_S)
        report("quiet")

    def _send(self, payload: bytes) -> str:
        try:
            return TAKEN if self._group.sendToLeader(payload) else NO_LEADER
        except PortTimeout:
            return NOT_REACHED

    async def _answer(self, message: Message) -> None:
        """Be a leader who is asked something."""
        number = json.loads(message.data)["number"]
        report("heard", sender=(message.sender or b"").hex(), number=number)
        await asyncio.sleep(WORK_S)
        try:
            answer = {"number": number, "term": self._group.term}
            self._group.sendToMember(json.dumps(answer).encode(), message.sender)
        except PortError as error:
            report("unanswered", number=number, why=str(error))


async def control(group: Group, pressure: float, gauge_s: float) -> None:
    """Be a controller until standard input is closed."""
    orders: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    threading.Thread(target=read_orders, args=(asyncio.get_running_loop(), orders), daemon=True).start()
    host, port = group.address
    report("listening", host=host, port=port, member_id=group.getGroupId().hex())
    async with asyncio.TaskGroup() as tasks:
        controller = Controller(group, pressure, gauge_s, tasks)
        tasks.create_task(controller.follow())
        while (order := await orders.get()) is not None:
            controller.obey(order)
        await controller.leave()


def main() -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pressure", type=float, help="what the gauge shows, in mbar")
    parser.add_argument("gauge_s", type=float, help="seconds that a look at the gauge takes")
    options = parser.parse_args()
    settings = PortSettings(send_timeout=SEND_S)
    with Group.standalone("plant", "valves", size=SIZE, params=TIMES, settings=settings) as group:
        asyncio.run(control(group, options.pressure, options.gauge_s))
    report("end")


if __name__ == "__main__":
    main()
