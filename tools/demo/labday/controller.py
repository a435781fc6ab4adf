"""A controller process: a member of the group, which keeps the book of the day, and directs it if it leads.

It is told by lines of JSON who the others are, where rigs and station are, and how many settings are
released; it reports:

=========== =====================================================================================
listening   ``host``, ``port``, ``member_id``: it is in the group
joined left ``size``: so many members it knows now
elected     ``leader``, ``term``
exited      ``leader``
directs     ``term``, ``setting``: it directs the day from this setting on
resigns     ``term``: it does not lead any more, or ``why``
round       ``name``, ``begin``, ``asked``, ``results``, ``failures``: it has asked rigs for something
command     ``name``, ``setting``, ``term``: it has sent the station a command
answer      the same: the station has answered it
announced   ``news``, ``setting``: it has told the group something, see `labday.book`
heard       the same: it was told by another member
over        The day is over, as far as it knows.
statistics  ``lost``, ``dropped``: messages of the group, in the end
=========== =====================================================================================

All have ``seconds``, monotonic.
"""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

from reporting import read_orders
from reporting import timed_report as report

from group_ports import (
    Group,
    LeaderElected,
    LeaderExited,
    MemberJoined,
    MemberLeft,
    Message,
    MessageKind,
    PortError,
)
from labday.account import CONTROLLERS, TIMES
from labday.book import Book
from labday.director import Director, Refused

if TYPE_CHECKING:
    from group_ports import GroupEvent


class Controller:
    """A user of a group.

    Parameters
    ----------
    group : Group
    tasks : asyncio.TaskGroup
        For what it does at the same time; an error in it ends the process.
    """

    def __init__(self, group: Group, tasks: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks = tasks
        self._book = Book()
        self._plan: dict[str, int] | None = None
        self._directing: asyncio.Task[None] | None = None
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
        self._resign()
        counts = self._group.statistics
        report("statistics", lost=counts.subscriber.lost, dropped=counts.dropped_messages)
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
            case {"do": "begin", "rigs": dict(rigs), "station": int(station), "settings": int(settings)}:
                for rig, uri in rigs.items():
                    self._book.move(rig, uri)
                self._plan = {"station": station, "settings": settings}
                self._direct()
            case {"do": "rig", "name": str(rig), "uri": str(uri)}:
                self._book.move(rig, uri)
            case {"do": "release", "settings": int(settings)}:
                self._book.released = settings
            case _:
                raise ValueError(f"not an order: {order!r}")

    def _take(self, event: GroupEvent) -> None:
        match event:
            case Message(kind=MessageKind.GROUP):
                self._hear(json.loads(event.data))
            case MemberJoined():
                report("joined", size=self._group.groupSize())
            case MemberLeft():
                report("left", size=self._group.groupSize())
            case LeaderElected():
                report("elected", leader=event.leader_id.hex(), term=event.term)
                self._resign()
                self._direct()
            case LeaderExited():
                report("exited", leader=event.leader_id.hex())
                self._resign()

    # -- the book -----------------------------------------------------------------------------------

    def _announce(self, announcement: dict[str, Any]) -> None:
        """Note something down, and tell the group."""
        self._book.note(announcement)
        self._group.send(json.dumps({**announcement, "from": self._group.getGroupId().hex()}).encode())
        report("announced", news=announcement["news"], setting=announcement.get("setting"))
        if self._book.over:
            report("over")

    def _hear(self, announcement: dict[str, Any]) -> None:
        if announcement["from"] == self._group.getGroupId().hex():
            return  # its own comes back
        self._book.note(announcement)
        report("heard", news=announcement["news"], setting=announcement.get("setting"))
        if self._book.over:
            report("over")

    # -- to lead ------------------------------------------------------------------------------------

    def _direct(self) -> None:
        if self._plan is None or self._directing is not None or self._book.over or not self._group.isLeader():
            return
        term = self._group.term
        report("directs", term=term, setting=self._book.next_setting)
        director = Director(self._book, self._announce, term, **self._plan)
        self._directing = self._tasks.create_task(self._run(director, term))

    async def _run(self, director: Director, term: int) -> None:
        try:
            await director.direct()
        except Refused as error:
            report("resigns", term=term, why=str(error))

    def _resign(self) -> None:
        """Direct no more; there may be another leader."""
        if self._directing is not None and not self._directing.done():
            self._directing.cancel()
            report("resigns", term=self._group.term, why="does not lead any more")
        self._directing = None


async def control(group: Group) -> None:
    """Be a controller until standard input is closed."""
    orders: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    threading.Thread(target=read_orders, args=(asyncio.get_running_loop(), orders), daemon=True).start()
    host, port = group.address
    report("listening", host=host, port=port, member_id=group.getGroupId().hex())
    async with asyncio.TaskGroup() as tasks:
        controller = Controller(group, tasks)
        tasks.create_task(controller.follow())
        while (order := await orders.get()) is not None:
            controller.obey(order)
        await controller.leave()


def main() -> None:
    """Run the process."""
    with Group.standalone("lab", "day", size=len(CONTROLLERS), params=TIMES) as group:
        asyncio.run(control(group))
    report("end")


if __name__ == "__main__":
    main()
