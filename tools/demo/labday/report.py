"""The printed summary: one page about what was measured, sent, received, lost, and what deaths cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labday.account import MORTAL
from labday.checks import announcements, commands
from labday.station import MOLECULES, STEPS

if TYPE_CHECKING:
    from labday.account import Day, Measured


def settings_table(day: Day) -> str:
    """One line per setting: splitting beside the analytic one, and who had it measured."""
    leaders = {one["term"]: name for name, one in day.told("directs")}
    rows = ["Settings  cavity   splitting  analytic    off by     took  directed by"]
    for one in day.measured:
        leader = f"{leaders.get(one.term, 'nobody')}, term {one.term}"
        row = (
            f"  {one.number:<6}{one.cavity_frequency:8.5f}  {one.splitting:9.6f}  {one.analytic:8.6f}"
            f"  {100.0 * one.off:+6.3f} %  {one.end - one.begin:5.2f} s  {leader:<16}{_happened(day, one)}"
        )
        rows.append(row.rstrip())
    return "\n".join(rows)


def packages_table(day: Day) -> str:
    """One line per package: what was sent, what arrived, what is missing and who said so."""
    given, answered, failed = commands(day)
    heard = sum(len(one.all("heard")) for one in day.survivors)
    _, missed = announcements(day)
    killed = sum(one.killed for one in day.measured)
    remembered = len(day.station.all("remembered"))
    rows = [
        ("wireframe", "commands to station", len(day.told("command")), len(day.told("answer")),
         f"{remembered} given to the next leader"),
        ("mxl-sockets", "steps of molecules", len(day.measured) * STEPS * MOLECULES,
         sum(one.answers for one in day.measured), f"{killed} driver killed and replaced"),
        *(
            ("udp-multicast", f"readouts to {one.part.name}", len(day.sent) - (one.end["first"] or 0),
             one.end["received"], f"{one.end['lost']} by their numbers; first is {one.end['first']}")
            for one in day.monitors
        ),
        ("echo-rig", "commands to rigs", given, answered, f"{failed} by the name of its rig"),
        ("group-ports", "news to those that live", heard + sum(missed.values()), heard, ""),
    ]  # fmt: skip
    return "\n".join(
        [
            "Packages                                 sent  received   lost  reported",
            *(
                f"  {package:<15}{what:<23}{sent:5}{received:10}{sent - received:7}  {reported}".rstrip()
                for package, what, sent, received, reported in rows
            ),
        ]
    )


def deaths_table(day: Day) -> str:
    """One line per election and death: when, and what it cost."""
    first, second = day.first, day.second
    dead = day.dead_leader.name
    rig_died_at = day.dead_rig.killed_at or 0.0
    silent_at, resumed_at = day.silent_at(), day.resumed_at()
    silent = (
        "never reported" if silent_at is None else f"reported by name {silent_at - rig_died_at:.2f} s later"
    )
    back = f"a new one is there {day.back_at - rig_died_at:.2f} s later"
    resumed = "" if resumed_at is None else f", directs after {resumed_at - second.vacant_since:.2f} s"
    events = [
        (first.known_at, f"{first.leader} is elected {first.seconds:.2f} s after all were introduced"),
        (rig_died_at, f"{MORTAL} is killed: {silent}, {back}"),
        (
            second.vacant_since,
            f"{dead}, who leads, is killed: {second.leader} is elected after {second.seconds:.2f} s{resumed}",
        ),
    ]
    for one in day.measured:
        if one.killed_at is not None:
            bits = "no bit is changed" if one.same_bits else "bits are changed"
            cost = f"the run stands still for {one.stood_still_s:.2f} s, {bits}"
            events.append((one.killed_at, f"a driver is killed in setting {one.number}: {cost}"))
    return "\n".join(
        [
            "Time (s)  elections, deaths, and what they cost",
            *(f"  {at - day.begin:6.2f}  {text}" for at, text in sorted(events)),
        ]
    )


def _happened(day: Day, one: Measured) -> str:
    """Return what the demo did in a setting."""
    script = day.script
    deeds = (
        (script.late, "late joins"),
        (script.driver, "driver killed"),
        (script.rig, f"{MORTAL} killed"),
        (script.leader, "leader killed"),
    )
    return ", ".join(deed for setting, deed in deeds if setting == one.number)
