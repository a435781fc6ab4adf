"""Decoders of streams: fed at once, slowly, anyhow and as they ask, and encoded again."""

from __future__ import annotations

from functools import partial
from typing import Any

from judging import FRAME_ERRORS, Broken, flat, hold, outcome, outcomes_agree, slowly, whole

from wireframe import TruncatedFrame, aggregate, echo, eventlog, ipi, lenjson
from wireframe._capture import zmtp

_BLANK = b" \t\r\n"


def lenjson_stream(data: bytes) -> None:
    """Frames of JSON; what was read can be written and read again."""
    for value in outcomes_agree(lenjson.Decoder, data, FRAME_ERRORS).events:
        try:
            text = lenjson.encode(value)
        except ValueError as error:
            hold(
                isinstance(error.__cause__, RecursionError),
                f"a value that was read cannot be written: {error}",
            )
            continue
        again = outcome(lenjson.Decoder, text, whole, ())
        hold(flat(again.events) == flat([value]), "a value changes when it is written and read")


def _ipi_bytes(event: ipi.Event) -> bytes:
    match event:
        case bytes():
            return ipi.encode_header(event)
        case ipi.Init():
            return ipi.encode_init(event.bead, event.text)
        case ipi.PosData():
            return ipi.encode_posdata(event.positions, event.cell, event.inverse_cell)
        case ipi.ForceReady():
            return ipi.encode_forceready(event.forces, event.energy, event.virial, event.extra)
        case ipi.PosDataBatch():
            cells = _blocks(event.cells, 144)
            pairs = [(one[:72], one[72:]) for one in cells]
            return ipi.encode_posdata_batch(_shares(event.positions, len(pairs)), pairs)
        case ipi.ForceReadyBatch():
            systems = len(event.extras)
            return ipi.encode_forceready_batch(
                _shares(event.forces, systems), event.energies, _blocks(event.virials, 72), event.extras
            )
    raise Broken(f"no event of i-PI: {event!r}")


def _blocks(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def _shares(data: bytes, count: int) -> list[bytes]:
    size = len(data) // count
    return [data[at * size : (at + 1) * size] for at in range(count)]


def _ipi_stream(data: bytes, **options: Any) -> None:
    result = outcomes_agree(partial(ipi.Decoder, **options), data, FRAME_ERRORS)
    written = b"".join(map(_ipi_bytes, result.events))
    if result.error is None:
        hold(written == data, "messages are other bytes when they are written again")
    else:
        hold(data.startswith(written), "messages before an error are other bytes when they are written again")


def ipi_from_server(data: bytes) -> None:
    """What a driver reads; every message is written again as the same bytes."""
    _ipi_stream(data, accept=ipi.FROM_SERVER)


def ipi_from_driver(data: bytes) -> None:
    """What a hub reads; every message is written again as the same bytes."""
    _ipi_stream(data, accept=ipi.FROM_DRIVER)


def ipi_batch(data: bytes) -> None:
    """Both directions of a connection with batches of two systems."""
    _ipi_stream(data, batch_size=2)


def _check_aggregate(event: aggregate.Event) -> None:
    """Write an event, read it again, compare what it says."""
    match event:
        case bytes():
            return
        case aggregate.Hello():
            text = aggregate.encode_hello(event.group_id)
        case aggregate.GroupInit():
            try:
                text = aggregate.encode_init(event.group_id, event.payloads, resume=event.resume)
            except ValueError as error:
                hold(isinstance(error.__cause__, RecursionError), f"AGGINIT cannot be written: {error}")
                return
        case aggregate.Step():
            text = aggregate.encode_step(event.requests())
            hold(len(event.field_block()) == 24 * len(event.ids()), "a molecule without its field")
        case _:
            text = aggregate.encode_result(event.answers())
            hold(len(event.amplitude_block()) == 24 * len(event.ids()), "a molecule without its amplitude")
    if isinstance(event, aggregate.Step | aggregate.Result):
        hold(len(set(event.ids())) == len(event.ids()), "a molecule stands twice")
    (again,) = outcome(aggregate.Decoder, text, slowly, ()).events
    if isinstance(event, aggregate.Step):  # equal fields may have stood there twice
        hold(list(again.requests().items()) == list(event.requests().items()), "a step changes")
    else:
        hold(flat(again) == flat(event), f"{type(event).__name__} changes when it is written and read")


def _aggregate_stream(data: bytes, accept: frozenset[bytes]) -> None:
    for event in outcomes_agree(partial(aggregate.Decoder, accept=accept), data, FRAME_ERRORS).events:
        _check_aggregate(event)


def aggregate_from_hub(data: bytes) -> None:
    """What a bridge reads."""
    _aggregate_stream(data, aggregate.FROM_HUB)


def aggregate_from_bridge(data: bytes) -> None:
    """What an aggregated hub reads."""
    _aggregate_stream(data, aggregate.FROM_BRIDGE)


def event_log(data: bytes) -> None:
    """Event logs: every byte is in an event, counted as skipped, or in the last, unfinished event."""

    def counters(decoder: eventlog.Decoder) -> tuple[int, ...]:
        return decoder.skipped, decoder.damages, decoder.oversized

    result = outcomes_agree(eventlog.Decoder, data, (TruncatedFrame,), counters)
    size = sum(
        len(part)
        for event in result.events
        for part in eventlog.encode_event(event.number, event.timestamp_us, event.channel, event.data)
    )
    rest = result.error.got if isinstance(result.error, TruncatedFrame) else 0
    hold(size + result.decoder.skipped + rest == len(data), "bytes of a log are lost")
    hold((result.decoder.skipped > 0) == (result.decoder.damages > 0), "damage without bytes, or the reverse")


def echo_split(data: bytes) -> None:
    """Messages without frames: joined they are the stream, and cuts change white space only."""
    known = None
    for cut in (whole, slowly):
        result = outcome(lambda: echo.Splitter(max_size=64), data, cut, ())
        sizes = [one.size if isinstance(one, echo.Oversized) else len(one) for one in result.events]
        hold(sum(sizes) == len(data), "bytes of a stream are lost")
        if all(isinstance(one, bytes) for one in result.events):
            hold(b"".join(result.events) == data, "joined messages are not the stream")
        said = [one if isinstance(one, echo.Oversized) else one.strip(_BLANK) for one in result.events]
        said = [type(one) if isinstance(one, echo.Oversized) else one for one in said if one]
        hold(known is None or said == known, "messages depend on how the bytes are cut")
        known = said


def zmtp_stream(data: bytes) -> None:
    """Connections of ZeroMQ."""
    for event in outcomes_agree(zmtp.Decoder, data, FRAME_ERRORS).events:
        if isinstance(event, zmtp.Multipart):
            hold(len(event.frames) == len(event.places) <= zmtp.MAX_FRAMES, "frames without places")
