"""What a message says, in a line.

A function each for the events of a codec; they return who speaks, as far as the
message itself shows, and what it says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from wireframe import aggregate, datagram, echo, group, ipi
from wireframe._capture.zmtp import Command, Greeting
from wireframe._decode.excerpts import numbers, short, short_bytes, short_json, vectors
from wireframe.errors import FrameError

if TYPE_CHECKING:
    from wireframe._capture import zmtp
    from wireframe.eventlog import LogEvent


class Meaning(NamedTuple):
    """Who speaks (empty if the message does not show it), and what."""

    direction: str
    text: str


def of_json(value: Any) -> Meaning:
    """Explain a frame of `wireframe.lenjson`."""
    return Meaning("", short_json(value))


def of_ipi(event: ipi.Event) -> Meaning:
    """Explain a message of i-PI."""
    if isinstance(event, bytes):
        sent = "server > driver" if event in ipi.FROM_SERVER else "driver > server"
        return Meaning(sent, event.decode())
    if isinstance(event, ipi.Init):
        return Meaning(
            "server > driver", f"INIT {event.bead}, {len(event.text)} bytes: {short_bytes(event.text)}"
        )
    if isinstance(event, ipi.PosData):
        return Meaning(
            "server > driver", f"POSDATA of {len(event.positions) // 24}: {vectors(event.positions)}"
        )
    if isinstance(event, ipi.ForceReady):
        extra = f", extra {short_bytes(event.extra)}" if event.extra else ""
        forces = f"{len(event.forces) // 24}: {vectors(event.forces)}"
        return Meaning("driver > server", f"FORCEREADY energy {event.energy:.9g}, of {forces}{extra}")
    return Meaning("", type(event).__name__)  # batches: only decoders that were told of them


def of_aggregate(event: aggregate.Event) -> Meaning:
    """Explain a message between an aggregated hub and a bridge."""
    hub, bridge = "hub > bridge", "bridge > hub"
    if isinstance(event, bytes):
        return Meaning(hub if event in aggregate.FROM_HUB else bridge, event.decode())
    if isinstance(event, aggregate.Hello):
        return Meaning(bridge, f"AGGHELLO of group {short_json(event.group_id)}")
    if isinstance(event, aggregate.GroupInit):
        resume = ", to resume" if event.resume else ""
        first = next(iter(event.payloads.values()), None)
        given = "" if first is None else f", the first gets {short_json(first)}"
        group_id = short_json(event.group_id)
        return Meaning(
            hub, f"AGGINIT of group {group_id}, molecules {numbers(event.payloads)}{resume}{given}"
        )
    if isinstance(event, aggregate.Step):
        count = len(event.fields) // 24
        return Meaning(
            hub, f"AGGSTEP of molecules {numbers(event.ids())}, {count} fields: {vectors(event.fields)}"
        )
    amplitudes = vectors(event.amplitude_block())
    extra = f", extras {short_bytes(event.extras)}" if event.extras else ""
    return Meaning(bridge, f"AGGRESULT of molecules {numbers(event.ids())}: {amplitudes}{extra}")


def of_experiment_message(data: bytes | echo.Oversized) -> Meaning:
    """Explain a message of `wireframe.echo`.

    Raises
    ------
    BadPayload
        It is not JSON.
    """
    if isinstance(data, echo.Oversized):
        return Meaning("", f"a message of {data.size} bytes, too long to be read")
    if not data.strip():
        return Meaning("", "white space")
    number = echo.read_number(data)
    numbered = f"  number {number.number} of session {number.session:08x}" if number else ""
    note = echo.read_clock_note(data)
    numbered += f"  with a {type(note).__name__}" if note else ""
    if echo.is_ping(data):
        return Meaning("", "EXPSTATUS, a ping" + numbered)
    value = echo.decode(data)
    if not isinstance(value, list) or len(value) < 2:
        return Meaning("", f"no event: {short_json(value)}{numbered}")
    try:
        event, arguments = value[0] and echo.ExpMessage.validate(value[0]), value[1:]
    except (TypeError, ValueError):
        return Meaning("", f"no event: {short_json(value)}{numbered}")
    if not event:
        return Meaning("", f"error of the other end: {short_json(arguments)}{numbered}")
    if event is echo.ExpMessage.ALYX:  # a capture is passed on more easily than what is in it should be
        return Meaning(
            "", f"{event.name}: {len(arguments)} arguments, not shown: among them are credentials{numbered}"
        )
    return Meaning("", f"{event.name}: {short_json(arguments)}{numbered}")


def of_datagram(event: datagram.Event) -> Meaning:
    """Explain a datagram of LCM."""
    payload = f"{len(event.payload)} bytes: {short_bytes(bytes(event.payload))}"
    if isinstance(event, datagram.Small):
        return Meaning("", f"channel {event.channel!r}, message {event.sequence}, {payload}")
    channel = "" if event.channel is None else f"channel {event.channel!r}, "
    place = f"fragment {event.number} of {event.count}, at {event.offset} of {event.size}"
    return Meaning("", f"{channel}message {event.sequence}, {place}, {payload}")


def of_readout(data: bytes) -> Meaning:
    """Show a datagram without any format of ours."""
    return Meaning("", short_bytes(data))


def of_log_event(event: LogEvent) -> Meaning:
    """Explain an event of a log of LCM."""
    seconds = f"{event.timestamp_us // 10**6}.{event.timestamp_us % 10**6:06}"
    data = f"{len(event.data)} bytes: {short_bytes(event.data)}"
    return Meaning("", f"event {event.number} at {seconds} s, channel {short(event.channel)!r}, {data}")


def of_zeromq(event: zmtp.Event) -> Meaning:
    """Explain what comes over a connection of `wireframe.group`.

    Raises
    ------
    FrameError
        A message of several frames is none of a group.
    """
    if isinstance(event, Greeting):
        return Meaning("", "greeting, ZMTP {}.{}, {}".format(*event.version, event.mechanism))
    if isinstance(event, Command) and event.name in ("SUBSCRIBE", "CANCEL"):
        return _subscription(event.body, wanted=event.name == "SUBSCRIBE")
    if isinstance(event, Command):
        hidden = ": encrypted" if event.name == "MESSAGE" else ""
        body = "" if hidden else f": {short_bytes(event.body)}" if event.body else ""
        return Meaning("", f"command {short(event.name)}, {len(event.body)} bytes{hidden or body}")
    if len(event.frames) == 1 and event.frames[0][:1] in (b"\0", b"\1"):
        return _subscription(event.frames[0][1:], wanted=event.frames[0][0] == 1)
    message = group.decode_frames(event.frames)
    return Meaning(_group_direction(message.tag), _group_text(message))


def _subscription(topic: bytes, *, wanted: bool) -> Meaning:
    """Explain what peers say with a message if they speak ZMTP 3.0, and with a command later."""
    what = short_bytes(topic) if topic else "everything"
    return Meaning("subscriber > publisher", f"subscribe to {what}" if wanted else f"unsubscribe from {what}")


def _group_direction(tag: bytes) -> str:
    if tag in group.PUBLISHED_TAGS:
        return "member > all"
    if tag in group.QUERY_TAGS:
        return "member > leader"
    return "leader > member" if tag in group.ANSWER_TAGS else ""


def _group_text(message: group.GroupMessage) -> str:
    tag = message.tag.decode()
    stamp = "" if message.stamp is None else f"  sent {message.stamp:.6f}"
    if message.extension is not None:
        stamp += f"  sequence {message.extension.sequence} of {message.extension.sender.hex()[:8]}"
    if message.tag not in group.PUBLISHED_TAGS | group.QUERY_TAGS | group.ANSWER_TAGS:
        return f"{tag}, a kind not known here, {len(message.payload)} bytes{stamp}"
    try:
        body = group.decode_body(message.tag, message.payload)
    except FrameError as error:
        error.at += len(message.tag)  # of the message, not of its payload
        raise
    if isinstance(body, bytes):
        return f"{tag} {len(body)} bytes: {short_bytes(body)}{stamp}"
    parts = []
    for name in type(body).__dataclass_fields__:
        value = getattr(body, name)
        if isinstance(value, bytes):
            shown = short_bytes(value) if name == "topic" else value.hex()[:8]
        else:
            shown = str(getattr(value, "name", value)).lower()
        parts.append(f"{name} {shown}")
    return f"{tag} {type(body).__name__}: {', '.join(parts)}{stamp}"
