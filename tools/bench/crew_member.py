"""One member of a group that elects, of ours or of pysyncobj, as a process that others can kill.

Started by the bench, never imported::

    python crew_member.py ours SIZE PATH
    python crew_member.py (raft | raft-kept) OWN_PORT PATH OTHER_PORT...

It says ``{"id": ..., "port": ...}`` when it is there. Of ours, each line that it
reads is the port of another member. Who leads as far as it knows, null for
nobody, goes as ``{"id": ..., "leader": ..., "at": monotonic seconds}`` to the
datagram socket of the bench at PATH, whenever that changes. The end of its
input ends it.

The times of ours are `TIMES`. pysyncobj has its defaults (a leader that is silent
for 0.4 to 1.4 s is given up), except that it looks for restarted members more
often. By default it also takes a connection that was silent for 3.5 s for
broken, and followers have nothing to say to each other: then the first
candidate is not heard by all. ``raft-kept`` is pysyncobj without that.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import orders

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Tells the bench who leads.
    Tell = Callable[[str | None], None]

HOST: Final = "127.0.0.1"
#: Milliseconds: of a group that is to be quick, and whose members do not stop for long.
TIMES: Final = {
    "heartbeat": 200,
    "electionMin": 300,
    "electionMax": 450,
    "peerTimeout": 700,
    "consensusTimeout": 400,
}
#: Seconds from one look at pysyncobj to the next: it tells nobody of another's leadership.
GLANCE_S: Final = 0.002
RETRY_S: Final = 0.2
KEPT_S: Final = 3600.0


class Reporter:
    """Tells the bench who leads, once for each change.

    Parameters
    ----------
    path : str
        Of the bench's socket.
    own_id : str
    """

    def __init__(self, path: str, own_id: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.connect(path)
        self._own_id = own_id
        self._told: str | None = None

    def tell(self, leader: str | None) -> None:
        """Tell it, if it is news."""
        if leader != self._told:
            self._told = leader
            said = {"id": self._own_id, "leader": leader, "at": time.monotonic()}
            self._socket.send(json.dumps(said).encode())


def be_member(size: int, path: str) -> None:
    """Be a member of ours."""
    from group_ports import Group

    group = Group.standalone("bench", "crew", size=size, params=TIMES)
    reporter = Reporter(path, group.getGroupId().hex())

    def watch() -> None:
        while True:
            group.receive(60.0)  # woken by each event, of which some are changes of the leader
            leader = group.getLeaderId()
            reporter.tell(None if leader is None else leader.hex())

    threading.Thread(target=watch, daemon=True).start()
    orders.say(id=group.getGroupId().hex(), port=group.address[1])
    for line in sys.stdin:
        group.update(HOST, int(line))


def be_raft(port: int, path: str, others: list[int], more: dict[str, float]) -> None:
    """Be a member of pysyncobj, with more settings."""
    from pysyncobj import (  # type: ignore[import-not-found,import-untyped,unused-ignore]
        SyncObj,
        SyncObjConf,
    )

    node: Any = SyncObj(
        f"{HOST}:{port}",
        [f"{HOST}:{other}" for other in others],
        SyncObjConf(connectionRetryTime=RETRY_S, **more),
    )
    reporter = Reporter(path, f"{HOST}:{port}")

    def watch() -> None:
        while True:
            leader = node.getStatus()["leader"]
            reporter.tell(None if leader is None else str(leader))
            time.sleep(GLANCE_S)

    threading.Thread(target=watch, daemon=True).start()
    orders.say(id=f"{HOST}:{port}", port=port)
    sys.stdin.read()


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        be_member(int(sys.argv[2]), sys.argv[3])
    else:
        kept = {"connectionTimeout": KEPT_S} if sys.argv[1] == "raft-kept" else {}
        be_raft(int(sys.argv[2]), sys.argv[3], [int(port) for port in sys.argv[4:]], kept)
