"""Questions to etcd over its JSON gateway, each over within its time and its size.

A connection for each question: there are few, and nothing is left over from an
answer that went wrong.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Buffer

#: Bytes of the longest answer, its head included. Those that are asked for here have some hundred.
MAX_ANSWER: Final = 1 << 16
#: Where etcd listens for clients.
_CLIENT_PORT: Final = 2379
_OK: Final = 200
#: Characters of an answer that are quoted in an error.
_QUOTED: Final = 100


class EtcdFailure(Exception):
    """etcd cannot be reached, or said something that cannot be understood."""


class EtcdRefusal(EtcdFailure):
    """etcd answered with an error; the text is its own."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server of the cluster listens for clients."""

    host: str
    port: int
    is_secure: bool

    @classmethod
    def from_url(cls, url: str) -> Server:
        """Read ``http://host:port`` or ``https://host:port``.

        Examples
        --------
        >>> Server.from_url("http://10.0.0.5")
        Server(host='10.0.0.5', port=2379, is_secure=False)
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"a server of etcd is http://host:port or https://host:port, not {url!r}")
        return cls(parts.hostname, parts.port or _CLIENT_PORT, parts.scheme == "https")


class Gateway:
    """The gateway of any server of a cluster.

    Parameters
    ----------
    servers : iterable of Server
    context : ssl.SSLContext or None
        For ``https``.

    Notes
    -----
    For one thread; others may `interrupt` it.
    """

    def __init__(self, servers: Iterable[Server], context: ssl.SSLContext | None) -> None:
        self._servers = tuple(servers)
        self._context = context
        self._turn = 0
        self._lock = threading.Lock()
        self._open: socket.socket | None = None
        self._is_interrupted = False

    @property
    def server(self) -> str:
        """Whose turn it is."""
        server = self._servers[self._turn]
        return f"{server.host}:{server.port}"

    def ask(self, path: str, question: Mapping[str, Any], wait_s: float) -> dict[str, Any]:
        """Return the answer.

        Parameters
        ----------
        path : str
            Such as ``/v3/lease/grant``.
        question : mapping
            Goes out as JSON.
        wait_s : float
            Seconds until the answer must be whole.

        Raises
        ------
        EtcdRefusal
            The answer is an error.
        EtcdFailure
            There is none in time, or it is none.
        """
        text = b"".join(self.listen(path, question, wait_s))
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EtcdFailure(f"not JSON: {text[:_QUOTED]!r}") from error
        if not isinstance(answer, dict):
            raise EtcdFailure(f"not a JSON object: {text[:_QUOTED]!r}")
        return answer

    def listen(self, path: str, question: Mapping[str, Any], wait_s: float) -> Iterator[bytes]:
        """Yield pieces of the answer as they come, until it ends or is interrupted; see `ask`."""
        line = None
        self._is_interrupted = False
        try:
            line = self._connect(time.monotonic() + wait_s)
            response = self._request(line, path, json.dumps(question).encode())
            while piece := response.read1(MAX_ANSWER):
                yield piece
        except (OSError, http.client.HTTPException, ValueError) as error:
            if not self._is_interrupted:
                raise EtcdFailure(f"{type(error).__name__}: {error}") from error
        finally:
            with self._lock:
                self._open = None
            if line is not None:
                line.end()

    def turn(self) -> None:
        """Ask the next server from now on."""
        self._turn = (self._turn + 1) % len(self._servers)

    def interrupt(self) -> None:
        """End the question that is being asked, if there is one; from any thread."""
        with self._lock:
            if self._open is not None:
                self._is_interrupted = True
                # Closed by its own thread, which wakes up by this.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(self._open, socket.SHUT_RDWR)

    def _connect(self, deadline: float) -> _Line:
        server = self._servers[self._turn]
        line = socket.create_connection((server.host, server.port), _rest(deadline))
        with self._lock:
            self._open = line
        if server.is_secure and self._context is not None:
            try:
                line = self._context.wrap_socket(line, server_hostname=server.host)
            except BaseException:
                line.close()
                raise
            with self._lock:
                self._open = line
        return _Line(line, deadline)

    def _request(self, line: _Line, path: str, question: bytes) -> http.client.HTTPResponse:
        server = self._servers[self._turn]
        connection = http.client.HTTPConnection(server.host, server.port)
        connection.sock = line
        connection.request("POST", path, question, {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != _OK:
            raise EtcdRefusal(_reason(response.status, response.read(MAX_ANSWER)))
        return response


class _Line:
    """What `http.client` needs of a socket, with an end to time and size."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._socket = line
        self._deadline = deadline

    def sendall(self, data: Buffer) -> None:
        self._socket.settimeout(_rest(self._deadline))
        self._socket.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._socket, self._deadline))

    def close(self) -> None:
        """Do nothing: it is called while there may be an answer to read."""

    def end(self) -> None:
        self._socket.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, line: socket.socket, deadline: float) -> None:
        super().__init__()
        self._socket = line
        self._deadline = deadline
        self._left = MAX_ANSWER

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left <= 0:
            raise EtcdFailure(f"an answer of more than {MAX_ANSWER} bytes")
        self._socket.settimeout(_rest(self._deadline))
        count = self._socket.recv_into(buffer)
        self._left -= count
        return count


def _rest(deadline: float) -> float:
    rest = deadline - time.monotonic()
    if rest <= 0:
        raise TimeoutError("no whole answer in time")
    return rest


def _reason(status: int, text: bytes) -> str:
    """Return what etcd says about an error, or the status."""
    with contextlib.suppress(ValueError, RecursionError, KeyError, TypeError):
        reason = json.loads(text)["error"]
        if isinstance(reason, str):
            return reason
    return f"status {status}: {text[:_QUOTED]!r}"
