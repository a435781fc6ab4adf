"""C10 for aggregated hubs: bridges die, lose their connection or are slow, at moments from dice.

Hub, bridges and molecules run in one thread over the loopback; bridges are the production protocol. A
molecule notes every step it commits, and every amplitude tells which molecule, of all that were ever started,
has sent it. 500 schedules; a failure names its seed.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from mxl_sockets import AggregatedSocketHub

from .scripted_bridge import PumpedBridge

# Nothing here waits: how long it takes is the machine's affair.
pytestmark = pytest.mark.timeout(600)

SEEDS = 250
GROUPS = ("a", "b", "c")
MOLECULES = 7
STEPS = 6
TICKS = 4000
JUNK = {"efield_au": (-1.0, -1.0, -1.0)}


def value(step, molecule):
    return float(step * 100 + molecule)


class World:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.resume = self.dice.random() < 0.5
        self.arrays = self.dice.random() < 0.5
        self.hub = AggregatedSocketHub(port=0, timeout=0, latency=0, resume=self.resume)
        self.diary = []
        self.bridges = {group: PumpedBridge(self.hub.address, group, self.diary) for group in GROUPS}
        self.accidents = self.dice.choice((0, 1, 3, 6))
        order = list(range(MOLECULES))
        self.dice.shuffle(order)
        self.group_of = {one: GROUPS[one % len(GROUPS)] for one in order}
        self.inits = {one: {"aggregate_group": group} for one, group in self.group_of.items()}

    def close(self):
        for bridge in self.bridges.values():
            bridge.close()
        self.hub.stop()

    def bridge_acts(self):
        """Let one bridge do something, or let something happen to it."""
        group = self.dice.choice(GROUPS)
        bridge = self.bridges[group]
        roll = self.dice.random()
        if roll < 0.08 and self.accidents:
            self.accidents -= 1
            bridge.work(self.dice.randint(0, 3))  # some of its molecules have committed
            if self.dice.random() < 0.5:
                bridge.cut()
            else:
                bridge.close()
                self.bridges[group] = PumpedBridge(self.hub.address, group, self.diary)
        elif roll < 0.3:
            bridge.work(self.dice.randint(0, 2))
        else:
            bridge.pump(self.dice.choice((5, 40, 1 << 20)))

    def attempt(self, step, began):
        """One call of the hub, as a solver makes it; the result or nothing."""
        if self.hub.paused or not began:
            self.hub.wait_until_bound(self.inits, timeout=0)
            if self.hub.paused or not self.hub.all_bound(self.inits):
                return None
        ids = list(self.inits)
        fields = np.array([[step, value(step, one), 0.0] for one in ids])
        if self.arrays:
            try:
                return dict(zip(ids, self.hub.step(fields).tolist(), strict=True))
            except TimeoutError:
                return None
        # Once it is frozen, ids and fields of later calls count for nothing.
        requests = {one: {"efield_au": row} for one, row in zip(ids, fields, strict=True)}
        if self.hub._coupling.barrier.frozen and self.dice.random() < 0.5:
            requests = {0: JUNK}
        result = self.hub.step_barrier(requests)
        return {one: reply["amp"].tolist() for one, reply in result.items()}

    def run(self):
        """Make all steps; what the hub got for each."""
        results = []
        bound = False
        for _ in range(TICKS):
            for _ in range(self.dice.randint(0, 4)):
                self.bridge_acts()
            bound = bound or self.hub.wait_until_bound(self.inits, timeout=0)
            result = self.attempt(len(results) + 1, bound) if bound else None
            if result:
                results.append(result)
                if len(results) == STEPS:
                    return results
        raise AssertionError(f"only {len(results)} steps in {TICKS} ticks: {self.hub.status()}")


def judge(world, results):
    """Every molecule has made every step once, or was started anew, visibly, in between."""
    by_number = {one.number: one for one in world.diary}
    for molecule in range(MOLECULES):
        answers = [result[molecule] for result in results]
        assert [answer[0] for answer in answers] == list(range(1, STEPS + 1)), "an answer of another step"
        numbers = [int(answer[2]) for answer in answers]
        assert numbers == sorted(numbers), "an older molecule answered after a newer one"
        for one in world.diary:
            if one.molecule_id != molecule:
                continue
            assert JUNK["efield_au"][0] not in one.steps
            own = [step for step, number in enumerate(numbers, 1) if number == one.number]
            # What it answered it has committed, in order and once, and beside at most the step it died in.
            assert one.steps[: len(own)] == own
            assert len(one.steps) <= len(own) + 1
            assert one.steps == sorted(set(one.steps))
        assert all(by_number[number].molecule_id == molecule for number in numbers)
        if world.resume:
            totals = np.cumsum([value(step, molecule) for step in range(1, STEPS + 1)])
            assert [answer[1] for answer in answers] == totals.tolist(), "a step lost or made twice"


@pytest.mark.fault("C10", "mxl-aggregated", "LW")
@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_whatever_happens_to_bridges_no_step_is_lost_made_twice_or_mixed_up(start):
    accidents = 0
    for seed in range(start, start + 50):
        world = World(seed)
        try:
            judge(world, world.run())
            accidents += world.hub.status().dropped
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        finally:
            world.close()
    assert accidents
