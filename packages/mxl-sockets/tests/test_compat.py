"""The seed's names, signatures and bytes."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import socket
import struct
import threading
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets import compat
from wireframe import BadPayload, FrameTooLarge

VECTORS = json.loads((Path(__file__).parent / "vectors" / "mxl-sockets.json").read_text())["vectors"]


def vectors(prefix):
    chosen = [vector for vector in VECTORS if vector["name"].startswith(prefix)]
    assert chosen
    return pytest.mark.parametrize("vector", chosen, ids=lambda vector: vector["name"])


def doubles(block):
    return [struct.unpack("<d", bytes.fromhex(one["f64"]))[0] for one in block]


@pytest.fixture
def pair():
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(end) for end in socket.socketpair()]
        for end in ends:
            end.settimeout(10)
        yield ends


def sent(pair, function, *arguments):
    """Return what a helper sends, and that it is all."""
    function(pair[0], *arguments)
    pair[0].shutdown(socket.SHUT_WR)
    received = b""
    while piece := pair[1].recv(65536):
        received += piece
    return received.hex()


# name, signature (without annotations), as documented by the seed
SIGNATURES = [
    ("_pad12", "(msg)"),
    ("_send_msg", "(sock, msg)"),
    ("_recv_msg", "(sock)"),
    ("_recvall", "(sock, n)"),
    ("_send_array", "(sock, arr, dtype)"),
    ("_recv_array", "(sock, shape, dtype)"),
    ("_send_int", "(sock, x)"),
    ("_recv_int", "(sock)"),
    ("_send_bytes", "(sock, b)"),
    ("_recv_bytes", "(sock)"),
    ("_recv_posdata", "(sock)"),
    ("_send_force_ready", "(sock, energy_ha, forces_Nx3_ha_per_bohr, virial_3x3_ha, more=b'')"),
    ("_pack_init", "(sock, init_dict)"),
    ("_connect_tcp_with_retry", "(address, port, timeout, *, label='hub')"),
    ("_mpi_comm", "()"),
]

# name, value
CONSTANTS = [
    ("STATUS", b"STATUS"),
    ("READY", b"READY"),
    ("HAVEDATA", b"HAVEDATA"),
    ("NEEDINIT", b"NEEDINIT"),
    ("INIT", b"INIT"),
    ("POSDATA", b"POSDATA"),
    ("GETFORCE", b"GETFORCE"),
    ("FORCEREADY", b"FORCEREADY"),
    ("STOP", b"STOP"),
    ("BYE", b"BYE"),
    ("FIELDDATA", b"POSDATA"),
    ("GETSOURCE", b"GETFORCE"),
    ("SOURCEREADY", b"FORCEREADY"),
    ("HEADER_LEN", 12),
    ("DT_FLOAT", np.float64),
    ("DT_INT", np.int32),
    ("UNIX_PREFIX", os.sep + "tmp" + os.sep + "socketmxl_"),
    ("_SEND_FIELD_OFFSET", 160),
    ("_SEND_TOTAL_LEN", 196),
    ("_REPLY_FIXED_LEN", 124),
    ("_REPLY_NAT_OFFSET", 20),
    ("_REPLY_FORCES_OFFSET", 24),
    ("_REPLY_EXTRA_LEN_OFFSET", 120),
    ("_FIELDDATA_HDR", b"POSDATA     "),
    ("_GETSOURCE_HDR", b"GETFORCE    "),
    ("_EYE3_BYTES", np.eye(3).astype("<f8").tobytes()),
    ("_NAT1_BYTES", b"\1\0\0\0"),
]


@pytest.mark.parametrize(("name", "signature"), SIGNATURES)
def test_every_helper_of_the_seed_has_its_signature(name, signature):
    found = inspect.signature(getattr(compat, name))
    bare = found.replace(
        parameters=[p.replace(annotation=p.empty) for p in found.parameters.values()],
        return_annotation=found.empty,
    )
    assert str(bare) == signature


@pytest.mark.parametrize(("name", "value"), CONSTANTS)
def test_every_constant_of_the_seed_has_its_value(name, value):
    assert getattr(compat, name) == value


@pytest.mark.parametrize(
    ("name", "size"), [("_INT32", 4), ("_STRUCT_I", 4), ("_FLOAT64", 8), ("_STRUCT_3D", 24)]
)
def test_the_structs_are_little_endian(name, size):
    made = getattr(compat, name)
    assert (made.size, made.format[0]) == (size, "<")


def test_the_send_template_is_a_request_with_no_field():
    (request,) = [vector["bytes"] for vector in VECTORS if vector["name"] == "request/zero"]
    assert compat._SEND_TEMPLATE.hex() == request


def test_all_names_exist():
    assert [name for name in compat.__all__ if not hasattr(compat, name)] == []


def test_a_closed_socket_is_an_oserror():
    """As the seed says, and a ConnectionError, as it should be."""
    assert issubclass(compat._SocketClosed, ConnectionError)
    assert issubclass(compat._SocketClosed, OSError)


def test_the_state_of_a_client_has_the_seeds_fields_and_defaults():
    first, second = compat._ClientState(None, "here", 3), compat._ClientState(None, "there", 4)
    assert (first.address, first.molecule_id, first.last_amp) == ("here", 3, None)
    assert (first.pending_send, first.initialized, first.alive, first.extras) == (False, False, True, {})
    assert first.extras is not second.extras


@vectors("header/")
def test_headers_have_the_recorded_bytes_both_ways(vector, pair):
    name = vector["meaning"]["header"].encode()
    assert compat._pad12(name).hex() == vector["bytes"]
    pair[1].sendall(bytes.fromhex(vector["bytes"]))
    assert compat._recv_msg(pair[0]) == name
    assert sent(pair, compat._send_msg, name) == vector["bytes"]


def test_a_header_longer_than_12_bytes_is_refused():
    with pytest.raises(ValueError, match="longer than 12"):
        compat._pad12(b"THIRTEENBYTES")


@vectors("int32/")
def test_integers_have_the_recorded_bytes_both_ways(vector, pair):
    pair[1].sendall(bytes.fromhex(vector["bytes"]))
    assert compat._recv_int(pair[0]) == vector["meaning"]["int32"]
    assert sent(pair, compat._send_int, vector["meaning"]["int32"]) == vector["bytes"]


@pytest.mark.parametrize("value", [2**31, -(2**31) - 1, 1.5])
def test_what_is_no_32_bit_integer_is_not_sent(value, pair):
    with pytest.raises(ValueError, match="32-bit"):
        compat._send_int(pair[0], value)


@vectors("lenbytes/")
def test_byte_strings_have_the_recorded_bytes_both_ways(vector, pair):
    text = bytes.fromhex(vector["meaning"]["payload_hex"])
    pair[1].sendall(bytes.fromhex(vector["bytes"]))
    assert compat._recv_bytes(pair[0]) == text
    assert sent(pair, compat._send_bytes, text) == vector["bytes"]


@vectors("init/")
def test_init_has_the_recorded_bytes(vector, pair):
    assert sent(pair, compat._pack_init, json.loads(vector["meaning"]["json_text"])) == vector["bytes"]


@vectors("hub-session/init")
def test_init_has_the_bytes_of_a_recorded_session(vector, pair):
    assert sent(pair, compat._pack_init, {"molecule_id": 0, "dt_au": 0.25}) == vector["bytes"]


@vectors("reply/")
def test_replies_have_the_recorded_bytes(vector, pair):
    """nan, infinities, denormals, -0.0, three atoms and an asymmetric virial among them."""
    meaning = vector["meaning"]
    assert (
        sent(
            pair,
            compat._send_force_ready,
            doubles([meaning["energy"]])[0],
            np.reshape(doubles(meaning["forces"]), (-1, 3)),
            np.reshape(doubles(meaning["virial_argument_row_major"]), (3, 3)),
            bytes.fromhex(meaning["extra_hex"]),
        )
        == vector["bytes"]
    )


@pytest.mark.parametrize("name", ["ipi/posdata-nat1", "ipi/posdata-nat3"])
def test_posdata_of_an_ipi_server_is_read_with_its_cell_turned_back(name, pair):
    """i-PI keeps lattice vectors as columns; the helper returns them as rows."""
    (vector,) = [vector for vector in VECTORS if vector["name"] == name]
    pair[1].sendall(bytes.fromhex(vector["bytes"]))
    assert compat._recv_msg(pair[0]) == b"POSDATA"
    cell, inverse_cell, positions = compat._recv_posdata(pair[0])
    columns = np.reshape(doubles(vector["meaning"]["cell_row_major"]), (3, 3))
    assert np.array_equal(cell, columns.T)
    assert np.allclose(cell @ inverse_cell, np.eye(3))
    assert positions.shape == (int(name[-1]), 3)
    assert positions.flags.writeable
    assert positions.tobytes() == bytes.fromhex(vector["bytes"])[160:]


@vectors("request/")
def test_the_field_of_a_request_is_read_bit_for_bit(vector, pair):
    raw = bytes.fromhex(vector["bytes"])
    pair[1].sendall(raw[12:])
    cell, inverse_cell, positions = compat._recv_posdata(pair[0])
    assert np.array_equal(cell, np.eye(3))
    assert np.array_equal(inverse_cell, np.eye(3))
    assert positions.astype("<f8").tobytes() == raw[160:184]
    assert compat._recv_msg(pair[0]) == b"GETFORCE"


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        ([[1, 2], [3, 4]], np.float64),
        (np.array([1.5, -0.0]), np.float64),
        (np.asfortranarray(np.arange(6).reshape(2, 3)), np.int32),
        (np.arange(3, dtype=">i4"), np.int32),
        (np.zeros((0, 3)), np.float64),
    ],
)
def test_arrays_travel_row_by_row_and_come_back_native_and_writable(array, dtype, pair):
    compat._send_array(pair[1], array, dtype)
    received = compat._recv_array(pair[0], np.shape(array), dtype)
    assert np.array_equal(received, np.asarray(array, dtype=dtype))
    assert received.dtype == np.dtype(dtype)
    assert received.flags.writeable


def test_an_array_of_one_dimension_may_be_asked_for_by_its_size(pair):
    compat._send_array(pair[1], [1, 2], np.int32)
    assert compat._recv_array(pair[0], 2, np.int32).tolist() == [1, 2]


def test_negative_sizes_are_refused(pair):
    with pytest.raises(ValueError, match="-1 bytes"):
        compat._recvall(pair[0], -1)
    with pytest.raises(ValueError, match="shape"):
        compat._recv_array(pair[0], (-2, -3), np.float64)


@pytest.mark.parametrize(
    ("count", "error"),
    [(-5, BadPayload), (-1, BadPayload), ((16 << 20) + 1, FrameTooLarge), (2**31 - 1, FrameTooLarge)],
)
def test_lengths_no_peer_means_are_refused_before_anything_is_read(count, error, pair):
    """For byte strings and for atom counts."""
    pair[1].sendall(struct.pack("<i", count))
    with pytest.raises(error, match=str(count)):
        compat._recv_bytes(pair[0])
    pair[1].sendall(bytes(144) + struct.pack("<i", count))
    with pytest.raises(error, match=str(count)):
        compat._recv_posdata(pair[0])


def test_what_json_cannot_express_sends_nothing(pair):
    """The next message must not land inside half of this one."""
    with pytest.raises(TypeError):
        compat._pack_init(pair[0], {"molecule_id": 1, "bad": object()})
    with pytest.raises(ValueError, match="2147483648"):
        compat._pack_init(pair[0], {"molecule_id": 2**31})
    assert sent(pair, compat._send_msg, b"STATUS") == b"STATUS      ".hex()


@pytest.mark.parametrize(("forces", "virial"), [(np.zeros(4), np.eye(3)), (np.zeros((1, 3)), np.zeros(9))])
def test_a_reply_of_wrong_shape_sends_nothing(forces, virial, pair):
    with pytest.raises(ValueError, match="want"):
        compat._send_force_ready(pair[0], 0.0, forces, virial)
    assert sent(pair, compat._send_msg, b"BYE") == b"BYE         ".hex()


def test_a_closed_connection_is_told_with_how_much_had_come(pair):
    pair[1].sendall(b"POSDA")
    pair[1].close()
    with pytest.raises(compat._SocketClosed, match="after 5 of 12 bytes"):
        compat._recv_msg(pair[0])


def test_a_reset_connection_is_a_closed_one():
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        server.close()
        client.settimeout(10)
        with pytest.raises(compat._SocketClosed, match="0 of 4"):
            compat._recv_int(client)


def test_many_bytes_are_received_in_many_pieces(pair):
    """3 MB, more than one read takes; a timeout is not mistaken for the end."""
    data = os.urandom(3_000_000)
    thread = threading.Thread(target=pair[1].sendall, args=(data,))
    thread.start()
    assert compat._recvall(pair[0], len(data)) == data
    thread.join()
    pair[0].settimeout(0.01)
    with pytest.raises(TimeoutError):
        compat._recvall(pair[0], 1)


def test_connecting_gives_a_blocking_socket_or_a_timeout():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with pytest.raises(TimeoutError, match="cannot connect to my hub 127"):
            compat._connect_tcp_with_retry(*listener.getsockname(), 0.1, label="my hub")
        listener.listen()
        with compat._connect_tcp_with_retry(*listener.getsockname(), 5.0) as sock:
            assert sock.gettimeout() is None
            assert sock.getpeername() == listener.getsockname()


def test_a_connection_that_was_given_up_is_an_error(monkeypatch):
    """Nobody holds the stop signal of a compat connection; if it were used, the caller would hear of it."""
    monkeypatch.setattr(compat, "connect", lambda *_, **__: None)
    with pytest.raises(ConnectionAbortedError, match=r"hub 127\.0\.0\.1:9"):
        compat._connect_tcp_with_retry("127.0.0.1", 9, 1.0)
