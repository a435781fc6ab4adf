"""What strangers do to a server, and that it costs only them."""

from __future__ import annotations

import contextlib
import errno
import socket
import time
import tracemalloc

import pytest

from wireframe import BadHeader, BadPayload, FrameError, FrameTooLarge
from wireframe.json_socket import BrokenConnection, DroppedPeer
from wireframe.lenjson import encode

GOOD = encode({"command": "ready"})


def poll(server):
    """Let the server look at everything that has arrived."""
    with pytest.raises(TimeoutError):
        server.receive(timeout=0)


@pytest.mark.fault("C2", "json-socket", "E")
@pytest.mark.fault("C3", "json-socket", "E")
@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "BadHeader"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "BadHeader"),
        (b"-000000001x", "BadHeader"),
        (b"9999999999", "FrameTooLarge"),
        (b"0268435457", "FrameTooLarge"),
        (b"0000000004nope", "BadPayload"),
        (b"0000000000", "BadPayload"),
        (encode(1)[:10] + b"\xff", "BadPayload"),
    ],
    ids=repr,
)
def test_a_peer_that_sends_something_else_is_dropped_at_once_and_named(
    new_server, new_client, knock, data, cause, figure
):
    server = new_server()
    stranger = knock(server, data)
    new_client(server).send("good")
    assert server.receive() == "good"
    assert stranger.at_end()
    (dropped,) = server.drops
    host, port = stranger.sock.getsockname()
    assert isinstance(dropped, DroppedPeer)
    assert (dropped.peer, dropped.cause) == (f"{host}:{port}", cause)
    assert dropped.received == len(data)
    assert dropped.reason
    figure(f"{dropped.cause} after {dropped.received} bytes")


@pytest.mark.fault("C6", "json-socket", "T")
@pytest.mark.fault("D9", "json-socket")
def test_a_silent_client_a_half_header_and_a_half_body_stop_nobody(new_server, new_client, knock):
    """The first whole message wins, whoever came before."""
    server = new_server()
    strangers = [knock(server, data) for data in (b"", b"00000", b"0000000010", b'0000000011"half')]
    for number in range(3):
        new_client(server).send(number)
        assert server.receive() == number
    assert server.dropped == 0
    strangers[3].send(b' done"')
    strangers[1].send(b"000041234")
    assert server.receive() == 1234  # it was the first of those that are complete
    assert server.receive() == "half done"


def test_who_says_nothing_or_stops_in_the_header_is_dropped_in_time(new_server, knock):
    server = new_server(header_timeout=0.05)
    strangers = [knock(server), knock(server, b"000")]
    while server.dropped < 2:
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    assert all(one.at_end() for one in strangers)
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert [one.cause for one in server.drops] == ["TimeoutError"] * 2
    assert "connected and said nothing" in server.drops[0].reason
    assert "sent 3 bytes of a frame and then fell silent" in server.drops[1].reason


@pytest.mark.fault("C6", "json-socket", "T")
def test_a_trickle_does_not_move_the_deadline_of_a_frame(new_server, knock, run):
    """One byte at a time, each in time for a deadline per read."""
    server = new_server(frame_timeout=0.1)
    stranger = knock(server, b"0000001000")
    receiving = run(server.receive)
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            stranger.send(b"1")
            time.sleep(0.005)
    knock(server, GOOD)
    assert receiving.result() == {"command": "ready"}
    assert [one.cause for one in server.drops] == ["TimeoutError"]


def test_time_the_server_spends_elsewhere_is_not_the_peers_fault(new_server, knock, eventually):
    server = new_server(header_timeout=0.05, frame_timeout=0.05)
    slow = knock(server, GOOD[:20])
    poll(server)
    time.sleep(0.1)  # the server computes
    slow.send(GOOD[20:])
    assert server.receive() == {"command": "ready"}
    assert server.dropped == 0


@pytest.mark.fault("C4", "json-socket", "LE")
@pytest.mark.parametrize("hard", [False, True], ids=["closes", "resets"])
def test_a_client_that_dies_anywhere_in_its_message_costs_nothing(new_server, knock, hard):
    """At each byte of the frame, and the next client is served."""
    server = new_server()
    for cut in range(len(GOOD)):
        dying = knock(server, GOOD[:cut])
        if hard:
            dying.reset()
        else:
            dying.close()
        knock(server, encode(cut))
        assert server.receive() == cut
    poll(server)
    assert server.dropped == len(GOOD)
    assert {one.cause for one in server.drops} == {"BrokenConnection"}


def test_a_client_that_dies_before_its_reply_is_an_error_of_send_and_the_next_is_served(new_server, knock):
    server = new_server()
    dying = knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    dying.reset()
    with pytest.raises(BrokenConnection, match="broken"):
        server.send("x" * 20_000_000)
    with pytest.raises(BrokenConnection, match="was closed"):
        server.send("again")
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}


@pytest.mark.fault("C6", "json-socket", "T")
def test_a_client_that_does_not_read_its_reply_costs_send_its_deadline_only(new_server, knock):
    server = new_server(frame_timeout=0.1)
    lazy = knock(server, GOOD)
    server.receive()
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match="did not take 20000012 bytes in time"):
        server.send("x" * 20_000_000)
    assert time.monotonic() - begin < 5
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    lazy.close()


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"GET / HTTP/1.1", BadHeader),
        (b"9999999999", FrameTooLarge),
        (b"0000000004nope", BadPayload),
        (b"0000", BrokenConnection),
        (b"", BrokenConnection),
    ],
    ids=repr,
)
def test_a_strict_server_raises_what_its_peer_did_and_lives_on(new_server, knock, data, error):
    server = new_server(strict=True)
    stranger = knock(server, data)
    stranger.half_close()
    with pytest.raises(error) as caught:
        server.receive()
    host, port = stranger.sock.getsockname()
    assert f"{host}:{port}" in f"{caught.value} {getattr(caught.value, '__notes__', '')}"
    assert server.dropped == 1
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}


def test_a_strict_server_raises_one_error_per_peer(new_server, knock):
    server = new_server(strict=True)
    for _ in range(3):
        knock(server, b"GET / HTTP/1.1")
    for _ in range(3):
        with pytest.raises(BadHeader):
            server.receive()
    poll(server)


# Numbers of connections, bytes and descriptors.


@pytest.fixture
def no_grace(monkeypatch):
    """Who is silent gives way at once."""
    monkeypatch.setattr("wireframe.json_socket._room.GRACE", 0.0)


def test_newcomers_wait_for_who_has_been_silent_for_a_moment_only(new_server, knock, run, monkeypatch):
    """A burst of good clients beyond the limit: none is turned away before it could speak."""
    monkeypatch.setattr("wireframe.json_socket._room.GRACE", 3600.0)
    server = new_server(max_connections=3)
    clients = [knock(server) for _ in range(9)]
    poll(server)
    running = run(server.serve, {"ready": lambda: "OK"}, stop="done")
    for client in clients:
        assert client.ask(GOOD, 14) == encode("OK")
        client.close()
    assert knock(server).ask(encode({"command": "done"}), 14) == encode("OK")
    running.result()
    assert server.dropped == 0


def test_who_is_silent_for_longer_gives_way_to_newcomers(new_server, knock, run, monkeypatch):
    monkeypatch.setattr("wireframe.json_socket._room.GRACE", 3600.0)
    server = new_server(max_connections=1, header_timeout=None)
    knock(server)
    poll(server)
    knock(server, GOOD)
    poll(server)
    assert server.dropped == 0
    monkeypatch.setattr("wireframe.json_socket._room.GRACE", 0.05)
    assert server.receive(timeout=20) == {"command": "ready"}
    assert server.dropped == 1


@pytest.mark.fault("C7", "json-socket")
def test_a_flood_of_silent_strangers_gives_way_to_who_speaks(new_server, knock, no_grace):
    server = new_server(max_connections=4)
    strangers = [knock(server) for _ in range(10)]
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert server.dropped == 7
    assert "was silent and gave way, the limit is 4 connections" in server.drops[0].reason
    assert all(one.at_end() for one in strangers[:7])


def test_who_gave_way_is_not_read_any_more_in_the_same_round(new_server, knock, no_grace):
    server = new_server(max_connections=1)
    stranger = knock(server)
    poll(server)
    knock(server, GOOD)
    stranger.send(b"too late")
    assert server.receive() == {"command": "ready"}
    assert [one.cause for one in server.drops] == ["BrokenConnection"]


def test_a_client_that_was_served_may_end_as_it_likes(new_server, knock):
    """Many end by a reset, having left something unread."""
    server = new_server(persistent=True)
    for end in ("close", "reset"):
        client = knock(server, GOOD)
        assert server.receive() == {"command": "ready"}
        poll(server)
        getattr(client, end)()
        poll(server)
    assert server.dropped == 0


def test_when_all_connections_are_busy_new_ones_wait_their_turn(new_server, knock, no_grace):
    server = new_server(max_connections=2)
    busy = [knock(server, GOOD[:15]), knock(server, GOOD[:15])]
    knock(server, encode("patient"))
    poll(server)
    busy[1].send(GOOD[15:])
    assert server.receive() == {"command": "ready"}
    assert server.receive() == "patient"
    assert server.dropped == 0


def test_idle_connections_of_a_persistent_server_give_way_too(new_server, new_client, no_grace):
    server = new_server(max_connections=2, persistent=True)
    clients = [new_client(server, persistent=True) for _ in range(3)]
    for number, client in enumerate(clients):
        client.send(number)
        assert server.receive() == number
    assert server.dropped == 0
    with pytest.raises(BrokenConnection):
        clients[0].receive()


@pytest.mark.fault("C3", "json-socket", "M")
def test_memory_does_not_follow_the_number_of_long_frames(new_server, knock, figure):
    """Many announce the limit and send: two at most get together, short messages go by."""
    size = 4 << 20
    server = new_server(max_size=size)
    strangers = [knock(server, b"%010d" % size) for _ in range(12)]
    poll(server)
    for one in strangers:
        one.sock.setblocking(False)
    piece = b"x" * 100_000
    tracemalloc.start()
    try:
        for _ in range(size // len(piece)):
            for one in strangers:
                with contextlib.suppress(BlockingIOError):
                    one.sock.send(piece)
            poll(server)
        knock(server, GOOD)
        assert server.receive() == {"command": "ready"}
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 2 * (size + size // 8) + (1 << 20)
    finally:
        tracemalloc.stop()
    assert server.dropped == 0
    figure(f"{len(strangers)} peers announce {size >> 20} MiB each and send: peak {peak / (1 << 20):.0f} MiB")
    strangers[0].close()  # who held the budget is gone, another goes on
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert server.dropped == 1


def test_a_long_frame_does_not_wait_for_frames_that_are_only_announced(new_server, new_client, knock, run):
    server = new_server()
    for _ in range(10):
        knock(server, b"%010d[" % (256 << 20))
    run(server.serve, {"length": len_of})
    assert new_client(server, timeout=20).tcpcmd({"command": "length", "x": "x" * 1_000_000}) == 1_000_000
    assert server.dropped == 0


def len_of(x):
    return len(x)


def test_the_clock_of_a_frame_that_waits_for_room_stands_still(new_server, knock):
    """The oldest runs out of time; two others that began with it had to pause and do not."""
    server = new_server(max_size=200_000, frame_timeout=0.5)
    frame = encode("x" * 150_000)
    knock(server, frame[:20])
    poll(server)
    paused = [knock(server, frame[:140_000]) for _ in range(2)]
    while not server.dropped:
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    for one in paused:
        one.send(frame[140_000:])
    for _ in paused:
        assert server.receive(timeout=20) == "x" * 150_000
    assert server.dropped == 1
    assert "sent 20 bytes of a frame" in server.drops[0].reason


def test_long_frames_beyond_the_budget_wait_and_all_arrive(new_server, new_client, run):
    size = 300_000
    server = new_server(max_size=size + 2)
    sending = [run(new_client(server).tcpcmd, str(number) * size) for number in range(5)]
    seen = set()
    for _ in sending:
        message = server.receive()
        assert message == message[0] * size
        seen.add(message[0])
        server.send(message[0])
    assert seen == set("01234")
    assert {one.result() for one in sending} == seen
    assert server.dropped == 0


@pytest.mark.fault("C7", "json-socket", "T")
def test_accepting_survives_a_lack_of_descriptors_and_goes_on_when_there_are_some(
    new_server, knock, monkeypatch, caplog
):
    server = new_server()
    accept = socket.socket.accept
    failures = [
        OSError(errno.EMFILE, "no descriptors"),
        ConnectionAbortedError("gone"),
        OSError(errno.ENOBUFS, "none"),
    ]

    def scarce(self):
        if failures and self is server.server:
            raise failures.pop(0)
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    knock(server, GOOD)
    assert server.receive() == {"command": "ready"}
    assert not failures
    assert server.dropped == 0
    assert "cannot accept connections for now" in caplog.text


def test_accepted_connections_are_probed_and_do_not_delay_small_frames(new_server, knock):
    """Inherited from the listening socket, so that accepting stays cheap."""
    server = new_server()
    knock(server, GOOD)
    server.receive()
    assert server.connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert server.connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# The k-th call to the system fails.


CODES = [
    errno.ECONNRESET,
    errno.EPIPE,
    errno.ENOBUFS,
    errno.EMFILE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.EINTR,
]


@pytest.fixture
def fail_at(monkeypatch):
    """Make the k-th call of a method fail, of the sockets of a server alone."""

    @contextlib.contextmanager
    def planned(server, call, k, code):
        ours = server.server.getsockname()
        original = getattr(socket.socket, call)
        count = iter(range(10_000))

        def failing(self, *arguments):
            if self.fileno() >= 0 and self.getsockname() == ours and next(count) == k:
                raise OSError(code, "as planned")
            return original(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, call, failing)
            yield

    return planned


@pytest.mark.fault("C23", "json-socket", "EL")
@pytest.mark.parametrize("call", ["accept", "recv", "send"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_any_one_failing_call_costs_one_connection_at_most(new_server, knock, fail_at, call, code):
    """Whichever call fails, the error is typed and the next client is served."""
    for k in range(4):
        server = new_server(persistent=True)
        knock(server, GOOD + GOOD)
        with fail_at(server, call, k, code), contextlib.suppress(BrokenConnection, TimeoutError):
            for _ in range(2):
                assert server.receive(timeout=0.05) == {"command": "ready"}
                server.send("OK")
        last = knock(server, encode("last"))
        while server.receive(timeout=5) != "last":
            pass
        server.send("answer")
        assert last.read(18) == encode("answer")
        server.shutdown()


@pytest.mark.fault("C23", "json-socket", "E")
@pytest.mark.parametrize("call", ["accept", "recv", "send"])
@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
def test_any_one_failing_call_leaves_serve_alive(new_server, knock, run, fail_at, call, code):
    for k in range(3):
        server = new_server()
        with fail_at(server, call, k, code):
            serving = run(server.serve, {"ready": lambda: "OK"}, stop="done")
            assert knock(server).ask(GOOD, 14) in (encode("OK"), b"")
            while knock(server).ask(encode({"command": "done"}), 14) != encode("OK"):
                if call == "send":  # the reply was lost, the command was not
                    break
            serving.result()
        server.shutdown()


def test_no_error_of_a_peer_is_anything_but_a_frame_or_connection_error():
    assert issubclass(FrameError, ValueError)
    assert issubclass(BrokenConnection, ConnectionError)
    assert issubclass(BrokenConnection, RuntimeError)
