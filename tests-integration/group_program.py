"""An observer of a group, or a port, as a program: ``group_program.py KIND SETTINGS``.

It says "ready" when it is, and answers each line, ``[command, arguments]``, with one of JSON. An observer
needs no commands: it says what it hears, and when. Times are those of the monotonic clock, which is the same
on all hosts that are namespaces.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import zmq

from group_ports import (
    GroupAnsPort,
    GroupPubPort,
    GroupQryPort,
    GroupSubPort,
    PortError,
    PortSettings,
    PortTimeout,
)
from wireframe.group import decode_body, decode_frames

# Seconds that programs wait for each other.
WAIT_S = 60.0
# Seconds between two looks.
GLANCE_S = 0.005
GROUP = "rack.a"
ENOUGH = b"enough"


def observe(publishers: list[tuple[str, int]]) -> None:
    """Say all that these publish but heartbeats, for ever; ready when each of them was heard."""
    context = zmq.Context()
    poller = zmq.Poller()
    names = {}
    for host, port in publishers:
        socket = context.socket(zmq.SUB)
        # Whatever happens to the network, it is back before the members.
        for option, milliseconds in ((zmq.RECONNECT_IVL, 20), (zmq.CONNECT_TIMEOUT, 200)):
            socket.setsockopt(option, milliseconds)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(f"tcp://{host}:{port}")
        poller.register(socket, zmq.POLLIN)
        names[socket] = host
    unheard = set(names.values())
    while True:
        for socket, _ in poller.poll():
            message = decode_frames(socket.recv_multipart())
            if names[socket] in unheard:
                unheard.remove(names[socket])
                if not unheard:
                    print("ready", flush=True)
            tag, body = message.tag.decode(), decode_body(message.tag, message.payload)
            if tag in ("req", "vot", "ldr", "rcm", "ann"):
                say({"at": time.monotonic(), "host": names[socket], "tag": tag, **dataclasses.asdict(body)})


class Ends:
    """One port, or several."""

    ports: list[Any]

    def statistics(self) -> dict[str, Any]:
        """What the first port counted, and the most memory there ever was in KiB."""
        counts = self.ports[0].statistics
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        peak = int(status.partition("VmHWM:")[2].split()[0])
        return {"sent": counts.sent, "received": counts.received, "lost": counts.lost, "peak_memory": peak}

    def address(self) -> tuple[str, int]:
        host, port = self.ports[0].address
        return host, port


class Publisher(Ends):
    """Numbers its messages from 0, refused ones included."""

    def __init__(self, host: str, settings: PortSettings) -> None:
        self._port = GroupPubPort.standalone(host=host, settings=settings)
        self.ports = [self._port]
        self._next = 0
        self._ticking = threading.Event()

    def ready(self, count: int) -> None:
        """Wait until so many hear it."""
        self._port.wait_ready(count, WAIT_S)

    def peers(self, count: int) -> float:
        """Wait until it has so many subscribers; return when."""
        return when(lambda: self._port.subscribers() == count)

    def send(self, count: int, size: int) -> dict[str, Any]:
        """Send so many; tell which were taken, and the longest time that one of them took."""
        taken, refused, longest = [], [], 0.0
        for number in range(self._next, self._next + count):
            began = time.monotonic()
            try:
                self._port.send(str(number).encode().ljust(size))
            except PortTimeout:
                refused.append(number)
            else:
                taken.append(number)
            longest = max(longest, time.monotonic() - began)
        self._next += count
        return {"taken": taken, "refused": refused, "longest": longest}

    def tick(self, gap: float) -> None:
        """Send the time, again and again, from now on."""
        while True:
            self._port.send(str(time.monotonic()).encode())
            time.sleep(gap)


class Subscriber(Ends):
    """Reads when told to, and only then."""

    def __init__(self, host: str, settings: PortSettings) -> None:
        self._port = GroupSubPort.standalone(host=host, settings=settings)
        self.ports = [self._port]

    def update(self, *publishers: tuple[str, int]) -> None:
        for publisher in publishers:
            self._port.update(*publisher)
        self._port.wait_connected(len(publishers), WAIT_S)

    def peers(self, count: int) -> float:
        """Wait until it is connected to so many publishers; return when."""
        return when(lambda: self._port.reached() == count)

    def until(self, number: int) -> list[int]:
        """Read until that number, or a later one, has come."""
        heard = [int(self._port.recv())]
        while heard[-1] < number:
            heard.append(int(self._port.recv()))
        return heard

    def resumed(self, since: float, count: int) -> float:
        """Read until so many publishers were heard that sent since then; return when the last was."""
        heard: set[bytes | None] = set()
        while len(heard) < count:
            arrival = self._port.take(WAIT_S)
            if arrival is None:
                raise TimeoutError(f"{len(heard)} of {count} publishers")
            if float(arrival.payload) >= since:
                heard.add(arrival.sender)
        return time.monotonic()


class Asker(Ends):
    """Several query ports, each of which is a member of its own."""

    def __init__(self, host: str, settings: PortSettings) -> None:
        del host
        self._settings = settings
        self.ports = [GroupQryPort.standalone(settings=settings)]
        self._number = 0
        self._unanswered: set[bytes] = set()

    def be(self, count: int) -> None:
        """Be so many members."""
        while len(self.ports) < count:
            self.ports.append(GroupQryPort.standalone(settings=self._settings))

    def update(self, host: str, port: int) -> None:
        for each in self.ports:
            each.update(host, port)

    def peers(self, count: int) -> float:
        """Wait until so many members are connected; return when."""
        return when(lambda: sum(port.connected() for port in self.ports) == count)

    def ask(self, rounds: int) -> dict[str, Any]:
        """Let each member ask; tell how many times it was what, and the longest time that one took."""
        outcomes = {"answered": 0, "no leader": 0, "unreached": 0, "unanswered": 0, "late": 0}
        longest = 0.0
        for _ in range(rounds):
            for port in self.ports:
                began = time.monotonic()
                outcomes[self._ask(port, outcomes)] += 1
                longest = max(longest, time.monotonic() - began)
        return {**outcomes, "longest": longest}

    def enough(self) -> bool:
        """Ask for no more answers."""
        return bool(self.ports[0].send(ENOUGH))

    def _ask(self, port: GroupQryPort, outcomes: dict[str, int]) -> str:
        self._number += 1
        question = str(self._number).encode()
        try:
            if not port.send(question):
                return "no leader"
        except PortTimeout:
            return "unreached"
        self._unanswered.add(question)
        try:
            while (answer := port.recv()) != question[::-1]:
                # To an earlier one, and the only answer to it.
                self._unanswered.remove(answer[::-1])
                outcomes["late"] += 1
        except PortTimeout:
            return "unanswered"
        self._unanswered.remove(question)
        return "answered"


class Answerer(Ends):
    """Answers each question with the same, reversed."""

    def __init__(self, host: str, settings: PortSettings) -> None:
        self._port = GroupAnsPort.standalone(host=host, settings=settings)
        self.ports = [self._port]
        self._questions: list[bytes] = []

    def move(self) -> tuple[str, int]:
        """Answer elsewhere from now on; return where."""
        self._port.updatePoller()
        return self.address()

    def answer(self) -> dict[str, int]:
        """Answer until somebody has had enough; tell how many questions there were since the start."""
        while (arrival := self._port.take(WAIT_S)) is not None and arrival.payload != ENOUGH:
            self._questions.append(arrival.payload)
            self._port.send(arrival.payload[::-1])
        return {"questions": len(self._questions), "different": len(set(self._questions))}

    def lost(self) -> float:
        """Write to the last one heard until that cannot be reached; return when."""

        def is_lost() -> bool:
            try:
                self._port.send(b"are you there?")
            except PortError as error:
                if error.errno != PortError.EROUTE:
                    raise
                return True
            return False

        return when(is_lost)


def when(condition: Callable[[], bool]) -> float:
    """Wait until the condition holds; return when that was."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("it never was")
        time.sleep(GLANCE_S)
    return time.monotonic()


def say(what: Any) -> None:
    """Write a line; bytes are hexadecimal."""
    print(json.dumps(what, default=bytes.hex), flush=True)


def commands() -> Iterator[tuple[str, list[Any]]]:
    """Read the orders."""
    for line in sys.stdin:
        command, arguments = json.loads(line)
        yield command, arguments


KINDS: dict[str, Callable[[str, PortSettings], Ends]] = {
    "publisher": Publisher,
    "subscriber": Subscriber,
    "asker": Asker,
    "answerer": Answerer,
}


def main() -> None:
    what, text = sys.argv[1:]
    settings = json.loads(text)
    if what == "observer":
        observe(settings)
    host = settings.pop("host")
    end = KINDS[what](host, PortSettings(group=GROUP, **settings))
    print("ready", flush=True)
    for command, arguments in commands():
        say(getattr(end, command)(*arguments))


if __name__ == "__main__":
    main()
