"""Addresses, delays, and single attempts at connecting."""

from __future__ import annotations

import errno
import socket
import time

import pytest

from mxl_sockets import _connect
from mxl_sockets._connect import Backoff, TcpTarget, UnixTarget, connect, parse_target
from mxl_sockets._listen import UNIX_PREFIX
from mxl_sockets._stop import StopSignal


@pytest.fixture
def stop():
    signal = StopSignal()
    yield signal
    signal.close()


def soon(seconds=0.2):
    return time.monotonic() + seconds


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        (None, "127.0.0.1", 31415),
        ("localhost:1", "localhost", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[::1]:80", "::1", 80),
        (("::1", 80), "::1", 80),
    ],
)
def test_tcp_addresses_in_all_their_forms(address, host, port):
    assert parse_target(address) == TcpTarget(host, port)


def test_ipv6_addresses_are_shown_in_brackets():
    assert str(TcpTarget("::1", 80)) == "[::1]:80"
    assert str(TcpTarget("hub", 80)) == "hub:80"


@pytest.mark.parametrize(
    "address",
    [
        "localhost",
        ":80",
        "host:",
        "host:http",
        "host:-1",
        "host:0",
        "host:65536",
        "::1:80",
        "host:²",
        ("host", 0),
        "",
    ],
)
def test_what_is_no_tcp_address_is_refused(address):
    with pytest.raises(ValueError, match=r"HOST:PORT|ambiguous|between 1 and 65535"):
        parse_target(address)


def test_unix_sockets_are_paths_or_names_behind_the_prefix():
    assert parse_target(unixsocket="/run/hub") == UnixTarget("/run/hub")
    assert str(parse_target(unixsocket="water")) == UNIX_PREFIX + "water"
    for name in ("", "a\0b", "x" * 108):
        with pytest.raises(ValueError, match="UNIX socket"):
            parse_target(unixsocket=name)


def test_two_places_at_once_are_refused():
    with pytest.raises(ValueError, match="both a TCP address"):
        parse_target("localhost:80", "water")


def test_delays_grow_to_a_second_with_jitter_and_start_anew():
    """Each between half of and the whole of 0.05 s times 1.5 to the n, at most 1 s."""
    backoff = Backoff()
    for _ in range(2):
        for n in range(20):
            largest = min(0.05 * 1.5**n, 1.0)
            assert 0.5 * largest <= backoff.next_s() <= largest
        backoff.reset()


def test_ipv6_hubs_are_reached(stop):
    with socket.socket(socket.AF_INET6) as listener:
        listener.bind(("::1", 0))
        listener.listen()
        target = parse_target(f"[::1]:{listener.getsockname()[1]}")
        with connect(target, deadline=soon(), stop=stop, backoff=Backoff()) as sock:
            assert sock.family == socket.AF_INET6


def test_a_name_with_several_addresses_is_tried_in_order(stop, monkeypatch):
    """localhost may stand for ::1 first while the hub listens on IPv4 only."""
    with socket.socket() as listener, socket.socket() as refusing:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        refusing.bind(("127.0.0.1", 0))
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 0, "", place.getsockname()) for place in (refusing, listener)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        with connect(TcpTarget("hub", 1), deadline=soon(), stop=stop, backoff=Backoff()) as sock:
            assert sock.getpeername() == listener.getsockname()


def test_tcp_connections_are_prompt_and_watched(stop):
    """NODELAY and keepalive are on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with connect(
            TcpTarget(*listener.getsockname()), deadline=soon(), stop=stop, backoff=Backoff()
        ) as sock:
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_connection_to_oneself_is_nobody_listening(stop, monkeypatch):
    """On one machine the system can give the connecting end the very port it connects to."""
    plain = socket.socket

    class SelfBound(plain):
        def connect_ex(self, address):
            self.bind(address)
            return super().connect_ex(address)

    with plain() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setattr(socket, "socket", SelfBound)
    with pytest.raises(TimeoutError, match="connected to itself"):
        connect(TcpTarget("127.0.0.1", port), deadline=soon(0), stop=stop, backoff=Backoff())


def test_a_name_without_address_fails_with_its_name(stop, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(TimeoutError, match="no address for hub:1"):
        connect(TcpTarget("hub", 1), deadline=soon(0), stop=stop, backoff=Backoff(), label="it")


def test_a_connection_that_takes_too_long_is_given_up(stop, monkeypatch):
    """One that gets no answer ends with the deadline."""
    monkeypatch.setattr(StopSignal, "wait_writable", lambda *_: False)
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EINPROGRESS)
    with pytest.raises(TimeoutError, match="timed out"):
        connect(TcpTarget("127.0.0.1", 1), deadline=soon(0), stop=stop, backoff=Backoff())


def test_what_the_system_forbids_is_not_tried_again(stop, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EACCES)
    began = time.monotonic()
    with pytest.raises(PermissionError):
        connect(TcpTarget("127.0.0.1", 1), deadline=soon(60), stop=stop, backoff=Backoff())
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.EINTR])
def test_a_passing_shortage_is_tried_again(stop, monkeypatch, code):
    """The first attempt fails with a system error, the second works."""
    attempts = []
    real = _connect._open

    def flaky(*arguments):
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError(code, "injected")
        return real(*arguments)

    monkeypatch.setattr(_connect, "_open", flaky)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        connect(TcpTarget(*listener.getsockname()), deadline=soon(5), stop=stop, backoff=Backoff()).close()
    assert len(attempts) == 2


def test_a_stop_signal_ends_connecting_before_during_and_after(stop):
    stop.set()
    assert connect(TcpTarget("127.0.0.1", 1), deadline=soon(60), stop=stop, backoff=Backoff()) is None
    assert stop.wait(60)
    with socket.socket() as other:
        assert not stop.wait_writable(other, 60)
    stop.close()
    stop.set()
    stop.close()


def test_waiting_on_a_stop_signal_without_a_stop_takes_its_time(stop):
    began = time.monotonic()
    assert not stop.wait(0.05)
    assert time.monotonic() - began >= 0.05
