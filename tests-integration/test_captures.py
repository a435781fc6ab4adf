"""Real exchanges, captured on the loopback interface by Wireshark's tools and read by our command.

``python -m wireframe decode`` has to read each capture to its end, and to find as many frames in each
direction as the two ends know that they have sent. Where an index has the other project, it is one end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from namespaces import LIMIT_S, PATH, Namespace, Program, python
from peer_channels import SELF_TEST, payload_of
from peer_molecules import spring
from peer_namespace import network_namespace
from peer_programs import PEERS_MAY_WARN, Place, mxl_hub
from test_peers_iblutil import free_uri, real_peer

from echo_rig import EchoProtocol
from group_ports import GroupAnsPort, GroupPubPort, GroupQryPort, GroupSubPort
from mxl_sockets import Bridge, Driver
from udp_multicast import MulticastReceiver, MulticastSender, RawBytes
from wireframe import Socket, aggregate, datagram

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the loopback interface is named as on Linux")
peer = pytest.mark.peer

# Not a namespace: commands as they are.
HERE = Namespace([], 0)
COMMANDS = 5
STEPS = 20
LCM_URL = "udpm://239.255.76.67:7667?ttl=0"

# One line: packet, seconds, addresses, offset and size, who speaks as the frame shows it, what it says.
LINE = re.compile(r" *\d+ +\d+\.\d{6}  (\S+) > (\S+)  +(\d+) +(\d+)  (-|\w+ > \w+) +(.*)")


class Frame(NamedTuple):
    """A line of the command."""

    source: int
    target: int
    said: str


@contextlib.contextmanager
def captured(
    what: str, path: Path, *, tool: tuple[str, ...] = ("dumpcap",), network: Namespace = HERE
) -> Iterator[None]:
    """Write into a file what the loopback interface carries meanwhile, all of it.

    The file is looked at for datagrams of our own: the first one in it shows that all that comes later is
    captured, and one that is sent in the end that all before it is written.
    """
    if shutil.which(tool[0], path=PATH) is None:
        pytest.skip(f"{tool[0]} cannot be found (Debian: apt-get install tshark)")
    errors = path.with_suffix(".txt")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marked, errors.open("wb") as sink:
        marked.bind(("127.0.0.1", 0))  # so that nobody else's datagrams go there
        port = marked.getsockname()[1]
        command = [*tool, "-q", "-i", "lo", "-f", f"({what}) or udp port {port}", "-w", str(path)]
        program = subprocess.Popen(
            [*network.enter, *command], stdin=subprocess.DEVNULL, stderr=sink, start_new_session=True
        )
        try:
            wait_for_mark(program, path, errors, network, port)
            yield
            wait_for_mark(program, path, errors, network, port)
            program.send_signal(signal.SIGINT)
            assert program.wait(LIMIT_S) == 0, errors.read_text()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)  # tshark has a child
            program.wait(LIMIT_S)


def wait_for_mark(
    program: subprocess.Popen[bytes], path: Path, errors: Path, network: Namespace, port: int
) -> None:
    """Send datagrams to this port until one of them is in the file."""
    mark = secrets.token_hex(16)
    send = f"import socket; socket.socket(2, 2).sendto(b'{mark}', ('127.0.0.1', {port}))"
    deadline = time.monotonic() + LIMIT_S
    while not (path.exists() and mark.encode() in path.read_bytes()):
        network.run(*python("-ISc", send))
        if program.poll() is not None:
            said = errors.read_text(errors="replace").strip()
            if "permission" in said:
                pytest.skip(f"who runs this may not capture: {said}")
            raise AssertionError(f"{program.args} -> {program.returncode}: {said}")
        assert time.monotonic() < deadline, errors.read_text(errors="replace")


def decode(form: str, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command; it has to find nothing wrong."""
    done = subprocess.run(
        python("-m", "wireframe", "decode", form, str(path), *options),
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done
    return done


def decoded(form: str, path: Path, port: int) -> list[Frame]:
    """What the command says of the frames on this port; every line is of one that is right."""
    done = decode(form, path, "--port", str(port))
    found = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
    assert all(found), done.stdout
    assert done.stderr.splitlines()[0] == f"{len(found)} frames"
    return [
        Frame(int(one[1].rpartition(":")[2]), int(one[2].rpartition(":")[2]), one[6]) for one in found if one
    ]


def counted(frames: list[Frame], port: int) -> tuple[Counter[str], Counter[str]]:
    """How often each kind of frame, its first word, goes to this port, and how often it comes from there."""
    there = Counter(one.said.split()[0] for one in frames if one.target == port)
    back = Counter(one.said.split()[0] for one in frames if one.source == port)
    assert there.total() + back.total() == len(frames)
    return there, back


@contextlib.contextmanager
def in_background(*runs: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run functions in threads that end soon after the block; then there is what they have returned."""
    results: list[Any] = [None] * len(runs)

    def run(place: int) -> None:
        results[place] = runs[place]()

    threads = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(len(runs))]
    for thread in threads:
        thread.start()
    yield results
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize(
    ("tool", "magic"),
    [
        (("dumpcap",), b"\x0a\x0d\x0d\x0a"),
        (("tshark", "-F", "pcap"), b"\xd4\xc3\xb2\xa1" if sys.byteorder == "little" else b"\xa1\xb2\xc3\xd4"),
    ],
    ids=["pcapng", "pcap"],
)
def test_a_conversation_in_json(tool, magic, tmp_path):
    """A connection for each command; in both of the forms that the tools write."""
    path = tmp_path / "lenjson"
    with Socket("server", port=0, timeout=LIMIT_S) as server:
        port = server.port
        serve = functools.partial(server.serve, {"double": lambda number: 2 * number}, stop="done")
        with (
            captured(f"tcp port {port}", path, tool=tool),
            in_background(serve),
            Socket("client", port=port, timeout=LIMIT_S) as client,
        ):
            answers = [client.tcpcmd({"command": "double", "number": n}) for n in range(COMMANDS)]
            assert client.tcpcmd({"command": "done"}) == "OK"
    assert path.read_bytes()[:4] == magic
    frames = decoded("lenjson", path, port)
    assert [one.said for one in frames if one.source == port] == [*map(str, answers), '"OK"']
    assert sum(one.target == port for one in frames) == COMMANDS + 1


@peer
@PEERS_MAY_WARN
def test_the_real_hub_and_our_driver(tmp_path):
    """As many questions as answers, as many steps as the driver has made."""
    path = tmp_path / "ipi"
    with (
        mxl_hub("tcp") as (hub, place),
        captured(f"tcp port {place.port}", path),
        Driver(spring, ("127.0.0.1", place.port), connect_timeout=LIMIT_S, reconnect=False) as driver,
        in_background(driver.run) as ends,
    ):
        assert hub.wait_until_bound({0: {"dt_au": 1.0}}, timeout=LIMIT_S)
        for number in range(STEPS):
            request = {"efield_au": np.full(3, float(number))}
            assert hub.step_barrier({0: request}, timeout=LIMIT_S)
        hub.graceful_shutdown(wait=0.5)
    (end,) = ends
    to_hub, to_driver = counted(decoded("ipi", path, place.port), place.port)
    assert end.steps == STEPS
    assert to_hub["FORCEREADY"] == to_driver["POSDATA"] == to_driver["GETFORCE"] == STEPS
    assert to_driver["INIT"] == to_driver["STOP"] == to_hub["BYE"] == 1
    asked = to_hub["NEEDINIT"] + to_hub["READY"] + to_hub["HAVEDATA"]
    assert asked == to_driver["STATUS"]
    assert to_driver.total() == 2 * STEPS + 2 + asked
    assert to_hub.total() == STEPS + 1 + asked


@peer
@PEERS_MAY_WARN
def test_the_real_aggregated_hub_and_our_bridge(tmp_path):
    """As many results as the bridge has sent, each for a step; the hub may ask again what it has asked."""
    from maxwelllink.sockets import AggregatedSocketHub

    path, port, molecules = tmp_path / "aggregate", Place.new("tcp").port, 3
    hub = AggregatedSocketHub(host="127.0.0.1", port=port, timeout=LIMIT_S)
    with contextlib.ExitStack() as stack:
        stack.callback(hub.stop)
        with captured(f"tcp port {port}", path):
            bridge = stack.enter_context(Bridge("node", ("127.0.0.1", port), reconnect=False))
            drivers = [
                stack.enter_context(Driver(spring, bridge.local_address, reconnect=False))
                for _ in range(molecules)
            ]
            with in_background(bridge.run, *(one.run for one in drivers)) as ends:
                inits = {one: {"dt_au": 1.0, "aggregate_group": "node"} for one in range(molecules)}
                assert hub.wait_until_bound(inits, timeout=LIMIT_S)
                for number in range(STEPS):
                    requests = {one: {"efield_au": np.full(3, number + one / 8)} for one in inits}
                    assert len(hub.step_barrier(requests, timeout=LIMIT_S)) == molecules
                hub.stop()
    to_hub, to_bridge = counted(decoded("aggregate", path, port), port)
    assert to_hub["AGGRESULT"] == to_bridge["AGGSTEP"] == ends[0].steps >= STEPS
    assert to_hub["AGGREADY"] == to_bridge["AGGINIT"] >= 1
    assert to_hub["AGGHELLO"] == to_hub["BYE"] == to_bridge["STOP"] == 1
    assert set(to_hub) | set(to_bridge) <= {*map(bytes.decode, aggregate.FROM_BRIDGE | aggregate.FROM_HUB)}


@peer
def test_the_real_rig_and_our_acquisition(tmp_path):
    """Each message and each answer goes back as an echo: as many frames there as back."""
    path = tmp_path / "echo"
    uris = [free_uri(scheme) for scheme in ("udp", "tcp")]
    ports = [int(uri.rpartition(":")[2]) for uri in uris]

    async def exchange(uri: str) -> None:
        async with real_peer("server", uri, tmp_path) as rig, await EchoProtocol.client(uri) as ours:
            ours.default_echo_timeout = LIMIT_S
            await ours.status("CONNECTED")
            await rig.hears("event")
            answers = ours.events("EXPINIT")
            for number in range(COMMANDS):
                await rig.prepare("answer", 1, [{"answer": number}])
                await ours.init({"subject": "souris é", "number": number})
                assert (await anext(answers)).data == [{"answer": number}]

    async def both() -> None:
        async with asyncio.timeout(LIMIT_S):
            await asyncio.gather(*map(exchange, uris))

    with captured(f"udp port {ports[0]} or tcp port {ports[1]}", path):
        asyncio.run(both())
    for port in ports:
        to_rig, to_us = counted(decoded("echo", path, port), port)
        assert to_rig == to_us == {"EXPSTATUS:": 1, "EXPINIT:": 2 * COMMANDS}


@peer
def test_the_real_lcm_and_ours_on_one_network(tmp_path):
    """Both publish, small messages and large ones; of the latter each fragment is a frame."""
    path, script = tmp_path / "datagram", str(Path(__file__).with_name("peer_channels.py"))
    sizes = [0, 64, 8000, 150_000]
    with network_namespace() as network, captured("udp port 7667", path, network=network):
        for whose in ("lcm", "ours"):
            with Program(network, python(script, whose, "publish", LCM_URL), tmp_path) as publisher:
                assert publisher.line() == "ready"
                for size in sizes:
                    publisher.tell(f"FROM-{whose} {size}")
                    assert publisher.line() == "sent"
    frames = [one for one in decoded("datagram", path, 7667) if SELF_TEST not in one.said]
    for whose in ("lcm", "ours"):
        wanted = [len(list(datagram.encode_message(0, f"FROM-{whose}", payload_of(size)))) for size in sizes]
        source = next(one.source for one in frames if f"'FROM-{whose}'" in one.said)
        found = [one.said for one in frames if one.source == source]
        assert len(found) == sum(wanted)
        assert sum("fragment" in one for one in found) == wanted[-1] > 1


@peer
def test_a_log_of_the_real_lcm(tmp_path):
    """No capture: logs are files."""
    import lcm

    path = tmp_path / "log"
    log = lcm.EventLog(str(path), "w", overwrite=True)
    for number in range(COMMANDS):
        log.write_event(1_000_000 * number, "ADC", payload_of(number))
    log.close()
    assert decode("eventlog", path).stderr == f"{COMMANDS} frames of eventlog\n"


def test_readouts(tmp_path):
    """Each is a datagram, to the group and not back."""
    path = tmp_path / "readout"
    readouts = [payload_of(size) for size in (0, 29, 1400, 60_000)]
    with (
        MulticastReceiver(RawBytes, "239.1.1.1", 0, interface="127.0.0.1", timeout=LIMIT_S) as receiver,
        MulticastSender("239.1.1.1", receiver.port, interface="127.0.0.1") as sender,
    ):
        with captured(f"udp port {receiver.port}", path):
            for readout in readouts:
                sender.send_readout(RawBytes(readout))
            for readout in readouts:
                assert receiver.receive().to_bytes() == readout
        frames = decoded("readout", path, receiver.port)
        assert [one.target for one in frames] == [receiver.port] * len(readouts)


def test_a_leader_and_a_member(tmp_path):
    """Published, asked and answered: the messages are counted behind what ZeroMQ says to itself."""
    path = tmp_path / "group"
    with (
        GroupPubPort.standalone() as publisher,
        GroupAnsPort.standalone() as leader,
        GroupSubPort.standalone() as subscriber,
        GroupQryPort.standalone() as member,
    ):
        published, asked = publisher.address[1], leader.address[1]
        with captured(f"tcp port {published} or tcp port {asked}", path):
            subscriber.update(*publisher.address)
            member.update(*leader.address)
            publisher.wait_ready(1, timeout=LIMIT_S)
            for number in range(COMMANDS):
                publisher.send(b"news %d" % number)
                assert subscriber.recv() == b"news %d" % number
                assert member.send(b"may I?")
                assert leader.recv() == b"may I?"
                assert leader.send(b"you may")
                assert member.recv() == b"you may"
        to_publisher, to_subscriber = counted(decoded("group", path, published), published)
        assert to_subscriber["msg"] == COMMANDS
        assert to_publisher["subscribe"] == 1
        to_leader, to_member = counted(decoded("group", path, asked), asked)
        assert to_leader["mtl"] == to_member["mfl"] == COMMANDS
        for direction in (to_publisher, to_subscriber, to_leader, to_member):
            assert direction["greeting,"] == 1
            assert set(direction) <= {"greeting,", "command", "subscribe", "msg", "mtl", "mfl"}
