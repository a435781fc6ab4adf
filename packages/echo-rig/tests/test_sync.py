"""The blocking ends over UDP and TCP, also against the ones of asyncio."""

from __future__ import annotations

import _thread
import asyncio
import collections
import contextlib
import logging
import math
import random
import select
import signal
import socket
import threading
import time

import pytest

from echo_rig import (
    EchoProtocol,
    ExpMessage,
    ExpStatus,
    RemoteError,
    _connections,
    _link,
    _links,
    _message_cutter,
)
from echo_rig.sync import Endpoint, _datagrams, _end, _loop, connect, listen

from .blocking_lab import LIMIT_S, Relay, free_uri, in_thread, loop_thread, served, until
from .held_clock import HeldClock

SCHEMES = ("udp", "tcp")
HOSTS = ("127.0.0.1", "::1")


class Alyx:
    base_url = "https://alyx"
    is_logged_in = True
    user = "me"
    _token = "secret"


@contextlib.contextmanager
def pair(scheme="udp", host="127.0.0.1", **options):
    """A served blocking server, and a client of it."""
    uri = free_uri(scheme, host)
    with served(listen(uri, "server", **options)) as server, connect(uri, "client") as client:
        yield server, client


@contextlib.contextmanager
def silent_peer():
    """A socket that says nothing, and a client of it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(LIMIT_S)
        with connect(f"udp://127.0.0.1:{peer.getsockname()[1]}", "client") as client:
            client.default_echo_timeout = 0.05
            yield peer, client


@contextlib.contextmanager
def raw_stream():
    """A raw TCP connection, and the client at the other end of it."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        connect(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "client") as client,
    ):
        peer, _ = listener.accept()
        peer.settimeout(LIMIT_S)
        with peer:
            yield peer, client


def serve_until_it_says_something(client, peer):
    """Let time pass for a client, however long it takes, until its peer has something to read."""
    until(lambda: (client.serve(0.02), select.select([peer], [], [], 0)[0])[1])


@pytest.mark.parametrize("numbering", [None, True, False])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_operation_reaches_an_asyncio_server_and_its_responses_come_back(scheme, host, numbering):
    uri = free_uri(scheme, host)
    seen = []
    with loop_thread() as run:
        server = run(EchoProtocol.server(uri, "server", numbering=numbering))

        def respond(data, address, event):
            seen.append((event.name, data))
            return server.confirmed_send([event, "did", *data], address)

        server.assign_callback(ExpMessage.any(), respond)
        with connect(uri, "client", numbering=numbering) as rig:
            rig.init({"subject": "mouse"})
            assert rig.wait_for("INIT") == ["did", {"subject": "mouse"}]
            rig.start("2022-01-01_1_mouse", 1)
            rig.status("RUNNING")
            rig.info(ExpStatus.RUNNING, "text")
            rig.stop()
            rig.stop(immediately=True)
            rig.cleanup()
            rig.alyx(Alyx())
            names = ["EXPSTART", "EXPSTATUS", "EXPINFO", "EXPEND", "EXPINTERRUPT", "EXPCLEANUP", "ALYX"]
            for name in names:
                assert rig.wait_for(name)[0] == "did"
            assert rig.round_trip() > 0
        assert seen == [
            ("EXPINIT", [{"subject": "mouse"}]),
            ("EXPSTART", ["2022-01-01_1_mouse", 1]),
            ("EXPSTATUS", [20]),
            ("EXPINFO", [20, "text"]),
            ("EXPEND", [None]),
            ("EXPINTERRUPT", [None]),
            ("EXPCLEANUP", [None]),
            ("ALYX", ["https://alyx", {"me": "secret"}]),
        ]
        run(_closed(server))


async def _closed(end):
    end.close()


@pytest.mark.parametrize("numbering", [None, True])
@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_serves_several_asyncio_clients_each_at_its_own_address(scheme, host, numbering):
    uri = free_uri(scheme, host)
    server = listen(uri, "server", numbering=numbering)
    server.assign_callback("INIT", lambda data, address: server.init(["for", *data], addr=address))

    async def talk(number):
        client = await EchoProtocol.client(uri, f"client {number}", numbering=numbering)
        try:
            response = asyncio.ensure_future(client.on_event("INIT"))
            await asyncio.sleep(0)
            await client.init(number)
            data, _ = await asyncio.wait_for(response, LIMIT_S)
            return data
        finally:
            client.close()

    async def all_of_them():
        return await asyncio.gather(*(talk(number) for number in range(5)))

    with loop_thread() as run, served(server):
        assert run(all_of_them()) == [[["for", number]] for number in range(5)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_ends_can_be_blocking(scheme):
    with pair(scheme) as (server, client):
        server.assign_callback("EXPINIT", lambda data, address: server.init(data[0] + 1, addr=address))
        for number in range(20):
            client.init(number)
            assert client.wait_for("EXPINIT") == [number + 1]


def test_a_server_sends_to_the_address_that_an_event_came_from():
    uri = free_uri("udp")
    with listen(uri) as server, connect(uri) as client:
        client.send([1, "hello"])
        event = server.next_event()
        assert (event.event, event.data) == (ExpMessage.EXPINIT, ["hello"])
        assert server.addresses == [event.address]
        with served(client):
            server.status("RUNNING", addr=event.address)
        assert server.round_trip(event.address) > 0


def test_bad_arguments_are_refused_before_anything_is_sent():
    with pair() as (server, client):
        with pytest.raises(TypeError, match="which address"):
            server.init()
        with pytest.raises(ValueError, match="only send to its server"):
            client.init(addr=("127.0.0.1", 1))
        with pytest.raises(ValueError, match="above 0"):
            client.confirmed_send([1, None], timeout=-1)
        with pytest.raises(ValueError, match="does not fit a datagram"):
            client.init("x" * 65507)
        with pytest.raises(ValueError, match="NOTHING"):
            client.wait_for("NOTHING")
        assert client.round_trip() is None
    with pytest.raises(ValueError, match="role"):
        Endpoint("udp://127.0.0.1:11001", "neither")
    with pytest.raises(TypeError, match="list of addresses"):
        listen(free_uri("udp"), allow="127.0.0.1")


def test_what_needs_an_event_loop_is_refused():
    async def callback(data, address):
        """Do nothing."""

    loop = asyncio.new_event_loop()
    with connect(free_uri("udp")) as client:
        for wrong in (callback, loop.create_future()):
            with pytest.raises(TypeError, match="plain function"):
                client.assign_callback("INIT", wrong)
        with pytest.raises(TypeError, match="wait_for"):
            client.on_event("INIT")
        with pytest.raises(TypeError, match="next_event"):
            client.events()
    loop.close()


def test_a_missing_echo_fails_one_send_and_nothing_else():
    with silent_peer() as (peer, client):
        with pytest.raises(TimeoutError, match=r"no echo from 127\.0\.0\.1:\d+ within 0\.05 s"):
            client.init()
        late, address = peer.recvfrom(65536)
        peer.sendto(late, address)
        client.send(b"[8, null]")
        assert peer.recv(65536) == b"[8, null]"

        def echo():
            peer.sendto(peer.recv(65536), address)

        client.default_echo_timeout = LIMIT_S
        with in_thread(echo):
            client.start(None, "next")
        assert client.poll() == 0


def test_what_is_no_message_instead_of_the_echo_fails_the_send():
    with silent_peer() as (peer, client):
        client.default_echo_timeout = LIMIT_S

        def answer():
            _, address = peer.recvfrom(65536)
            peer.sendto(b"nonsense", address)

        with in_thread(answer), pytest.raises(RuntimeError, match="Unexpected response from"):
            client.init()
        assert client.is_connected


def test_nobody_there_is_told_at_once_and_a_server_that_comes_later_is_reached():
    uri = free_uri("udp")
    with connect(uri) as client:
        began = time.monotonic()
        with pytest.raises(ConnectionRefusedError):
            client.confirmed_send([1, None], timeout=LIMIT_S)
        assert time.monotonic() - began < LIMIT_S / 2
        client.send([1, None])  # the network's answer to this is of no concern to the next one
        with served(listen(uri)):
            client.init()
    with pytest.raises(ConnectionRefusedError):
        connect(free_uri("tcp"))


def test_a_refusal_does_not_end_a_wait():
    uri = free_uri("udp")
    with connect(uri) as client:
        client.send([1, None])
        with pytest.raises(TimeoutError, match="no EXPINIT within"):
            client.wait_for("INIT", 0.05)
        assert client.is_connected


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_failed_callback_is_reported_to_who_waits_for_its_event(scheme):
    def fail(data, address):
        raise ValueError("boom")

    with pair(scheme) as (server, client):
        server.assign_callback("INIT", fail)
        client.init()
        with pytest.raises(RemoteError, match="ValueError: boom"):
            client.wait_for("INIT")
        client.init()
        with pytest.raises(TimeoutError):
            client.wait_for("START", 0.05)
        assert client.wait_for(0) == ["ValueError: boom", 1]


def test_an_event_that_came_during_another_call_is_kept_until_it_is_taken_or_forgotten():
    with pair() as (server, client):
        server.assign_callback("INIT", lambda data, address: server.send([1, "ready"], address))
        client.init()
        until(lambda: client.poll() or client._mailbox.count)
        client.start("ref")
        assert client.wait_for("INIT", 0) == ["ready"]
        client.init()
        until(lambda: client._mailbox.count == 2 or client.poll())
        client.forget_events("INIT")
        with pytest.raises(TimeoutError):
            client.wait_for("INIT", 0)


def test_the_last_256_events_are_kept():
    with connect(free_uri("udp")) as client:
        for number in range(300):
            client.message_received(b"[1, %d]" % number, ("127.0.0.1", 1))
        assert client._mailbox.dropped == 44
        assert client.next_event(timeout=0).data == [44]
        for _ in range(9):
            client.message_received(b'[1, "%s"]' % (b"x" * 500_000), ("127.0.0.1", 1))
        assert client._mailbox.dropped == 44 + 256
        client.message_received(b'[0, "text", "no event"]', ("127.0.0.1", 1))
        client.forget_events()
        assert client.wait_for(0, 0) == ["text", "no event"]


def test_callbacks_run_in_the_calling_thread_and_one_after_the_other():
    threads, order = [], []
    with silent_peer() as (peer, client):

        def callback(data, address):
            threads.append(threading.get_ident())
            order.append(("begin", *data))
            if data == [1]:
                # Both the echo and the second event come in this wait.
                client.confirmed_send([2, "nested", None], timeout=LIMIT_S)
                assert client.next_event(ExpMessage.EXPINIT).data == [1]
                assert client.wait_for("INIT") == [2]
            order.append(("end", *data))

        def other_end():
            _, address = peer.recvfrom(65536)  # the greeting of the test
            peer.sendto(b"[1, 1]", address)
            assert peer.recv(65536) == b"[1, 1]"
            nested = peer.recv(65536)
            peer.sendto(b"[1, 2]", address)
            assert peer.recv(65536) == b"[1, 2]"
            peer.sendto(nested, address)

        client.assign_callback("INIT", callback)
        with in_thread(other_end):
            client.send([8, None])
            assert client.poll(LIMIT_S) == 2
        client.poll()
    assert threads == [threading.get_ident()] * 2
    assert order == [("begin", 1), ("end", 1), ("begin", 2), ("end", 2)]


def test_an_echo_that_came_in_time_counts_although_a_callback_took_long():
    with silent_peer() as (peer, client):
        ran = []
        client.assign_callback("INIT", lambda data, address: ran.append(time.sleep(0.2)))
        client.send([4, None])
        _, address = peer.recvfrom(65536)
        peer.sendto(b"[1, 1]", address)
        peer.sendto(b"[8, null]", address)
        client.confirmed_send([8, None], timeout=0.1)
        client.poll()
        assert ran


def test_events_beyond_the_line_of_callbacks_are_counted(monkeypatch):
    monkeypatch.setattr(_loop, "MAX_CALLS", 2)
    with connect(free_uri("udp")) as client:
        seen = []
        client.assign_callback("INIT", lambda data, address: seen.append(data))
        for number in range(3):
            client.message_received(b"[1, %d]" % number, ("127.0.0.1", 1))
        client.poll()
        assert seen == [[0], [1]]
        assert client.loop.dropped == 1
        monkeypatch.setattr(_loop, "MAX_CALL_BYTES", 10)
        for number in range(2):
            client.message_received(b"[1, %d]" % number, ("127.0.0.1", 1))
        client.poll()
        assert client.loop.dropped == 2


@pytest.mark.fault("C21", "echo-rig", "E")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_second_thread_is_refused_and_disturbs_nothing(scheme):
    with pair(scheme) as (server, client):
        refused = []

        def wait():
            client.assign_callback("INIT", lambda data, address: inside.set())
            refused.append(client.wait_for("EXPEND", LIMIT_S))

        inside = threading.Event()
        server.assign_callback("START", lambda data, address: server.send([4, "over"], address))
        client.start(None)
        client.wait_for("EXPEND")
        server.assign_callback("INIT", lambda data, address: server.send([1, None], address))
        client.send([1, None])
        with in_thread(wait) as thread:
            assert inside.wait(LIMIT_S)
            for call in (client.init, client.poll, client.close, lambda: client.send([1, None])):
                with pytest.raises(RuntimeError, match="another thread"):
                    call()
            (address,) = server.addresses
            assert thread.is_alive()
            # Only the thread that serves may send.
            with _socket_of(server, address) as say:
                say(b'[4, "now"]')
        assert refused == [["now"]]


@contextlib.contextmanager
def _socket_of(server, address):
    """Send to a client behind the back of its server, which another thread is using."""
    carrier = server._carrier
    if server.is_datagram:
        yield lambda data: carrier.socket.sendto(data, address)
    else:
        yield carrier._streams[address].socket.send


@pytest.fixture
def usual_interrupt():
    """Let SIGINT do what it does, also where the tests run in the background, with the signal ignored."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def keyboard(usual_interrupt):
    """Press Ctrl-C after a while; to be called where it may come at once."""
    timer = threading.Timer(0.1, _thread.interrupt_main)
    yield timer.start
    timer.join(LIMIT_S)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_wait_can_be_interrupted_from_the_keyboard_and_nothing_is_lost(scheme, keyboard):
    with pair(scheme) as (server, client):
        server.assign_callback("INIT", lambda data, address: server.init("ready", addr=address))
        client.init()

        def wait():
            keyboard()
            client.wait_for("EXPEND", LIMIT_S)

        with pytest.raises(KeyboardInterrupt):
            wait()
        assert client.wait_for("INIT") == ["ready"]
        client.cleanup()


@pytest.mark.usefixtures("usual_interrupt")
def test_an_interrupted_send_leaves_nothing_behind():
    with silent_peer() as (peer, client):

        def interrupt():
            peer.recv(65536)
            _thread.interrupt_main()

        with in_thread(interrupt), pytest.raises(KeyboardInterrupt):
            client.confirmed_send([1, None], timeout=LIMIT_S)
        # None is left if the interrupt came before the send had taken note of what it wrote.
        assert not any(link.conversation.outstanding for link in client._carrier.links.values())


@pytest.mark.parametrize("where", ["send", "receive", "give_up", "next_deadline"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_interruption_while_the_state_changes_costs_the_conversation_and_not_the_end(scheme, where):
    with pair(scheme) as (_, client):
        client.init()
        (link,) = client._carrier.links.values()
        real = link.conversation

        class Interrupted:
            def __getattr__(self, name):
                if name == where:
                    raise KeyboardInterrupt
                return getattr(real, name)

        link.conversation = Interrupted()
        call = client.init if where != "give_up" else lambda: link.give_up(None)
        with pytest.raises(KeyboardInterrupt):
            call()
        if scheme == "udp":
            client.start("again")
        else:
            assert not client.is_connected
            with pytest.raises(ConnectionError):
                client.start("again")


def test_an_interruption_at_a_deadline_costs_the_conversation_and_not_the_end():
    with silent_peer() as (_, client):
        client.numbering = True
        client.default_echo_timeout = LIMIT_S
        with pytest.raises(TimeoutError):
            client.confirmed_send([1, None], timeout=0.02)
        (link,) = client._carrier.links.values()

        def interrupt(now):
            raise KeyboardInterrupt

        link.conversation = type(
            "Due", (), {"on_time": staticmethod(interrupt), "lost": list, "next_number": 9}
        )()
        with pytest.raises(KeyboardInterrupt):
            client.poll(LIMIT_S)
        assert client.addresses == []
        with pytest.raises(TimeoutError):
            client.confirmed_send([1, None], timeout=0.02)


def test_every_message_arrives_once_and_in_order_over_a_network_that_loses_and_doubles():
    seen = []
    fates = random.Random(3)
    uri = free_uri("udp")
    server = listen(uri, "server", numbering=True)
    server.assign_callback("INIT", lambda data, address: seen.append(data[0]))
    with (
        served(server),
        Relay(server.port, lambda _: fates.choice((0, 0, 1, 1, 1, 1, 1, 2))) as relay,
        connect(f"udp://127.0.0.1:{relay.port}", numbering=True) as client,
    ):
        for number in range(40):
            client.confirmed_send([1, number], timeout=LIMIT_S)
        (link,) = client._carrier.links.values()
        assert link.conversation.retransmissions
    assert seen == list(range(40))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_close_is_final_and_idempotent(scheme):
    with pair(scheme) as (_, client):
        client.init()
        sockets = [client._carrier.socket]
        client.close()
        client.close()
        assert not client.is_connected
        assert [one.fileno() for one in sockets] == [-1]
        assert client.loop.selector.get_map() is None
        for call in (client.init, client.poll, client.serve, lambda: client.wait_for("INIT", 1)):
            with pytest.raises(ConnectionError):
                call()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_callback_that_closes_the_end_ends_what_waits(scheme):
    with pair(scheme) as (server, client):
        server.assign_callback("INIT", lambda data, address: server.send([4, None], address))
        client.assign_callback("EXPEND", lambda data, address: client.close())
        client.send([1, None])
        client.serve(LIMIT_S)
        assert not client.is_connected
        server.assign_callback("START", lambda data, address: server.close())
    with pair(scheme) as (server, client):
        client.assign_callback("EXPEND", lambda data, address: client.close())
        server.assign_callback("INIT", lambda data, address: server.send([4, None], address))
        client.send([1, None])
        with pytest.raises(ConnectionAbortedError):
            client.wait_for("EXPSTART")


def test_serve_ends_after_its_time_and_poll_tells_how_many_came():
    with silent_peer() as (peer, client):
        client.send([8, None])
        _, address = peer.recvfrom(65536)
        client.serve(0.02)
        assert client.poll() == 0
        for number in range(5):
            peer.sendto(b"[1, %d]" % number, address)
        assert client.poll(LIMIT_S) == 5
        assert [client.next_event().data for _ in range(5)] == [[number] for number in range(5)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_token_can_be_asked_for(scheme):
    with pair(scheme) as (server, client):
        server.assign_callback("ALYX", lambda data, address: server.alyx(Alyx(), addr=address))
        assert client.alyx() == ["https://alyx", {"me": "secret"}]


def test_a_server_forgets_the_oldest_address_that_is_idle(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(_links, "MAX_LINKS", 2)
    uri = free_uri("udp")
    with listen(uri, numbering=True) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(uri)) for _ in range(3)]
        known = []
        for client in clients:
            client.send([1, None])
            known.append(server.next_event().address)
            with pytest.raises(TimeoutError):
                server.confirmed_send([1, None], known[-1], timeout=0.01)
        assert server.addresses == known[1:]
        assert server._carrier.link_to(known[0]).conversation.next_number > 1


def test_datagrams_that_cannot_be_sent_are_logged_and_fail_their_send(caplog):
    with silent_peer() as (_, client):
        real = client._carrier.socket

        class Broken:
            error = OSError(101, "Network is unreachable")

            def __getattr__(self, name):
                return getattr(real, name)

            def send(self, data):
                raise self.error

        client._carrier.socket = Broken()
        with pytest.raises(OSError, match="unreachable"):
            client.init()
        Broken.error = BlockingIOError()
        client._carrier.links.clear()
        with pytest.raises(TimeoutError):
            client.init()
        Broken.error = ConnectionRefusedError(111, "Connection refused")
        client._carrier.links.clear()
        with pytest.raises(ConnectionRefusedError):
            client.init()
        client._carrier.socket = real
    assert "unreachable" in caplog.text


def test_a_truncated_echo_and_loops_are_logged(caplog, monkeypatch):
    HeldClock(monkeypatch, _link)  # a loop is told by its pace
    monkeypatch.setattr(Endpoint, "max_message_size", 20)
    with silent_peer() as (peer, client):
        client.default_echo_timeout = LIMIT_S

        def cut():
            data, address = peer.recvfrom(65536)
            peer.sendto(data[:20], address)

        with in_thread(cut):
            client.init("a rather long message")
        assert "Received truncated echo" in caplog.text
        client.send([8, None])
        _, address = peer.recvfrom(65536)
        for _ in range(1100):
            peer.sendto(b"[1, 1]", address)
            client.poll()
        assert "bounce" in caplog.text


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_may_be_cut_anywhere(size):
    with raw_stream() as (peer, client):
        messages = b'[1, "\\u00e9"][2, "ref", {"a": [1]}] \n[8, null]'
        for begin in range(0, len(messages), size):
            peer.sendall(messages[begin : begin + size])
        assert client.wait_for("INIT") == ["é"]
        assert client.wait_for("START") == ["ref", {"a": [1]}]
        assert client.wait_for("CLEANUP") == [None]
        echoed = b""
        while len(echoed.rstrip()) < len(messages):
            echoed += peer.recv(65536)
        assert echoed.split() == messages.split()


def test_an_old_peer_has_time_to_read_an_echo_before_the_next_message():
    written = []
    with raw_stream() as (peer, client):
        (link,) = client._carrier.links.values()
        write = link._write
        link._write = lambda data: (written.append((time.monotonic(), data)), write(data))
        peer.sendall(b"[1, 1]")
        client.wait_for("INIT")
        client.send([2, "ref", None])
    (_, echo), (sent_at, message) = written
    assert (echo, message) == (b"[1, 1]", b'[2, "ref", null]')
    assert sent_at - link.echoed_at >= _end.APART_S


def test_a_word_in_a_stream_is_complete_after_a_silence():
    with raw_stream() as (peer, client):
        client.default_echo_timeout = LIMIT_S
        with in_thread(lambda: peer.sendall(peer.recv(65536))):
            client.confirmed_send("word")
        peer.sendall(b"unfinished")
        serve_until_it_says_something(client, peer)
        assert peer.recv(65536) == b"unfinished"


def test_a_message_beyond_the_limit_costs_a_log_record(monkeypatch, caplog):
    monkeypatch.setattr(_message_cutter, "MAX_STREAM_MESSAGE", 100)
    with raw_stream() as (peer, client):
        peer.sendall(b'[1, "' + b"x" * 1000 + b'"][4, 1]')
        assert client.wait_for("EXPEND") == [1]
    assert "Dropped a message of 1007 bytes" in caplog.text


def test_the_end_of_a_connection_ends_what_waits_and_what_came_before_is_kept():
    with raw_stream() as (peer, client):
        peer.sendall(b"[1, 1][2")
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionError, match="not connected any more"):
            client.wait_for("EXPEND", LIMIT_S)
        assert client.wait_for("INIT", 0) == [1]
        assert not client.is_connected
        with pytest.raises(ConnectionError):
            client.init()
    with (
        raw_stream() as (peer, client),
        in_thread(lambda: (peer.recv(65536), peer.close())),
        pytest.raises(ConnectionError),
    ):
        client.confirmed_send([1, None], timeout=LIMIT_S)


@pytest.mark.fault("C4", "echo-tcp", "E")
@pytest.mark.parametrize("cut", range(len("[1, null]")))
def test_a_stream_that_ends_inside_an_echo_is_a_lost_connection(cut, caplog):
    with raw_stream() as (peer, client):

        def answer():
            peer.sendall(peer.recv(65536)[:cut])
            peer.shutdown(socket.SHUT_WR)

        with in_thread(answer), pytest.raises(ConnectionResetError, match="has closed"):
            client.confirmed_send([1, None], timeout=LIMIT_S)
    assert ("ended inside a message" in caplog.text) == (cut > 0)


def test_a_reset_fails_the_send_that_waits():
    with raw_stream() as (peer, client):

        def reset():
            peer.recv(65536)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()

        with in_thread(reset), pytest.raises(ConnectionResetError):
            client.confirmed_send([1, None], timeout=LIMIT_S)


def test_a_client_that_leaves_a_server_fails_only_its_own_messages():
    uri = free_uri("tcp")
    with listen(uri) as server, connect(uri) as stays:
        leaves = connect(uri)
        leaves.send([1, "leaves"])
        stays.send([1, "stays"])
        addresses = {}
        for _ in range(2):
            event = server.next_event("INIT")
            addresses[event.data[0]] = event.address
        leaves.close()
        with pytest.raises(ConnectionError):
            server.confirmed_send([4, None], addresses["leaves"], timeout=LIMIT_S)
        with pytest.raises(ConnectionResetError, match="no connection with"):
            server.init(addr=addresses["leaves"])
        server.send([4, "on"], addresses["stays"])
        assert stays.wait_for("EXPEND") == ["on"]


def test_an_end_that_does_not_read_costs_bounded_memory_and_a_timeout():
    with raw_stream() as (peer, client):
        client.default_echo_timeout = 0.05
        text = "x" * 60_000
        with pytest.raises(TimeoutError, match="does not read"):
            collections.deque((client.send([1, text]) for _ in range(1000)), maxlen=0)
        (stream,) = client._carrier._streams.values()
        assert len(stream._unsent) < 2**20
        peer.sendall(b"[1, 1]")
        assert client.poll(0.05) == 0  # nothing more is taken from it
        with in_thread(lambda: _read_until(peer, b"[8, null]")):
            until(lambda: client.poll(0.01) or not stream.is_congested)
            client.send([8, None])
            client.wait_for("INIT")
            until(lambda: (client.poll(0.01), not stream._unsent)[1])


def _read_until(peer, end):
    received = b""
    while not received.endswith(end) and end not in received:
        received = received[-100:] + peer.recv(65536)


def test_connections_beyond_the_limit_are_refused(monkeypatch, caplog):
    monkeypatch.setattr(_connections, "MAX_CONNECTIONS", 1)
    with pair("tcp") as (_, client):
        client.init()
        with connect(client.server_uri) as second, pytest.raises(ConnectionError):
            second.init()
        client.init()
    assert "Refused" in caplog.text


def test_strangers_that_say_nothing_make_room_for_who_speaks(monkeypatch, caplog):
    monkeypatch.setattr(_connections, "MAX_CONNECTIONS", 2)
    with pair("tcp") as (server, client), socket.create_connection(client.server_address) as stranger:
        stranger.settimeout(LIMIT_S)
        client.init()
        until(lambda: len(server.addresses) == 2)
        with connect(client.server_uri) as another:
            another.init()
            client.init()
        assert stranger.recv(1) == b""
    assert "which said nothing" in caplog.text


@pytest.mark.fault("C7", "echo-tcp")
def test_a_server_that_cannot_accept_tries_again(monkeypatch):
    from echo_rig.sync import _streams

    monkeypatch.setattr(_streams, "ACCEPT_AGAIN_S", 0.01)
    uri = free_uri("tcp")
    with listen(uri) as server:
        real = server._carrier._listener
        errors = [OSError(24, "Too many open files"), ConnectionAbortedError()]

        class Short:
            def __getattr__(self, name):
                return getattr(real, name)

            def accept(self):
                if errors:
                    raise errors.pop(0)
                return real.accept()

        server._carrier._listener = Short()
        with served(server), connect(uri) as client:
            client.init()
        assert not errors
    with listen(free_uri("tcp")) as server:
        server._carrier._listener, real = Short(), server._carrier._listener
        errors.append(OSError(24, "Too many open files"))
        with connect(server.server_uri):
            server.poll(0.005)
        server.close()
        assert real.fileno() == -1


class Failing:
    """A socket whose calls raise, except those that are asked for nothing else."""

    def __init__(self, real, **errors):
        self._real = real
        self._errors = errors

    def __getattr__(self, name):
        if name in self._errors:
            return self._fail
        return getattr(self._real, name)

    def _fail(self, *arguments):
        raise next(iter(self._errors.values()))


@pytest.mark.parametrize("error", [OSError(5, "I/O error"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["send", "recv"])
def test_a_connection_that_breaks_in_the_middle_of_a_call_is_closed(call, error):
    with raw_stream() as (peer, client):
        (stream,) = client._carrier._streams.values()
        peer.sendall(b"[1, 1]")
        real, stream.socket = stream.socket, Failing(stream.socket, **{call: error})
        with pytest.raises((ConnectionError, OSError, KeyboardInterrupt)):
            client.confirmed_send([8, None], timeout=LIMIT_S)
        assert not client.is_connected
        assert real.fileno() == -1
        # What was on its way to it has nowhere to go.
        stream.write(b"[1, 1]")
        stream.ready(1)


def test_what_the_selector_saw_and_is_not_there_is_no_error():
    with raw_stream() as (_, client):
        (stream,) = client._carrier._streams.values()
        stream.ready(1)
        assert client.is_connected
    with silent_peer() as (_, client):
        client._carrier._ready(1)
        assert client.poll() == 0


def test_a_server_that_is_not_listened_to_logs_what_the_network_says(caplog):
    with listen(free_uri("udp"), "server") as server:
        real = server._carrier.socket
        server._carrier.socket = Failing(real, recvfrom=ConnectionResetError(10054, "reset"))
        server._carrier._ready(1)
        server._carrier.socket = real
        with pytest.raises(ValueError, match="IP address"):
            server.init(addr=("rig-pc", 11001))
    assert "the network says" in caplog.text


def test_where_the_system_cannot_limit_a_wait_the_selector_waits(monkeypatch):
    monkeypatch.setattr(_datagrams.sys, "platform", "win32")
    monkeypatch.setattr(_datagrams, "DO_NOT_WAIT", 0)
    with pair() as (server, client):
        assert client._carrier.read_blocking is None
        server.assign_callback("INIT", lambda data, address: server.init("ready", addr=address))
        client.init()
        assert client.wait_for("INIT") == ["ready"]


def test_a_list_without_its_end_is_given_up_after_a_long_silence(monkeypatch):
    monkeypatch.setattr(_message_cutter, "UNFINISHED_S", 0.02)
    with raw_stream() as (peer, client):
        peer.sendall(b"[1, ")
        serve_until_it_says_something(client, peer)
        peer.sendall(b"[4, 1]")
        assert client.wait_for("EXPEND") == [1]


def test_an_echo_that_lets_the_next_message_go_confirms_both():
    """Over a stream to an old peer one message waits for the echo of the other."""
    with raw_stream() as (peer, client):
        client.assign_callback(
            "INIT", lambda data, address: client.confirmed_send([4, "inner"], timeout=LIMIT_S)
        )

        def other_end():
            first = peer.recv(65536)
            peer.sendall(b"[1, 1]")
            assert peer.recv(65536) == b"[1, 1]"
            time.sleep(0.02)  # so that the inner message is in line behind the outer one
            peer.sendall(first)
            second = peer.recv(65536)
            assert second == b'[4, "inner"]'
            peer.sendall(second)

        with in_thread(other_end):
            client.confirmed_send([8, "outer"], timeout=LIMIT_S)


def test_what_cannot_be_opened_leaves_no_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match=r"."):
            listen(f"udp://127.0.0.1:{taken.getsockname()[1]}")


def test_a_wait_may_be_without_limit():
    with silent_peer() as (peer, client):
        client.send([8, None])
        _, address = peer.recvfrom(65536)
        peer.sendto(b"[1, 1]", address)
        assert client.wait_for("INIT", math.inf) == [1]
