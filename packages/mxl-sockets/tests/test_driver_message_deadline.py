"""The time that a message of the hub may take counts from its first byte, however it comes."""

from __future__ import annotations

import socket
import threading
import time

from mxl_sockets.driver import Driver
from wireframe import ipi

LIMIT_S = 20.0
MESSAGE_S = 0.3


def is_dropped_meanwhile(sock, message):
    """Send byte by byte until the other end closes the connection; whether it did."""
    deadline = time.monotonic() + LIMIT_S
    for at in range(len(message)):
        try:
            sock.sendall(message[at : at + 1])
        except OSError:
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return False


def test_a_message_that_trickles_costs_the_connection_in_its_own_time(caplog):
    """Bytes that go on coming do not move the deadline; at their pace the message would last for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(LIMIT_S)
        driver = Driver(lambda field: field, address=listener.getsockname(), frame_timeout=MESSAGE_S)
        thread = threading.Thread(target=driver.run)
        thread.start()
        try:
            hub, _ = listener.accept()
            with hub:
                assert is_dropped_meanwhile(hub, ipi.encode_init(0, b" " * 100_000))
            hub, _ = listener.accept()
            with hub:
                hub.sendall(ipi.encode_header(ipi.EXIT))
                thread.join(LIMIT_S)
                assert not thread.is_alive()
        finally:
            driver.stop()
            thread.join(LIMIT_S)
    assert f"not complete after {MESSAGE_S} s" in caplog.text
