"""A server that answers as etcd does, for one lease, or as no etcd should: as the test wants it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time

LEASE = 7
REVISION = 5


def answer(value, status="200 OK"):
    """Return a whole response with this JSON."""
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status.encode(), len(body), body)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class ScriptedEtcd:
    """Listens on loopback; `behaviour[path]` replaces what is answered.

    A behaviour takes the question and returns the bytes of the response, None to be silent until the
    server is closed, or an iterator over bytes.
    """

    def __init__(self):
        self.behaviour = {}
        self.revision = REVISION
        self.lease = LEASE
        self.value = None
        self.asked = []
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._lines = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._listen)]
        self._threads[0].start()

    def times(self, path):
        """When this was asked, monotonic seconds."""
        return [when for when, asked in self.asked if asked == path]

    def close(self):
        self._ended.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10.0)
        self._listener.close()

    def _listen(self):
        while not self._ended.is_set():
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._lines.append(line)
                thread = threading.Thread(target=self._serve, args=(line,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, line):
        # A question that was cut short is no question.
        with line, line.makefile("rb") as file, contextlib.suppress(OSError, ValueError, IndexError):
            path = file.readline().split()[1].decode()
            size = 0
            while (head := file.readline()).strip():
                name, _, value = head.partition(b":")
                if name.lower() == b"content-length":
                    size = int(value)
            question = json.loads(file.read(size))
            self.asked.append((time.monotonic(), path))
            response = self.behaviour.get(path, self._honest(path))(question)
            if response is None:
                # Until either end gives up.
                line.recv(1)
                return
            for piece in [response] if isinstance(response, bytes) else response:
                line.sendall(piece)

    def _honest(self, path):
        return {
            "/v3/lease/grant": lambda asked: answer({"ID": str(self.lease), "TTL": asked["TTL"]}),
            "/v3/lease/keepalive": lambda _: answer({"result": {"ID": str(self.lease), "TTL": "60"}}),
            "/v3/lease/revoke": lambda _: answer({}),
            "/v3/election/campaign": self._campaign,
            "/v3/election/leader": lambda _: self.leader(),
            "/v3/election/observe": lambda _: None,
            "/v3/election/proclaim": self._proclaim,
            "/v3/election/resign": lambda _: answer({}),
        }[path]

    def leader(self, **changes):
        if self.value is None:
            return answer({"error": "election: no leader", "code": 2}, "500 Internal Server Error")
        key = {
            "key": base64.b64encode(b"key").decode(),
            "create_revision": str(self.revision),
            "lease": str(self.lease),
            "value": self.value,
        }
        return answer({"kv": {**key, **changes}})

    def _campaign(self, question):
        self.value = question["value"]
        return answer({"leader": {}})

    def _proclaim(self, question):
        self.value = question["value"]
        return answer({})
