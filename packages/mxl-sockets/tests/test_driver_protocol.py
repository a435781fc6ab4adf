"""The driver's half of the protocol, message by message and without sockets."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mxl_sockets._driver_protocol import DriverProtocol, End
from mxl_sockets._model import FunctionModel, Parameters, as_model
from mxl_sockets.errors import ModelError
from mxl_sockets.forces import ForceField
from wireframe import NEED_DATA, BadHeader, BadPayload, FrameError, ipi

VECTORS = json.loads((Path(__file__).parent / "vectors" / "mxl-sockets.json").read_text())["vectors"]


class Recorder:
    """A model that writes down what it is asked."""

    def __init__(self, amp=(1.0, 2.0, 3.0), extra=b"extra"):
        self.calls = []
        self.amp = amp
        self.extra = extra

    def initialize(self, molecule_id, dt_au, params):
        self.calls.append(("initialize", molecule_id, dt_au, params))

    def stage(self, field_au):
        self.calls.append(("stage", *field_au.ravel().tolist()))

    def commit(self):
        self.calls.append(("commit",))
        return self.amp, self.extra


class TranscriptModel:
    """What the recorded driver computed: amplitude 3 E, and a clock in the extra."""

    def __init__(self):
        self.time = self.dt = 0.0

    def initialize(self, molecule_id, dt_au, params):
        self.dt = dt_au

    def stage(self, field_au):
        self.field = field_au

    def commit(self):
        self.time += self.dt
        return 3.0 * self.field, {"time_au": self.time, "b": 1, "a": "é"}


def posdata(*field):
    return ipi.PosData(ipi.IDENTITY, ipi.IDENTITY, np.array(field, dtype="<f8").tobytes())


def ready(model=None):
    protocol = DriverProtocol(model or Recorder())
    protocol.receive(ipi.Init(5, b'{"dt_au": 0.5}'))
    return protocol


def reply_of(answer):
    decoder = ipi.Decoder()
    decoder.feed(answer.message)
    event = decoder.next_event()
    assert isinstance(event, ipi.ForceReady)
    assert decoder.buffered == 0
    return ipi.reals(event.forces), event.extra


def test_recorded_dialogue_of_the_real_driver_is_repeated_byte_for_byte():
    """With a model that computes what the recorded one did, every answer has the recorded bytes."""
    (transcript,) = [vector["transcript"] for vector in VECTORS if vector["name"] == "driver/transcript"]
    model = TranscriptModel()
    protocol = DriverProtocol(model)
    decoder = ipi.Decoder(accept=ipi.FROM_SERVER, nat=1)
    ends = []
    for turn in transcript[:-1]:  # the last one is the driver closing
        decoder.feed(bytes.fromhex(turn["to_driver"]))
        said = b""
        while (event := decoder.next_event()) is not NEED_DATA:
            answer = protocol.receive(event)
            said += answer.message
            ends.append(answer.end)
        assert said.hex() == turn["from_driver"], turn["note"]
    assert ends[-1] is End.STOP
    assert set(ends[:-1]) == {None}


def test_status_names_the_state_through_a_whole_step():
    """NEEDINIT before INIT, READY, HAVEDATA while staged, READY after the commit."""
    protocol = DriverProtocol(Recorder())
    states = [protocol.receive(ipi.STATUS).message]
    for event in (ipi.Init(0, b""), posdata(0, 0, 1), ipi.GETFORCE):
        protocol.receive(event)
        states.append(protocol.receive(ipi.STATUS).message)
    assert [state.rstrip() for state in states] == [b"NEEDINIT", b"READY", b"HAVEDATA", b"READY"]
    assert {len(state) for state in states} == {12}


def test_a_step_stages_and_then_commits_once():
    """The model is staged with the field and committed by GETFORCE, not before."""
    model = Recorder()
    protocol = ready(model)
    assert protocol.receive(posdata(1, -0.0, 3)).message == b""
    assert model.calls[1:] == [("stage", 1.0, -0.0, 3.0)]
    assert math.copysign(1, model.calls[1][2]) == -1
    assert reply_of(protocol.receive(ipi.GETFORCE)) == ((1.0, 2.0, 3.0), b"extra")
    assert model.calls[2:] == [("commit",)]
    assert (protocol.steps, protocol.molecule_id) == (1, 5)


def test_a_second_field_replaces_the_staged_one():
    """Two POSDATA in a row are two stages and one commit."""
    model = Recorder()
    protocol = ready(model)
    for field in ((1, 0, 0), (2, 0, 0)):
        protocol.receive(posdata(*field))
    protocol.receive(ipi.GETFORCE)
    assert [call[:2] for call in model.calls[1:]] == [("stage", 1.0), ("stage", 2.0), ("commit",)]


def test_getforce_without_a_staged_step_answers_zeros_and_commits_nothing():
    """As MaxwellLink's driver does: zeros and the last extra, which is empty at first."""
    model = Recorder()
    protocol = DriverProtocol(model)
    assert reply_of(protocol.receive(ipi.GETFORCE)) == ((0.0, 0.0, 0.0), b"")
    protocol = ready(model)
    protocol.receive(posdata(0, 0, 0))
    protocol.receive(ipi.GETFORCE)
    assert reply_of(protocol.receive(ipi.GETFORCE)) == ((0.0, 0.0, 0.0), b"extra")
    assert model.calls.count(("commit",)) == protocol.steps == 1


def test_init_any_number_of_times_starts_again_and_drops_the_staged_step():
    """A second INIT reaches the model; what was staged is not committed later."""
    model = Recorder()
    protocol = ready(model)
    protocol.receive(posdata(1, 0, 0))
    protocol.receive(ipi.Init(6, b'{"dt_au": 2}'))
    assert protocol.receive(ipi.STATUS).message.rstrip() == b"READY"
    protocol.receive(ipi.GETFORCE)
    assert ("commit",) not in model.calls
    assert model.calls[-1] == ("initialize", 6, 2.0, {"dt_au": 2})
    assert protocol.molecule_id == 6


def test_a_new_connection_needs_init_again():
    """begin() forgets the staged step and the last extra, and keeps the count of steps."""
    protocol = ready()
    protocol.receive(posdata(0, 0, 0))
    protocol.receive(ipi.GETFORCE)
    protocol.receive(posdata(0, 0, 0))
    protocol.begin()
    assert protocol.receive(ipi.STATUS).message.rstrip() == b"NEEDINIT"
    assert reply_of(protocol.receive(ipi.GETFORCE)) == ((0.0, 0.0, 0.0), b"")
    assert protocol.steps == 1


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"dt : 0.5", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b"batch_size:1"]
)
def test_init_text_that_is_no_json_object_gives_no_parameters_but_the_text(text):
    """i-PI's free text, ASE's NUL, nothing at all: the model gets {} and can read the text."""
    model = Recorder()
    DriverProtocol(model).receive(ipi.Init(3, text))
    (_, molecule_id, dt_au, params) = model.calls[0]
    assert (molecule_id, dt_au, params, params.text) == (3, 0.0, {}, text)
    assert isinstance(params, Parameters)


@pytest.mark.parametrize("dt", ["null", "[]", '"soon"', "{}", "1" + "0" * 400])
def test_init_with_a_time_step_that_is_no_number_is_the_hubs_fault(dt):
    with pytest.raises(BadPayload, match="dt_au"):
        DriverProtocol(Recorder()).receive(ipi.Init(0, b'{"dt_au": ' + dt.encode() + b"}"))


def test_init_that_asks_for_batches_is_refused():
    """After it the messages would have another layout."""
    with pytest.raises(BadPayload, match="batches of 2"):
        DriverProtocol(Recorder()).receive(ipi.Init(0, b" batch_size:2"))


def test_stop_is_answered_with_bye_and_exit_with_nothing():
    stop, leave = ready().receive(ipi.STOP), ready().receive(ipi.EXIT)
    assert (stop.message, stop.end) == (b"BYE         ", End.STOP)
    assert (leave.message, leave.end) == (b"", End.EXIT)


def test_a_field_before_init_is_the_hubs_fault():
    """There is no molecule yet that could feel it."""
    with pytest.raises(BadHeader, match="before INIT"):
        DriverProtocol(Recorder()).receive(posdata(0, 0, 0))


def test_a_drivers_own_message_is_the_hubs_fault():
    with pytest.raises(FrameError, match="READY"):
        ready().receive(ipi.READY)


def test_more_atoms_than_the_model_has_are_refused():
    with pytest.raises(BadPayload, match="2 atoms, want 1"):
        ready().receive(posdata(0, 0, 0, 0, 0, 0))


def test_positions_of_no_atom_are_refused_by_a_force_field_too():
    """Programs have one atom at least; any other number suits it."""
    protocol = ready(ForceField(lambda positions, cell: (0.0, positions)))
    assert protocol.nat is None
    with pytest.raises(BadPayload, match="0 atoms, want at least one"):
        protocol.receive(posdata())


def test_a_model_of_several_atoms_sees_and_returns_rows():
    """A model with nat gets (nat, 3) and must return (nat, 3)."""
    model = Recorder(amp=np.arange(6.0).reshape(2, 3))
    model.nat = 2
    protocol = ready(model)
    assert protocol.nat == 2
    protocol.receive(posdata(1, 2, 3, 4, 5, 6))
    assert model.calls[-1] == ("stage", 1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    assert reply_of(protocol.receive(ipi.GETFORCE)) == ((0.0, 1.0, 2.0, 3.0, 4.0, 5.0), b"extra")
    assert len(reply_of(protocol.receive(ipi.GETFORCE))[0]) == 6


@pytest.mark.parametrize(
    ("amp", "expected"),
    [
        ((1, 2, 3), (1.0, 2.0, 3.0)),
        ([math.inf, -0.0, 5e-324], (math.inf, -0.0, 5e-324)),
        (np.array([1, 2, 3], dtype=">f4"), (1.0, 2.0, 3.0)),
        (np.array([True, False, True]), (1.0, 0.0, 1.0)),
    ],
)
def test_amplitudes_of_any_real_kind_are_sent_as_doubles(amp, expected):
    protocol = ready(Recorder(amp=amp))
    protocol.receive(posdata(0, 0, 0))
    amplitude, _ = reply_of(protocol.receive(ipi.GETFORCE))
    assert list(map(float.hex, amplitude)) == list(map(float.hex, expected))


@pytest.mark.parametrize(
    "amp",
    [
        None,
        1.0,
        (1, 2),
        (1, 2, "3"),
        (10**400, 0, 0),
        np.zeros((1, 3)),
        np.zeros(3, dtype=complex),
        "abc",
        [[1], [2, 3], 4, 5],
    ],
)
def test_what_is_no_amplitude_is_a_model_error(amp):
    protocol = ready(Recorder(amp=amp))
    protocol.receive(posdata(0, 0, 0))
    with pytest.raises(ModelError, match="amplitude"):
        protocol.receive(ipi.GETFORCE)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"\0"), b"\0"),
        ({}, b"{}"),
        ({"b": [1.5, math.nan], "a": "é"}, '{"a":"é","b":[1.5,NaN]}'.encode()),
        ({"x": np.float64(0.5), "y": np.arange(2)}, b'{"x":0.5,"y":[0,1]}'),
    ],
)
def test_extras_are_bytes_or_the_json_of_real_drivers(extra, expected):
    protocol = ready(Recorder(extra=extra))
    protocol.receive(posdata(0, 0, 0))
    assert reply_of(protocol.receive(ipi.GETFORCE))[1] == expected


@pytest.mark.parametrize("extra", [None, "text", {"x": object()}, {"x": {1, 2}}, {1: 1, "a": 2}])
def test_what_is_no_extra_is_a_model_error(extra):
    protocol = ready(Recorder(extra=extra))
    protocol.receive(posdata(0, 0, 0))
    with pytest.raises(ModelError, match="extra"):
        protocol.receive(ipi.GETFORCE)


def test_a_commit_without_two_parts_is_a_model_error():
    model = Recorder()
    model.commit = lambda: (1.0, 2.0, 3.0)
    protocol = ready(model)
    protocol.receive(posdata(0, 0, 0))
    with pytest.raises(ModelError, match=r"want a tuple \(amplitude, extra\)"):
        protocol.receive(ipi.GETFORCE)


@pytest.mark.parametrize("method", ["initialize", "stage", "commit"])
def test_an_exception_in_the_model_names_model_method_and_cause(method):
    class Broken(Recorder):
        pass

    def fail(*_):
        raise KeyError("dipole")

    model = Broken()
    protocol = DriverProtocol(model)
    setattr(model, method, fail)
    events = [ipi.Init(0, b""), posdata(0, 0, 0), ipi.GETFORCE]
    with pytest.raises(ModelError, match=f"Broken failed in {method}: KeyError: 'dipole'") as caught:
        [protocol.receive(event) for event in events]
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_model_that_refuses_init_leaves_the_state_needinit():
    model = Recorder()
    protocol = ready(model)
    model.initialize = lambda *_: 1 / 0
    with pytest.raises(ModelError):
        protocol.receive(ipi.Init(0, b""))
    assert protocol.receive(ipi.STATUS).message.rstrip() == b"NEEDINIT"


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda field: -2 * field, ((-2.0, -4.0, -6.0), b"")),
        (lambda field: tuple(field), ((1.0, 2.0, 3.0), b"")),
        (lambda field: (field, {"n": 1}), ((1.0, 2.0, 3.0), b'{"n":1}')),
    ],
)
def test_a_function_is_a_model(function, expected):
    """With or without an extra beside the amplitude."""
    protocol = ready(as_model(function))
    protocol.receive(posdata(1, 2, 3))
    assert reply_of(protocol.receive(ipi.GETFORCE)) == expected


def test_what_is_no_model_is_refused_with_a_hint():
    with pytest.raises(TypeError, match="is a class"):
        as_model(Recorder)
    with pytest.raises(TypeError, match="cannot be called"):
        as_model(3)
    assert "FunctionModel(<function" in repr(FunctionModel(reply_of))
