"""What somebody else on the network cannot do: the promises of the README, on both kinds of ends."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import io
import logging
import pickle
import socket
import sys
import threading
import time
import traceback
import warnings
from functools import partial
from pathlib import Path

import pytest

import echo_rig
from echo_rig import EchoProtocol, RemoteError, RoundError, Services, _conversation, _link, _timed_link, sync
from echo_rig._limits import Limits
from wireframe.echo import Number, add_number

from .blocking_lab import LIMIT_S, free_uri, until
from .both_kinds import KINDS, running
from .held_clock import HeldClock
from .raw_peers import place_of

KIND = pytest.mark.parametrize("kind", KINDS)
SCHEME = pytest.mark.parametrize("scheme", ["udp", "tcp"])
README = Path(__file__).parents[1] / "README.md"
#: Any event.
HELLO = b'[1, "hello"]'


def text_of_the_promises():
    return README.read_text(encoding="utf-8").partition("## Security")[2].partition("\n## ")[0]


@contextlib.contextmanager
def stranger(uri, host="127.0.0.1", port=0):
    """A bare socket that is connected to an end, from an address of its own."""
    kind = socket.SOCK_DGRAM if uri.startswith("udp") else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(LIMIT_S)
        one.bind((host, port))
        one.connect(place_of(uri))
        yield one


def received(one, size):
    """So many bytes of a stream, or one datagram."""
    if one.type == socket.SOCK_DGRAM:
        return one.recv(65536)
    data = b""
    while len(data) < size and (piece := one.recv(size - len(data))):
        data += piece
    return data


def is_served(one, message=HELLO):
    """Whether the echo of a message is the next thing that comes."""
    one.sendall(message)
    return received(one, len(message)) == message


# -- who is heard


@KIND
def test_a_client_hears_its_server_only_and_that_is_address_and_port(kind):
    """Promise: over UDP only who forges the address AND the port of a rig passes for it."""
    heard = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LIMIT_S)
        host, port = server.getsockname()
        with running(kind, "client", f"udp://{host}:{port}", heard, numbering=False) as client:
            sent = client.begin(lambda end: end.confirmed_send([2, "mine"], timeout=LIMIT_S))
            message, place = server.recvfrom(65536)
            for other_host, other_port in (("127.0.0.1", 0), ("127.0.0.2", port), ("127.0.0.2", 0)):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    other.bind((other_host, other_port))
                    other.sendto(b'[16, "forged"]', place)
                    other.sendto(message, place)
            server.sendto(b'[4, "true"]', place)
            assert server.recv(65536) == b'[4, "true"]'
            assert not sent.done()
            server.sendto(message, place)
            sent.result(LIMIT_S)
        assert heard == [(4, ["true"])]


@KIND
def test_an_echo_confirms_only_if_it_comes_from_where_the_message_went(kind):
    """Promise: a server takes an echo of another port of the same computer for what it is, no echo."""
    heard = []
    uri = free_uri("udp")
    with (
        running(kind, "server", uri, heard, numbering=False) as rig,
        stranger(uri) as one,
        stranger(uri) as other,
    ):
        assert is_served(one)
        sent = rig.begin(lambda end: end.confirmed_send([2, "mine"], one.getsockname(), timeout=LIMIT_S))
        message = one.recv(65536)
        assert is_served(other, message)
        assert not sent.done()
        one.send(message)
        sent.result(LIMIT_S)
    assert heard == [(1, ["hello"]), (2, ["mine"])]


@KIND
@SCHEME
def test_who_is_not_allowed_is_neither_heard_nor_echoed_to(kind, scheme):
    """Promise: `allow` listens to these sources only, and stops other computers."""
    heard = []
    uri = free_uri(scheme)
    allow = ["127.0.0.3", "127.1.0.0/16"]
    with running(kind, "server", uri, heard, allow=allow) as rig, contextlib.ExitStack() as stack:
        for host in ("127.0.0.1", "127.0.0.2"):
            other = stack.enter_context(stranger(uri, host))
            with contextlib.suppress(ConnectionError):
                other.sendall(b"[16, null]")
                if scheme == "tcp":
                    assert other.recv(100) == b""
        for host in ("127.0.0.3", "127.1.2.3"):
            assert is_served(stack.enter_context(stranger(uri, host)))
        assert rig.end.strangers == 2
        if scheme == "udp":
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                other.recv(100)
    assert heard == [(1, ["hello"]), (1, ["hello"])]


# -- what is echoed


@KIND
def test_a_doubled_echo_is_remembered_and_neither_echoed_nor_delivered(kind, monkeypatch):
    """Promise: two ends do not talk for ever; what was sent here is known when it comes again."""
    HeldClock(monkeypatch, _link, _timed_link)  # a copy is told by its pace
    heard = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(LIMIT_S)
        uri = "udp://{}:{}".format(*server.getsockname())
        with running(kind, "client", uri, heard, numbering=False) as client:
            sent = client.begin(lambda end: end.confirmed_send([2, "mine"], timeout=LIMIT_S))
            message, place = server.recvfrom(65536)
            for _ in range(50):
                server.sendto(message, place)
            sent.result(LIMIT_S)
            server.sendto(HELLO, place)
            came = []
            while (data := server.recv(65536)) != HELLO:
                came.append(data)
        # One copy may be a response with the same content.
        assert len(came) <= 1
        assert len(heard) <= 2


@pytest.mark.parametrize("kinds", [("asyncio", "asyncio"), ("asyncio", "blocking"), ("blocking", "blocking")])
def test_a_forged_datagram_between_two_servers_comes_to_an_end(kinds, monkeypatch):
    """Promise: nobody can make two ends talk for ever."""
    HeldClock(monkeypatch, _link, _timed_link)  # a loop is told by its pace
    heard = [], []
    uris = free_uri("udp"), free_uri("udp")
    with (
        running(kinds[0], "server", uris[0], heard[0]) as first,
        running(kinds[1], "server", uris[1], heard[1]) as second,
    ):

        def forge(end):
            """Take what seems to come from the other one."""
            if isinstance(end, EchoProtocol):
                end.datagram_received(HELLO, place_of(uris[1]))
            else:
                end._carrier.link_to(place_of(uris[1])).receive(HELLO)

        def is_over():
            links = [*first.end._links.values(), *second.end._links.values()]
            return any(link.conversation.counters.bounces for link in links)

        first.do(forge)
        until(is_over)
        with stranger(uris[0]) as one, stranger(uris[1]) as other:
            assert is_served(one)
            assert is_served(other)
    assert len(heard[0]) + len(heard[1]) < 2 * 2 * Limits().identical + 100


@KIND
@pytest.mark.fault("C12", "echo-udp")
def test_a_datagram_that_seems_to_come_from_the_server_itself_comes_to_an_end(kind, monkeypatch):
    """Promise: nobody can make an end talk for ever, with itself neither."""
    HeldClock(monkeypatch, _link, _timed_link)
    heard = []
    uri = free_uri("udp")
    with running(kind, "server", uri, heard) as rig:
        own = place_of(uri)

        def forge(end):
            if isinstance(end, EchoProtocol):
                end.datagram_received(HELLO, own)
            else:
                end._carrier.link_to(own).receive(HELLO)

        rig.do(forge)
        until(lambda: rig.end._links[own].conversation.counters.bounces)
        with stranger(uri) as one:
            assert is_served(one)
    assert len(heard) < 2 * Limits().identical + 100


@KIND
@pytest.mark.fault("C12", "echo-udp", "M")
@pytest.mark.parametrize("is_numbered", [False, True])
def test_echoes_for_one_address_are_a_bucket_of_tokens(kind, is_numbered, monkeypatch):
    """M. Promise: at most 20 000 echoes a second to one address. Counted second by second, with less."""
    assert (Limits().echoes_per_s, Limits().echo_burst) == (20_000, 20_000)
    assert "20 000 messages per second" in text_of_the_promises()
    monkeypatch.setattr(_conversation, "Limits", partial(Limits, echoes_per_s=40.0, echo_burst=100))
    clock = HeldClock(monkeypatch, _link, _timed_link)
    heard = []
    uri = free_uri("udp")
    number = 0

    def flood(count, one, steady):
        """Send so many different messages, and count the echoes."""
        nonlocal number
        echoes = 0
        for _ in range(count):
            number += 1
            message = b"[1, %d]" % number
            one.send(add_number(message, Number(7, number, number)) if is_numbered else message)
            if number % 50 == 0:  # it keeps pace: an end of another address is answered behind all before
                assert is_served(steady, b"[32, %d]" % (number % 20))
                clock.now += 1e-9
        assert is_served(steady, b"[8, %d]" % number)
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                echoes += not one.recv(65536).startswith(b"[32]")  # a greeting is no echo
        return echoes

    with (
        running(kind, "server", uri, heard, numbering=None if is_numbered else False),
        stranger(uri) as one,
        stranger(uri) as steady,
    ):
        # The clock stands still: what is there at the beginning, and after each second what came in it.
        assert flood(300, one, steady) == 100
        for _ in range(3):
            clock.now += 1.0
            assert flood(200, one, steady) == 40
        clock.now += 3600.0
        assert flood(300, one, steady) == 100
    # What is not echoed is not delivered: its sender has to know.
    assert len([one for one in heard if one[0] == 1]) == 100 + 3 * 40 + 100


# -- what is delivered


BAD = [
    b'["\xff\xfe", 1]',
    b'[1, "\xff"]',
    b"[1, 1",
    b"{",
    b"",
    b"words",
    b"1",
    b"[]",
    b"[1]",
    b"[3, 1]",
    b"[256, 1]",
    b"[1.5, 1]",
    b'["EXPNONE", 1]',
    b"[[1], 1]",
    b"[0]",
    b'[0, "text"]',
    b"[" * 30_000,
    b"[1, " + b"[" * 20_000 + b"]" * 20_000 + b"]",
    b"[1, " + b"7" * 5_000 + b"]",
    b"\x00" * 64,
]


@pytest.mark.fault("C2", "echo-tcp", "E")
@pytest.mark.fault("C2", "echo-udp", "E")
@KIND
@SCHEME
def test_callbacks_never_see_what_cannot_be_decoded(kind, scheme, caplog, figure):
    """E. Promise: nobody can stop an end with bytes, and callbacks get decoded values only."""
    heard = []
    uri = free_uri(scheme)
    with running(kind, "server", uri, heard) as rig:
        for number, bad in enumerate(BAD):
            with stranger(uri) as one:
                one.sendall(bad)
            # A stream may have to end before all of it is judged.
            with stranger(uri) as one:
                assert is_served(one, b'["EXPINIT", %d]' % number)
        if scheme == "tcp":
            until(lambda: not rig.end.addresses)
    assert [one for one in heard if one[0] == 1] == [(1, [number]) for number in range(len(BAD))]
    assert len(heard) == len(BAD)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]
    named = sum("127.0.0.1:" in record.getMessage() for record in caplog.records)
    assert named
    served = sum(event == 1 for event, _ in heard)
    figure(
        f"echo-{scheme}: {kind}, of {len(BAD)} malformed texts {len(heard) - served} were heard, "
        f"of {len(BAD)} events between them {served}; {named} warnings name the peer"
    )


@KIND
@SCHEME
def test_a_message_that_is_too_long_is_dropped_and_what_follows_is_served(kind, scheme):
    """Promise: nobody can make an end grow; 1 MiB in a stream, 65507 bytes in a datagram."""
    heard = []
    uri = free_uri(scheme)
    with running(kind, "server", uri, heard) as rig, stranger(uri) as one:
        assert is_served(one)
        if scheme == "tcp":
            one.sendall(b'[1, "' + b"x" * (1 << 20) + b'"]')
        else:
            too_long = ["x" * 65_502]  # as JSON 65508 bytes with its event
            with pytest.raises(ValueError, match="the limit is 65507"):
                rig.do(lambda end: end.confirmed_send([1, *too_long], one.getsockname()))
            fits = [1, "x" * (65_507 - len('[1, ""]'))]
            sent = rig.begin(lambda end: end.confirmed_send(fits, one.getsockname(), timeout=LIMIT_S))
            one.send(one.recv(70_000))
            sent.result(LIMIT_S)
        assert is_served(one)
    assert heard == [(1, ["hello"])] * 2


class Payload:
    """Runs code in whoever unpickles it."""

    def __reduce__(self):
        return exec, ("import sys; sys.ran_by_a_pickle = True",)


@KIND
@SCHEME
def test_nothing_that_comes_is_run(kind, scheme):
    """Promise: nobody gets code run; pickles are bytes like others, and no module here can read them."""
    uri = free_uri(scheme)
    heard = []
    with running(kind, "server", uri, heard):
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with stranger(uri) as one:
                one.sendall(pickle.dumps(Payload(), protocol))
            with stranger(uri) as one:
                assert is_served(one)
    assert not hasattr(sys, "ran_by_a_pickle")
    pickle.loads(pickle.dumps(Payload()))
    del sys.ran_by_a_pickle
    for path in Path(echo_rig.__file__).parent.rglob("*.py"):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.name for alias in node.names} | {getattr(node, "module", None)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                names.add(node.func.id)
        assert not names & {"pickle", "marshal", "shelve", "subprocess", "eval", "exec"}, path


# -- tokens


SECRET = "s3cr3t-0f-4lyx"
PLAIN = "anything else"


class LoggedIn:
    base_url = "https://alyx.example.org"
    is_logged_in = True
    user = "alice"

    @property
    def _token(self):
        return {"token": SECRET}


class LoggedOut(LoggedIn):
    is_logged_in = False


TOKEN_MESSAGE = b'[128, "https://alyx.example.org", {"alice": {"token": "%s"}}]' % SECRET.encode()


class Villain:
    """A bare end that answers one message about tokens, in a thread."""

    def __init__(self, scheme, answers, closes=False):
        self._answers = answers
        self._closes = closes
        kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
        self._place = None
        self._socket = socket.socket(socket.AF_INET, kind)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(LIMIT_S)
        if scheme == "tcp":
            self._socket.listen()
        self.uri = "{}://{}:{}".format(scheme, *self._socket.getsockname())
        self._scheme = scheme
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self):
        if self._scheme == "udp":
            self._answer(self._receive, lambda data: self._socket.sendto(data, self._place))
            return
        stream, _ = self._socket.accept()
        # What it says last may find nobody.
        with stream, contextlib.suppress(ConnectionError):
            stream.settimeout(LIMIT_S)
            self._answer(lambda: stream.recv(65536), stream.sendall)
            while not self._closes and stream.recv(65536):
                pass

    def _receive(self):
        data, self._place = self._socket.recvfrom(65536)
        return data

    def _answer(self, receive, send):
        message = receive()
        while message and not message.startswith(b"[128"):
            message = receive()
        for data in self._answers(message) if message else ():
            send(data)
            time.sleep(0.02)  # an old end reads apart what is written apart

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self._thread.join(LIMIT_S)
        self._socket.close()
        assert not self._thread.is_alive()


REPORT = b'[0, "KeyError: %s", 128]' % SECRET.encode()
#: What a rig may answer to a token: whether its echo follows decides whether the send fails.
ANSWERS = [
    lambda message: [],
    lambda message: [SECRET.encode() + b" "],
    lambda message: [b'"' + SECRET.encode() + b'"'],
    lambda message: [message, REPORT],
    lambda message: [REPORT, message],
    lambda message: [b'[128, "u", {"alice": "' + SECRET.encode() + b'"}]', message],
    lambda message: [b'[128, "u", {"alice": ' + SECRET.encode() + b"}]", message],
    lambda message: [b"[5, " + message + b"]", message],
    lambda message: [message] * 5,
    lambda message: [message[: len(message) // 2]],
]


def all_texts(error, seen=None):
    """What an error, its causes and its parts say, in any way they can be asked."""
    seen = set() if seen is None else seen
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield f"{error!s} {error!r} {error.args!r} {vars(error)!r}"
    yield "".join(traceback.format_exception(error))
    parts = [error.__cause__, error.__context__]
    if isinstance(error, RoundError):
        parts += error.failures.values()
    for part in parts:
        yield from all_texts(part, seen)


class Session:
    """Does what has to do with tokens, right and wrong, and keeps what was raised."""

    def __init__(self):
        self.texts = []
        self.errors = []

    def attempt(self, side, function):
        try:
            result = side.do(function)
        except Exception as error:  # noqa: BLE001 - looked at later
            self.errors.append(type(error))
            self.texts += all_texts(error)
        else:
            self.texts.append(repr(side.end))
            return result

    def among_ourselves(self, kind, other_kind, scheme):
        """A token handed on, asked for, and given to callbacks that raise and show it."""
        uri = free_uri(scheme)

        def fails(data, address):
            raise KeyError(data)

        async def fails_later(data, address):
            await asyncio.sleep(0)
            raise KeyError(SECRET)

        at_rig, at_pc = [], []
        numbering = kind == other_kind or None
        with (
            running(kind, "server", uri, at_rig, numbering=numbering) as rig,
            running(other_kind, "client", uri, at_pc, numbering=numbering) as pc,
        ):
            pc.do(lambda end: end.init(PLAIN))
            for role in (rig, pc):
                role.end.assign_callback("ALYX", fails)
                if isinstance(role.end, EchoProtocol):
                    role.end.assign_callback("ALYX", fails_later)
            self.attempt(pc, lambda end: end.alyx(LoggedIn()))
            address = rig.end.addresses[0]
            self.attempt(rig, lambda end: end.alyx(LoggedIn(), addr=address))
            # What the callbacks of each have raised was reported to the other.
            for reported, end in ((at_pc, rig.end), (at_rig, pc.end)):
                until(lambda: count_of(0, reported) == 1 + isinstance(end, EchoProtocol))  # noqa: B023
            for role in (rig, pc):
                role.do(lambda end: end.clear_callbacks("ALYX"))
            if isinstance(rig.end, EchoProtocol):

                async def answer(data, addr):
                    await rig.end.alyx(LoggedIn(), addr=addr)

                rig.end.assign_callback("ALYX", answer)
            else:
                rig.end.assign_callback("ALYX", lambda data, addr: rig.end.alyx(LoggedIn(), addr=addr))
            got = self.attempt(pc, lambda end: end.alyx(LoggedOut(), timeout=LIMIT_S))
            assert got == [LoggedIn.base_url, {"alice": {"token": SECRET}}]
            if scheme == "udp":
                self.attempt(pc, lambda end: end.alyx(TooLong()))
            self.attempt(pc, lambda end: end.alyx(NotJson()))
            for bad in (TOKEN_MESSAGE[:-2] + b"?]", TOKEN_MESSAGE[:-1] + b", ", b"\xff" + TOKEN_MESSAGE):
                with stranger(uri) as one:
                    one.sendall(bad)
            with stranger(uri) as one:
                assert is_served(one)
            rig.do(lambda end: end.close())
            self.attempt(pc, lambda end: end.alyx(LoggedIn()))
            pc.do(lambda end: end.close())
            self.attempt(pc, lambda end: end.alyx(LoggedIn()))

    def with_villains(self, kind, scheme):
        """A token handed to ends that answer anything, as it is to several of them at once."""
        for answer in ANSWERS:
            closes = answer is ANSWERS[-1]
            with Villain(scheme, answer, closes) as villain, running(kind, "client", villain.uri) as pc:
                pc.end.default_echo_timeout = 0.1 if answer is ANSWERS[0] else LIMIT_S
                self.attempt(pc, lambda end: end.alyx(LoggedIn()))
        with Villain(scheme, ANSWERS[3]) as villain, running(kind, "client", villain.uri) as pc:
            self.attempt(pc, lambda end: end.alyx(LoggedOut(), timeout=0.2))
        with contextlib.ExitStack() as stack:
            villains = [stack.enter_context(Villain(scheme, ANSWERS[index])) for index in (0, 3, 9)]
            self.attempt(Together(kind, [villain.uri for villain in villains]), None)


def count_of(event, heard):
    return sum(number == event for number, _ in heard)


class TooLong(LoggedIn):
    _token = SECRET * 10_000


class NotJson(LoggedIn):
    @property
    def _token(self):
        return {SECRET}


class Together:
    """Hands a token to several rigs, and waits for one of each."""

    end = None

    def __init__(self, kind, uris):
        self._kind = kind
        self._uris = uris

    def do(self, _):
        return asyncio.run(self._in_loop()) if self._kind == "asyncio" else self._blocking()

    async def _in_loop(self):
        rigs = [await EchoProtocol.client(uri, name=f"rig {number}") for number, uri in enumerate(self._uris)]
        async with Services(rigs, timeout=0.3) as services:
            for rig in rigs:
                rig.default_echo_timeout = 0.3
            await self._all(services)

    async def _all(self, services):
        waiting = asyncio.ensure_future(services.await_all("ALYX"))
        await asyncio.sleep(0)
        try:
            await services.alyx(LoggedIn())
        finally:
            await waiting

    def _blocking(self):
        uris = {f"rig {number}": uri for number, uri in enumerate(self._uris)}
        with sync.Rigs.connect(uris, timeout=0.3) as rigs:
            for rig in rigs.values():
                rig.default_echo_timeout = 0.3
            try:
                rigs.alyx(LoggedIn())
            finally:
                rigs.wait_for("ALYX")


@SCHEME
@KIND
def test_a_token_is_in_no_log_and_no_error(kind, scheme):
    """Promise: nobody gets a token into a log, whatever goes wrong with it; all loggers tell everything."""
    book = io.StringIO()
    handler = logging.StreamHandler(book)
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s %(message)s %(args)r"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    session = Session()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            for other_kind in KINDS:
                session.among_ourselves(kind, other_kind, scheme)
            session.with_villains(kind, scheme)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    log = book.getvalue()
    # Something was told of all that, and would have been found.
    assert PLAIN in log
    assert log.count("not shown, it may hold a token") > 10
    assert len(session.errors) > 10
    assert {TimeoutError, RuntimeError} <= set(session.errors)
    said = "\n".join([log, *session.texts, *(str(one.message) for one in warned)])
    where = [line for line in said.splitlines() if SECRET in line]
    assert where == []


def test_what_a_rig_reports_about_a_token_is_not_in_the_error():
    """The error of the original holds whatever its callback raised."""
    with Villain("udp", ANSWERS[3]) as villain, sync.connect(villain.uri) as pc:
        with pytest.raises(RemoteError, match="not shown") as raised:
            pc.alyx(LoggedOut(), timeout=LIMIT_S)
        assert SECRET not in "".join(all_texts(raised.value))


# -- memory


@KIND
def test_addresses_that_nobody_uses_make_room_for_new_ones(kind, monkeypatch):
    """Promise: forged addresses push rigs out of those that are remembered, and cost no more than them."""
    from echo_rig import _links

    assert _links.MAX_LINKS == 4096
    assert "of the 4096 that a server remembers" in text_of_the_promises()
    monkeypatch.setattr(_links, "MAX_LINKS", 20)
    uri = free_uri("udp")
    heard = []
    with running(kind, "server", uri, heard) as rig:
        for number in range(100):
            with stranger(uri) as one:
                assert is_served(one, b"[1, %d]" % number)
            assert len(rig.end.addresses) <= 20
    assert heard == [(1, [number]) for number in range(100)]
