"""Bytes side by side: for the same calls and messages, ours and those of the maxwelllink package are equal."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from peer_programs import (  # noqa: E402
    LIMIT_S,
    MXL_PREFIX,
    TRANSPORTS,
    Place,
    Programs,
    drive,
    mxl_driver,
    mxl_hub,
    open_hub,
)

from wireframe import NEED_DATA, ipi  # noqa: E402

pytestmark = pytest.mark.peer

# Every payload passes `json.dumps` of the standard library, and the key molecule_id is the hub's to set.
INITS: dict[int, dict[str, Any]] = {
    0: {"dt_au": 0.25},
    7: {"name": "água", "nested": [1, 2.5, None, True, {"c": "d/\\"}], "molecule_id": "theirs", "last": -0.0},
    2**31 - 1: {"nan": float("nan"), "infinite": float("inf"), "tiny": 5e-324, "third": 1 / 3},
    -3: {},
}

QUIET_NAN, SIGNALLING_NAN = np.frombuffer(bytes.fromhex("efbeadde0000f8ff" "010000000000f07f"), "<f8")
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
            (socket.AF_UNIX, MXL_PREFIX + place.name) if place.name else (socket.AF_INET, ("127.0.0.1", place.port))
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


def record(hub: Any, place: Place, session: Callable[[Any, Callable[[], None]], None]) -> list[bytes]:
    """What a hub sends to each driver in a session; drivers come when the session asks for the next."""
    recorders: list[Recorder] = []

    def arrive() -> None:
        recorders.append(Recorder(place))

    try:
        session(hub, arrive)
    finally:
        hub.stop()
        for recorder in recorders:
            with recorder:
                pass
    return [bytes(recorder.received) for recorder in recorders]


def bound_first(hub: Any, arrive: Callable[[], None]) -> None:
    """Bind one molecule after the other, then step."""
    for count in range(1, len(INITS) + 1):
        arrive()
        assert hub.wait_until_bound(dict(list(INITS.items())[:count]), timeout=LIMIT_S)
    for vector in FIELDS:
        requests = {molecule: {"efield_au": vector, "meta": {"t": 1.0}} for molecule in INITS}
        assert list(hub.step_barrier(requests, timeout=LIMIT_S)) == list(INITS)


def bound_by_steps(hub: Any, arrive: Callable[[], None]) -> None:
    """Nobody waits for binding: the requests bring the parameters, and empty answers are asked again."""
    arrive()
    for vector in FIELDS:
        request = {7: {"efield_au": np.array(vector), "init": INITS[7]}}
        while not hub.step_barrier(request, timeout=LIMIT_S):
            pass
    hub.graceful_shutdown("enough", wait=0.5)


@pytest.mark.parametrize("session", [bound_first, bound_by_steps])
@pytest.mark.parametrize("transport", TRANSPORTS)
def test_our_hub_sends_what_the_real_hub_sends(transport, session):
    """INIT, requests and STOP, for the same calls, to the last bit of every field and letter of every text."""
    with mxl_hub(transport) as (hub, place):
        theirs = record(hub, place, session)
    hub, place = open_hub(transport)
    ours = record(hub, place, session)
    assert ours == theirs
    assert all(stream.startswith(b"INIT") and stream.endswith(ipi.encode_header(ipi.STOP)) for stream in ours)


def test_our_driver_answers_what_the_real_driver_answers(tmp_path):
    """States, replies, and the answer to a question for which nothing was staged: the whole stream is equal."""
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
    streams = []
    with Programs(tmp_path) as programs, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        place = Place(port=listener.getsockname()[1])
        for command in (mxl_driver(place, "dummy"), drive("peer_molecules:nothing", place)):
            programs.start(command)
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                connection.settimeout(LIMIT_S)
                connection.sendall(b"".join(dialogue))
                streams.append(stream.read())
        assert programs.statuses() == [0, 0]
    theirs, ours = streams
    assert ours == theirs
    assert theirs.count(b"FORCEREADY") == 5
    assert theirs.endswith(ipi.encode_header(ipi.BYE))
