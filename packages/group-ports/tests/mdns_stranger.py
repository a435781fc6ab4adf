"""Somebody on the loopback interface who announces whatever it likes by multicast DNS."""

from __future__ import annotations

import socket
import struct

GROUP = ("224.0.0.251", 5353)
PTR, TXT, SRV, A = 12, 16, 33, 1
TYPE = "_group-ports._tcp.local."
LIFETIME_S = 4500


class Stranger:
    """Announces services of this type; names of the real one become names of this one."""

    def __init__(self, service_type=TYPE):
        self._type = service_type
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        # What does not come from the port of mDNS is no answer.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._socket.bind(("127.0.0.1", 5353))

    def announce(self, name, texts=(), place=("127.0.0.1", 9), *, lifetime_s=LIFETIME_S):
        """Send the four records of a service; texts as bytes, a host as text or bytes."""
        host, port = place
        name = self._named(name)
        address = socket.inet_aton(host) if isinstance(host, str) else host
        target = encode_name("h" + name.partition(".")[0][1:] + ".local.")
        self.send(
            [
                record(self._type, PTR, encode_name(name), lifetime_s),
                record(name, SRV, struct.pack("!HHH", 0, 0, port) + target, lifetime_s),
                record(name, TXT, encode_texts(texts), lifetime_s),
                record("h" + name.partition(".")[0][1:] + ".local.", A, address, lifetime_s),
            ]
        )

    def point_to(self, *names):
        """Announce that there are services of these names, and nothing more."""
        self.send([record(self._type, PTR, encode_name(self._named(name)), LIFETIME_S) for name in names])

    def _named(self, name):
        return name.replace(TYPE, self._type)

    def send(self, records):
        head = struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0)
        self.send_raw(head + b"".join(records))

    def send_raw(self, data):
        self._socket.sendto(data, GROUP)

    def close(self):
        self._socket.close()


def encode_name(name):
    labels = [label.encode() for label in name.removesuffix(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def encode_texts(texts):
    return b"".join(bytes([len(text)]) + text for text in texts) or b"\0"


def record(name, kind, data, lifetime_s):
    # Others of that name are over, except of the pointers, which several may have.
    unique = 1 if kind == PTR else 0x8001
    return encode_name(name) + struct.pack("!HHIH", kind, unique, lifetime_s, len(data)) + data
