"""The i-PI decoder against arbitrary messages, arbitrary pieces and arbitrary bytes."""

from __future__ import annotations

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe import NEED_DATA, FrameError, TruncatedFrame, ipi

INTS = st.integers(-(1 << 31), (1 << 31) - 1)
#: NaN with sign and payload, signalling NaN, infinity, -0.0, the smallest denormal, the largest number.
SPECIAL = st.sampled_from(
    [0xFFF8_0000_0000_BEEF, 0x7FF0_0000_0000_0001, 0x7FF0 << 48, 1 << 63, 1, 0x7FEF_FFFF_FFFF_FFFF]
)


def block(count):
    """That many reals of arbitrary bits, as bytes."""
    arbitrary = st.binary(min_size=8 * count, max_size=8 * count)
    return arbitrary | SPECIAL.map(lambda bits: struct.pack("<Q", bits) * count)


MATRIX = st.one_of(st.just(ipi.IDENTITY), block(9))
HEADERS = st.sampled_from(
    sorted((ipi.FROM_DRIVER | ipi.FROM_SERVER) - {ipi.INIT, ipi.POSDATA, ipi.FORCEREADY})
)
TEXT = st.binary(max_size=60)
NAT = st.integers(0, 4)


@st.composite
def messages(draw, systems):
    """An encoded message and what `see` has to make of its event."""
    match draw(st.sampled_from(["header", "init", "posdata", "forceready"])):
        case "header":
            name = draw(HEADERS)
            return ipi.encode_header(name), name
        case "init":
            bead, text = draw(INTS), draw(TEXT)
            return ipi.encode_init(bead, text), ("init", bead, text)
        case "posdata" if systems is None:
            cell, inverse, positions = draw(MATRIX), draw(MATRIX), draw(block(3 * draw(NAT)))
            return ipi.encode_posdata(positions, cell, inverse), ("posdata", cell, inverse, positions)
        case "posdata":
            nat = draw(NAT)
            cells = [(draw(MATRIX), draw(MATRIX)) for _ in range(systems)]
            blocks = [draw(block(3 * nat)) for _ in range(systems)]
            flat = b"".join(cell + inverse for cell, inverse in cells)
            return ipi.encode_posdata_batch(blocks, cells), ("posdata", nat, flat, b"".join(blocks))
        case "forceready" if systems is None:
            energy, virial, extra = draw(block(1)), draw(MATRIX), draw(TEXT)
            forces = draw(block(3 * draw(NAT)))
            (number,) = struct.unpack("<d", energy)
            # A signalling NaN need not survive being a float; the sender's bits are those of the float.
            seen = ("forceready", struct.pack("<d", number), forces, virial, extra)
            return ipi.encode_forceready(forces, number, virial, extra), seen
        case "forceready":
            nat = draw(NAT)
            blocks = [draw(block(3 * nat)) for _ in range(systems)]
            energies = draw(block(systems))
            virials = [draw(MATRIX) for _ in range(systems)]
            extras = [draw(TEXT) for _ in range(systems)]
            seen = ("forceready", nat, energies, b"".join(blocks), b"".join(virials), extras)
            return ipi.encode_forceready_batch(blocks, energies, virials, extras), seen


def see(event):
    """A decoded message in terms of bytes, in which NaN equals itself."""
    match event:
        case ipi.Init():
            return ("init", event.bead, event.text)
        case ipi.PosData():
            return ("posdata", event.cell, event.inverse_cell, event.positions)
        case ipi.PosDataBatch():
            return ("posdata", event.nat, event.cells, event.positions)
        case ipi.ForceReady():
            return ("forceready", struct.pack("<d", event.energy), event.forces, event.virial, event.extra)
        case ipi.ForceReadyBatch():
            return ("forceready", event.nat, event.energies, event.forces, event.virials, event.extras)
    return event


SYSTEMS = st.sampled_from([None, None, 1, 2, 3])


@st.composite
def streams(draw, min_size=0):
    """Batch size, messages and what they mean."""
    systems = draw(SYSTEMS)
    made = draw(st.lists(messages(systems), min_size=min_size, max_size=5))
    return systems, [data for data, _ in made], [seen for _, seen in made]


def cut(data, cuts):
    """The pieces between these places."""
    places = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@pytest.mark.fault("C1", "wireframe", "LW")
@given(streams(), CUTS)
def test_messages_come_out_as_they_went_in_whatever_the_pieces(stream, cuts):
    systems, frames, seen = stream
    decoder = ipi.Decoder(batch_size=systems)
    found = []
    for piece in cut(b"".join(frames), cuts):
        decoder.feed(piece)
        while (event := decoder.next_event()) is not NEED_DATA:
            found.append(see(event))
    assert found == seen
    assert decoder.buffered == 0
    assert decoder.needed == 12


@given(message=messages(None) | messages(2))
def test_one_message_in_every_delivery(check_stream, message):
    """Whole, byte by byte, every split, exact reads, trailing bytes, truncated."""
    data, seen = message
    systems = 2 if seen[0] in {"posdata", "forceready"} and type(seen[1]) is int else None
    check_stream(lambda: ipi.Decoder(batch_size=systems), [data], [seen], see)


@given(streams(min_size=1), st.integers(0, 1 << 16))
def test_a_stream_cut_anywhere_is_truncated_or_whole(stream, place):
    systems, frames, seen = stream
    data = b"".join(frames)
    size = place % (len(data) + 1)
    decoder = ipi.Decoder(batch_size=systems)
    decoder.feed(data[:size])
    decoder.feed_eof()
    for frame, wanted in zip(frames, seen, strict=True):
        if size < len(frame):
            break
        assert see(decoder.next_event()) == wanted
        size -= len(frame)
    if size == 0:
        assert decoder.next_event() is NEED_DATA
        return
    with pytest.raises(TruncatedFrame) as caught:
        decoder.next_event()
    assert caught.value.got == size
    assert size < caught.value.expected <= len(frame)


def outcome(pieces, **options):
    """Events and the final error, if there is one, of a stream that comes in pieces and ends."""
    decoder, found = ipi.Decoder(**options), []
    try:
        for piece in pieces:
            decoder.feed(piece)
            while (event := decoder.next_event()) is not NEED_DATA:
                found.append(see(event))
        decoder.feed_eof()
        assert decoder.next_event() is NEED_DATA
    except FrameError as error:
        return found, tell(decoder, error)
    return found, None


def tell(decoder, error):
    """What an error says, after a look at the decoder that died of it.

    The excerpt is left to its own tests: it holds what had come by then.
    """
    assert (decoder.buffered, decoder.needed) == (0, 0)
    with pytest.raises(FrameError) as again:
        decoder.next_event()
    assert type(again.value) is type(error)
    assert str(again.value) == str(error)
    assert vars(again.value) == vars(error)
    return type(error), str(error)


OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "accept": st.sampled_from([ipi.FROM_DRIVER, ipi.FROM_SERVER]),
        "nat": st.integers(0, 2),
        "max_nat": st.integers(2, 6),
        "max_init": st.integers(0, 40),
        "max_extra": st.integers(0, 40),
        "batch_size": st.integers(1, 3),
    },
)


@st.composite
def damaged(draw):
    """Messages in which bytes were flipped, dropped or put in."""
    data = bytearray(b"".join(draw(streams(min_size=1))[1]))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(data)))
        match draw(st.sampled_from(["flip", "drop", "insert"])):
            case "flip" if place < len(data):
                data[place] ^= draw(st.integers(1, 255))
            case "drop":
                del data[place : place + draw(st.integers(1, 30))]
            case "insert":
                data[place:place] = draw(st.binary(min_size=1, max_size=30))
    return bytes(data)


@pytest.mark.fault("C2", "wireframe", "E")
@given(damaged() | st.binary(max_size=400), OPTIONS, CUTS)
def test_any_bytes_give_the_same_events_and_the_same_error_whatever_the_pieces(data, options, cuts):
    """Only frame errors are raised; even the number of bytes that a truncated frame lacks is the same."""
    assert outcome(cut(data, cuts), **options) == outcome([data], **options)


@given(damaged() | st.binary(max_size=400), OPTIONS)
def test_any_bytes_give_the_same_events_and_the_same_error_byte_by_byte(data, options):
    assert outcome([data[i : i + 1] for i in range(len(data))], **options) == outcome([data], **options)


@given(damaged() | st.binary(max_size=400), OPTIONS)
def test_a_reader_that_reads_what_is_needed_terminates_with_the_same_events(data, options):
    decoder, position, found, told = ipi.Decoder(**options), 0, [], None
    try:
        while (size := decoder.needed) > 0:
            piece = data[position : position + size]
            position += size
            decoder.feed(piece)
            if len(piece) < size:
                decoder.feed_eof()
            while (event := decoder.next_event()) is not NEED_DATA:
                assert decoder.buffered == 0  # it never read beyond the frame
                found.append(see(event))
    except FrameError as error:
        told = tell(decoder, error)
    assert (found, told) == outcome([data], **options)
