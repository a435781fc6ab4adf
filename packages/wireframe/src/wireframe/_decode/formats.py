"""The formats, by name, and how each is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from wireframe import aggregate, datagram, eventlog, ipi, lenjson
from wireframe._capture import zmtp
from wireframe._decode import meanings
from wireframe._decode.readers import (
    ExperimentReader,
    Line,
    LogReader,
    Reader,
    StreamReader,
    read_datagram,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes
    ----------
    summary : str
        What it is, for the help.
    stream : callable or None
        Makes the reader of one direction of a TCP connection, or of a file.
    datagram : callable or None
        Reads one UDP datagram.
    """

    summary: str
    stream: Callable[[], Reader] | None = None
    datagram: Callable[[bytes], Line] | None = None


def _experiment_datagram(data: bytes) -> Line:
    return read_datagram(data, _unchanged, meanings.of_experiment_message)


def _unchanged(data: bytes) -> Any:
    return data


FORMATS: Final = {
    "lenjson": Format(
        "ten decimal digits and one JSON value, over TCP",
        stream=lambda: StreamReader(lenjson.Decoder(), meanings.of_json),
    ),
    "ipi": Format(
        "i-PI and MaxwellLink: hubs and their drivers, over TCP",
        stream=lambda: StreamReader(ipi.Decoder(), meanings.of_ipi),
    ),
    "aggregate": Format(
        "MaxwellLink: aggregated hubs and their bridges, over TCP",
        stream=lambda: StreamReader(aggregate.Decoder(), meanings.of_aggregate),
    ),
    "echo": Format(
        "experiment messages between acquisition PCs, over UDP or TCP",
        stream=ExperimentReader,
        datagram=_experiment_datagram,
    ),
    "datagram": Format(
        "LCM: channels over UDP",
        datagram=lambda data: read_datagram(data, datagram.decode, meanings.of_datagram),
    ),
    "readout": Format(
        "bare readouts over UDP, a datagram each: sizes and bytes alone",
        datagram=lambda data: read_datagram(data, _unchanged, meanings.of_readout),
    ),
    "eventlog": Format(
        "LCM: event logs, which are files",
        stream=lambda: LogReader(eventlog.Decoder(), meanings.of_log_event),
    ),
    "group": Format(
        "groups with a leader, over ZeroMQ's TCP connections",
        stream=lambda: StreamReader(zmtp.Decoder(), meanings.of_zeromq),
    ),
}
