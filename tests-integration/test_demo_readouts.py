"""The demo's readouts act: its parts in this process, and a short session with real processes."""

from __future__ import annotations

import dataclasses
import io
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo"
sys.path.insert(0, str(DEMO))

import players  # noqa: E402
from processes import ProcessError  # noqa: E402
from progress import Progress  # noqa: E402
from readouts import analysis, checks, daq, detector, picture, report, session  # noqa: E402
from readouts.account import HIT_TYPE  # noqa: E402
from readouts.readout import MAP_SIZE, SIDE, Hit, HitMap  # noqa: E402

# Of a whole act with its processes; it takes some seconds, and a minute on a very busy machine.
TIMEOUT_S = 240.0


@pytest.fixture(scope="module")
def held():
    """A short session with all its processes."""
    readouts = 4 * daq.READOUTS_PER_MAP
    stream = io.StringIO()
    with Progress(4 * readouts, stream, unit="readout") as progress:
        result = session.run(readouts, progress)
    assert stream.getvalue().count("exposure") == session.EXPOSURES
    return result


def verdicts(held):
    return {check.claim: check.passed for check in checks.all_checks(held)}


def broken_claims(held):
    return {claim for claim, passed in verdicts(held).items() if passed is False}


@pytest.fixture
def noticed(held):
    """Which claims a change of the account breaks, beside those that were broken before."""
    before = broken_claims(held)
    return lambda changed: broken_claims(changed) - before


def with_monitor(held, name, **changes):
    """The session, one of its monitors having told something else."""
    return dataclasses.replace(
        held,
        monitors=[
            dataclasses.replace(monitor, **changes) if monitor.name == name else monitor
            for monitor in held.monitors
        ],
    )


def as_array(hits):
    return np.frombuffer(b"".join(hit.to_bytes() for hit in hits), HIT_TYPE)


def test_a_hit_is_sixteen_bytes_and_comes_back_as_it_was():
    """Also as numpy reads it."""
    hit = Hit(70_000, 1 << 40, 63, 1, 22_163)
    assert len(hit.to_bytes()) == 16
    assert Hit.from_bytes(hit.to_bytes()) == hit
    assert as_array([hit])[0].tolist() == tuple(hit)


def test_a_map_comes_back_as_it_was():
    """Number, sum and every pixel."""
    hit_map = HitMap(7, 3, [0, 1, 2] + [0] * (SIDE * SIDE - 3))
    assert len(hit_map.to_bytes()) == MAP_SIZE
    assert HitMap.from_bytes(hit_map.to_bytes()) == hit_map


@pytest.mark.parametrize("readout", [Hit, HitMap])
def test_what_is_too_short_or_long_is_no_readout(readout):
    """So that receivers count it as broken."""
    for size in (0, 15, 17, MAP_SIZE - 1, MAP_SIZE + 1):
        with pytest.raises(struct.error):
            readout.from_bytes(bytes(size))


def test_the_detector_sends_the_same_photons_every_time_at_its_rate():
    """Numbered from 0, times rising, mean pause one over the rate, all on the sensor."""
    hits = list(detector.photons(20_000, 1000.0))
    assert hits == list(detector.photons(20_000, 1000.0))
    assert [hit.number for hit in hits] == list(range(20_000))
    times = [hit.time_ns for hit in hits]
    assert times == sorted(times)
    assert times[-1] == pytest.approx(20e9, rel=0.05)
    assert {pixel < SIDE for hit in hits for pixel in (hit.column, hit.row)} == {True}


def test_the_line_is_found_where_it_is_and_not_where_it_is_expected():
    """Energies moved by half a keV move the line with them."""
    hits = as_array(detector.photons(20_000, 1000.0)).copy()
    assert analysis.k_alpha_kev(hits) == pytest.approx(detector.K_ALPHA_KEV, abs=0.02)
    hits["pulse"] += 500
    assert analysis.k_alpha_kev(hits) == pytest.approx(detector.K_ALPHA_KEV + 0.5, abs=0.05)
    assert math.isnan(analysis.k_alpha_kev(hits[:0]))


def test_holes_are_counted_between_the_first_and_the_last():
    """2, 3 and 7 are missing in two gaps; 0 came before, 9 after."""
    numbers = np.array([1, 4, 5, 6, 8], np.uint32)
    assert analysis.holes(numbers, 10) == analysis.Holes(1, 8, 3, 2, 1)
    assert analysis.holes(numbers[:0], 10) == analysis.Holes(-1, -1, 0, 0, 10)


def test_readouts_that_were_never_sent_so_are_noticed():
    """One bit, one twice, two exchanged, one too many."""
    sent = as_array(detector.photons(10, 1000.0))
    assert analysis.are_sent(sent[[0, 3, 9]], sent)
    wrong = sent.copy()
    wrong["row"][4] ^= 1
    assert not analysis.are_sent(wrong, sent)
    assert not analysis.are_sent(sent[[0, 3, 3]], sent)
    assert not analysis.are_sent(sent[[3, 0]], sent)
    assert not analysis.are_sent(sent, sent[:9])


def test_the_pace_is_that_of_all_events_and_unknown_without_them():
    """A quarter of the time is a pace of 4, also with one event late."""
    recorded = np.linspace(100.0, 102.0, 81)
    replayed = 500.0 + (recorded - 100.0) / 4.0
    exact = analysis.pace(recorded, replayed)
    assert (exact.factor, exact.uncertainty) == (pytest.approx(4.0), pytest.approx(0.0, abs=1e-9))
    replayed[40] += 0.02
    assert analysis.pace(recorded, replayed).factor == pytest.approx(4.0, rel=0.01)
    for left in (0, 1, 80):
        assert math.isnan(analysis.pace(recorded, replayed[:left]).factor)


@pytest.mark.parametrize("begin", [0.0, 0.1, 0.25, 0.4, 0.49])
def test_a_pause_of_the_computer_makes_the_pace_uncertain_by_as_much_as_it_is_wrong(begin):
    """All events that were due while it stood still come at its end."""
    recorded = np.linspace(100.0, 102.0, 81)
    replayed = (recorded - 100.0) / 4.0
    replayed[(replayed > begin) & (replayed < begin + 0.3)] = begin + 0.3
    found = analysis.pace(recorded, replayed)
    assert abs(found.factor / 4.0 - 1.0) < found.uncertainty


def test_every_claim_holds_in_a_session_with_real_processes(held):
    """Two monitors from the start, one late, a recorder, a replay: all adds up."""
    assert not broken_claims(held)
    assert len(verdicts(held)) == 24
    assert set(held.statuses) == {"daq", "early", "late", "slow", "record", "replay", "viewer"}


def test_what_the_monitors_did_not_get_is_told_in_a_table(held):
    """Sent, received and dropped, as they counted it themselves."""
    table = report.monitors_table(held)
    early, late, slow = (line.split() for line in table.splitlines()[1:])
    assert [early[0], late[0], slow[0]] == ["early", "late", "slow"]
    for first, received, drops in (map(int, (row[1], row[2], row[7])) for row in (early, late, slow)):
        assert first + received + drops == len(held.sent)
    assert "by udp-multicast replay" in report.maps_table(held)


def test_a_loss_that_nobody_counted_is_noticed(held, noticed):
    """One readout less in the data of a monitor: its counts, its numbers, its sum are wrong."""
    early = held.monitors[0]
    without = np.delete(early.hits, 100)
    assert noticed(with_monitor(held, "early", hits=without)) == {
        "early: counts of readouts, bytes, losses and gaps are those of the data"
    }
    uncounted = {**early.end, "received": early.end["received"] - 1}
    assert noticed(with_monitor(held, "early", end=uncounted)) == {
        "early: received + kernel drops = sent since it joined",
        "early: counts of readouts, bytes, losses and gaps are those of the data",
    }


def test_drops_that_are_not_told_are_noticed_and_unknown_ones_not_judged(held, noticed):
    """A system that cannot tell is no failure; one that tells wrong is."""
    end = held.monitors[2].end
    told_none = with_monitor(held, "slow", end={**end, "kernel_drops": 0})
    assert noticed(told_none) == {
        "slow: received + kernel drops = sent since it joined",
        "slow: numbers left out are exactly the kernel drops",
        "slow: its small buffer overflowed, and it says so",
    }
    unknown = with_monitor(held, "slow", end={**end, "kernel_drops": None})
    assert sum(passed is None for passed in verdicts(unknown).values()) == 3
    assert not noticed(unknown)


def test_a_late_monitor_that_was_early_is_noticed(held, noticed):
    """Its first number must not be the first."""
    early = held.monitors[0]
    changed = with_monitor(held, "late", hits=early.hits, end=early.end)
    assert noticed(changed) == {"late: joined while the DAQ was sending"}


def test_a_monitor_that_heard_nothing_fails(held, noticed):
    """No figure of an empty record passes by being empty."""
    end = {**held.monitors[1].end, "received": 0, "bytes": 0, "kernel_drops": 0}
    claims = noticed(with_monitor(held, "late", hits=held.sent[:0], end=end))
    assert "late: received + kernel drops = sent since it joined" in claims
    assert "late: readouts are those sent, bit for bit and in order" in claims
    assert "late: joined while the DAQ was sending" in claims


def test_a_wrong_recording_or_replay_is_noticed(held, noticed):
    """A map missing, two exchanged, at another pace; a process that failed."""
    assert "recording: holds every map, bit for bit and in order" in noticed(
        dataclasses.replace(held, recorded=held.recorded[1:])
    )
    maps = list(held.replayed)
    maps[0], maps[1] = maps[1], maps[0]
    assert noticed(dataclasses.replace(held, replayed=maps)) == {"replay: the same bytes in the same order"}
    slower = dataclasses.replace(held, replayed_s=held.recorded_s)
    assert [claim.partition(":")[0] for claim in noticed(slower)] == ["replay"]
    failed = dataclasses.replace(held, statuses={**held.statuses, "late": 1})
    assert noticed(failed) == {"all processes ended by themselves with status 0"}


@pytest.mark.parametrize("is_empty", [False, True])
def test_the_picture_is_drawn_also_of_a_session_without_maps(held, tmp_path, is_empty):
    """A slide as PNG, in a folder that is made."""
    if is_empty:
        nothing = np.array([])
        held = dataclasses.replace(held, recorded=[], replayed=[], recorded_s=nothing, replayed_s=nothing)
    path = tmp_path / "folder" / "readouts.png"
    picture.draw(held, path, passed=not is_empty)
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:]) == (1920, 1080)


def test_the_act_passes_from_the_command_line(tmp_path):
    """Status 0, its checks in the summary, its picture in the folder."""
    demo = subprocess.run(
        [sys.executable, str(DEMO), "readouts", "--quick", "--output", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "24 of 24 checks passed" in demo.stdout
    assert (tmp_path / "readouts.png").is_file()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a player that runs a text of Python."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with players.Players(tmp_path) as cast:

        def start(text):
            (tmp_path / "part.py").write_text(
                "import sys\nfrom reporting import end_of_input, report\n" + text
            )
            return cast.start("somebody", "part", ["one argument"])

        yield start


def test_a_player_reports_hears_and_ends_when_its_input_is_closed(start):
    """The third report of a kind is waited for; the last one is returned by `finish`."""
    player = start(
        "report('argument', is_=sys.argv[1])\n"
        "for line in sys.stdin: report('heard', word=line.strip())\n"
        "report('end', sum=3)\n"
    )
    assert player.wait_for("argument")["is_"] == "one argument"
    for word in ("a", "b", "c"):
        player.tell(word)
    assert player.wait_for("heard", 3)["word"] == "c"
    assert player.finish() == {"kind": "end", "sum": 3}
    assert player.process.returncode == 0
    with pytest.raises(ProcessError, match="told to end"):
        player.tell("more")


def test_a_player_that_dies_is_reported_with_its_last_words(start):
    """Whoever waits for its report is told why there will be none."""
    player = start("sys.exit('the sensor is warm')\n")
    with pytest.raises(ProcessError, match="somebody ended with status 1; it wrote:\nthe sensor is warm"):
        player.wait_for("ready")


def test_a_player_that_says_nothing_is_given_up(start, monkeypatch):
    """Every wait has an end."""
    player = start("end_of_input().wait()\n")
    monkeypatch.setattr(players, "PATIENCE_S", 0.1)
    with pytest.raises(ProcessError, match="did not report 'ready' within"):
        player.wait_for("ready")


def test_a_player_that_does_not_end_by_itself_is_ended(tmp_path, monkeypatch):
    """An error on the way leaves no process and no thread behind."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "part.py").write_text("import time\ntime.sleep(600)\n")
    cast = players.Players(tmp_path)

    def start_and_fail():
        with cast:
            cast.start("somebody", "part", [])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        start_and_fail()
    assert cast.living[0].poll() is not None
