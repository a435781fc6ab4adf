"""The demo's lab day: all five packages with real processes, and what its checks notice."""

from __future__ import annotations

import dataclasses
import io
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo"
sys.path.insert(0, str(DEMO))

from checks import checks_table  # noqa: E402
from labday import account, act, checks, optimiser, picture, report, session, station  # noqa: E402
from labday.book import Book  # noqa: E402
from progress import Progress  # noqa: E402

from udp_multicast import ChannelSender  # noqa: E402

#: Some twenty processes on two cores that others use, too.
TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def held():
    """A short day with all its processes, and what was shown meanwhile."""
    stream = io.StringIO()
    with Progress(session.steps_of(session.QUICK_DAY), stream) as progress:
        day = session.run(session.QUICK_DAY, progress)
    return day, stream.getvalue()


@pytest.fixture
def day(held):
    return held[0]


def broken_claims(day):
    """What does not hold, by the word before the colon."""
    return {check.claim.partition(":")[0] for check in checks.all_checks(day) if not check.passed}


@pytest.fixture
def noticed(day):
    """Which claims a change of the account breaks, beside those that were broken before."""
    before = broken_claims(day)
    return lambda changed: broken_claims(changed) - before


def changed(things, place, **changes):
    """The same list, one of its dataclasses having other values."""
    things = list(things)
    things[place] = dataclasses.replace(things[place], **changes)
    return things


def retold(part, change):
    """The same process, having reported what `change` makes of its reports."""
    return dataclasses.replace(part, reports=change([dict(one) for one in part.reports]))


def with_measured(day, place, **changes):
    return dataclasses.replace(day, measured=changed(day.measured, place, **changes))


def with_controller(day, name, change):
    controllers = [retold(one, change) if one.name == name else one for one in day.controllers]
    return dataclasses.replace(day, controllers=controllers)


def with_counts(day, place, **counts):
    """The day, a monitor having counted something else in the end."""
    part = retold(
        day.monitors[place].part,
        lambda reports: [{**one, **counts} if one["kind"] == "end" else one for one in reports],
    )
    return dataclasses.replace(day, monitors=changed(day.monitors, place, part=part))


def leader_of(day, kind, **facts):
    """Name of the first controller that told something."""
    return next(name for name, one in day.told(kind) if facts.items() <= one.items())


# -- the whole day ----------------------------------------------------------------------------------


def test_every_claim_holds_on_a_day_with_a_killed_driver_rig_and_leader(held):
    """Nothing is lost that the packages promise to keep, and each death is told when it happens."""
    day, shown = held
    judged = checks.all_checks(day)
    assert not [f"{check.claim}: {check.figure}" for check in judged if check.passed is not True]
    assert len(judged) == 18
    for words in (
        "driver killed and replaced",
        "camera is killed",
        "camera is reported silent",
        "who leads, is",
    ):
        assert words in shown


def test_summary_is_one_page(day):
    """Four tables that fit on a terminal, the long day with four settings more."""
    tables = [report.settings_table(day), report.packages_table(day), report.deaths_table(day)]
    page = "\n\n".join([*tables, checks_table(checks.all_checks(day))]).splitlines()
    assert len(page) + session.DAY.settings - session.QUICK_DAY.settings <= 45
    assert max(map(len, page)) <= 100


def test_tables_tell_who_directed_what_and_what_is_missing(day):
    """A command to the station, and one to a rig, end with who is killed; nothing else is missing."""
    settings = report.settings_table(day).splitlines()[1:]
    assert [line.split()[0] for line in settings] == [str(number) for number in range(len(day.measured))]
    assert "leader killed" in settings[session.QUICK_DAY.leader]
    missing = {}
    for line in report.packages_table(day).splitlines()[1:]:
        sent, received, lost = (int(word) for word in line[40:].split()[:3])
        assert sent == received + lost
        missing[line.split()[0]] = lost
    assert missing.pop("wireframe") <= 1
    assert missing == {"mxl-sockets": 0, "udp-multicast": 0, "echo-rig": 1, "group-ports": 0}
    assert day.dead_leader.name in report.deaths_table(day)


def test_picture_is_drawn(day, tmp_path):
    """A PNG of the size of a slide."""
    file = tmp_path / "pictures" / "labday.png"
    picture.draw(day, file, passed=True)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1920, 1080)


def test_full_day_and_short_day_kill_the_same(day):
    """One death of each kind, each while there are settings left to go on with."""
    for script in (session.DAY, session.QUICK_DAY):
        assert script.settings >= optimiser.FEWEST_SETTINGS
        assert script.late > 0
        assert len({script.driver, script.rig, script.leader}) == 3
        assert max(script.driver, script.rig, script.leader) < script.settings - 1
    assert act.TITLE


# -- what is noticed --------------------------------------------------------------------------------


def test_a_setting_that_is_lost_or_repeated_is_noticed(day, noticed):
    """Each number must be there once."""
    for measured in (day.measured[:-1], [*day.measured, day.measured[-1]]):
        assert "settings" in noticed(dataclasses.replace(day, measured=measured))


def test_a_wrong_splitting_or_resonance_is_noticed(day, noticed):
    """The bound is that of the cavity act."""
    one = day.measured[0]
    assert noticed(with_measured(day, 0, splitting=1.011 * one.analytic)) == {"settings"}
    assert noticed(with_measured(day, -1, cavity_frequency=0.102)) == {"optimiser"}


def test_another_bit_or_a_driver_that_was_not_killed_is_noticed(day, noticed):
    """Of any run, and in the right one."""
    assert noticed(with_measured(day, 2, same_bits=False)) == {"driver"}
    assert noticed(with_measured(day, session.QUICK_DAY.driver, killed=0)) == {"driver"}
    assert noticed(with_measured(day, 0, statuses=[0, 0, 0, 1])) == {"driver"}


def test_two_leaders_in_a_term_or_a_slow_or_lost_succession_are_noticed(day, noticed):
    """What the group promises, and where the new leader goes on."""
    survivor = day.survivors[0].name
    rival = {"kind": "elected", "leader": "ff" * 16, "term": day.second.term, "seconds": day.end}
    assert noticed(with_controller(day, survivor, lambda told: [*told, rival])) == {"leaders"}
    slow = dataclasses.replace(
        day.second, known_at=day.second.vacant_since + 1.01 * checks.SUCCESSION_BOUND_S
    )
    assert noticed(dataclasses.replace(day, second=slow)) == {"leaders"}
    elsewhere = with_controller(
        day,
        day.second.leader,
        lambda told: [{**one, "setting": 0} if one["kind"] == "directs" else one for one in told],
    )
    assert noticed(elsewhere) == {"leaders"}


def test_an_announcement_that_is_missed_or_heard_twice_is_noticed(day, noticed):
    """By one of those that live."""
    listener = next(one.name for one in day.survivors if one.all("heard"))

    def heard(times):
        def change(told):
            place = next(place for place, one in enumerate(told) if one["kind"] == "heard")
            return [*told[:place], *[told[place]] * times, *told[place + 1 :]]

        return change

    for times in (0, 2):
        assert noticed(with_controller(day, listener, heard(times))) == {"group"}


def test_a_rig_that_is_not_answered_for_or_named_wrongly_is_noticed(day, noticed):
    """Each command has one end, and the dead rig has a name."""
    leader = leader_of(day, "round", name="init")

    def first_round(**facts):
        def change(told):
            place = next(place for place, one in enumerate(told) if one["kind"] == "round")
            return [*told[:place], {**told[place], **facts}, *told[place + 1 :]]

        return change

    assert noticed(with_controller(day, leader, first_round(results={}))) == {"rigs"}
    assert noticed(with_controller(day, leader, first_round(failures={"laser": "silent"}))) == {"rigs"}
    twice = retold(day.rigs[0], lambda told: [*told, next(one for one in told if one["kind"] == "event")])
    assert noticed(dataclasses.replace(day, rigs=[twice, *day.rigs[1:]])) == {"rigs"}


def test_readouts_that_nobody_reports_lost_are_noticed(day, noticed):
    """A number too few, a first number that cannot be, a gap after a late joiner, another byte."""
    early, late = (one.end for one in day.monitors)
    assert noticed(with_counts(day, 0, lost=early["lost"] + 1)) == {"early monitor"}
    assert noticed(with_counts(day, 1, first=0, received=len(day.sent))) >= {"late monitor"}
    gap = {"received": late["received"] - 1, "lost": 1, "gaps": 1}
    assert noticed(with_counts(day, 1, **gap)) >= {"late monitor"}
    recorded = changed(day.monitors[0].recorded, 7, data=b"something else")
    forged = dataclasses.replace(day, monitors=changed(day.monitors, 0, recorded=recorded))
    assert noticed(forged) == {"monitors"}


def test_an_end_that_is_not_clean_is_noticed(day, noticed):
    """A rig that does not confirm, a station that is not closed, a process that failed."""
    leader = leader_of(day, "round", name="stop")

    def without_stop(told):
        return [one for one in told if one.get("name") != "stop"]

    assert "end" in noticed(with_controller(day, leader, without_stop))
    open_station = retold(day.station, lambda told: [one for one in told if one["kind"] != "closed"])
    assert noticed(dataclasses.replace(day, station=open_station)) == {"end"}
    failed = dataclasses.replace(day.station, status=1)
    assert noticed(dataclasses.replace(day, station=failed)) == {"processes"}


# -- the parts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [4, 5, 9])
def test_optimiser_finds_the_resonance(settings):
    """Of a splitting as that of the normal modes, whatever the number of settings."""
    frequencies, splittings = [], []
    while (chosen := optimiser.next_frequency(frequencies, splittings, settings)) is not None:
        frequencies.append(chosen)
        splittings.append(((chosen - 0.1013) ** 2 + 0.04**2) ** 0.5)
    assert len(frequencies) == len(set(frequencies)) == settings
    assert all(optimiser.BRACKET[0] < one < optimiser.BRACKET[1] for one in frequencies)
    assert frequencies[-1] == pytest.approx(0.1013, rel=1e-9)


def test_a_book_kept_by_another_controller_leads_to_the_same_settings():
    """A new leader goes on where the old one was, also if it heard things twice or out of order."""
    leader, follower = Book(), Book()
    announced = []
    while (chosen := leader.choose(6)) is not None:
        number = leader.next_setting
        assert follower.next_setting == number
        assert follower.choose(6) == chosen
        announced.append(
            {
                "news": "measured",
                "setting": number,
                "cavity_frequency": chosen,
                "splitting": 1 + (chosen - 0.1) ** 2,
            }
        )
        leader.note(announced[-1])
        for announcement in reversed(announced):
            follower.note(announcement)
    assert leader.next_setting == follower.next_setting == 6


def test_a_book_knows_which_rigs_have_to_be_started():
    """A new process for a rig has been told nothing yet."""
    book = Book()
    book.move("camera", "udp://127.0.0.1:1")
    book.note({"news": "running", "rigs": ["camera"]})
    book.note({"news": "silent", "rigs": ["camera"]})
    assert (book.running, book.silent) == (set(), {"camera"})
    book.move("camera", "udp://127.0.0.1:2")
    assert (book.running, book.silent) == (set(), set())
    assert book.uris == {"camera": "udp://127.0.0.1:2"}


def test_station_refuses_a_leader_whose_term_is_over(tmp_path, capsys):
    """The term is the fencing token: nothing is measured or closed for an older one."""
    with ChannelSender("FIELD", "239.255.47.2", 9, 0, interface="127.0.0.1") as sender:
        one = station.Station(sender, tmp_path, doomed=0)
        assert one.close(term=3) == {"settings": 0, "sent": 0}
        with pytest.raises(station.StaleTerm, match="term 2 is over"):
            one.measure(setting=0, cavity_frequency=0.1, term=2)
        with pytest.raises(station.StaleTerm, match="term 2 is over"):
            one.close(term=2)
    assert '"begun"' not in capsys.readouterr().out


# -- no process is left behind ----------------------------------------------------------------------

if sys.platform == "linux":  # the processes are looked up in /proc

    @pytest.mark.parametrize(
        ("victim", "number", "status"),
        [
            ("demo", signal.SIGINT, 130),
            ("demo", signal.SIGKILL, -signal.SIGKILL),
            ("rigs.rig", signal.SIGKILL, 2),
        ],
    )
    def test_a_day_that_is_interrupted_killed_or_broken_leaves_no_process(tmp_path, victim, number, status):
        """Drivers included, which are children of the station."""
        demo = subprocess.Popen(
            [sys.executable, str(DEMO), "labday", "--quick", "--output", str(tmp_path)],
            stderr=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        try:
            deadline = time.monotonic() + TIMEOUT_S
            while len(drivers := _processes(tmp_path, "mxl_sockets")) < station.MOLECULES:
                assert time.monotonic() < deadline
                assert demo.poll() is None
                time.sleep(0.01)
            pid = demo.pid if victim == "demo" else _processes(tmp_path, victim)[0]
            os.kill(pid, number)
            _, errors = demo.communicate(timeout=TIMEOUT_S)
        finally:
            demo.kill()
            demo.wait(TIMEOUT_S)
        assert demo.returncode == status
        assert number == signal.SIGKILL or b"interrupted" in errors
        assert victim == "demo" or b"ended with status -9" in errors
        assert drivers
        while left := _processes(tmp_path):
            assert time.monotonic() < deadline + TIMEOUT_S, left
            time.sleep(0.01)
        if victim != "demo" or number != signal.SIGKILL:
            assert not list(tmp_path.glob("demo-*"))

    def _processes(folder, module=""):
        """Return the processes of the day in this folder, or those that run a module."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                environment = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
            except OSError:  # it has ended meanwhile, or belongs to somebody else
                continue
            if f"TMPDIR={folder}".encode() in environment.split(b"\0") and module.encode() in command:
                found.append(int(process.name))
        return found


def test_rigs_and_controllers_of_the_day_have_names_of_their_own():
    """The tables and the lanes of the picture tell them apart."""
    names = [*account.CONTROLLERS, *account.RIGS, *account.MONITORS]
    assert len(set(names)) == len(names)
    assert account.MORTAL in account.RIGS
