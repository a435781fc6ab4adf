"""Forces on atoms: `SocketHub.forces` and drivers with a `ForceField`, over loopback sockets."""

from __future__ import annotations

import functools
import math
import socket
import struct
import threading

import numpy as np
import pytest

from mxl_sockets import (
    Driver,
    End,
    ForceField,
    ForceResult,
    FrozenStepError,
    HubProtocolError,
    HubStopped,
    ModelError,
    SocketHub,
    StepTimeout,
)
from mxl_sockets._quick_ack import acknowledger
from wireframe import NEED_DATA, ipi

POSITIONS = np.array([[0.1, -0.2, 0.3], [1.0, 2.0, -3.0]])
CELL = np.array([[10.0, 1.0, 0.0], [0.0, 11.0, 2.0], [0.0, 0.0, 12.0]])
VIRIAL = np.arange(9.0).reshape(3, 3)
NO_VIRIAL = np.zeros((3, 3))


def springs(positions, cell):
    """Forces that tell which atoms and which cell they are for."""
    return ForceResult(float(cell[0, 1]), -2 * positions, VIRIAL + cell, b"springs")


@pytest.fixture
def bound(bound):
    """A hub with scripted programs that are in no field."""
    return functools.partial(bound, parameters={})


@pytest.fixture
def running(cleanup):
    """Run a driver in a thread; its summary, or its error, is in the returned dictionary in the end."""

    def start(model, hub, **settings):
        driver = Driver(model, hub.address, reconnect=False, **settings)
        outcome = {}

        def run():
            try:
                outcome["summary"] = driver.run()
            except (ModelError, HubProtocolError) as error:
                outcome["error"] = error

        thread = threading.Thread(target=run)
        thread.start()

        def join():
            thread.join(10.0)
            return outcome

        def end():
            driver.stop()
            thread.join(10.0)

        cleanup.callback(end)
        return join

    return start


def read_atoms(driver, nat):
    """What a request for forces says to a scripted driver: cell, inverse cell, positions."""
    data = driver.read(172 + 24 * nat)
    decoder = ipi.Decoder(accept=ipi.FROM_SERVER, nat=nat)
    decoder.feed(data)
    message = decoder.next_event()
    assert decoder.next_event() == ipi.GETFORCE
    assert decoder.buffered == 0
    return tuple(np.frombuffer(block) for block in (message.cell, message.inverse_cell, message.positions))


def atoms_reply(forces, energy=0.0, virial=NO_VIRIAL, extra=b""):
    """FORCEREADY as programs send it: with the transposed virial."""
    return ipi.encode_forceready(
        np.asarray(forces, float).ravel().tolist(),
        energy,
        np.asarray(virial, float).T.ravel().tolist(),
        extra,
    )


@pytest.mark.parametrize("handshake", ["init", "status", "init+status"])
def test_energy_forces_virial_and_extra_come_back_from_our_own_driver(make_hub, running, handshake):
    """Arrays there and back, the cell with its rows as rows, the virial as the model meant it."""
    hub = make_hub(handshake=handshake)
    join = running(ForceField(springs), hub)
    assert hub.wait_until_bound({0: {}})
    for shift in range(3):
        result = hub.forces(POSITIONS + shift, CELL)
        assert result.energy == 1.0
        assert (result.forces == -2 * (POSITIONS + shift)).all()
        assert (result.virial == VIRIAL + CELL).all()
        assert result.extra == b"springs"
        assert result.forces.flags.writeable
    assert hub.status().steps == 3
    hub.stop()
    summary = join()["summary"]
    assert (summary.reason, summary.steps) == (End.STOP, 3)


def test_bytes_of_a_request_are_those_of_the_protocol(bound, background):
    """Lattice vectors in columns, the inverse of that, atoms in order, GETFORCE behind, one message."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS, CELL)
    cell, inverse, positions = read_atoms(driver, 2)
    assert (cell.reshape(3, 3) == CELL.T).all()
    assert (inverse.reshape(3, 3) @ CELL.T).ravel() == pytest.approx(np.eye(3).ravel(), abs=1e-15)
    assert (positions == POSITIONS.ravel()).all()
    driver.send(atoms_reply(POSITIONS, -0.5, VIRIAL, b"more"))
    result = future.result(10)
    assert (result.energy, result.extra) == (-0.5, b"more")
    assert (result.virial == VIRIAL).all()


def test_without_a_cell_the_unit_matrix_is_sent(bound, background):
    """As MaxwellLink does; one atom then is the very request of a step."""
    hub, (driver,) = bound()
    future = background(hub.forces, [[1.0, 2.0, 3.0]])
    assert struct.unpack("<3d", driver.read_request()) == (1.0, 2.0, 3.0)
    driver.send(atoms_reply([[0, 0, 1]], 7.0, VIRIAL))
    result = future.result(10)
    assert result.energy == 7.0  # also of one atom, whose replies a step reads without it
    assert (result.virial == VIRIAL).all()


def test_several_programs_at_once_each_with_its_own_atoms(make_hub, running):
    """Beads or images: a mapping in, a mapping in the same order out, numbers of atoms may differ."""
    hub = make_hub()
    seen = threading.Barrier(2, timeout=10)  # both compute at the same time

    def together(positions, cell):
        seen.wait()
        return springs(positions, cell)

    for _ in range(2):
        running(ForceField(together), hub)
    atoms = {7: POSITIONS, 3: np.ones((5, 3))}
    cells = {3: np.eye(3), 7: CELL}
    for _ in range(2):  # nobody bound them before: the call does
        results = hub.forces(atoms, cells)
        assert list(results) == [7, 3]
        assert all((results[one].forces == -2 * atoms[one]).all() for one in atoms)
        assert [result.energy for result in results.values()] == [1.0, 0.0]
    assert hub.forces({}) == {}


def test_steps_and_forces_take_turns_in_one_hub(make_hub, running):
    """A molecule in a field and atoms with forces; each driver is asked what it is for."""
    hub = make_hub(two_phase=True)
    running(lambda field: 3 * field, hub)
    assert hub.wait_until_bound({0: {}})
    running(ForceField(springs), hub)
    assert hub.wait_until_bound({0: {}, 1: {}})
    assert hub.wait_until_bound({0: {}})
    for _ in range(3):
        assert hub.step([[1.0, 2.0, 3.0]]).tolist() == [[3.0, 6.0, 9.0]]
        assert (hub.forces({1: POSITIONS})[1].forces == -2 * POSITIONS).all()
        assert hub.step_barrier({0: {"efield_au": (0, 0, 1)}})[0]["amp"].tolist() == [0, 0, 3]


def test_the_same_driver_may_serve_fields_and_one_atom(bound, background):
    """One atom is one vector; whole replies of either kind are read for what they are."""
    hub, (driver,) = bound()
    for energy in (1.0, 2.0):
        future = background(hub.forces, [[0, 0, 0]])
        driver.read_request()
        driver.send(atoms_reply([[1, 2, 3]], energy))
        assert future.result(10).energy == energy
        future = background(hub.step, [[0, 0, 0]])
        driver.read_request()
        driver.reply((4, 5, 6))
        assert future.result(10).tolist() == [[4, 5, 6]]


def test_a_program_that_dies_is_replaced_and_its_atoms_are_sent_again(bound, background, scripted):
    """Within the same call; the answer of the other is kept and it is asked nothing twice."""
    hub, (first, second) = bound(2)
    future = background(hub.forces, {0: POSITIONS, 1: POSITIONS + 1})
    read_atoms(first, 2)
    read_atoms(second, 2)
    second.send(atoms_reply(POSITIONS, 2.0))
    first.send(atoms_reply(POSITIONS)[:77])
    first.close()  # in the middle of its answer
    third = scripted(hub)
    third.read_init()
    _, _, positions = read_atoms(third, 2)
    assert (positions == POSITIONS.ravel()).all()
    third.send(atoms_reply(POSITIONS, 3.0))
    results = future.result(10)
    assert [results[0].energy, results[1].energy] == [3.0, 2.0]
    assert second.unread() == b""
    assert not hub.paused


def test_late_answers_belong_to_their_own_atoms(bound, background):
    """After a timeout the evaluation stays frozen: repeating it goes on, nothing else can begin."""
    hub, (driver,) = bound()
    with pytest.raises(StepTimeout) as caught:
        hub.forces(POSITIONS, timeout=0.05)
    assert list(caught.value.late) == [0]
    with pytest.raises(FrozenStepError):
        hub.forces(POSITIONS + 1, timeout=0)
    with pytest.raises(FrozenStepError):
        hub.forces({}, timeout=0)
    with pytest.raises(FrozenStepError):
        hub.step([[0, 0, 1]], timeout=0)
    with pytest.raises(FrozenStepError):
        hub.step_barrier({0: {"efield_au": (0, 0, 1)}}, timeout=0)
    read_atoms(driver, 2)
    driver.send(atoms_reply(POSITIONS, 5.0))
    assert hub.forces(POSITIONS).energy == 5.0
    assert driver.unread() == b""  # it was asked once


def test_forces_wait_for_the_end_of_an_unfinished_step(bound):
    """The other way round: atoms are not sent while a driver owes an amplitude."""
    hub, (driver,) = bound()
    assert hub.step_barrier({0: {"efield_au": (0, 0, 1)}}, timeout=0.05) == {}
    with pytest.raises(FrozenStepError):
        hub.forces(POSITIONS, timeout=0)
    driver.read_request()
    driver.reply((1, 2, 3))
    assert hub.step([[0, 0, 1]]).tolist() == [[1, 2, 3]]


def test_nobody_there_is_a_timeout_that_names_the_molecule(make_hub):
    """Missing, not late."""
    hub = make_hub()
    with pytest.raises(StepTimeout) as caught:
        hub.forces({4: POSITIONS}, timeout=0.02)
    assert caught.value.missing == [4]


HEAD = atoms_reply(POSITIONS)[:20]
UP_TO_EXTRA = atoms_reply(POSITIONS)[:-4]
FLOOD = 5000
ILLEGAL = {
    "more-atoms": (atoms_reply(np.zeros((3, 3))), "atom count 3"),
    "fewer-atoms": (atoms_reply(np.zeros((1, 3))), "atom count 1"),
    "no-atoms": (HEAD + struct.pack("<i", 0), "atom count 0"),
    "negative-atoms": (HEAD + struct.pack("<i", -2), "atom count -2"),
    "giant-atoms": (HEAD + struct.pack("<i", 2**31 - 1), "atom count 2147483647"),
    "negative-extra": (UP_TO_EXTRA + struct.pack("<i", -5), "-5"),
    "giant-extra": (UP_TO_EXTRA + struct.pack("<i", 2**31 - 1), "2147483647"),
    "ready": (ipi.encode_header(ipi.READY), "READY"),
    "exit": (ipi.encode_header(ipi.EXIT), "EXIT"),
    "bye": (ipi.encode_header(ipi.BYE), "BYE"),
    "needinit-flood": (ipi.encode_header(ipi.NEEDINIT) * FLOOD, "NEEDINIT"),
    "status-flood": (ipi.encode_header(ipi.STATUS) * FLOOD, "STATUS"),
    "no-protocol": (b"GET / HTTP/1.1\r\n\r\n", "GET /"),
}


@pytest.fixture
def asked_until_lost(eventually):
    """Go on with an evaluation of a hub until its program is lost; what the errors say of that."""

    def ask(hub):
        told = []

        def is_lost():
            with pytest.raises(StepTimeout) as caught:
                hub.forces(POSITIONS, timeout=0)
            told.extend(note for note in caught.value.__notes__ if note.startswith("lost"))
            return caught.value.missing == [0]

        eventually(is_lost, "the loss")
        return told

    return ask


def assert_served_by_another(hub, background, scripted):
    """Whoever comes next is asked for the same atoms."""
    future = background(hub.forces, POSITIONS)
    other = scripted(hub)
    other.read_init()
    _, _, positions = read_atoms(other, 2)
    assert (positions == POSITIONS.ravel()).all()
    other.send(atoms_reply(POSITIONS, 1.0))
    assert future.result(10).energy == 1.0


@pytest.mark.parametrize(("reply", "words"), ILLEGAL.values(), ids=ILLEGAL)
def test_a_program_that_answers_otherwise_is_lost_and_the_error_names_it(
    bound, background, scripted, asked_until_lost, reply, words
):
    """It costs that connection only: the error says which peer, which molecule and why; another is asked."""
    hub, (driver,) = bound()
    peer = "{}:{}".format(*driver.sock.getsockname())
    with pytest.raises(StepTimeout) as caught:
        hub.forces(POSITIONS, timeout=0)
    assert caught.value.__notes__ == [f"molecule 0 waits for {peer}"]
    read_atoms(driver, 2)
    driver.send(reply)
    (told,) = asked_until_lost(hub)
    assert told.startswith(f"lost {peer} (molecule 0): broke the protocol: ")
    assert words in told
    assert told == f"lost {hub.status().last_error}"
    assert driver.is_closed()
    assert_served_by_another(hub, background, scripted)


def test_a_reply_without_its_virial_is_no_reply(bound, background, scripted, asked_until_lost):
    """72 bytes are awaited that do not come: late by name, and lost when its program leaves."""
    hub, (driver,) = bound()
    peer = "{}:{}".format(*driver.sock.getsockname())
    with pytest.raises(StepTimeout):
        hub.forces(POSITIONS, timeout=0)
    read_atoms(driver, 2)
    whole = atoms_reply(POSITIONS)
    driver.send(whole[:72] + whole[-4:])
    with pytest.raises(StepTimeout, match="molecule 0 for") as caught:
        hub.forces(POSITIONS, timeout=0.02)
    assert caught.value.__notes__ == [f"molecule 0 waits for {peer}"]
    driver.close()
    reason = "closed in the middle of a message, after 76 bytes"
    assert asked_until_lost(hub) == [f"lost {peer} (molecule 0): {reason}"]
    assert_served_by_another(hub, background, scripted)


def test_bytes_behind_an_answer_end_the_connection_and_not_the_answer(bound, background, eventually):
    """It was whole; whoever goes on talking is lost before the next question."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    driver.send(atoms_reply(POSITIONS, 4.0) + ipi.encode_header(ipi.STATUS) * FLOOD)
    assert future.result(10).energy == 4.0
    eventually(lambda: hub.status().dropped == 1, "the loss")
    assert "STATUS" in hub.status().last_error


def test_a_flood_between_evaluations_costs_the_flooder_only(bound, background, scripted, asked_until_lost):
    """It lies in the system until the next call, which drops its sender unread, and asks another."""
    hub, (driver,) = bound()
    driver.send(ipi.encode_header(ipi.STATUS) * FLOOD)
    (told,) = asked_until_lost(hub)
    assert "STATUS" in told
    assert_served_by_another(hub, background, scripted)


def test_an_error_names_a_few_of_many(bound, eventually):
    """Eight that are late and eight that were lost; the error's own lists have all of them."""
    hub, drivers = bound(10)
    atoms = dict.fromkeys(range(10), POSITIONS)
    with pytest.raises(StepTimeout) as caught:
        hub.forces(atoms, timeout=0)
    assert len(caught.value.late) == 10
    peers = ["{}:{}".format(*driver.sock.getsockname()) for driver in drivers]
    assert caught.value.__notes__ == [f"molecule {one} waits for {peers[one]}" for one in range(8)]
    for driver in drivers:
        driver.close()

    def are_lost():
        with pytest.raises(StepTimeout) as caught:
            hub.forces(atoms, timeout=0)
        assert sum(note.startswith("lost") for note in caught.value.__notes__) <= 8
        return caught.value.missing == list(range(10))

    eventually(are_lost, "the losses")


def test_a_number_of_atoms_is_for_the_life_of_a_program(bound, background, scripted, eventually):
    """None of the known programs can change it, so nothing is sent; a new program takes any."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    driver.send(atoms_reply(POSITIONS))
    future.result(10)
    with pytest.raises(ValueError, match="molecule 0 has served 2 atoms"):
        hub.forces(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="2 atoms"):
        hub.step([[0, 0, 0]])
    with pytest.raises(ValueError, match="2 atoms"):
        hub.step_barrier({0: {"efield_au": (0, 0, 0)}})
    assert driver.unread() == b""
    driver.close()
    eventually(lambda: not hub.status().bound, "the loss")
    future = background(hub.forces, np.zeros((3, 3)))
    other = scripted(hub)
    other.read_init()
    read_atoms(other, 3)
    other.send(atoms_reply(np.ones((3, 3))))
    assert future.result(10).forces.shape == (3, 3)


def test_a_driver_that_has_served_fields_serves_no_atoms(bound, background):
    """It is a molecule of one vector."""
    hub, (driver,) = bound()
    future = background(hub.step, [[0, 0, 0]])
    driver.read_request()
    driver.reply()
    future.result(10)
    with pytest.raises(ValueError, match="molecule 0 has served 1 atoms, not 2"):
        hub.forces(POSITIONS)


@pytest.mark.parametrize("parameters", [{"dt_au": 0.5}, {"old_dt_au": 1}])
@pytest.mark.parametrize("when", ["bound", "before", "bound, then named without"])
def test_several_atoms_never_reach_a_molecule_in_a_field(make_hub, scripted, bound, when, parameters):
    """LAMMPS' `fix mxl` copies as many vectors as it is told into the room of one, stepped before or not."""
    hub, drivers = bound(0 if when == "before" else 1, parameters=parameters)
    if when == "before":
        assert not hub.wait_until_bound({0: parameters}, timeout=0)
        drivers = [scripted(hub)]
    elif when != "bound":
        assert hub.wait_until_bound({0: {}})
    with pytest.raises(ValueError, match=r"molecule 0 .*(dt_au|served).* 1 atoms, not 2"):
        hub.forces({0: POSITIONS}, timeout=0.0)
    assert drivers[0].unread() == b""
    assert not hub.status().late


def test_a_replacement_that_is_a_molecule_in_a_field_gets_no_atoms_of_the_lost_one(bound, scripted):
    """The evaluation stays frozen; what is wrong is said."""
    hub, (driver,) = bound()
    with pytest.raises(StepTimeout):
        hub.forces({0: POSITIONS}, timeout=0.0)
    driver.close()
    assert not hub.wait_until_bound({0: {"dt_au": 0.5}}, timeout=0.0)
    other = scripted(hub)
    with pytest.raises(ValueError, match=r"molecule 0 .*dt_au.* 1 atoms, not 2"):
        hub.forces({0: POSITIONS}, timeout=10.0)
    other.read_init()
    assert other.unread() == b""


@pytest.mark.parametrize(
    ("positions", "cell", "words"),
    [
        (np.zeros((2, 2)), None, "shape"),
        (np.zeros(3), None, "shape"),
        (np.zeros((0, 3)), None, "at least one"),
        ([[0, 0, math.nan]], None, "finite"),
        ([[0, 0, -math.inf]], None, "finite"),
        (["abc"], None, "real numbers"),
        ([[1, 2, 3], [1]], None, "real numbers"),
        (POSITIONS, np.zeros((3, 3)), "no volume"),
        (POSITIONS, np.diag([1, 1, math.nan]), "finite"),
        (POSITIONS, np.ones(3), "shape"),
        ({0: POSITIONS}, {1: CELL}, "molecule 0: the mapping"),
        ({0: np.zeros(2)}, None, "molecule 0: positions"),
        ({2**31: POSITIONS}, None, "32-bit"),
    ],
)
def test_atoms_that_no_program_can_compute_are_refused_before_anything_is_sent(bound, positions, cell, words):
    """Programs die of them; nothing is frozen, so the next call is free."""
    hub, (driver,) = bound()
    with pytest.raises(ValueError, match=words):
        hub.forces(positions, cell)
    assert not hub._coupling.barrier.frozen
    assert driver.unread() == b""


def test_one_array_is_for_one_molecule(bound):
    """Of two nobody can say which; of none neither."""
    hub, _ = bound(2)
    with pytest.raises(ValueError, match="there are 2"):
        hub.forces(POSITIONS)


def test_numbers_that_are_not_finite_come_back_as_they_are(bound, background):
    """What a program computed is told, not judged."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    driver.send(atoms_reply([[math.nan, math.inf, -0.0], [0, 0, 0]], math.nan, np.full((3, 3), math.inf)))
    result = future.result(10)
    assert math.isnan(result.energy)
    assert np.isnan(result.forces[0, 0])
    assert result.forces[0, 1] == math.inf
    assert math.copysign(1, result.forces[0, 2]) == -1
    assert (result.virial == math.inf).all()


def test_large_systems_arrive_whole(make_hub, running):
    """Requests and answers that no socket buffer holds: 40 000 atoms are a megabyte each way."""
    hub = make_hub()
    running(ForceField(springs), hub)
    positions = np.random.default_rng(1).normal(size=(40_000, 3))
    result = hub.forces({0: positions}, CELL)
    assert (result[0].forces == -2 * positions).all()


def test_a_hub_that_is_stopped_meanwhile_ends_the_wait(bound, background, eventually):
    """In another thread; and afterwards there is nobody to ask."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    driver.close()
    eventually(lambda: hub.status().orphaned == [0], "the loss")
    hub.stop()
    with pytest.raises(HubStopped):
        future.result(10)
    with pytest.raises(HubStopped):
        hub.forces(POSITIONS)


def test_another_threads_step_takes_the_time_but_not_the_deadline(bound, background, eventually):
    """The turn did not come: a timeout of its own, nothing asked."""
    hub, (driver,) = bound()
    future = background(hub.step, [[0, 0, 1]])
    driver.read_request()
    with pytest.raises(StepTimeout):
        hub.forces(POSITIONS, timeout=0.02)
    driver.reply()
    future.result(10)


def test_a_silent_program_is_dropped_after_the_limit(make_hub, background, scripted):
    """As in a step: `silence_timeout` lets a waiting one take over."""
    hub = make_hub(silence_timeout=0.05)
    silent = scripted(hub)
    assert hub.wait_until_bound({0: {}})
    silent.read_init()
    other = scripted(hub)
    future = background(hub.forces, POSITIONS)
    other.read_init()
    read_atoms(other, 2)
    other.send(atoms_reply(POSITIONS, 9.0))
    assert future.result(10).energy == 9.0
    assert silent.is_closed()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_exception_while_atoms_are_sent_costs_one_driver(bound, background, scripted, monkeypatch, which):
    """As a signal handler raises it: who may have got a part is dropped, the others are asked later."""
    hub, drivers = bound(3)
    exchange, calls = hub._coupling.exchange, []
    send = exchange.send

    def interrupted(connection, data):
        calls.append(connection)
        if len(calls) == which + 1:
            raise KeyboardInterrupt
        send(connection, data)

    atoms = {one: POSITIONS + one for one in range(3)}
    monkeypatch.setattr(exchange, "send", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hub.forces(atoms)
    monkeypatch.undo()
    future = background(hub.forces, atoms)
    replacement = scripted(hub)
    assert drivers[which].is_closed()
    replacement.read_init()
    drivers[which] = replacement
    for one, driver in enumerate(drivers):
        _, _, positions = read_atoms(driver, 2)
        assert (positions == atoms[one].ravel()).all()
        driver.send(atoms_reply(POSITIONS, float(one)))
    assert [result.energy for result in future.result(10).values()] == [0.0, 1.0, 2.0]
    assert all(driver.unread() == b"" for driver in drivers)


def test_answers_in_single_bytes_are_put_together(bound, background):
    """Whatever the pieces: here 180 of them."""
    hub, (driver,) = bound()
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    message = atoms_reply(POSITIONS, 1.5, VIRIAL, b"extra")
    driver.send(*(message[at : at + 1] for at in range(len(message))))
    assert future.result(10).energy == 1.5


@pytest.mark.parametrize("at_once", [True, False])
def test_a_part_of_an_answer_is_acknowledged_at_once(bound, background, eventually, monkeypatch, at_once):
    """A peer with small writes under Nagle's algorithm, as ASE's, sends the rest only then.

    Systems that cannot, and UNIX sockets, which need not, go without.
    """
    if not at_once:
        monkeypatch.setattr("mxl_sockets._quick_ack._OPTION", None)
    hub, (driver,) = bound()
    connection = hub._coupling.roster.bound[0]
    told = []
    if at_once and connection.acknowledge is not None:
        real = connection.acknowledge
        connection.acknowledge = lambda: (told.append(1), real())
    future = background(hub.forces, POSITIONS)
    read_atoms(driver, 2)
    message = atoms_reply(POSITIONS, 1.0)
    driver.send(message[:12])
    eventually(lambda: told or connection.acknowledge is None, "the acknowledgement")
    driver.send(message[12:])
    assert future.result(10).energy == 1.0
    assert len(told) <= 1


def test_acknowledging_is_for_tcp_alone_and_never_fails():
    """A broken connection says so when it is read; a UNIX socket has nothing to acknowledge."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acknowledge = acknowledger(listener)
    assert (acknowledge is None) is not hasattr(socket, "TCP_QUICKACK")
    if acknowledge is not None:
        acknowledge()  # it is closed
    one, other = socket.socketpair()
    with one, other:
        assert acknowledger(one) is None or one.family == socket.AF_INET


# -- the driver's side --


class Server:
    """What i-PI's or ASE's server does, byte for byte."""

    def __init__(self, cleanup):
        self.listener = socket.create_server(("127.0.0.1", 0))
        cleanup.callback(self.listener.close)
        self.listener.settimeout(10.0)
        self.address = self.listener.getsockname()[:2]
        self._cleanup = cleanup
        self.decoder = ipi.Decoder(accept=ipi.FROM_DRIVER)

    def accept(self):
        self.sock = self.listener.accept()[0]
        self._cleanup.callback(self.sock.close)
        self.sock.settimeout(10.0)

    def say(self, *messages):
        self.sock.sendall(b"".join(messages))

    def hear(self):
        while (event := self.decoder.next_event()) is NEED_DATA:
            data = self.sock.recv(4096)
            if not data:
                raise EOFError
            self.decoder.feed(data)
        return event


@pytest.fixture
def server(cleanup):
    return Server(cleanup)


STATUS, GETFORCE, EXIT = (ipi.encode_header(name) for name in (ipi.STATUS, ipi.GETFORCE, ipi.EXIT))


def test_a_force_field_takes_any_number_of_atoms_and_the_text_of_init(server, running):
    """i-PI's order of things; the bead and the text reach the model."""
    given = []
    model = ForceField(springs, initialize=lambda bead, params: given.append((bead, params.text)))
    assert "springs" in repr(model)
    join = running(model, server)
    server.accept()
    server.say(STATUS)
    assert server.hear() == ipi.NEEDINIT
    server.say(ipi.encode_init(5, b"kind : water"), STATUS)
    assert server.hear() == ipi.READY
    for nat in (1, 2, 50):
        positions = np.arange(3.0 * nat)
        inverse = np.linalg.inv(CELL.T).ravel().tolist()
        server.say(ipi.encode_posdata(positions.tolist(), CELL.T.ravel().tolist(), inverse), STATUS)
        assert server.hear() == ipi.HAVEDATA
        server.say(GETFORCE)
        reply = server.hear()
        assert reply.energy == 1.0
        assert (np.frombuffer(reply.forces) == -2 * positions).all()
        assert (np.frombuffer(reply.virial).reshape(3, 3) == (VIRIAL + CELL).T).all()
        assert reply.extra == b"springs"
    server.say(EXIT)
    assert join()["summary"].reason is End.EXIT
    assert given == [(5, b"kind : water")]


@pytest.mark.parametrize(
    "result",
    [
        (1.5, [[0, 0, 1]]),
        (1.5, [[0, 0, 1]], np.zeros((3, 3))),
        (1.5, np.array([[0, 0, 1]]), np.zeros((3, 3)), {"a": 1}),
        ForceResult(np.float32(1.5), np.array([[0, 0, 1.0]]), extra=b'{"a":1}'),
    ],
)
def test_a_tuple_will_do(server, running, result):
    """Two, three or four values in the order of `ForceResult`."""
    running(ForceField(lambda positions, cell: result, nat=1), server)
    server.accept()
    server.say(ipi.encode_init(0, b"\0"), ipi.encode_request((0, 0, 0)))
    reply = server.hear()
    assert (reply.energy, reply.forces) == (1.5, struct.pack("<3d", 0, 0, 1))
    assert reply.extra in (b"", b'{"a":1}')


@pytest.mark.parametrize(
    "result",
    [
        None,
        (1.0,),
        ("much", [[0, 0, 1]]),
        (1.0, [[0, 0]]),
        (1.0, [[0, 0, 1], [0]]),
        (1.0, [[0, 0, 1j]]),
        (1.0, [[0, 0, 1]], np.zeros(9)),
        (1.0, [[0, 0, 1]], np.zeros((3, 3)), 7),
    ],
)
def test_a_result_that_cannot_be_sent_ends_the_driver(server, running, result):
    """The connection closes without half a message, so that the server knows."""
    join = running(ForceField(lambda positions, cell: result), server)
    server.accept()
    server.say(ipi.encode_init(0), ipi.encode_request((0, 0, 0)))
    with pytest.raises((EOFError, ConnectionError)):
        server.hear()
    assert isinstance(join()["error"], ModelError)


def test_a_function_that_raises_is_named(server, running):
    """By its own name, with its error as the cause."""

    def explode(positions, cell):
        raise ArithmeticError("no such atoms")

    join = running(ForceField(explode), server)
    server.accept()
    server.say(ipi.encode_init(0), ipi.encode_request((0, 0, 0)))
    with pytest.raises((EOFError, ConnectionError)):
        server.hear()
    error = join()["error"]
    assert isinstance(error.__cause__, ArithmeticError)
    assert "explode" in str(error)


def test_forces_are_not_made_up(server, running):
    """GETFORCE without positions: zeros would pass for forces, so the driver leaves with an error."""
    join = running(ForceField(springs), server)
    server.accept()
    server.say(ipi.encode_init(0), GETFORCE)
    with pytest.raises((EOFError, ConnectionError)):
        server.hear()
    assert isinstance(join()["error"], HubProtocolError)


def test_another_number_of_atoms_than_the_model_has_is_refused(server, running):
    """As soon as the number is there."""
    join = running(ForceField(springs, nat=2), server)
    server.accept()
    server.say(ipi.encode_init(0), ipi.encode_request((0, 0, 0)))
    with pytest.raises((EOFError, ConnectionError)):
        server.hear()
    assert isinstance(join()["error"], HubProtocolError)


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (ipi.encode_request((0, 0, 0))[:156] + struct.pack("<i", -3), "atom count -3"),
        (ipi.encode_request((0, 0, 0))[:156] + struct.pack("<i", 2**31 - 1), "atom count 2147483647"),
        (ipi.encode_header(ipi.INIT) + struct.pack("<ii", 0, 2**31 - 1), "2147483647"),
        (atoms_reply(POSITIONS), "FORCEREADY"),
        (b"HTTP/1.1 400 Bad Request\r\n", "HTTP/1.1"),
    ],
)
def test_a_server_that_breaks_the_protocol_is_named(server, running, message, words):
    """As soon as it can be known: nothing of the size that it claims is kept, and nothing computed."""
    calls = []
    join = running(ForceField(lambda positions, cell: calls.append(1)), server)
    server.accept()
    server.say(ipi.encode_init(0), message)
    with pytest.raises((EOFError, ConnectionError)):
        server.hear()
    error = join()["error"]
    assert isinstance(error, HubProtocolError)
    assert error.hub == "{}:{}".format(*server.address)
    assert words in str(error)
    assert not calls


def test_our_driver_acknowledges_a_part_of_a_request_at_once(server, running, eventually, monkeypatch):
    """ASE's server sends the rest only then; a request that is answered needs no more than the answer."""
    told = []
    monkeypatch.setattr("mxl_sockets._conversation.acknowledger", lambda sock: lambda: told.append(sock))
    running(ForceField(springs), server)
    server.accept()
    server.say(ipi.encode_init(0), STATUS)
    assert server.hear() == ipi.READY
    before = len(told)
    request = ipi.encode_request((0, 0, 0))
    server.say(request[:12])
    eventually(lambda: len(told) == before + 1, "the acknowledgement")
    server.say(request[12:])
    assert server.hear().extra == b"springs"
    assert len(told) == before + 1


def test_exit_in_the_middle_of_an_evaluation_is_an_end_like_any_other(server, running):
    """The atoms were there, nobody wants their forces any more."""
    join = running(ForceField(springs), server)
    server.accept()
    server.say(ipi.encode_init(0), ipi.encode_request((0, 0, 0))[:-12], STATUS)
    assert server.hear() == ipi.HAVEDATA
    server.say(EXIT)
    summary = join()["summary"]
    assert (summary.reason, summary.steps) == (End.EXIT, 0)


def test_each_status_of_a_flood_is_answered(server, running):
    """Five thousand at once, in the middle of an evaluation, which goes on."""
    running(ForceField(springs), server)
    server.accept()
    server.say(ipi.encode_init(0), ipi.encode_request((0, 0, 0))[:-12], STATUS * FLOOD, GETFORCE)
    for _ in range(FLOOD):
        assert server.hear() == ipi.HAVEDATA
    assert server.hear().extra == b"springs"


@pytest.mark.parametrize(("arguments", "error"), [((3,), TypeError), ((springs, 0), ValueError)])
def test_a_force_field_of_nothing_is_refused(arguments, error):
    """No function, no atoms."""
    function, *rest = arguments
    with pytest.raises(error):
        ForceField(function, nat=rest[0] if rest else None)


def test_a_rank_without_a_hub_has_nobody_to_ask(monkeypatch):
    """As `step`."""
    monkeypatch.setattr("mxl_sockets.mpi.am_master", lambda: False)
    with pytest.raises(HubStopped):
        SocketHub(port=0).forces(POSITIONS)
