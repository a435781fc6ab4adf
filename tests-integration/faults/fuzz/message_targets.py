"""Messages that come whole: datagrams, texts, multiparts; what was read is written again."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from judging import FRAME_ERRORS, Broken, depth_of, flat, hold, parts_of

from udp_multicast.channels._ledger import ChannelLedger
from wireframe import datagram, echo, group
from wireframe.errors import BadPayload

_MAX_SIZE = 1024
_MAX_BYTES = 4 * datagram.largest_cost(_MAX_SIZE, 16)
_MAX_MESSAGES = 4
_MAX_AGE_S = 10.0


def one_datagram(data: bytes) -> None:
    """One datagram of LCM: three readers agree, and a small message is written as the same bytes."""
    found = datagram.examine(data)
    small = datagram.split_small(data)
    is_small = isinstance(found, datagram.Small)
    hold((small is not None) == is_small, "split_small and examine disagree")
    if isinstance(found, datagram.Fault):
        error = found.error(data, datagram.MAX_SIZE)
        hold(type(error) is found.kind and isinstance(error, FRAME_ERRORS), f"a fault is {error!r}")
        try:
            datagram.decode(data)
        except FRAME_ERRORS as raised:
            hold(
                flat([type(raised), str(raised), raised.at]) == flat([type(error), str(error), error.at]),
                "two errors",
            )
            return
        raise Broken("decode reads what examine refuses")
    event = datagram.decode(data)
    hold(flat(event) == flat(found), "decode and examine disagree")
    if isinstance(event, datagram.Small):
        hold(small == (event.sequence, event.channel, event.payload), "split_small and decode disagree")
        written = datagram.encode_small(event.sequence, event.channel, event.payload)
        hold(b"".join(written) == data, "a message is other bytes when it is written again")
    else:
        hold(event.number < event.count, "a fragment beyond the last")
        hold(
            event.offset + len(event.payload) <= event.size <= datagram.MAX_SIZE,
            "a fragment beyond its message",
        )


def _arrivals(data: bytes) -> Iterator[tuple[int, float, bytes]]:
    """Read an input as datagrams: each part is a sender, sixteenths of a second to wait, and a datagram."""
    now = 0.0
    for part in parts_of(data):
        if len(part) > 1:
            now += part[1] / 16
            yield part[0] % 4, now, part[2:]


def reassembly(data: bytes) -> None:
    """Fragments of four senders, within small limits."""
    joiner = datagram.Reassembler(
        _MAX_SIZE, max_bytes=_MAX_BYTES, max_bytes_per_sender=_MAX_BYTES // 2, max_messages=_MAX_MESSAGES,
        max_messages_per_sender=2, max_age_s=_MAX_AGE_S,
    )  # fmt: skip
    fragments = complete = 0
    now = 0.0
    for sender, now, octets in _arrivals(data):
        found = datagram.examine(octets, max_size=2 * _MAX_SIZE)
        if not isinstance(found, datagram.Fragment):
            continue
        fragments += 1
        message = joiner.add(sender, found, now)
        hold(joiner.expire(now) == 0, "a message that is too old was kept")
        hold(joiner.held_bytes <= _MAX_BYTES and joiner.held_messages <= _MAX_MESSAGES, "a limit is exceeded")
        if message is not None:
            complete += 1
            end = found.offset + len(found.payload)
            hold(message.sequence == found.sequence, "another message than that of the fragment")
            hold(len(message.payload) == found.size <= _MAX_SIZE, "a message of another size than announced")
            hold(message.payload[found.offset : end] == found.payload, "a fragment stands elsewhere")
    hold(joiner.complete == complete, "messages are not counted")
    counted = joiner.refused + joiner.duplicates + joiner.late + joiner.complete + joiner.incomplete
    hold(counted + joiner.held_messages <= fragments, "more is counted than came")
    joiner.expire(now + _MAX_AGE_S)
    hold(joiner.held_messages == 0 == joiner.held_bytes, "something is held for ever")


def channels(data: bytes) -> None:
    """Datagrams of four senders to a receiver of channels."""
    arrivals = list(_arrivals(data))
    ledger = ChannelLedger(max_size=_MAX_SIZE, max_age_s=_MAX_AGE_S, max_bytes=_MAX_BYTES, max_senders=2)
    ready: deque[Any] = deque()
    now = 0.0
    for sender, now, octets in arrivals:
        host = f"192.0.2.{sender}", 5007
        for buffer in (octets, memoryview(bytearray(octets))):
            count, error = ledger.take(iter([(buffer, host)]), now, ready)
            hold(count == 1, "a datagram is not taken")
            hold(error is None or isinstance(error, FRAME_ERRORS), f"a datagram is refused with {error!r}")
        hold(all(len(message.readout) <= _MAX_SIZE for message in ready), "a message beyond the limit")
    statistics = ledger.statistics(now, ahead=[], strangers=0, kernel_drops=None, granted_buffer=0)
    hold(statistics.datagrams == 2 * len(arrivals), "a datagram is not counted")


def echo_text(data: bytes) -> None:
    """One experiment message: what was read can be written and read again."""
    echo.is_echoed(data)
    is_ping = echo.is_ping(data)
    try:
        value = echo.decode(data)
    except BadPayload:
        hold(not is_ping, "a ping is no JSON")
        raise
    hold(not is_ping or value == [32], "a ping says something")
    hold(depth_of(value) <= echo.MAX_DEPTH, "a text is nested deeper than the limit")
    if not isinstance(value, str):  # which would be taken for text that is ready
        hold(
            flat(echo.decode(echo.encode(value))) == flat(value),
            "a value changes when it is written and read",
        )
    event = echo.decode_event(data)
    hold(event.event == 0 or event.event in list(echo.ExpMessage), f"no single event: {event.event!r}")
    hold(len(event.arguments) > 0, "an event without arguments")


def echo_number(data: bytes) -> None:
    """Numbers and notes in white space: what is read was written so, to the bit."""
    note, number = echo.read_clock_note(data), echo.read_number(data)
    if number is not None:
        message = data[: -echo.TAG_LENGTH]
        hold(
            echo.add_number(message, number) == data, "a number is other white space when it is written again"
        )
        if isinstance(note, echo.ClockRequest):
            hold(echo.add_clock_request(b"[32]", note) == message, "a request is other white space")
        elif note is not None:
            hold(echo.add_clock_answer(b"[32]", note) == message, "an answer is other white space")
    else:
        hold(note is None, "a note without a number")


def group_frames(data: bytes) -> None:
    """A multipart message, its frames and what is in them."""
    frames = parts_of(data)
    message = group.decode_frames(frames)
    written = group.encode_frames(
        message.tag, message.payload, stamp=message.stamp, extension=message.extension
    )
    if message.extension is not None:
        frames[3] = frames[3][: group.EXTENSION_LENGTH]
    hold(written == frames, "a message is other frames when it is written again")
    _check_body(message.tag, message.payload)


def group_body(data: bytes) -> None:
    """A payload behind its tag."""
    _check_body(data[:3], data[3:])


def _check_body(tag: bytes, payload: bytes) -> None:
    body = group.decode_body(tag, payload)
    written = group.encode_body(body)
    if isinstance(body, group.VoteMessage):  # of which there are many spellings
        hold(
            flat(group.decode_body(tag, written)) == flat(body), "a vote changes when it is written and read"
        )
    elif not isinstance(body, group.LeaderNote | bytes):
        hold(written == payload, "a payload is other bytes when it is written again")


def group_vote(data: bytes) -> None:
    """A message of Cap'n Proto: no more memory than its own bytes."""
    vote = group.decode_vote(data)
    if isinstance(vote, group.RequestForVote):
        hold(len(vote.topic) <= len(data), "a topic that is longer than the message")
    hold(len(vote.rfv_id.encode()) <= group.MAX_RFV_ID, "an id beyond the limit")
    hold(flat(group.decode_vote(group.encode_vote(vote))) == flat(vote), "a vote changes when it is written")


def group_extension(data: bytes) -> None:
    """The fourth frame."""
    written = group.encode_extension(group.decode_extension(data))
    hold(data.startswith(written), "an extension is other bytes when it is written again")
