"""What is to be reached, line by line, and where in the results of a run it is found.

The bars themselves stand beside the benches, which judge them; a line here says
what they mean, in which rows they are, and whether a reader wants the ratio or
how many times ours is better. Rows that a run does not have are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ONE: Final = "one"
FREE: Final = "free"


@dataclass(frozen=True, slots=True)
class Place:
    """A verdict in the results: how it is called in the line, its row, its core and what it judged."""

    label: str
    row: str
    core: str
    ratio_of: str


@dataclass(frozen=True, slots=True)
class Line:
    """A target.

    Parameters
    ----------
    says : str
        What is compared with what.
    bench : str
        As the results name it.
    places : sequence of Place
        Where it is judged.
    is_times : bool
        Whether to show how many times better ours is, not the ratio of the costs.
    """

    says: str
    bench: str
    places: Sequence[Place]
    is_times: bool = False


def _each(rows: Mapping[str, str], core: str, ratio_of: str) -> tuple[Place, ...]:
    """Return a place for each label and row."""
    return tuple(Place(label, row, core, ratio_of) for label, row in rows.items())


def _on_both(rows: Mapping[str, str], pinned: str, free: str) -> tuple[Place, ...]:
    """Return places on one core, judged by one ratio, and on free cores, judged by another."""
    return _each({f"{label} one core": row for label, row in rows.items()}, ONE, pinned) + _each(
        {f"{label} free": row for label, row in rows.items()}, FREE, free
    )


def _hub(table: str, *, extra: bool) -> dict[str, str]:
    sizes = [f"{transport} {count}" for transport in ("tcp", "unix") for count in (16, 128, 1024)]
    sizes += ["tcp 128 +200 B"] * extra
    return {size: f"{table}, {size} molecules" for size in sizes}


def _sized(name: str, sizes: Sequence[str]) -> dict[str, str]:
    return {size: f"{name} {size}" for size in sizes}


def _bridges(*counts: int) -> dict[str, str]:
    return {f"{count:,} molecules": f"{count} molecules over 2 bridges" for count in counts}


_DATAGRAMS: Final = ("64 B", "1 KiB", "8 KiB")
_FRAMES: Final = ("64 B", "1 KiB", "60 KiB", "1 MiB")
_PUBLISH: Final = {"to 1": "publish to 1", "to 4": "publish to 4"}
_BROKEN: Final = ("readouts, ids 64 B", "JSON 256 B", "arrays 256 B", "messages 64 B", "messages 12 KiB")

LINES: Final = (
    Line(
        "frames of 48 bytes in chunks of 64 KiB: CPU time over `StreamReader.readexactly`",
        "wireframe",
        _each({"": "frames"}, ONE, "ours / asyncio"),
    ),
    Line(
        "frame of 100 MB: CPU time over bare `recv_into`",
        "wireframe",
        _each({"": "100 MB"}, ONE, "ours / recv_into"),
    ),
    Line(
        "JSON `Socket` on a kept connection: time over a bare socket loop with the same JSON",
        "wireframe",
        _on_both({"": "command, kept"}, "ours / bare time", "ours / bare time"),
    ),
    Line(
        "one-shot `tcpcmd`: time over a bare connect, send and receive with the same JSON",
        "wireframe",
        _on_both({"": "command, once"}, "ours / bare time", "ours / bare time"),
    ),
    Line(
        "`step_barrier`: times less CPU per molecule and step than the `maxwelllink` hub",
        "mxl-sockets",
        _each(_hub("step_barrier", extra=True), ONE, "ours / peer"),
        is_times=True,
    ),
    Line(
        "`step_barrier`: CPU over a bare epoll loop",
        "mxl-sockets",
        _each(_hub("step_barrier", extra=True), ONE, "ours / bare"),
    ),
    Line(
        "`step`: times less CPU per molecule and step than the `maxwelllink` hub",
        "mxl-sockets",
        _each(_hub("step() beside C", extra=False), ONE, "ours step() / peer"),
        is_times=True,
    ),
    Line(
        "`step`: share of the steps per second of an epoll hub in C",
        "mxl-sockets",
        _each(_hub("step() beside C", extra=False), ONE, "ours step() / C time"),
        is_times=True,
    ),
    Line(
        "aggregated `step_barrier`: times the molecules per second of the peer",
        "mxl-sockets-aggregated",
        _each(_bridges(1_000, 10_000, 100_000), ONE, "ours / peer time"),
        is_times=True,
    ),
    Line(
        "aggregated `step`, 1,000 molecules: times the molecules per second of the peer",
        "mxl-sockets-aggregated",
        _each(_bridges(1_000), ONE, "ours step() / peer time"),
        is_times=True,
    ),
    Line(
        "aggregated `step`, more molecules: times the molecules per second of the peer",
        "mxl-sockets-aggregated",
        _each(_bridges(10_000, 100_000), ONE, "ours step() / peer time"),
        is_times=True,
    ),
    Line(
        "MPI `step`: times the molecules per second of the aggregated `step`",
        "mxl-sockets-mpi",
        _each(
            {f"{count:,} molecules": f"{count} molecules, MPI beside bridges" for count in (10_000, 100_000)},
            FREE,
            "mpi / aggregated time",
        ),
        is_times=True,
    ),
    Line(
        "with an unmodified ASE over TCP, in both roles: steps per second",
        "mxl-sockets-ase",
        _on_both(
            {role: f"forces with ASE, {role}" for role in ("our hub", "our driver")},
            *["ours, steps per second"] * 2,
        ),
    ),
    Line(
        "import: CPU time over numpy's",
        "imports",
        tuple(
            Place(label, "import", ONE, f"{name} / numpy")
            for label, name in (
                ("package", "mxl_sockets"),
                ("`SocketHub`", "SocketHub"),
                ("`Driver`", "Driver"),
            )
        ),
    ),
    Line(
        "`send_readout`: CPU over `sendto(readout.to_bytes())`",
        "udp-multicast",
        _each(_sized("send", _DATAGRAMS), ONE, "ours / bare"),
    ),
    Line(
        "`receive`: CPU over `recvfrom_into`, `bytes` and `from_bytes`",
        "udp-multicast",
        _each(_sized("receive", _DATAGRAMS), ONE, "ours / bare"),
    ),
    Line(
        "`send_readouts` and `receive_many`, raw bytes: times the messages per second of the bare loop",
        "udp-multicast",
        _on_both(_sized("many", ["64 B"]), "ours / bare", "ours / bare time"),
        is_times=True,
    ),
    Line(
        "the same through a `from_bytes` in Python",
        "udp-multicast",
        _on_both(_sized("many, Python", ["64 B"]), "ours / bare", "ours / bare time"),
        is_times=True,
    ),
    Line(
        "channels, one by one, small: times the messages per second of a tuned `lcm`",
        "udp-multicast",
        _on_both(_sized("channel", _FRAMES[:2]), "ours / lcm", "ours / lcm time"),
        is_times=True,
    ),
    Line(
        "channels, one by one, large: the same",
        "udp-multicast",
        _on_both(_sized("channel", _FRAMES[2:]), "ours / lcm", "ours / lcm time"),
        is_times=True,
    ),
    Line(
        "channels, many at a time: the same",
        "udp-multicast",
        _on_both(_sized("channel, many", _FRAMES[:2]), "ours / lcm", "ours / lcm time"),
        is_times=True,
    ),
    Line(
        "a broken datagram beside each honest one: share of the readouts per CPU second",
        "udp-multicast",
        _each({row: row for row in _BROKEN}, ONE, "broken / clean"),
        is_times=True,
    ),
    Line(
        "confirmed round trip over UDP: time over a bare asyncio echo",
        "echo-rig",
        _each({"": "round trip, udp"}, ONE, "ours / bare time"),
    ),
    Line(
        "confirmed round trip over TCP: time over a bare asyncio echo",
        "echo-rig",
        _each({"": "round trip, tcp"}, ONE, "ours / bare time"),
    ),
    Line(
        "confirmed round trip: times faster than `iblutil`",
        "echo-rig",
        _each({"udp": "round trip, udp", "tcp": "round trip, tcp"}, ONE, "ours / peer time"),
        is_times=True,
    ),
    Line(
        "the same with the log of `iblutil` silenced",
        "echo-rig",
        _each({"udp": "round trip, udp", "tcp": "round trip, tcp"}, ONE, "ours / quiet-peer time"),
        is_times=True,
    ),
    Line(
        "blocking round trip over UDP: time over the asyncio echo",
        "echo-rig",
        _each({"": "sync, udp"}, ONE, "ours / asyncio time"),
    ),
    Line(
        "`Services.init` over so many rigs 2 ms away: times faster than `iblutil`, its log silenced",
        "echo-rig",
        _each({f"{rigs}": f"init, {rigs} rigs" for rigs in (1, 16, 64, 256)}, ONE, "ours / quiet-peer time"),
        is_times=True,
    ),
    Line(
        "publish and receive, 64 B: CPU over bare `send_multipart` and `recv_multipart`",
        "group-ports",
        _each(
            {label: f"{row}, 64 B" for label, row in _PUBLISH.items()} | {"ask": "ask, 64 B"},
            ONE,
            "ours / bare",
        ),
    ),
    Line(
        "the same, 64 KiB",
        "group-ports",
        _each(
            {label: f"{row}, 64 KiB" for label, row in _PUBLISH.items()} | {"ask": "ask, 64 KiB"},
            ONE,
            "ours / bare",
        ),
    ),
    Line(
        "core of elections, simulated: events per second",
        "group-ports",
        _each(
            {f"{members} members": f"election, {members} members" for members in (3, 5, 7, 15, 31)},
            ONE,
            "events per second",
        ),
    ),
    Line(
        "another leader after the old one's process was killed: seconds, median",
        "group-ports-elections",
        _each({"": "leader killed, 5 processes"}, FREE, "ours, median seconds"),
    ),
    Line(
        "another leader after the old one's process was killed: seconds, worst",
        "group-ports-elections",
        _each({"": "leader killed, 5 processes, the worst"}, FREE, "ours, worst seconds"),
    ),
)
