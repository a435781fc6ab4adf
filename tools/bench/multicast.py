"""udp-multicast: what a datagram costs beside bare sockets, and a message on a channel beside LCM.

Sending and receiving are measured each in one process (`datagram_subject`), so
is receiving honest readouts with a broken datagram beside each and without
(`multicast_broken_subject`); streams between two (`stream_subject`), in which
nothing is lost: the subscriber acknowledges, for every kind in the same way.
The figures are CPU time per message, user and system, of all processes of a
side together; and messages per second. Pinned, everything shares one core, and
both say the same; free, sender and receiver may work at the same time, and the
rate is what a user sees, though it scatters. All runs in a network namespace
with a multicast route, which LCM needs; without one LCM is left out.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from datagram_loops import RECEIVE_BUFFER
from harness import Measurement, Target, measure_on_cores
from loopback_network import NoNetworkError, loopback_network
from multicast_sides import LoopSide, StreamSide
from results import CPU, RATE, entry

from wireframe.datagram import MAX_DATAGRAM

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

ROUNDS: Final = 11
QUICK_ROUNDS: Final = 5

#: Bytes of datagrams that are sent and received one by one.
LOOP_SIZES: Final = (64, 1024, 8192)
SEND_BOUND: Final = 1.15
RECEIVE_BOUND: Final = 1.35
#: Times the messages per second of LCM, by bytes of a message: one by one, and
#: many at a time.
CHANNEL_TIMES: Final = {64: 1.1, 1024: 1.1, 60 << 10: 1.0, 1 << 20: 1.0}
CHANNEL_MANY_TIMES: Final = {64: 2.0, 1024: 2.0}
BROKEN_SCRIPT: Final = "multicast_broken_subject.py"
#: Of the honest readouts per CPU second that come alone, those with a broken datagram beside each.
BROKEN_SHARE: Final = 0.5
#: Bytes of these readouts, and of the messages; the longest takes nine datagrams.
BROKEN_SIZES: Final = (
    ("readouts, ids", 64),
    ("JSON", 256),
    ("arrays", 256),
    ("messages", 64),
    ("messages", 12 << 10),
)
#: Bytes of the readouts that are sent many at a time, and how many between acknowledgements.
MANY_STRIDES: Final = {64: 1024, 1024: 512, 8192: 64}
#: Times the messages per second of the bare loop, at 64 bytes: raw, and through Python.
MANY_TIMES: Final = 8
PYTHON_TIMES: Final = 3
#: Bytes of messages on channels, and messages between acknowledgements. Two
#: such strides fit into 4 MiB, to which the system adds as much for itself; of
#: which a datagram of 64 KiB takes 128.
CHANNEL_STRIDES: Final = {64: 512, 1024: 512, 60 << 10: 16, 1 << 20: 1}
#: Bytes of messages that are larger than any buffer, and go at the pace of the default.
PACED: Final = "channel, paced"
PACED_SIZES: Final = (1 << 20, 4 << 20, 16 << 20)


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison: what each side is made of, and the bound of ours by the other.

    The first side is judged by the second, if there is one; a third is shown beside them.
    On one core CPU time is judged, which repeats; on free cores the time that
    passed, the reciprocal of messages per second.
    """

    name: str
    size: int
    kinds: Mapping[str, str]
    stride: int
    bound: float
    script: str = "datagram_subject.py"

    def target(self, *, wall: bool) -> Target | None:
        """Return what is judged, if anything."""
        if not self.bound:
            return None
        ours, other, *_ = self.kinds
        return Target(ours, other, self.bound, wall=wall)

    def __str__(self) -> str:
        size = f"{self.size} B"
        for unit, bits in (("KiB", 10), ("MiB", 20)):
            if self.size >= 1 << bits:
                size = f"{self.size >> bits} {unit}"
        return f"{self.name:<14}{size:>8}"


def rows() -> list[Row]:
    """Return all comparisons."""
    found = [
        Row(what, size, {"ours": "ours", "bare": "bare"}, 0, bound)
        for what, bound in (("send", SEND_BOUND), ("receive", RECEIVE_BOUND))
        for size in LOOP_SIZES
    ]
    found += [
        Row(name, size, kinds, stride, 1 / times if size == 64 else 0.0)
        for name, kinds, times in (
            ("many", {"ours": "many", "bare": "bare"}, MANY_TIMES),
            ("many, Python", {"ours": "many-python", "bare": "bare-python"}, PYTHON_TIMES),
        )
        for size, stride in MANY_STRIDES.items()
    ]
    found += [
        Row(name, size, {"ours": kind, "lcm": "lcm", **floor(size)}, CHANNEL_STRIDES[size], 1 / times)
        for name, kind, bounds in (
            ("channel", "channel", CHANNEL_TIMES),
            ("channel, many", "channel-many", CHANNEL_MANY_TIMES),
        )
        for size, times in bounds.items()
    ]
    found += [Row(PACED, size, {"ours": "channel-paced"}, 1, 0.0) for size in PACED_SIZES]
    return found + [
        Row(name, size, {side: side for side in ("broken", "clean")}, 0, 1 / BROKEN_SHARE, BROKEN_SCRIPT)
        for name, size in BROKEN_SIZES
    ]


def floor(size: int) -> dict[str, str]:
    """Return the side that sends and receives bare datagrams, if one of them holds such a message."""
    return {"bare": "bare"} if size <= MAX_DATAGRAM else {}


def run(options: argparse.Namespace, show: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Measure all rows, show each as it is finished, and give it for the file.

    Parameters
    ----------
    options : argparse.Namespace
        ``quick``, ``peer_python`` as `__main__` reads them.
    show : callable
        Takes one line of the table.
    """
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with contextlib.ExitStack() as stack:
        within: Sequence[str] = ()
        pythons = dict.fromkeys(("ours", "bare", "broken", "clean"), sys.executable)
        try:
            within = stack.enter_context(loopback_network())
        except NoNetworkError as error:
            show(f"lcm: skipped, it needs a network namespace with a multicast route: {error}")
        else:
            _add_lcm(pythons, options.peer_python or sys.executable, show)
        show("CPU of all processes per message, microseconds (spread), and messages per second")
        for row in rows():
            yield _measure(row, pythons, within, QUICK_ROUNDS if row.name == PACED else rounds, show)


def _add_lcm(pythons: dict[str, str], python: str, show: Callable[[str], None]) -> None:
    limit = int(Path("/proc/sys/net/core/rmem_max").read_text(encoding="ascii"))
    if limit < RECEIVE_BUFFER:
        show(f"lcm: skipped, net.core.rmem_max is {limit}, and it would lose messages below {RECEIVE_BUFFER}")
    elif subprocess.run(
        [python, "-c", "import lcm"], capture_output=True, check=False, timeout=60
    ).returncode:
        show("lcm: skipped, it cannot be imported; --peer-python names an interpreter that has it")
    else:
        pythons["lcm"] = python


def _measure(
    row: Row, pythons: Mapping[str, str], within: Sequence[str], rounds: int, show: Callable[[str], None]
) -> dict[str, Any]:
    """Measure one row, pinned and free, with the same processes."""
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                StreamSide(kind, row.size, row.stride, pythons[name], within)
                if row.stride
                else LoopSide(row.script, row.name, kind, row.size, pythons[name], within)
            )
            for name, kind in row.kinds.items()
            if name in pythons
        }
        entries: list[dict[str, Any]] = []
        found: dict[str, Any] = {"entries": entries, "row": row.name, "bytes": row.size}
        title = str(row)
        # Without a stride it is one process.
        for core, measurement in measure_on_cores(sides, 1, rounds, free=bool(row.stride)):
            target = row.target(wall=core == "free")
            verdict = target and target.judge(measurement)
            show(f"{title:<23}{core:<6}{_columns(measurement)}   {verdict or ''}{_rate(row, measurement)}")
            quantity = RATE if row.stride else CPU
            name, at = " ".join(str(row).split()), (row.size, "bytes")
            plot = "" if row.script == BROKEN_SCRIPT else f"multicast, {row.name}"
            judged = [verdict] if verdict else []
            entries.append(entry(name, core, measurement, quantity, judged, plot=plot, at=at))
            found[core] = measurement.as_json()
            found[core]["verdict"] = asdict(verdict) if verdict else None
            title = ""
    return found


def _rate(row: Row, measurement: Measurement) -> str:
    """Say how many times the messages per second of the other side ours makes, of a stream.

    With broken datagrams, per CPU second.
    """
    if len(row.kinds) == 1:
        return f"{1e-6 * row.size * measurement.steps_per_second('ours').median:.0f} MB/s"
    ours, other, *floors = row.kinds
    if ours == "broken":
        share = measurement.ratio(other, ours)
        return f"; {share.median:.2f} ({share.low:.2f} to {share.high:.2f}) of the readouts per CPU second"
    if not row.stride or other not in measurement.samples:
        return ""
    times = measurement.ratio(other, ours, wall=True)
    said = f"; {times.median:.2f} ({times.low:.2f} to {times.high:.2f}) times the messages/s"
    for floor_side in floors:
        said += f", {measurement.ratio(floor_side, ours, wall=True).median:.2f} times those of {floor_side}"
    return said


def _columns(measurement: Measurement) -> str:
    columns = "".join(
        f"{f'{name} {figure.median:.2f} ±{50 * figure.spread:.0f} %':>20}"
        f"{measurement.steps_per_second(name).median:>9.0f}/s"
        for name in measurement.samples
        for figure in (measurement.cpu_us(name),)
    )
    return columns + ("  NOISY" if measurement.noisy else "")
