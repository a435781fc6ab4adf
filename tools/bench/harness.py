"""Paired measuring: A B C A B C in one run, medians with their spread, ratios pair by pair.

On a shared machine absolute times wander. Sides that are measured in turns
wander together, so each round gives a ratio, and the ratios repeat. A target
is judged by the quartiles of the ratios: only if both lie on one side of it is
it met or missed; otherwise the machine was too noisy to say.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Relative distance of the quartiles of a side's own cost from which the machine counts as noisy.
NOISE_LIMIT: Final = 0.15

#: Seconds that one round of the fastest side should last.
ROUND_S: Final = 0.1

#: Seconds that a round of any other side may last: it makes fewer steps then.
MOST_S: Final = 0.5

#: Fewest steps of a round, unless they take too long.
FEWEST_STEPS: Final = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """Cost of some steps: wall time, and CPU time of the measured side alone."""

    steps: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Figure:
    """Median of a quantity and its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Figure:
        """Summarise at least two values."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    @property
    def spread(self) -> float:
        """Distance of the quartiles, relative to the median."""
        return (self.high - self.low) / self.median


def shown(number: float) -> str:
    """Write a ratio, or a figure that may be large, as tables have it."""
    return f"{number:.2f}" if number < 1000 else f"{number:.0f}"


class Measured(Protocol):
    """One side of a comparison."""

    def measure(self, steps: int) -> Sample:
        """Make so many steps and tell what they cost."""
        ...


class Pinned(Measured, Protocol):
    """A side whose processes can be told where to run."""

    def pin(self, cores: set[int]) -> None:
        """Keep all its processes on these cores."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """``numerator / denominator`` of the cost is to be at most `bound`.

    The cost is CPU time, or with `wall` the time that passed.
    """

    numerator: str
    denominator: str
    bound: float
    wall: bool = False

    def judge(self, measurement: Measurement) -> Verdict | None:
        """Compare pair by pair; None if a side is missing."""
        if not {self.numerator, self.denominator} <= measurement.samples.keys():
            return None
        ratio = measurement.ratio(self.numerator, self.denominator, wall=self.wall)
        time = " time" if self.wall else ""
        return Verdict.of(f"{self.numerator} / {self.denominator}{time}", ratio, self.bound)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a target: a ratio that is to be at most `bound`, or a figure, perhaps `at_least`."""

    ratio_of: str
    ratio: Figure
    bound: float
    word: str
    at_least: bool = False

    @classmethod
    def of(cls, what: str, figure: Figure, bound: float, *, at_least: bool = False) -> Verdict:
        """Judge a figure by its quartiles."""
        best, worst = (figure.high, figure.low) if at_least else (figure.low, figure.high)
        sign = -1.0 if at_least else 1.0
        if sign * worst <= sign * bound:
            word = "met"
        elif sign * best > sign * bound:
            word = "MISSED"
        else:
            word = "too noisy to say"
        return cls(what, figure, bound, word, at_least)

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.ratio_of} {shown(self.ratio.median)} ({sign} {shown(self.bound)}) {self.word}"


@dataclass(frozen=True, slots=True)
class Measurement:
    """Samples of all sides, round by round.

    Attributes
    ----------
    units : int
        What a step consists of (molecules, say): costs are given per unit.
    samples : dict of str to list of Sample
        Equally long lists, one per side.
    """

    units: int
    samples: dict[str, list[Sample]]

    def cpu_us(self, side: str) -> Figure:
        """CPU time per unit and step, microseconds."""
        return Figure.of([1e6 * s.cpu_s / s.steps / self.units for s in self.samples[side]])

    def steps_per_second(self, side: str) -> Figure:
        """Return the steps per second of wall time."""
        return Figure.of([s.steps / s.wall_s for s in self.samples[side]])

    def ratio(self, numerator: str, denominator: str, *, wall: bool = False) -> Figure:
        """Ratio of the CPU costs of two sides, or of their wall times, pair by pair."""
        pairs = zip(self.samples[numerator], self.samples[denominator], strict=True)
        if wall:
            return Figure.of([a.wall_s / a.steps / (b.wall_s / b.steps) for a, b in pairs])
        return Figure.of([a.cpu_s / a.steps / (b.cpu_s / b.steps) for a, b in pairs])

    @property
    def noisy(self) -> bool:
        """Whether a side's own cost scatters more than the machine should make it."""
        return any(self.cpu_us(side).spread > NOISE_LIMIT for side in self.samples)

    def as_json(self) -> dict[str, Any]:
        """Return all samples and their summaries, for a file."""
        return {
            side: {
                "cpu_us_per_unit": asdict(self.cpu_us(side)),
                "steps_per_second": asdict(self.steps_per_second(side)),
                "samples": [asdict(sample) for sample in samples],
            }
            for side, samples in self.samples.items()
        }


def measure_paired(sides: Mapping[str, Measured], units: int, rounds: int) -> Measurement:
    """Warm up, choose the number of steps, then measure all sides in turns.

    Parameters
    ----------
    sides : mapping of str to Measured
        In the order in which they take turns.
    units : int
        What costs are divided by.
    rounds : int
        At least 2.
    """
    for side in sides.values():  # a step first: caches, buffers and lazy imports are not the question
        side.measure(1)
    seconds = {name: _step_s(side) for name, side in sides.items()}
    steps = max(FEWEST_STEPS, round(ROUND_S / min(seconds.values())))
    own = {name: max(1, min(steps, round(MOST_S / step_s))) for name, step_s in seconds.items()}
    for name, side in sides.items():
        side.measure(max(1, own[name] // 4))
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            samples[name].append(side.measure(own[name]))
    return Measurement(units, samples)


def _step_s(side: Measured) -> float:
    """Return about how many seconds a step takes."""
    sample = side.measure(1)
    if sample.wall_s < MOST_S / FEWEST_STEPS:
        sample = side.measure(FEWEST_STEPS)
    return sample.wall_s / sample.steps


def measure_on_cores(
    sides: Mapping[str, Pinned], units: int, rounds: int, *, free: bool = True
) -> Iterator[tuple[str, Measurement]]:
    """Measure the same programs on ``one`` core together and, if asked to, ``free``; as `measure_paired`."""
    places = {"one": machine.one_core(), "free": machine.all_cores()}
    for place in ("one", "free") if free else ("one",):
        for side in sides.values():
            side.pin(places[place])
        yield place, measure_paired(sides, units, rounds)
