"""iblutil on the other end: an unmodified peer in a process of its own, in each role, over UDP and TCP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from echo_rig import EchoProtocol, ExpMessage

sys.path.insert(0, str(Path(__file__).parents[1] / "packages" / "echo-rig" / "tests"))

from fault_proxy import FaultProxy

HERE = Path(__file__).parent

# Importing iblutil takes some seconds on a busy machine.
pytestmark = [pytest.mark.peer, pytest.mark.timeout(120)]

#: Seconds, for one step.
LIMIT_S = 45.0
#: Seconds before ours gives a token, which the real peer waits for in one call with the echo: it closes when
#: both arrive together over TCP.
APART_S = 0.5

#: Method, arguments, event, data that arrive, data of the answer.
OPERATIONS = [
    ("init", [{"subject": "mouse"}], 1, [{"subject": "mouse"}], [{"ready": True}]),
    ("start", ["2022-01-01_1_subject", [1, 2]], 2, ["2022-01-01_1_subject", [1, 2]], ["ref", {"status": 20}]),
    ("status", ["RUNNING"], 32, [20], [30]),
    ("info", ["CONNECTED", {"main_sync": True}], 64, [0, {"main_sync": True}], [20, "souris \u00e9"]),
    ("stop", ["enough"], 4, ["enough"], [None]),
    ("stop", [None, True], 16, [None], ["at once"]),
    ("cleanup", [8], 8, [8], [None]),
]
TOKEN = "4157aa522b855239cd05f4d23d40563aa0518359"
ALYX = ["https://alyx.example.org", "alice", TOKEN]
GIVEN = ["https://alyx.example.org", {"alice": {"token": TOKEN}}]


def free_uri(scheme: str) -> str:
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"{scheme}://127.0.0.1:{probe.getsockname()[1]}"


class Peer:
    """The real peer; see ``peer_rig.py`` for what can be asked of it."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        #: Event and data of all that its callbacks have heard.
        self.heard: list[list[object]] = []
        # Apart, because an answer of ours may come before or after the call there has returned.
        self._said: dict[str, asyncio.Queue[list[object]]] = defaultdict(asyncio.Queue)
        self._reading = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            with self._log.open("ab") as log:
                log.write(line)
            if line.startswith(b"@ "):
                words = json.loads(line[2:])
                if words[0] == "event":
                    self.heard.append(words[1:])
                kind = "returned" if words[0] == "raised" else words[0]
                self._said[kind].put_nowait(words)

    def tell(self, *order: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")

    async def prepare(self, *order: object) -> None:
        """Tell it to do something when a message comes, and wait until it is prepared."""
        self.tell(*order)
        assert await self.is_connected()

    async def hears(self, kind: str) -> list[object]:
        """The next thing of this kind that happens there."""
        async with asyncio.timeout(LIMIT_S):
            return await self._said[kind].get()

    async def is_connected(self) -> bool:
        self.tell("is_connected")
        return (await self.hears("is_connected"))[1] is True

    async def call(self, method: str, *arguments: object) -> list[object]:
        self.tell("call", method, arguments)
        return await self.hears("returned")

    async def end(self) -> None:
        if self._process.returncode is None:
            self.tell("stop")
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reading


@contextlib.asynccontextmanager
async def real_peer(role: str, uri: str, directory: Path) -> AsyncIterator[Peer]:
    log = directory / f"peer-{role}-{len(list(directory.iterdir()))}.txt"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "peer_rig.py"), role, uri,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=sink,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
    peer = Peer(process, log)
    try:
        await peer.hears("ready")
        yield peer
    except BaseException:
        print(log.read_text(encoding="utf-8", errors="replace")[-4000:])
        raise
    finally:
        await peer.end()


@contextlib.asynccontextmanager
async def pair(
    peer_role: str, scheme: str, numbering: bool | None, directory: Path
) -> AsyncIterator[tuple[Peer, EchoProtocol, dict[str, object]]]:
    """A real peer in one role, ours in the other one, and what says to ours whom to send to."""
    uri = free_uri(scheme)
    if peer_role == "server":
        async with (
            real_peer("server", uri, directory) as peer,
            await EchoProtocol.client(uri, numbering=numbering) as ours,
        ):
            await ours.status("CONNECTED")
            await peer.hears("event")
            yield peer, ours, {}
    else:
        async with (
            await EchoProtocol.server(uri, numbering=numbering) as ours,
            real_peer("client", uri, directory) as peer,
        ):
            assert await peer.call("status", "CONNECTED") == ["returned", None]
            yield peer, ours, {"addr": ours.addresses[0]}


NUMBERING = pytest.mark.parametrize("numbering", [None, True], ids=["plain", "numbered"])
SCHEMES = pytest.mark.parametrize("scheme", ["udp", "tcp"])
ROLES = pytest.mark.parametrize("peer_role", ["server", "client"])


@pytest.mark.fault("C25", "echo-rig", "LW")
@NUMBERING
@SCHEMES
@ROLES
def test_a_whole_experiment_with_answers_errors_and_tokens_in_both_directions(
    peer_role, scheme, numbering, tmp_path
):
    async def main() -> None:
        async with pair(peer_role, scheme, numbering, tmp_path) as (peer, ours, where):
            ours.default_echo_timeout = LIMIT_S
            for method, arguments, event, arrives, answer in OPERATIONS:
                # Ours commands, the peer answers from a callback.
                await peer.prepare("answer", event, answer)
                async with listening(ours, event) as response:
                    await getattr(ours, method)(*arguments, **where)
                    assert await peer.hears("event") == ["event", event, arrives]
                    assert (await response)[0] == answer
                # The peer commands, ours answers from a callback.
                async with answering(ours, event, answer) as may_answer:
                    assert await peer.call(method, *arguments) == ["returned", None]
                    may_answer.set()
                    assert await peer.hears("event") == ["event", event, answer]
            # Callbacks that fail are told to the sender, at both ends.
            await peer.prepare("fail", 1, "boom")
            async with listening(ours, 0) as error:
                await ours.init(**where)
                assert (await error)[0] == ["ValueError: boom", 1]
                await peer.hears("event")

            may_fail = asyncio.Event()

            async def fail(_data: object, _address: object) -> None:
                await may_fail.wait()  # as for an answer: until the peer has its echo
                raise ValueError("bang")

            ours.assign_callback("EXPEND", fail)
            assert await peer.call("stop") == ["returned", None]
            may_fail.set()
            assert await peer.hears("event") == ["event", 0, ["ValueError: bang", 4]]
            # Tokens are asked for and given, at both ends.
            await peer.prepare("alyx", *ALYX)
            assert await ours.alyx(timeout=LIMIT_S, **where) == GIVEN
            assert await peer.hears("event") == ["event", 128, [None, {}]]
            client = SimpleNamespace(is_logged_in=True, base_url=ALYX[0], user="bob", _token={"token": TOKEN})
            async with giving(ours, client):
                assert await peer.call("alyx") == ["returned", [ALYX[0], {"bob": {"token": TOKEN}}]]
            await ours.alyx(SimpleNamespace(**{**vars(client), "user": "carol"}), **where)
            assert await peer.is_connected()
            assert ours.is_connected
            counters = ours._links[ours.addresses[0]].conversation.counters
            assert (counters.unexpected, counters.bounces, counters.refused) == (0, 0, 0)

    run(main())


@NUMBERING
@SCHEMES
@ROLES
def test_many_sends_at_once_all_reach_a_real_peer_in_order(peer_role, scheme, numbering, tmp_path):
    async def main() -> None:
        async with pair(peer_role, scheme, numbering, tmp_path) as (peer, ours, where):
            ours.default_echo_timeout = LIMIT_S
            await asyncio.gather(*(ours.init(number, **where) for number in range(50)))
            assert [await peer.hears("event") for _ in range(50)] == [["event", 1, [n]] for n in range(50)]
            assert await peer.is_connected()

    run(main())


def run(coroutine) -> None:
    async def limited() -> None:
        async with asyncio.timeout(110):
            await coroutine

    asyncio.run(limited())


@contextlib.asynccontextmanager
async def listening(ours: EchoProtocol, event: int) -> AsyncIterator[asyncio.Future]:
    """Wait for an event from now on."""
    waiting = asyncio.ensure_future(ours.on_event(event))
    await asyncio.sleep(0)
    try:
        yield waiting
    finally:
        waiting.cancel()


@contextlib.asynccontextmanager
async def answering(ours: EchoProtocol, event: int, data: list[object]) -> AsyncIterator[asyncio.Event]:
    """Answer one event, when the test says that the peer has its echo.

    The real peer closes when the answer arrives together with the echo over TCP.
    """
    may_answer = asyncio.Event()

    async def answer(_: object, address: tuple[str, int]) -> None:
        await may_answer.wait()
        await ours.confirmed_send([event, *data], addr=address)

    ours.assign_callback(event, answer)
    try:
        yield may_answer
    finally:
        ours.clear_callbacks(event, answer)


@contextlib.asynccontextmanager
async def giving(ours: EchoProtocol, client: SimpleNamespace) -> AsyncIterator[None]:
    """Give a token to who asks for one."""

    async def give(data: list[object], address: tuple[str, int]) -> None:
        await asyncio.sleep(APART_S)
        await ours.alyx(client, addr=address)

    ours.assign_callback(ExpMessage.ALYX, give)
    try:
        yield
    finally:
        ours.clear_callbacks(ExpMessage.ALYX, give)


FAULTS = {"loss": 0.2, "duplication": 0.1, "delay_s": 0.005}


@pytest.mark.fault("C25", "echo-rig", "L")
@pytest.mark.fault("C11", "echo-udp", "L")
@NUMBERING
def test_through_a_bad_network_a_real_receiver_meets_no_storm_and_each_failure_is_reported(
    numbering, tmp_path
):
    sends, at_once = 400, 50

    async def main() -> None:
        uri = free_uri("udp")
        host, _, port = uri.partition("://")[2].rpartition(":")
        async with (
            real_peer("server", uri, tmp_path) as peer,
            FaultProxy((host, int(port)), seed=4, **FAULTS) as network,
            await EchoProtocol.client(network.uri, numbering=numbering) as ours,
        ):
            slots = asyncio.Semaphore(at_once)
            confirmed, failed = [], []

            async def send(number: int) -> None:
                async with slots:
                    try:
                        # More than a busy machine needs: what fails was lost.
                        await ours.confirmed_send([1, number], timeout=2.0)
                    except TimeoutError:
                        failed.append(number)
                    else:
                        confirmed.append(number)

            await asyncio.gather(*(send(number) for number in range(sends)))
            assert ours.is_connected
            assert sorted(confirmed + failed) == list(range(sends))
            # Both ways have to succeed, with 0.64; a doubled datagram helps.
            assert 0.2 * sends < len(failed) < 0.5 * sends
            assert await peer.is_connected()
            heard = [data[0] for event, data in peer.heard if event == 1]
            assert set(confirmed) <= set(heard)
            # No storm: a message and its echo, a tenth of both twice, what ours sends back of those.
            assert network.counts["to server"] + network.counts["to client"] < 4 * sends
            # Nothing goes on: behind a good network the next messages are the only ones.
            network.loss = network.duplication = 0.0
            ours.default_echo_timeout = LIMIT_S
            await ours.cleanup()  # behind all that the peer had still to read
            await asyncio.sleep(0.1)
            before = network.counts["to server"] + network.counts["to client"]
            for _ in range(10):
                await ours.cleanup()
            assert network.counts["to server"] + network.counts["to client"] <= before + 20 + 4

    run(main())


@pytest.mark.fault("C11", "echo-udp", "L")
@NUMBERING
def test_through_a_bad_network_a_real_sender_closes_itself_and_ours_serves_the_next(numbering, tmp_path):
    async def main() -> None:
        uri = free_uri("udp")
        host, _, port = uri.partition("://")[2].rpartition(":")
        async with (
            await EchoProtocol.server(uri, numbering=numbering) as ours,
            FaultProxy((host, int(port)), seed=5, **FAULTS) as network,
        ):
            heard = []
            ours.assign_callback("EXPINIT", lambda data, _: heard.append(data[0]))
            async with real_peer("client", network.uri, tmp_path) as peer:
                confirmed = 0
                while (said := await peer.call("init", confirmed)) == ["returned", None]:
                    confirmed += 1
                assert confirmed, "another seed is needed"
                assert said[:2] == ["raised", "TimeoutError"]
                assert not await peer.is_connected()
                assert set(range(confirmed)) <= set(heard)
            assert ours.is_connected
            # To that one nothing can be sent any more; it says so and harms nobody.
            with pytest.raises(TimeoutError):
                await ours.confirmed_send([4, None], addr=ours.addresses[0], timeout=0.2)
            async with real_peer("client", uri, tmp_path) as following:
                for number in range(10):
                    assert await following.call("init", f"next {number}") == ["returned", None]
            assert heard[-10:] == [f"next {number}" for number in range(10)]
            assert len(heard) < 10 * (confirmed + 2) + 10

    run(main())
