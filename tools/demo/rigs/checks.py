"""Every claim of the act as a check that can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from checks import Check, below

from rigs.account import MORTAL, RIGS
from rigs.session import GONE_S

if TYPE_CHECKING:
    from rigs.account import Session

#: Event of each round.
EVENTS: Final = {"init": "INIT", "start": "START", "info": "INFO", "stop": "END", "cleanup": "CLEANUP"}
LIVING: Final = [name for name in RIGS if name != MORTAL]


def all_checks(session: Session) -> list[Check]:
    """Judge an experiment."""
    return [*_beginning(session), *_death(session), *_end(session), *_processes(session)]


def _beginning(session: Session) -> list[Check]:
    init, start = session.round("init"), session.round("start")
    references = {data[0] for data in start.results.values()}
    return [
        Check(
            "init: all rigs are ready",
            ", ".join(sorted(init.results)) + _but(init.failures),
            set(init.results) == set(RIGS),
        ),
        # One after the other they take at least as long as all their answers, on any computer.
        below(
            "init: seconds, below the sum of all answers",
            init.end - init.begin,
            sum(init.timings.values()),
        ),
        Check(
            "start: all rigs run this experiment",
            ", ".join(sorted(map(str, references))) + _but(start.failures),
            set(start.results) == set(RIGS) and references == {session.reference},
        ),
    ]


def _death(session: Session) -> list[Check]:
    info = session.round("info")
    gone = [change for change in session.changes if change.rig == MORTAL and change.state == "gone"]
    states = {name: [one.state for one in session.changes if one.rig == name] for name in RIGS}
    return [
        below(
            f"heartbeat: seconds until {MORTAL} was gone",
            gone[0].at - session.killed_at if gone else float("inf"),
            # So long it would take by silence; here the network says that nobody is there.
            GONE_S,
        ),
        Check(
            "heartbeat: the others were live all the time",
            "; ".join(f"{name} {', '.join(states[name]) or 'never seen'}" for name in LIVING),
            all(states[name] == ["live"] for name in LIVING),
        ),
        Check(
            f"info: the error names {MORTAL} and nobody else",
            _but(info.failures).removeprefix("; ") or "no error",
            list(info.failures) == [MORTAL],
        ),
        Check(
            "info: the error carries what the others answered",
            ", ".join(info.results) or "nothing",
            sorted(info.results) == sorted(LIVING),
        ),
    ]


def _end(session: Session) -> list[Check]:
    stop, cleanup = session.round("stop"), session.round("cleanup")
    told = {name: data[0]["samples"] for name, data in stop.results.items()}
    taken = {name: session.rigs[name].samples for name in LIVING}
    return [
        Check(
            f"stop: reaches all but {MORTAL}, whom the error names",
            ", ".join(sorted(stop.results)) + _but(stop.failures),
            sorted(stop.results) == sorted(LIVING) and list(stop.failures) == [MORTAL],
        ),
        Check(
            "stop: rigs tell how many samples they took",
            ", ".join(f"{name} {samples}" for name, samples in told.items()),
            told == taken and all(samples > 0 for samples in told.values()),
        ),
        Check(
            "cleanup: done by all that are left, no error",
            ", ".join(sorted(cleanup.results)) + _but(cleanup.failures),
            sorted(cleanup.results) == sorted(LIVING) and not cleanup.failures,
        ),
    ]


def _processes(session: Session) -> list[Check]:
    heard = {name: [event["name"] for event in session.rigs[name].events] for name in RIGS}
    expected = {name: list(EVENTS.values()) for name in LIVING} | {MORTAL: ["INIT", "START"]}
    statuses = {name: rig.status for name, rig in session.rigs.items()}
    return [
        Check(
            "rigs: each message reached its callback once, in order",
            "; ".join(f"{name} {len(events)}" for name, events in heard.items()),
            heard == expected,
        ),
        Check(
            f"rigs: ended by themselves with status 0, {MORTAL} was killed",
            ", ".join(f"{name} {status}" for name, status in statuses.items()),
            not any(statuses[name] for name in LIVING) and statuses[MORTAL] != 0,
        ),
    ]


def _but(failures: object) -> str:
    if not isinstance(failures, dict) or not failures:
        return ""
    return "; " + "; ".join(f"{name}: {why}" for name, why in failures.items())
