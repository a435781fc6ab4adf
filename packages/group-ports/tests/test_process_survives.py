"""What libzmq answers by ending the process, each in a process of its own: that goes on and says so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Seconds after which a program is not going to end.
LIMIT_S = 60.0

#: Ports whose queues are full, and what then becomes of their peers; all at the same time.
FULL_QUEUE = """
import concurrent.futures, itertools, time, zmq
from group_ports import GroupAnsPort, GroupSubPort, PortSettings


def play(kind, end):
    settings = PortSettings(recv_hwm=10, heartbeat_s=0.05, liveness_s=0.1)
    context = zmq.Context()
    flood = context.socket(zmq.XPUB if kind == "sub" else zmq.DEALER)
    flood.setsockopt(zmq.SNDHWM, 100)
    flood.setsockopt(zmq.LINGER, 0)
    if kind == "sub":
        port = GroupSubPort.standalone(settings=settings)
        flood.setsockopt(zmq.XPUB_NODROP, 1)
        port.update("127.0.0.1", flood.bind_to_random_port("tcp://127.0.0.1"))
        flood.recv()
    else:
        port = GroupAnsPort.standalone(settings=settings)
        flood.connect("tcp://%s:%d" % port.address)
    tag = b"msg" if kind == "sub" else b"mtl"
    flood.setsockopt(zmq.SNDTIMEO, 500)
    try:
        while True:
            flood.send_multipart([tag, b"x" * 10000])
    except zmq.Again:
        pass
    if end == "dies":
        flood.close(0)
    # Some heartbeats, and longer than a silent peer is borne with.
    time.sleep(1.5)
    read = 0
    while port.take(0.5) is not None:
        read += 1
    assert read >= 5, (kind, end, read)
    if end == "lives":
        # Given up meanwhile or not, it is heard.
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline, (kind, end)
            try:
                flood.send_multipart([tag, b"again"], zmq.NOBLOCK)
            except zmq.Again:
                pass
            arrival = port.take(0.05)
            if arrival is not None and arrival.payload == b"again":
                break
    port.close()
    context.destroy(0)


cases = list(itertools.product(("sub", "ans"), ("dies", "lives")))
with concurrent.futures.ThreadPoolExecutor(len(cases)) as pool:
    for played in [pool.submit(play, *case) for case in cases]:
        played.result()
print("alive")
"""

#: A subscriber reads nothing for longer than a silent peer is borne with, and then all.
SLOW = """
import time
from group_ports import GroupPubPort, GroupSubPort, PortSettings, PortTimeout

times = {"heartbeat_s": 0.05, "liveness_s": 0.1, "recv_hwm": 10, "send_hwm": 10}
pub = GroupPubPort.standalone(settings=PortSettings(back_pressure=True, send_timeout=0.5, **times))
sub = GroupSubPort.standalone(settings=PortSettings(**times))
sub.update(*pub.address)
pub.wait_ready(1)
sent = 0
end = None
while end is None or time.monotonic() < end:
    try:
        pub.send(sent.to_bytes(10_000, "big"))
        sent += 1
    except PortTimeout:
        end = end or time.monotonic() + 2
heard = [int.from_bytes(sub.recv(), "big") for _ in range(sent)]
assert heard == list(range(sent))
assert pub.subscribers() == 1
sub.close()
pub.close()
print("alive")
"""

#: A subscriber is in the midst of a message of many frames when it leaves its publisher, which then goes.
HALF_READ = """
import time, zmq
from group_ports import GroupPubPort, GroupSubPort

context = zmq.Context()
long = context.socket(zmq.XPUB)
port = GroupSubPort.standalone()
place = "127.0.0.1", long.bind_to_random_port("tcp://127.0.0.1")
port.update(*place)
long.recv()
long.send_multipart([b"msg"] * 20_000)
deadline = time.monotonic() + 20
while not port.statistics.dropped:
    assert time.monotonic() < deadline
    port.take(0)
port.forget(*place)
long.close(0)
with GroupPubPort.standalone() as other:
    port.update(*other.address)
    other.wait_ready(1)
    other.send(b"of another one")
    assert port.recv() == b"of another one"
assert port.statistics.dropped == {"BadHeader": 1}
port.close()
context.destroy(0)
print("alive")
"""

#: So many files are left when a port or member is made.
FEW_FILES = """
import dataclasses, gc, os, resource, sys
from group_ports import CurveKeys, Group, GroupPubPort, PortError, PortSettings

keys = CurveKeys.generate()
keys = dataclasses.replace(keys, allowed=frozenset([keys.public]))
make = {
    "port": GroupPubPort.standalone,
    "port with keys": lambda: GroupPubPort.standalone(settings=PortSettings(keys=keys)),
    "member": lambda: Group.standalone("rack", "a"),
}[sys.argv[1]]


def attempt(left):
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    held = []
    try:
        while True:
            held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        pass
    for _ in range(left):
        os.close(held.pop())
    try:
        make().close()
    except PortError:
        return 3
    return 4


results = []
for left in range(40):
    child = os.fork()
    if not child:
        try:
            os._exit(attempt(left))
        except BaseException as error:
            print(left, type(error).__name__, error, flush=True)
            os._exit(1)
    results.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if results[-1] != 3:
        break
assert results == [3] * (len(results) - 1) + [4], results
assert len(results) > 10, results
print("alive")
"""

#: So many threads may run when a port is made. The limit does not bind the superuser.
FEW_THREADS = """
import os, resource
from group_ports import GroupPubPort, PortError


def attempt(most):
    is_root = os.geteuid() == 0
    if is_root:
        os.setgid(65534)
        os.setuid(60_000 + os.getpid() % 5000)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    try:
        GroupPubPort.standalone().close()
    except PortError:
        return 3
    return 4


for most in range(1, 8):
    child = os.fork()
    if not child:
        try:
            os._exit(attempt(most))
        except BaseException as error:
            print(most, type(error).__name__, error, flush=True)
            os._exit(1)
    result = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert result in (3, 4), (most, result)
    assert most > 1 or result == 3
assert os.geteuid() != 0 or result == 4
print("alive")
"""


def run(program, *arguments):
    path = os.pathsep.join(sys.path)
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "PYTHONPATH": path},
        cwd=Path(__file__).parent,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "alive\n"), result.stdout + result.stderr


@pytest.mark.timeout(120)
@pytest.mark.fault("C17", "group-ports")
def test_a_full_queue_and_a_peer_that_goes_or_stays():
    """Nobody reads for longer than a peer may be silent. Heartbeats of ZMTP would end the process."""
    run(FULL_QUEUE)


@pytest.mark.timeout(120)
@pytest.mark.fault("C17", "group-ports", "L")
def test_with_back_pressure_a_subscriber_that_is_slow_is_not_taken_for_dead():
    run(SLOW)


def test_a_publisher_is_forgotten_in_the_midst_of_its_message():
    run(HALF_READ)


@pytest.mark.timeout(120)
@pytest.mark.fault("C23", "group-ports")
@pytest.mark.parametrize("kind", ["port", "port with keys", "member"])
def test_with_few_files_left_it_is_a_port_error_or_works(kind):
    run(FEW_FILES, kind)


@pytest.mark.timeout(120)
@pytest.mark.fault("C23", "group-ports")
def test_with_few_threads_left_it_is_a_port_error_or_works():
    run(FEW_THREADS)
