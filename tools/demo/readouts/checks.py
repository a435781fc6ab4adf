"""Every claim of the act as a check that can fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from checks import Check, below

from readouts.analysis import are_sent, holes, k_alpha_kev, pace
from readouts.detector import K_ALPHA_KEV
from readouts.readout import HIT_SIZE, HitMap
from readouts.session import SPEED

if TYPE_CHECKING:
    from readouts.account import Monitor, Session

#: keV. Half of the hits give the line to 0.005.
LINE_BOUND_KEV: Final = 0.05
#: Relative, beside what the scatter of the same moments makes uncertain.
PACE_BOUND: Final = 0.1


def all_checks(session: Session) -> list[Check]:
    """Judge a session."""
    return [
        *(check for monitor in session.monitors for check in monitor_checks(monitor, session)),
        *presence_checks(session),
        *map_checks(session),
        Check(
            "all processes ended by themselves with status 0",
            f"{sum(status == 0 for status in session.statuses.values())} of {len(session.statuses)}",
            not any(session.statuses.values()),
        ),
    ]


def monitor_checks(monitor: Monitor, session: Session) -> list[Check]:
    """Whether a monitor's counts tell what happened to every readout."""
    name, end, sent = monitor.name, monitor.end, len(session.sent)
    missing = holes(monitor.hits["number"], sent)
    expected = sent - max(missing.first, 0)
    drops: int | None = end["kernel_drops"]
    told = (end["received"], end["bytes"], end["lost"], end["gaps"])
    found = (len(monitor.hits), len(monitor.hits) * HIT_SIZE, missing.lost, missing.gaps)
    return [
        Check(
            f"{name}: received + kernel drops = sent since it joined",
            f"{end['received']} + {drops} = {expected}",
            None if drops is None else end["received"] + drops == expected,
        ),
        Check(
            f"{name}: numbers left out are exactly the kernel drops",
            f"{end['lost']} between + {missing.unseen} after the last = {drops}",
            None if drops is None else end["lost"] + missing.unseen == drops,
        ),
        Check(
            f"{name}: counts of readouts, bytes, losses and gaps are those of the data",
            " / ".join(map(str, told)),
            told == found and not end["broken"] + end["duplicates"] + end["late"],
        ),
        Check(
            f"{name}: readouts are those sent, bit for bit and in order",
            f"{len(monitor.hits)} compared",
            len(monitor.hits) > 0 and are_sent(monitor.hits, session.sent),
        ),
        below(
            f"{name}: silver K-alpha at {K_ALPHA_KEV} keV",
            abs(k_alpha_kev(monitor.hits) - K_ALPHA_KEV),
            LINE_BOUND_KEV,
        ),
    ]


def presence_checks(session: Session) -> list[Check]:
    """Who saw what: everything, the rest, or only a part."""
    sent = len(session.sent)
    early, late, slow = ({**monitor.end, "hits": monitor.hits} for monitor in session.monitors)
    early_first, late_first = (holes(one["hits"]["number"], sent).first for one in (early, late))
    drops: int | None = slow["kernel_drops"]
    return [
        Check("early: was there for the first readout", f"first number {early_first}", early_first == 0),
        Check(
            "late: joined while the DAQ was sending",
            f"first number {late_first} of {sent}, missed {late_first} before and {late['lost']} after",
            0 < late_first < sent,
        ),
        Check(
            "slow: its small buffer overflowed, and it says so",
            f"{drops} dropped by the kernel",
            None if drops is None else drops > 0,
        ),
    ]


def map_checks(session: Session) -> list[Check]:
    """Whether the recording and its replay are what was sent."""
    sent = list(session.sent_maps)
    recorded = [event.data for event in session.recorded]
    hits = HitMap.from_bytes(recorded[-1]) if recorded else HitMap(0, 0, ())
    replayed_at = pace(session.recorded_s, session.replayed_s)
    end = session.viewer_end
    return [
        Check(
            "recording: holds every map, bit for bit and in order",
            f"{len(recorded)} of {len(sent)}",
            recorded == sent,
        ),
        Check(
            "recording: the last map counts every readout",
            f"{hits.hits} hits, {sum(hits.pixels)} in its pixels, {len(session.sent)} sent",
            hits.hits == sum(hits.pixels) == len(session.sent),
        ),
        Check(
            "replay: the same bytes in the same order",
            f"{len(session.replayed)} of {len(recorded)} maps",
            list(session.replayed) == recorded,
        ),
        Check(
            "replay: nothing lost, broken or dropped",
            f"{end['lost']} / {end['broken']} / {end['kernel_drops']}"
            f" in {end['messages']} maps of {end['datagrams']} datagrams",
            not end["lost"] + end["broken"] + (end["kernel_drops"] or 0),
        ),
        below(
            f"replay: pauses as recorded, {SPEED:g} times as fast; relative error",
            abs(replayed_at.factor / SPEED - 1.0),
            PACE_BOUND + replayed_at.uncertainty,
        ),
    ]
