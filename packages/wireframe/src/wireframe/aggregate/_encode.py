"""Steps and results to bytes.

Every step and result has two encoders. The *scalar* ones take a mapping of
molecules and find fields that are equal; the *block* ones take contiguous
arrays of ids and vectors and return buffers to be sent one after the other.
Of fields that are all different both make the same bytes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wireframe.aggregate._messages import (
    AGGRESULT,
    AGGSTEP,
    RESULT_HEAD,
    RESULT_RECORD,
    STEP_HEAD,
    STEP_RECORD,
    VECTOR,
)
from wireframe.ipi import encode_header
from wireframe.ipi._primitives import block_of, byte_string, exact_block, int32, octets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from typing_extensions import Buffer

_STEP_NAME: Final = encode_header(AGGSTEP)
_RESULT_NAME: Final = encode_header(AGGRESULT)

_WORD: Final = 4
_RESULT_WORDS: Final = RESULT_RECORD.size // _WORD
_VECTOR_WORDS: Final = VECTOR // _WORD


def encode_step(requests: Mapping[int, Buffer | Iterable[float]]) -> bytes:
    """Return an ``AGGSTEP`` from a field for each molecule; equal fields are sent once.

    Fields are equal if all their bits are: 0.0 and -0.0, and different NaNs,
    are kept apart.

    Parameters
    ----------
    requests : mapping of int to (3 floats or 24 bytes-like)
        Molecule to its electric field, atomic units.

    Returns
    -------
    bytes
        Requests in the order of the mapping, fields in that of first appearance.

    Raises
    ------
    ValueError
        An id is not a signed 32-bit number, or a field is not one vector.
    TypeError
        A field holds something else than real numbers.

    Examples
    --------
    >>> step = encode_step({3: (1.0, 2.0, 3.0), 5: (1.0, 2.0, 3.0)})
    >>> STEP_HEAD.unpack_from(step)
    (b'AGGSTEP     ', 2, 1)
    """
    places: dict[bytes, int] = {}
    numbers: list[int] = []
    for molecule_id, field in requests.items():
        numbers += molecule_id, places.setdefault(exact_block(field, "field", VECTOR), len(places))
    head = STEP_HEAD.pack(_STEP_NAME, len(requests), len(places))
    return b"".join((head, *places, _pack_ints(numbers, "molecule id")))


def encode_step_block(ids: Buffer | Iterable[int], fields: Buffer | Iterable[float]) -> list[bytes]:
    """Return an ``AGGSTEP`` from arrays, as three buffers: head, fields, records.

    Every molecule has a field of its own, equal or not. For the next step of
    the same molecules head and records are the same again, so that only the
    fields need to be replaced.

    Parameters
    ----------
    ids : iterable of int or buffer of int32
        N different molecules; bytes are taken as little-endian.
    fields : iterable of float or buffer of float64
        3 N reals, flat, atomic units; bytes are taken as little-endian.

    Returns
    -------
    list of bytes
        12 + 8, 24 N and 8 N bytes, to be sent one after the other.

    Raises
    ------
    ValueError
        An id is not a signed 32-bit number or comes twice, or the sizes do not agree.
    TypeError
        A wrong kind of number.
    """
    column, block, count = _molecules(ids, fields, "fields")
    records = bytearray(STEP_RECORD.size * count)
    words = memoryview(records).cast("i")
    words[0::2] = memoryview(column).cast("i")
    words[1::2] = memoryview(_pack_ints(range(count), "number of molecules")).cast("i")
    return [STEP_HEAD.pack(_STEP_NAME, count, count), block, bytes(records)]


def encode_result(answers: Mapping[int, tuple[Buffer | Iterable[float], Buffer]]) -> bytes:
    """Return an ``AGGRESULT`` from amplitude and extra of each molecule.

    Parameters
    ----------
    answers : mapping of int to (3 floats or 24 bytes-like, bytes-like)
        Molecule to its source amplitude d(mu)/dt, atomic units, and its extra.

    Returns
    -------
    bytes
        In the order of the mapping.

    Raises
    ------
    ValueError
        An id is not a signed 32-bit number, or an amplitude is not one vector.
    TypeError
        An amplitude holds something else than real numbers, or an extra is not bytes-like.

    Examples
    --------
    >>> result = encode_result({6: ((4.0, 5.0, 6.0), b"hi")})
    >>> len(result), result[-2:]
    (50, b'hi')
    """
    parts = [RESULT_HEAD.pack(_RESULT_NAME, len(answers))]
    extras = []
    for molecule_id, (amplitude, extra) in answers.items():
        length, data = byte_string(extra, "extra")
        parts += int32(molecule_id, "molecule id"), exact_block(amplitude, "amplitude", VECTOR), length
        extras.append(data)
    return b"".join(parts + extras)


def encode_result_block(
    ids: Buffer | Iterable[int], amplitudes: Buffer | Iterable[float], extras: Sequence[bytes] = ()
) -> list[bytes]:
    """Return an ``AGGRESULT`` from arrays, as a list of buffers.

    Parameters
    ----------
    ids : iterable of int or buffer of int32
        N different molecules; bytes are taken as little-endian.
    amplitudes : iterable of float or buffer of float64
        3 N reals, flat, atomic units; bytes are taken as little-endian.
    extras : sequence of bytes
        One for each molecule, or none at all.

    Returns
    -------
    list of bytes
        Head, records (32 N bytes) and what there is of extras, to be sent one after the other.

    Raises
    ------
    ValueError
        An id is not a signed 32-bit number or comes twice, or the sizes do not agree.
    TypeError
        A wrong kind of number.
    """
    column, block, count = _molecules(ids, amplitudes, "amplitudes")
    if extras and len(extras) != count:
        raise ValueError(f"{count} molecules need {count} extras or none, not {len(extras)}")
    records = bytearray(RESULT_RECORD.size * count)
    words, vectors = memoryview(records).cast("i"), memoryview(block).cast("i")
    words[0::_RESULT_WORDS] = memoryview(column).cast("i")
    for word in range(_VECTOR_WORDS):
        words[1 + word :: _RESULT_WORDS] = vectors[word::_VECTOR_WORDS]
    parts = [RESULT_HEAD.pack(_RESULT_NAME, count), bytes(records)]
    if any(extras):
        lengths = _pack_ints(map(len, extras), "extra length")
        words[7::_RESULT_WORDS] = memoryview(lengths).cast("i")
        parts[1:] = [bytes(records), *filter(None, extras)]
    return parts


def _molecules(
    ids: Buffer | Iterable[int], vectors: Buffer | Iterable[float], what: str
) -> tuple[bytes, bytes, int]:
    """Return ids and vectors as blocks, and how many molecules these are."""
    column = _ids(ids)
    block = block_of(vectors, what, VECTOR)
    count = len(column) // _WORD
    if len(block) != VECTOR * count:
        raise ValueError(f"{count} molecules need {VECTOR * count} bytes of {what}, not {len(block)}")
    return column, block, count


def _pack_ints(values: Iterable[int], what: str) -> bytes:
    numbers = tuple(values)
    try:
        return struct.pack(f"<{len(numbers)}i", *numbers)
    except struct.error as error:
        raise ValueError(f"a {what} is not a signed 32-bit number: {error}") from error


def _ids(ids: Buffer | Iterable[int]) -> bytes:
    """Return ids as a block of little-endian int32."""
    try:
        view = memoryview(ids)  # type: ignore[arg-type]  # whether it is a buffer is the question
    except TypeError:
        block = _pack_ints(ids, "molecule id")  # type: ignore[arg-type]  # no buffer: an iterable
    else:
        if view.itemsize not in (1, _WORD) or len(view.tobytes()) % _WORD:
            raise ValueError(f"ids must be 32-bit numbers, not a buffer of {view.format!r}")
        block = octets(view)
    count = len(block) // _WORD
    if len(set(struct.unpack(f"<{count}i", block))) != count:
        raise ValueError("a molecule stands twice in one message")
    return block
