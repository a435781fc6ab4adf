"""Every claim of the act as a check that can fail."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from cavity.checks import SPLITTING_BOUND
from checks import Check, below

from labday.account import CONTROLLERS, MORTAL, RIGS, TIMES
from labday.station import MOLECULES, PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from labday.account import Day, Monitor

#: Seconds from the death of the leader to its successor: what the package promises, and as much again for a
#: computer that has other things to do.
SUCCESSION_BOUND_S: Final = 2.0 * (TIMES["peerTimeout"] + TIMES["electionMax"]) / 1000
#: Event of each round, as the rigs name it.
EVENTS: Final = {"init": "INIT", "start": "START", "info": "INFO", "stop": "END", "cleanup": "CLEANUP"}


def all_checks(day: Day) -> list[Check]:
    """Judge a day."""
    return [
        *_settings(day),
        *_runs(day),
        *_leaders(day),
        *_announcements(day),
        *_rigs(day),
        *_readouts(day),
        *_end(day),
    ]


def _settings(day: Day) -> list[Check]:
    numbers = [one.number for one in day.measured]
    last = day.measured[-1]
    return [
        Check(
            "settings: each is measured once, in order, whoever leads",
            f"{len(numbers)} of {day.script.settings}",
            numbers == list(range(day.script.settings)),
        ),
        below(
            "settings: splitting off the analytic one by, relative",
            max(abs(one.off) for one in day.measured),
            SPLITTING_BOUND,
            all(one.resolved for one in day.measured),
        ),
        below(
            "optimiser: the last setting is off resonance by, relative",
            abs(last.cavity_frequency / PARAMETERS.molecule_frequency - 1.0),
            SPLITTING_BOUND,
        ),
    ]


def _runs(day: Day) -> list[Check]:
    equal = sum(one.same_bits for one in day.measured)
    killed = {one.number: one.killed for one in day.measured if one.killed}
    statuses = [status for one in day.measured for status in one.statuses]
    return [
        Check(
            "driver: killed once in the middle of a run, and replaced",
            ", ".join(f"{number} in setting {setting}" for setting, number in killed.items()) or "none",
            killed == {day.script.driver: 1},
        ),
        Check(
            "driver: all trajectories are those of undisturbed runs, bit for bit",
            f"{equal} of {len(day.measured)}",
            equal == len(day.measured),
        ),
        Check(
            "driver: all others are told to stop, and end with status 0",
            f"{statuses.count(0)} of {day.script.settings * MOLECULES}",
            statuses == [0] * (day.script.settings * MOLECULES),
        ),
    ]


def _leaders(day: Day) -> list[Check]:
    elected = [(one["term"], one["leader"]) for _, one in day.told("elected")]
    leaders = dict(sorted(elected))
    names = {one.member_id: one.name for one in day.controllers}
    forward = all(
        earlier["term"] <= later["term"]
        for one in day.controllers
        for earlier, later in pairwise(one.all("elected"))
    )
    dead = day.dead_leader
    directed = [one for _, one in day.told("directs") if one["term"] == day.second.term]
    done = [
        one["setting"]
        for _, one in day.told("announced")
        if one["news"] == "measured" and directed and one["seconds"] < directed[0]["seconds"]
    ]
    return [
        Check(
            "leaders: one per term, and nobody sees a term go back",
            ", ".join(f"{term} {names.get(leader, leader)}" for term, leader in leaders.items()),
            len(leaders) == len(set(elected)) and forward and day.second.term > day.first.term,
        ),
        below(
            f"leaders: seconds from the death of {dead.name} to a successor",
            day.second.seconds,
            SUCCESSION_BOUND_S,
        ),
        Check(
            f"leaders: {day.second.leader} goes on where {dead.name} was killed",
            f"{len(done)} done, from {', '.join(str(one['setting']) for one in directed) or 'nothing'} on",
            [one["setting"] for one in directed] == [len(done)] and day.second.leader != dead.name,
        ),
    ]


def _announcements(day: Day) -> list[Check]:
    announced, missed = announcements(day)
    return [
        Check(
            "group: all announcements are heard by all that live",
            f"{sum(announced.values())}; "
            + ", ".join(f"{name} misses {number}" for name, number in missed.items()),
            not any(missed.values()),
        )
    ]


def announcements(day: Day) -> tuple[dict[str, int], dict[str, int]]:
    """Return how much each leader has announced, and how much of it each other one that lives did not hear.

    Negative if it heard something more than once.
    """
    announced = {one.name: len(one.all("announced")) for one in day.controllers}
    missed = {
        one.name: sum(number for name, number in announced.items() if name != one.name)
        - len(one.all("heard"))
        for one in day.survivors
    }
    return announced, missed


def _rigs(day: Day) -> list[Check]:
    rounds = [one for _, one in day.told("round")]
    asked, answered, failed = commands(day)
    silent = [one["name"] for one in rounds if MORTAL in one["failures"]]
    others = sorted({name for one in rounds for name in one["failures"]} - {MORTAL})
    replacement = [one for one in day.rigs if one.name == MORTAL][-1]
    events = [event["name"] for event in replacement.all("event")]
    heard, confirmed, missing = (
        heard_by_rigs(day),
        events_of(rounds, "results"),
        events_of(rounds, "failures"),
    )
    return [
        Check(
            "rigs: each command is answered, or its rig reported by name",
            f"{asked} = {answered} answered + {failed} reported",
            all(set(one["asked"]) == set(one["results"]) ^ set(one["failures"]) for one in rounds)
            and all(set(one["asked"]) <= set(RIGS) for one in rounds),
        ),
        Check(
            "rigs: what was answered was carried out, once",
            ", ".join(f"{name} {sum(counts.values())}" for name, counts in heard.items()),
            # One that died may have begun with what it did not answer.
            all(not confirmed[name] - heard[name] for name in RIGS)
            and all(not heard[name] - confirmed[name] - missing[name] for name in RIGS),
        ),
        Check(
            f"rigs: only the dead {MORTAL} is reported, its successor works",
            f"{', '.join([MORTAL] * len(silent) + others) or 'nobody'}; {len(events)} commands",
            len(silent) == 1
            and not others
            and events[:2] == ["INIT", "START"]
            and events[-2:] == ["END", "CLEANUP"],
        ),
    ]


def commands(day: Day) -> tuple[int, int, int]:
    """Return how often rigs were asked for something, answered, and were reported."""
    rounds = [one for _, one in day.told("round")]
    return (
        sum(len(one["asked"]) for one in rounds),
        sum(len(one["results"]) for one in rounds),
        sum(len(one["failures"]) for one in rounds),
    )


def heard_by_rigs(day: Day) -> dict[str, Counter[str]]:
    """Return which events came to the callbacks of each rig, its replacement included."""
    heard = {name: Counter[str]() for name in RIGS}
    for rig in day.rigs:
        heard[rig.name].update(event["name"] for event in rig.all("event"))
    return heard


def events_of(rounds: Sequence[Mapping[str, Any]], ending: str) -> dict[str, Counter[str]]:
    """Return which events of each rig had an ending: ``results`` or ``failures``."""
    ended = {name: Counter[str]() for name in RIGS}
    for one in rounds:
        for name in one[ending]:
            ended[name][EVENTS[one["name"]]] += 1
    return ended


def _readouts(day: Day) -> list[Check]:
    early, late = day.monitors
    return [
        _account(day, early, early.end["first"] == 0),
        _account(day, late, bool(late.end["first"]) and late.end["gaps"] == 0 and late.end["lost"] == 0),
        Check(
            "monitors: recorded is what was sent, byte by byte",
            ", ".join(f"{one.part.name} {len(one.recorded)}" for one in day.monitors),
            all(is_as_sent(day, one) for one in day.monitors),
        ),
    ]


def _account(day: Day, monitor: Monitor, joined_well: bool) -> Check:
    end, sent = monitor.end, len(day.sent)
    first = 0 if end["first"] is None else end["first"]
    gap = "" if monitor is day.monitors[0] else "no gap; "
    return Check(
        f"{monitor.part.name} monitor: {gap}received + reported lost = sent since it joined",
        f"{end['received']} + {end['lost']} = {sent} - {first}",
        joined_well
        and end["received"] + end["lost"] == sent - first
        and end["duplicates"] == end["broken"] == 0,
    )


def is_as_sent(day: Day, monitor: Monitor) -> bool:
    """Whether each event of a recording is the readout of its number, and all that was received is there."""
    return len(monitor.recorded) == monitor.end["received"] and all(
        event.number < len(day.sent)
        and (event.channel, event.data) == (day.sent[event.number].channel, day.sent[event.number].data)
        for event in monitor.recorded
    )


def _end(day: Day) -> list[Check]:
    stop = [one for _, one in day.told("round") if one["name"] in ("stop", "cleanup")]
    closed = day.station.all("closed")
    over = [one.name for one in day.survivors if one.all("over")]
    statuses = [(name, status) for name, status, killed in day.processes if status and not killed]
    killed = sorted(name for name, _, killed in day.processes if killed)
    return [
        Check(
            "end: rigs and station are stopped, controllers know",
            ", ".join([*(sorted(stop[0]["results"]) if stop else []), *over]),
            len(stop) == 2
            and all(sorted(one["results"]) == sorted(RIGS) for one in stop)
            and len(closed) == 1
            and len(over) == len(CONTROLLERS) - 1,
        ),
        Check(
            "processes: end by themselves with status 0, but the killed",
            ", ".join(f"{name} {status}" for name, status in statuses) or ", ".join(killed),
            not statuses and killed == sorted([MORTAL, day.dead_leader.name]),
        ),
    ]
