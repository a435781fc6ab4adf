"""A forked child: it gets an error for its parent's ends, and the parent's go on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading

import pytest

import echo_rig.sync
from echo_rig import EchoProtocol, ExpMessage, ForeignProcessError, Services
from echo_rig._forked import let_go

from .raw_peers import free_uri

LIMIT_S = 20.0
EITHER = pytest.mark.parametrize("scheme", ["udp", "tcp"])

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


class Child:
    """A forked child that calls functions and tells what each raised, then stays until it is let go."""

    def __init__(self, *calls):
        self._answer, answer = os.pipe()
        stay, self._leave = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.close(self._leave)
                os.write(answer, json.dumps([self._raised(call) for call in calls]).encode() + b"\n")
                select.select([stay], [], [])
            finally:
                os._exit(0)
        os.close(answer)
        os.close(stay)

    @staticmethod
    def _raised(call):
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - told to the parent
            return type(error).__name__
        return None

    def raised(self):
        """Names of the errors, None where there was none."""
        said = b""
        while not said.endswith(b"\n"):
            assert select.select([self._answer], [], [], LIMIT_S)[0], "the child says nothing"
            piece = os.read(self._answer, 4096)
            assert piece, "the child died"
            said += piece
        return json.loads(said)

    def leave(self):
        os.close(self._leave)
        os.close(self._answer)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


@contextlib.contextmanager
def forked(*calls):
    child = Child(*calls)
    try:
        yield child
    finally:
        child.leave()


FOREIGN = ForeignProcessError.__name__


def awaited(function, *arguments):
    """A call that runs a coroutine function in a loop of the child's own."""

    async def run():
        return await function(*arguments)

    return lambda: asyncio.run(run())


async def pair(scheme):
    uri = free_uri(scheme)
    rig = await EchoProtocol.server(uri)
    pc = await EchoProtocol.client(uri, name="video")
    return rig, pc


@EITHER
def test_an_end_in_an_event_loop_is_of_no_use_in_a_child_and_the_parents_goes_on(scheme):
    """Also after the child has closed all: its transports would have told the parent's selector."""

    async def main():
        rig, pc = await pair(scheme)
        async with rig, pc, Services([pc], timeout=LIMIT_S) as services:
            came = rig.events("EXPINIT")
            await pc.init(1)
            address = (await anext(came)).address
            with forked(
                awaited(pc.init, 2),
                awaited(pc.timed_send, [2, "child"]),
                awaited(rig.init, 2, address),
                lambda: pc.send(b"child"),
                awaited(pc.on_event, "EXPINIT"),
                lambda: pc.events(),
                lambda: pc.assign_callback("EXPINIT", print),
                awaited(services.init, 2),
                awaited(services.await_all, "EXPINIT"),
                awaited(services.alyx, None),
                services.close,
                pc.close,
                rig.close,
                gc.collect,
            ) as child:
                assert child.raised() == [FOREIGN] * 10 + [None] * 4
            await pc.init(3)
            assert (await anext(came)).data == [3]
            await rig.init(4, addr=address)
            rig.assign_callback("EXPSTART", lambda data, addr: rig.start(*data, addr=addr))
            assert await services.start("2024-01-01_1_mouse") == {"video": ["2024-01-01_1_mouse", None]}
            assert rig.is_connected
            assert pc.is_connected

    asyncio.run(main())


def test_a_child_that_lives_on_does_not_hide_the_death_of_its_parent():
    """The other end of a stream is told when the parent closes, although the child has not."""

    async def main():
        rig, pc = await pair("tcp")
        async with rig:
            with forked(lambda: pc.send(b"child")) as child:
                assert child.raised() == [FOREIGN]
                pc.close()
                async with asyncio.timeout(LIMIT_S):
                    while rig.addresses:
                        await asyncio.sleep(0.002)

    asyncio.run(main())


def echo_once(peer):
    """Echo one message to where it came from."""

    def work():
        data, address = peer.recvfrom(65536)
        peer.sendto(data, address) if address else peer.sendall(data)

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@contextlib.contextmanager
def listening(scheme):
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(LIMIT_S)
        if scheme == "tcp":
            listener.listen()
        yield listener, f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


@EITHER
@pytest.mark.parametrize("together", [False, True])
def test_a_blocking_end_is_of_no_use_in_a_child_and_the_parents_goes_on(scheme, together):
    with listening(scheme) as (listener, uri):
        rig = echo_rig.sync.connect(uri, "video")
        rigs = echo_rig.sync.Rigs([rig] if together else [])
        with (
            rig,
            rigs,
            forked(
                lambda: rig.init(1),
                lambda: rig.send(b"child"),
                lambda: rig.wait_for("EXPINIT"),
                rig.poll,
                rig.serve,
                rig.forget_events,
                lambda: rig.assign_callback("EXPINIT", print),
                rig.close,
                rigs.close,
                *(
                    (lambda: rigs.init(1), lambda: rigs.wait_for("EXPINIT"), lambda: rigs.alyx(None))
                    * together
                ),
            ) as child,
        ):
            assert child.raised() == [FOREIGN] * 7 + [None] * 2 + [FOREIGN] * 3 * together
            peer = listener if scheme == "udp" else listener.accept()[0]
            with peer:
                peer.settimeout(LIMIT_S)
                thread = echo_once(peer)
                rig.confirmed_send(b'[2, "parent"]', timeout=LIMIT_S)
                thread.join()
                if scheme == "tcp":
                    rig.close()
                    assert peer.recv(1) == b""


@EITHER
def test_the_port_of_a_blocking_server_is_free_when_the_parent_closes_it(scheme):
    uri = free_uri(scheme)
    with echo_rig.sync.listen(uri) as rig, forked(rig.poll) as child:
        assert child.raised() == [FOREIGN]
        assert rig.poll() == 0
        rig.close()
        with echo_rig.sync.listen(uri) as another:
            assert another.is_connected


def test_a_child_forked_by_a_callback_is_out_of_the_wait_at_once():
    with listening("udp") as (listener, uri), echo_rig.sync.connect(uri) as rig:
        rig.send([ExpMessage.EXPINIT, "hello"])
        hello, address = listener.recvfrom(100)
        listener.sendto(hello, address)
        listener.sendto(hello.replace(b"hello", b"now"), address)
        reading, writing = os.pipe()
        pids = []

        def fork(data, addr):
            pids.append(os.fork())

        rig.assign_callback("EXPINIT", fork)
        try:
            rig.wait_for("EXPEND", timeout=0.2)
        except TimeoutError:
            pass  # the parent's
        except ForeignProcessError:
            os.write(writing, b"foreign")
        finally:
            if pids and not pids[0]:
                os._exit(0)
        assert pids
        os.waitpid(pids[0], 0)
        os.close(writing)
        assert os.read(reading, 100) == b"foreign"
        os.close(reading)
        assert rig.is_connected


def test_descriptors_that_are_let_go_stay_taken_and_lead_nowhere():
    one, other = socket.socketpair()
    with one, other:
        other.settimeout(LIMIT_S)
        let_go([one.fileno(), -1])
        assert other.recv(1) == b""
        with pytest.raises(OSError, match="socket"):
            one.send(b"x")


@pytest.mark.skipif(sys.platform != "linux", reason="what is inherited depends on the system")
def test_ends_made_in_the_child_work_there():
    async def main():
        rig, pc = await pair("udp")
        async with rig, pc:
            await pc.init("child")

    with echo_rig.sync.connect("udp://127.0.0.1:9") as unused, forked(lambda: asyncio.run(main())) as child:
        assert child.raised() == [None]
        assert unused.is_connected
