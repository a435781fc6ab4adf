"""A server of etcd of our own, on loopback ports and a directory that go away with the test."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time

import pytest

LIMIT_S = 15.0
PROGRAM = shutil.which("etcd")


class EtcdServer:
    """Started by `start`; after `kill` it can be started again with all it knew."""

    def __init__(self, directory, *, is_secure=False):
        if PROGRAM is None:
            pytest.skip("etcd is not installed (Debian: etcd-server)")
        self.directory = directory
        self.is_secure = is_secure
        self.process = None
        self._is_known = False
        self.port, self._peer_port = _free_ports(2)

    @property
    def url(self):
        return f"{'https' if self.is_secure else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        """Start it and wait until it listens; the first time perhaps on other ports, if these are taken."""
        for _ in range(5):
            if self._start():
                self.keep_ports()
                return self
            if not self._is_known:
                self.port, self._peer_port = _free_ports(2)
                shutil.rmtree(self.directory / "data", ignore_errors=True)
        raise AssertionError(f"etcd does not start: {(self.directory / 'log').read_text()[-2000:]}")

    def keep_ports(self):
        """Somebody knows them."""
        self._is_known = True

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait(LIMIT_S)
            self.process = None

    def _start(self):
        peers = f"http://127.0.0.1:{self._peer_port}"
        arguments = {
            "name": "test",
            "data-dir": self.directory / "data",
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peers,
            "initial-advertise-peer-urls": peers,
            "initial-cluster": f"test={peers}",
            "heartbeat-interval": "20",
            "election-timeout": "200",
        }
        command = [PROGRAM, *(f"--{name}={value}" for name, value in arguments.items())]
        if self.is_secure:
            command.append("--auto-tls")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return True
            time.sleep(0.01)
        self.kill()
        return False


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
