"""Two drivers made of a bare socket, for tests of the hub.

`ScriptedDriver` does what the test tells it, byte for byte, and checks every
byte it gets. `PumpedDriver` behaves, whenever it is pumped: with it a test is
hub and drivers in one thread, and so the same on every run.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct

from wireframe import NEED_DATA, ipi

#: Seconds that a test waits for something that has to come.
LIMIT_S = 30.0

REQUEST_HEAD = ipi.encode_request(bytes(24))[:160]


def connect(address):
    """A connected, blocking socket to a hub's address, TCP or UNIX."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        sock.settimeout(LIMIT_S)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


class ScriptedDriver:
    """A connection on which the test plays the driver itself."""

    def __init__(self, address):
        self.sock = connect(address)
        self.init = None

    def read(self, size):
        """Exactly `size` bytes."""
        data = bytearray()
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError(f"the hub closed after {len(data)} of {size} bytes: {bytes(data[:99])!r}")
            data += piece
        return bytes(data)

    def read_init(self):
        """The raw INIT message; its contents are in `init` afterwards."""
        head = self.read(20)
        assert head[:12] == ipi.encode_header(ipi.INIT)
        molecule_id, size = struct.unpack("<ii", head[12:])
        text = self.read(size)
        self.init = (molecule_id, json.loads(text))
        return head + text

    def read_request(self, last=ipi.GETFORCE):
        """The 24 bytes of field in a request; all other bytes have to be the template's."""
        data = self.read(ipi.REQUEST_LENGTH)
        assert data[:160] == REQUEST_HEAD
        assert data[184:] == ipi.encode_header(last)
        return data[160:184]

    def read_header(self):
        """The name of a message without body."""
        return self.read(12).rstrip()

    def send(self, *pieces):
        """Write bytes, each piece in a write of its own."""
        for piece in pieces:
            self.sock.sendall(piece)

    def say(self, name):
        """Send a message without body."""
        self.send(ipi.encode_header(name))

    def reply(self, amplitude=(0.0, 0.0, 0.0), extra=b""):
        """Send a reply in one write."""
        self.send(ipi.encode_forceready(amplitude, extra=extra))

    def unread(self):
        """What has arrived, without waiting; nothing if the hub has closed."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1 << 16)
        except (BlockingIOError, ConnectionError):
            return b""
        finally:
            self.sock.settimeout(LIMIT_S)

    def is_closed(self):
        """Whether the hub has closed the connection; what came before is skipped."""
        self.sock.setblocking(False)
        try:
            while self.sock.recv(1 << 16):
                pass
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(LIMIT_S)
        return True

    def close(self):
        """Leave."""
        self.sock.close()

    def reset(self):
        """Leave with a reset instead of an end of stream."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class PumpedDriver:
    """A well-behaved driver that acts when `pump` is called.

    Its molecule adds up the fields it has committed; the amplitude is the sum
    times one plus its id. The sum travels in the extra as the state.

    Attributes
    ----------
    commits : list of (molecule id, bytes)
        What this connection committed, in order.
    """

    def __init__(self, address):
        self.sock = connect(address)
        self.sock.setblocking(False)
        self.decoder = ipi.Decoder(accept=ipi.FROM_SERVER)
        self.molecule_id = None
        self.total = [0.0, 0.0, 0.0]
        self.staged = None
        self.commits = []
        self.inits = []
        self.alive = True
        self.stopped = False

    def is_asked(self):
        """Whether a whole request lies unread, and nothing else."""
        try:
            data = self.sock.recv(1 << 20, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return len(data) == ipi.REQUEST_LENGTH

    def pump(self):
        """Read what is there and answer it; return whether the connection lives."""
        while self.alive:
            try:
                data = self.sock.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                self.close()
                break
            self.decoder.feed(data)
            while self.alive and (event := self.decoder.next_event()) is not NEED_DATA:
                with contextlib.suppress(OSError):
                    self.handle(event)
        return self.alive

    def handle(self, event):
        """Do what the hub wants."""
        if isinstance(event, ipi.Init):
            self.molecule_id = event.bead
            self.inits.append(json.loads(event.text))
            self.total = self.inits[-1].get("state", self.total)
        elif isinstance(event, ipi.PosData):
            self.staged = event.positions
        elif event == ipi.STATUS:
            state = ipi.NEEDINIT if self.molecule_id is None else ipi.READY
            self.sock.sendall(ipi.encode_header(ipi.HAVEDATA if self.staged else state))
        elif event == ipi.GETFORCE:
            self.sock.sendall(self.commit())
        elif event == ipi.STOP:
            self.stopped = True
            self.sock.sendall(ipi.encode_header(ipi.BYE))
            self.close()

    def commit(self):
        """Make the staged step; the reply."""
        self.commits.append((self.molecule_id, self.staged))
        field = struct.unpack("<3d", self.staged)
        self.staged = None
        self.total = [old + new for old, new in zip(self.total, field, strict=True)]
        amplitude = [(1 + self.molecule_id) * part for part in self.total]
        return ipi.encode_forceready(amplitude, extra=json.dumps({"state": self.total}).encode())

    def close(self):
        """Leave."""
        self.alive = False
        self.sock.close()
