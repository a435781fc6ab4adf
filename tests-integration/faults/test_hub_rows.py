"""Faults of the catalogue, played between hubs and their drivers or bridges with the tools of this folder."""

from __future__ import annotations

import contextlib
import errno
import time

import numpy as np
import pytest
from drivers import Recorder, running
from failing_socket import fail_each_call
from proxy import Faults, TcpProxy

from mxl_sockets import AggregatedSocketHub, Bridge, Driver, SocketHub, StepTimeout

LIMIT_S = 20.0
STEPS, MOLECULES = 20, 3


def fields(step):
    """Numbers with all kinds of bits."""
    return np.random.default_rng(step).normal(size=(MOLECULES, 3)) * 10.0 ** np.arange(-200, 100, 100)


@pytest.mark.fault("C1", "mxl-sockets", "LW")
@pytest.mark.fault("C1", "mxl-aggregated", "LW")
@pytest.mark.parametrize("kind", ["drivers", "bridge"])
@pytest.mark.parametrize("piece", [1, 7])
def test_c01_steps_byte_by_byte_are_the_same_steps(figure, kind, piece):
    """L W: every connection goes through a proxy that passes on a few bytes at a time; every bit is kept."""
    models = [Recorder() for _ in range(MOLECULES)]
    pieces = Faults(piece=piece)
    is_bridge = kind == "bridge"
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context((AggregatedSocketHub if is_bridge else SocketHub)(port=0, timeout=LIMIT_S))
        between = stack.enter_context(TcpProxy(hub.address, pieces, pieces))
        inits = {one: {"dt_au": 1.0} for one in range(MOLECULES)}
        clients = []
        if is_bridge:
            bridge = Bridge("node-0", between.address)
            clients.append(bridge)
            inits = {one: {**init, "aggregate_group": "node-0"} for one, init in inits.items()}
        address = bridge.local_address if is_bridge else between.address
        clients += [Driver(model, address) for model in models]
        stack.enter_context(running(*clients))
        assert hub.wait_until_bound(inits, timeout=LIMIT_S)
        for step in range(STEPS):
            answer = hub.step(fields(step))
            assert answer.tobytes() == np.ascontiguousarray(fields(step)[:, ::-1]).tobytes()
        count = between.counts["to server"] + between.counts["to client"]
    # Who is which molecule is decided by who came first.
    asked = sorted(np.array(model.asked).tobytes() for model in models)
    told = np.array([fields(step) for step in range(STEPS)])
    assert asked == sorted(told[:, one].tobytes() for one in range(MOLECULES))
    package = "mxl-aggregated" if is_bridge else "mxl-sockets"
    figure(f"{package}: {STEPS} steps, {count} bytes in pieces of {piece}: all bits the same")


@pytest.mark.fault("C23", "mxl-sockets", "TE")
@pytest.mark.parametrize("methods", [("send", "sendall"), ("recv", "recv_into")], ids=lambda both: both[0])
def test_c23_a_step_returns_by_its_deadline_whichever_call_fails(figure, methods):
    """T E: the k-th call of either end fails, for every k; a step ends by type and names who is missing."""
    times, told = [], []

    def run(failing):
        with failing.installed(), SocketHub(port=0, timeout=LIMIT_S) as hub:
            models = [Recorder() for _ in range(2)]
            with running(*(Driver(model, hub.address, reconnect_timeout=LIMIT_S) for model in models)):
                # Whoever is lost on the way comes again.
                assert hub.wait_until_bound({0: {}, 1: {}}, timeout=LIMIT_S)
                for step in range(2):
                    wanted = fields(step)[:2]
                    began = time.monotonic()
                    try:
                        answer = hub.step(wanted, timeout=1.0)
                    except StepTimeout as error:
                        told.append(error)
                        answer = None
                    times.append(time.monotonic() - began)
                    if answer is None:
                        answer = hub.step(wanted, timeout=LIMIT_S)  # the same step, once more
                    assert answer.tobytes() == np.ascontiguousarray(wanted[:, ::-1]).tobytes()

    failures = sum(fail_each_call(run, methods, code) for code in (errno.ECONNRESET, errno.ENOBUFS))
    assert failures >= 8
    assert max(times) < LIMIT_S
    assert all({*late.missing, *late.late} <= {0, 1} and "molecule" in str(late) for late in told)
    figure(
        f"{methods[0]}: {failures} calls failed one by one, {len(told)} steps told as late, "
        f"all of timeout 1 s returned after {max(times):.2f} s at most"
    )
