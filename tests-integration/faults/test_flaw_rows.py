"""Flaws of the originals, played on ours: what a stranger, a long message, a rank or a fork costs."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from drivers import Recorder, running

from group_ports import GroupAnsPort, PortSettings
from mxl_sockets import Driver, SocketHub
from wireframe import Socket

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0

# -- D5: all interfaces are listened on, and the first stranger becomes a molecule

STRANGERS = 4
#: Of a row of the system's table: an address that is listened on.
LISTENS = "0A"


def listened_on(port):
    """Addresses at which this host listens on a port, IPv4 and IPv6; Linux only."""
    found = []
    for table, kind in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]:
            _, place, _, state, *_ = line.split()
            digits, _, number = place.partition(":")
            if state == LISTENS and int(number, 16) == port:
                # Words of 32 bits, in the byte order of this machine.
                words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
                found.append(
                    socket.inet_ntop(kind, b"".join(word.to_bytes(4, sys.byteorder) for word in words))
                )
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="the table of listeners is in /proc")
@pytest.mark.fault("D5", "mxl-sockets", "W")
def test_d05_strangers_that_came_first_get_no_molecule_and_other_hosts_do_not_get_in(figure):
    """W: a driver that comes behind silent strangers is the molecule; they got a question, no INIT."""
    with contextlib.ExitStack() as stack:
        hub = stack.enter_context(SocketHub(port=0, handshake="status", handshake_timeout=0.5))
        addresses = listened_on(hub.address[1])
        assert addresses == ["127.0.0.1"]
        strangers = [
            stack.enter_context(socket.create_connection(hub.address, LIMIT_S)) for _ in range(STRANGERS)
        ]
        model = Recorder()
        with running(Driver(model, hub.address)):
            # If it is too busy to answer in time, it comes again.
            assert hub.wait_until_bound({0: {"dt_au": 1.0}}, timeout=3 * LIMIT_S)
            answer = hub.step([[1.0, 2.0, 3.0]], timeout=LIMIT_S)
        assert answer.tolist() == [[3.0, 2.0, 1.0]]
        assert len(model.asked) == 1
        hub.stop()
        got = [everything_of(stranger) for stranger in strangers]
    words = {word for one in got for word in one.split()}
    # A question, and that this is the end.
    assert words <= {b"STATUS", b"STOP", b"EXIT"}
    figure(
        f"listened on {', '.join(addresses)} alone; {STRANGERS} strangers got "
        f"{sum(map(len, got))} bytes in all, none of them INIT; the molecule is the driver behind them"
    )


def everything_of(stream):
    """What came until its end."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := stream.recv(4096):
            found += piece
    return found


# -- D6: asking for the rank starts MPI

#: Whoever imports it has started MPI.
FAKE_MPI = """
raise SystemExit("MPI was started")
"""
RANK = """
import json, sys, time
from mxl_sockets import am_master

before = set(sys.modules)
began = time.perf_counter()
answer = am_master()
seconds = time.perf_counter() - began
print(json.dumps([answer, seconds, sorted(set(sys.modules) - before)]))
"""


@pytest.mark.fault("D6", "mxl-sockets", "T")
def test_d06_asking_for_the_rank_imports_nothing(figure, tmp_path):
    """T: in a process of its own that could import mpi4py, and would end of it."""
    (tmp_path / "mpi4py").mkdir()
    for module in ("__init__", "MPI"):
        (tmp_path / "mpi4py" / f"{module}.py").write_text(FAKE_MPI)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", RANK],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, seconds, imported = json.loads(done.stdout)
    assert answer is True
    assert [name for name in imported if name.partition(".")[0] == "mpi4py"] == []
    figure(f"answered in {1e3 * seconds:.2f} ms, {len(imported)} modules imported for it")


# -- D10: long messages take quadratic time

MIB = 1 << 20


@pytest.mark.fault("D10", "json-socket", "T")
def test_d10_sixteen_times_the_bytes_take_no_more_than_a_small_multiple_of_the_work(figure):
    """T: a message of 4 MiB and one of 64 MiB; processor time of reading them, both ends in one process."""
    with contextlib.ExitStack() as stack:
        server = Socket("server", port=0)
        stack.callback(server.shutdown)

        def seconds(size):
            body = b'"' + bytes(size - 2).replace(b"\0", b"x") + b'"'
            best = math.inf
            for _ in range(2):
                with socket.create_connection(server.address, LIMIT_S) as client:
                    sending = threading.Thread(target=client.sendall, args=(b"%010d" % size + body,))
                    began = time.process_time()
                    sending.start()
                    text = server.receive(timeout=LIMIT_S)
                    best = min(best, time.process_time() - began)
                    sending.join(LIMIT_S)
                assert text == body[1:-1].decode()
            return best

        short, long = seconds(4 * MIB), seconds(64 * MIB)
    # 16 times if it is linear, 256 times if not.
    assert long < 64 * max(short, 0.001)
    figure(f"4 MiB {1e3 * short:.1f} ms, 64 MiB {1e3 * long:.1f} ms of processor time")


# -- D11: members that were forked have the same identity, and one is not heard

CHILDREN, QUESTIONS = 4, 5
#: Forks before it has made anything, so that the children are as alike as they can be.
FORKED = """
import os, sys
from group_ports import GroupQryPort, PortSettings

host, port, children, questions = sys.argv[1], *map(int, sys.argv[2:])
pids = []
for child in range(children):
    pid = os.fork()
    if not pid:
        with GroupQryPort.standalone(settings=PortSettings(send_timeout=20.0, recv_timeout=20.0)) as qry:
            qry.update(host, port)
            for number in range(questions):
                assert qry.send(b"%d %d" % (child, number))
                assert qry.recv() == b"%d %d" % (child, number)
        os._exit(0)
    pids.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in pids))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.fault("D11", "group-ports", "L")
def test_d11_each_of_several_forked_members_is_heard_and_answered(figure):
    """L: children that were forked alike ask at once; each question is heard once, and its asker answered."""
    heard, identities = [], set()
    with GroupAnsPort.standalone(settings=PortSettings(send_timeout=LIMIT_S, recv_timeout=LIMIT_S)) as ans:
        host, port = ans.address
        command = [sys.executable, "-W", "error", "-c", FORKED, host, str(port)]
        with subprocess.Popen(
            [*command, str(CHILDREN), str(QUESTIONS)], stderr=subprocess.PIPE, text=True
        ) as program:
            try:
                while len(heard) < CHILDREN * QUESTIONS:
                    question = ans.take(3 * LIMIT_S)
                    assert question is not None, "a question was not heard"
                    heard.append(question.payload)
                    identities.add(question.sender)
                    assert ans.send(question.payload)
                _, errors = program.communicate(timeout=LIMIT_S)
            finally:
                program.kill()
        assert program.returncode == 0, errors
    wanted = [b"%d %d" % (child, number) for child in range(CHILDREN) for number in range(QUESTIONS)]
    assert sorted(heard) == wanted
    assert len(identities) == CHILDREN
    figure(f"{CHILDREN} forked children, {len(identities)} identities: {len(heard)} of {len(wanted)} heard")
