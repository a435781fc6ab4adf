"""Sockets of ours, bare sockets and threads, all of which end with the test."""

from __future__ import annotations

import contextlib
import gc
import socket
import threading
import time

import pytest

from wireframe import Socket

#: Seconds after which a test has failed; waiting normally takes milliseconds.
PATIENCE = 20.0


class Running:
    """A function in a thread of its own."""

    def __init__(self, function, arguments, options):
        self._outcome = None
        self.thread = threading.Thread(target=self._run, args=(function, arguments, options), daemon=True)
        self.thread.start()

    def _run(self, function, arguments, options):
        try:
            self._outcome = (function(*arguments, **options), None)
        except BaseException as error:  # noqa: BLE001 - raised again by result
            self._outcome = (None, error)

    def result(self):
        """What the function returned or raised."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the thread is stuck"
        value, error = self._outcome
        if error is not None:
            raise error
        return value


class Bare:
    """A socket without any protocol, for playing the peer."""

    def __init__(self, sock):
        sock.settimeout(PATIENCE)
        self.sock = sock

    def send(self, data):
        self.sock.sendall(data)

    def read(self, size):
        """Exactly `size` bytes, or fewer if the other side closes before."""
        data = b""
        while len(data) < size and (piece := self.sock.recv(size - len(data))):
            data += piece
        return data

    def at_end(self):
        """Wait until the other side has closed; whether nothing came before."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionError:
            return True

    def ask(self, data, size):
        """Send, and return the reply of this size, or nothing if the other side closes."""
        with contextlib.suppress(ConnectionError):
            self.send(data)
            return self.read(size)
        return b""

    def half_close(self):
        with contextlib.suppress(OSError):  # who has heard enough may have ended it
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Close the hard way."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self):
        self.sock.close()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """No thread outlives its test, and no socket is left for the collector to warn about."""
    before = threading.active_count()
    # What was there before the test need not be looked through; it is far more than what a test makes.
    gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()
    assert threading.active_count() == before


@pytest.fixture
def closing():
    """Register what must be closed at the end of the test."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        thing.close()


@pytest.fixture
def run():
    """Start a function in a thread; it is joined at the end."""
    running = []

    def start(function, *arguments, **options):
        running.append(Running(function, arguments, options))
        return running[-1]

    yield start
    for one in running:
        one.thread.join(PATIENCE)


@pytest.fixture
def new_server(run):  # after the servers are shut down the threads are joined
    """Make servers on free ports."""
    servers = []

    def make(*arguments, port=0, **options):
        servers.append(Socket("server", *arguments, port=port, **options))
        return servers[-1]

    yield make
    for one in servers:
        one.shutdown()


@pytest.fixture
def new_client(run):
    """Make clients of a server, or of a port."""
    clients = []

    def make(server, **options):
        port = server if isinstance(server, int) else server.port
        clients.append(Socket("client", port=port, **options))
        return clients[-1]

    yield make
    for one in clients:
        one.shutdown()


@pytest.fixture
def knock(closing):
    """Connect a bare socket to a server and send something."""

    def connect(server, data=b""):
        bare = closing(Bare(socket.create_connection(server.server.getsockname()[:2])))
        bare.send(data)
        return bare

    return connect


@pytest.fixture
def listener(closing):
    """A bare listening socket, as the original's: accepts when told to."""

    class Listener:
        def __init__(self):
            self.sock = closing(socket.create_server(("127.0.0.1", 0)))
            self.sock.settimeout(PATIENCE)
            self.port = self.sock.getsockname()[1]

        def accept(self):
            return closing(Bare(self.sock.accept()[0]))

    return Listener()


@pytest.fixture
def eventually():
    """Wait for something to become true."""

    def wait(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.001)

    return wait
