"""Bytes side by side: for the same calls and messages, ours are those of the maxwelllink package."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import pytest
from peer_programs import (
    LIMIT_S,
    MXL_PREFIX,
    PEERS_MAY_WARN,
    TRANSPORTS,
    Place,
    Programs,
    mxl_driver,
    mxl_hub,
    our_hub,
)

from mxl_sockets import Driver, End
from wireframe import NEED_DATA, ipi

pytestmark = [pytest.mark.peer, PEERS_MAY_WARN]

# Every payload passes `json.dumps` of the standard library, and the key molecule_id is the hub's to set.
INITS: dict[int, dict[str, Any]] = {
    0: {"dt_au": 0.25},
    7: {"name": "água", "nested": [1, 2.5, None, True, {"c": "d/\\"}], "molecule_id": "theirs", "last": -0.0},
    2**31 - 1: {"nan": float("nan"), "infinite": float("inf"), "tiny": 5e-324, "third": 1 / 3},
    -3: {},
}

QUIET_NAN, SIGNALLING_NAN = np.frombuffer(bytes.fromhex("efbeadde0000f8ff010000000000f07f"), "<f8")
# The real hub takes fields for equal that only differ in the sign of a zero, so no step has both zeros.
FIELDS = [
    [0.0, 0.0, 0.0],
    [-0.0, -0.0, -0.0],
    [1 / 3, -2 / 3, 1e-3],
    [5e-324, -5e-324, 2.2250738585072009e-308],
    [np.inf, -np.inf, np.finfo(float).max],
    [QUIET_NAN, SIGNALLING_NAN, np.nan],
]


class Recorder:
    """A connection that behaves like a driver and keeps every byte it is sent."""

    def __init__(self, place: Place) -> None:
        family, address = (
            (socket.AF_UNIX, MXL_PREFIX + place.name)
            if place.name
            else (socket.AF_INET, ("127.0.0.1", place.port))
        )
        self.received = bytearray()
        self._sock = socket.socket(family)
        self._sock.settimeout(LIMIT_S)
        self._sock.connect(address)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.join(LIMIT_S)
        self._sock.close()

    def _run(self) -> None:
        decoder = ipi.Decoder(accept=ipi.FROM_SERVER)
        while data := self._sock.recv(1 << 16):
            self.received += data
            decoder.feed(data)
            while (event := decoder.next_event()) is not NEED_DATA:
                if event == ipi.GETFORCE:
                    self._sock.sendall(ipi.encode_forceready((0.0, 0.0, 0.0)))
                elif event == ipi.STOP:
                    self._sock.sendall(ipi.encode_header(ipi.BYE))


Session = Callable[[Any, Callable[[], None]], None]


def record(opened: contextlib.AbstractContextManager[tuple[Any, Place]], session: Session) -> list[bytes]:
    """What a hub sends to each driver until it has stopped; drivers come when the session asks for one."""
    recorders: list[Recorder] = []
    # The recorders are left last: they see the end of the hub.
    with contextlib.ExitStack() as stack, opened as (hub, place):
        session(hub, lambda: recorders.append(stack.enter_context(Recorder(place))))
    return [bytes(recorder.received) for recorder in recorders]


def bound_first(hub: Any, arrive: Callable[[], None]) -> None:
    """Bind one molecule after the other, then step."""
    for count in range(1, len(INITS) + 1):
        arrive()
        assert hub.wait_until_bound(dict(list(INITS.items())[:count]), timeout=LIMIT_S)
    for vector in FIELDS:
        requests = {molecule: {"efield_au": vector, "meta": {"t": 1.0}} for molecule in INITS}
        assert hub.step_barrier(requests, timeout=LIMIT_S).keys() == INITS.keys()


def bound_by_steps(hub: Any, arrive: Callable[[], None]) -> None:
    """Nobody waits for binding: the requests bring the parameters, and empty answers are asked again."""
    arrive()
    for vector in FIELDS:
        request = {7: {"efield_au": np.array(vector), "init": INITS[7]}}
        while not hub.step_barrier(request, timeout=LIMIT_S):
            pass
    hub.graceful_shutdown("enough", wait=0.5)


@pytest.mark.fault("C25", "mxl-sockets", "W")
@pytest.mark.parametrize("session", [bound_first, bound_by_steps])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_hub_sends_what_the_real_hub_sends(transport, session):
    """INIT, requests and STOP, for the same calls: every bit of the fields, every letter of the texts."""
    theirs = record(mxl_hub(transport), session)
    ours = record(our_hub(transport), session)
    assert ours == theirs
    assert all(stream.startswith(b"INIT") and stream.endswith(ipi.encode_header(ipi.STOP)) for stream in ours)


class Replay:
    """A model that commits what another program has committed: only the messages around it are ours."""

    def __init__(self, commits: list[tuple[list[float], dict[str, Any]]]) -> None:
        self._commits = iter(commits)

    def initialize(self, molecule_id: int, dt_au: float, params: Any, /) -> None:
        """Go on."""

    def stage(self, field_au: np.ndarray, /) -> None:
        """Know better."""

    def commit(self) -> tuple[list[float], dict[str, Any]]:
        """Return the next answer of the other program."""
        return next(self._commits)


def answers(listener: socket.socket, dialogue: list[bytes]) -> bytes:
    """Everything that the next driver says to a hub that says all this."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as stream:
        connection.settimeout(LIMIT_S)
        connection.sendall(b"".join(dialogue))
        return stream.read()


def replies_in(stream: bytes) -> list[tuple[list[float], dict[str, Any]]]:
    """Amplitudes and extras of all replies in what a driver has said."""
    decoder = ipi.Decoder(accept=ipi.FROM_DRIVER)
    decoder.feed(stream)
    events = iter(decoder.next_event, NEED_DATA)
    return [
        (np.frombuffer(event.forces, "<f8").tolist(), json.loads(event.extra))
        for event in events
        if isinstance(event, ipi.ForceReady)
    ]


@pytest.mark.fault("C25", "mxl-sockets", "W")
def test_our_driver_says_what_the_real_driver_says(tmp_path):
    """States, replies, and the answer to a question for which nothing was staged: all bytes are equal."""
    status, getforce = ipi.encode_header(ipi.STATUS), ipi.encode_header(ipi.GETFORCE)
    request = ipi.encode_request(np.array([0.1, 0.2, 0.3]).tobytes())
    staging = request[: -len(getforce)]
    init = ipi.encode_init(5, b'{"dt_au": 0.5, "molecule_id": 5}')
    dialogue = [
        *(status, init, status),
        *(request, status),
        *(staging, status, staging, status, getforce, status),  # the second replaces the first
        *(getforce, getforce, status),  # nothing staged: zeros, and the extra of before
        *(init, status, request, status),
        ipi.encode_header(ipi.STOP),
    ]
    ends = []
    with Programs(tmp_path) as programs, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        address = listener.getsockname()
        programs.start(mxl_driver(Place(port=address[1]), "tls", omega=0.1, mu12=1.0, orientation=2))
        theirs = answers(listener, dialogue)
        assert programs.statuses() == [0]
        first, second, *nothing_staged, last = replies_in(theirs)
        assert nothing_staged == [([0.0, 0.0, 0.0], second[1])] * 2
        with Driver(Replay([first, second, last]), address, connect_timeout=LIMIT_S) as driver:
            thread = threading.Thread(target=lambda: ends.append(driver.run()), daemon=True)
            thread.start()
            ours = answers(listener, dialogue)
            thread.join(LIMIT_S)
    assert ours == theirs
    assert [end.reason for end in ends] == [End.STOP]
    assert len(theirs) > 5 * ipi.REPLY_LENGTH
