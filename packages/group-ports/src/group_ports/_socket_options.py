"""The ZeroMQ options of a port: every queue, frame, wait and silence has an end."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import zmq

if TYPE_CHECKING:
    from group_ports._port_settings import PortSettings

#: The system repeats its first packet after a second. Half a second later a new
#: attempt is quicker than a second repetition: so a network that has come back
#: is used again within twice the longest pause between attempts.
_LONGEST_CONNECT_MS: Final = 1500
#: Linux accepts no more.
_LONGEST_KEEPALIVE_S: Final = 32767
_MOST_PROBES: Final = 127
#: Seconds for which a publisher with back pressure waits for a subscriber that takes nothing.
PATIENCE_S: Final = 60.0


def apply(socket: zmq.Socket[bytes], settings: PortSettings) -> None:
    """Set what all kinds of ports have in common; before bind or connect.

    Parameters
    ----------
    socket : zmq.Socket
    settings : PortSettings
    """
    handshake_ms = _ms(settings.handshake_timeout)
    for option, value in (
        (zmq.SNDTIMEO, settings.send_wait_ms),
        (zmq.RCVTIMEO, settings.recv_wait_ms),
        (zmq.SNDHWM, settings.send_hwm),
        (zmq.RCVHWM, settings.recv_hwm),
        (zmq.MAXMSGSIZE, settings.max_size),
        # Nothing that a subscriber sends is worth waiting for at its end.
        (zmq.LINGER, 0 if socket.type == zmq.SUB else _ms(settings.linger_s)),
        # A network that swallows packets is noticed, and its end as well: else
        # the system would wait minutes before it tries to connect again.
        (zmq.HANDSHAKE_IVL, handshake_ms),
        (zmq.CONNECT_TIMEOUT, min(handshake_ms, _LONGEST_CONNECT_MS)),
        *_keepalive(settings, waits=settings.back_pressure and socket.type == zmq.XPUB),
        (zmq.RECONNECT_IVL, _ms(settings.reconnect_s)),
        (zmq.RECONNECT_IVL_MAX, _ms(settings.reconnect_max_s)),
    ):
        socket.setsockopt(option, value)


def _keepalive(settings: PortSettings, *, waits: bool) -> list[tuple[int, int]]:
    """Return the options by which the system notices that a peer is gone.

    By TCP, not by heartbeats of ZMTP: libzmq ends the process if one of those is due on
    a connection that broke while its messages waited for the caller, or if it gives such
    a connection up and the caller then reads (stream_engine_base.cpp, 4.3.5).
    """
    idle_s = min(math.ceil(settings.heartbeat_s), _LONGEST_KEEPALIVE_S)
    silence_s = min(math.ceil(settings.liveness_s), _LONGEST_KEEPALIVE_S)
    interval_s = math.ceil(silence_s / _MOST_PROBES)
    # Of what was sent: also the time for which a peer may take nothing. One that is
    # waited for must not be taken for dead too soon.
    unsent_s = settings.heartbeat_s + settings.liveness_s
    if waits:
        unsent_s = max(unsent_s, PATIENCE_S)
    return [
        (zmq.TCP_KEEPALIVE, 1),
        (zmq.TCP_KEEPALIVE_IDLE, idle_s),
        (zmq.TCP_KEEPALIVE_INTVL, interval_s),
        (zmq.TCP_KEEPALIVE_CNT, math.ceil(silence_s / interval_s)),
        (zmq.TCP_MAXRT, _ms(min(unsent_s, 2 * _LONGEST_KEEPALIVE_S))),
    ]


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000)) if seconds else 0


def endpoint(host: str, port: int | str) -> str:
    """Return the address as ZeroMQ writes it.

    Parameters
    ----------
    host : str
        Name or address; IPv6 with or without brackets.
    port : int or str
        TCP port, or ``*``.

    Raises
    ------
    ValueError
        Not a host.

    Examples
    --------
    >>> endpoint("127.0.0.1", 5555), endpoint("::1", "*")
    ('tcp://127.0.0.1:5555', 'tcp://[::1]:*')
    """
    bare = host.removeprefix("[").removesuffix("]")
    if not bare or not all(sign.isalnum() or sign in ".:%-_" for sign in bare):
        raise ValueError(f"not a host: {host!r}")
    return f"tcp://[{bare}]:{port}" if ":" in bare else f"tcp://{bare}:{port}"


def port_number(port: int) -> int:
    """Return a TCP port to connect to; ValueError or TypeError if it is none."""
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"a TCP port is a number, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"a TCP port is a number from 1 to 65535, not {port}")
    return port
