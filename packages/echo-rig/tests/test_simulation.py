"""Both ends of a conversation under thousands of schedules of accidents.

What holds in any run, whatever is lost, doubled, late, cancelled or restarted:

* Everything comes to an end: no timer runs on, nothing stays on its way, in
  line or held, and every sender has been told one thing about each message.
* Numbered messages are delivered in the order of their numbers; each one at
  most once to each life of the receiver, and exactly once if its sender was
  told that it was confirmed and the receiver lived. So a number that was given up
  blocks nothing: no message is held for longer than five seconds.
* Confirmed messages without a number are delivered, at least once.
* Nothing is delivered that nobody sent.
* There is no storm: the number of datagrams is a small multiple of the number
  of messages.
* Memory stays within its limits.
* An old end gets no message twice that the network did not double.

An end that restarts stays away for longer than a datagram lives, except in the
test about those that do not.

The number of seeds is 500, or what ECHO_RIG_SEEDS says, in all mixes together. A
failure ends with a line such as ``replay("numbered", 17)``; called in this
module, it runs the same schedule again.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from wireframe.echo import TAG_LENGTH, Number, add_number, is_ping, read_number

from .simulated_old_peer import OldEnd
from .simulated_stream import StreamEnd, StreamWorld
from .simulated_world import REPORT, OurEnd, Plan, World

SEEDS = int(os.environ.get("ECHO_RIG_SEEDS", "500"))

MIXES = {
    "numbered": (True, True),
    "numbered by one": (True, None),
    "not numbered": (None, None),
    "numbers ignored": (True, False),
    "old": (None, "old"),
    "old, numbered": (True, "old"),
}


def build(mix, seed, plan=None):
    world = World(f"{mix} {seed}", plan)
    if "old" in mix:
        # As fast as the networks in which loops are recognised before a round trip is known.
        world.plan = replace(
            world.plan, delay_s=min(world.plan.delay_s, 0.005), spread_s=min(world.plan.spread_s, 0.015)
        )
    for name, kind in zip("ab", MIXES[mix], strict=True):
        if kind == "old":
            OldEnd(world, name)
        else:
            OurEnd(world, name, kind)
    return world


def bare(data):
    return data if read_number(data) is None else data[:-TAG_LENGTH]


def judge(world):
    plan = world.plan
    for end in world.ends:
        assert end.is_quiet(), "something goes on for ever"
    assert all(fate.outcome in ("confirmed", "failed", "died") for fate in world.fates)
    # Repeated at most twice a second after the first few times, each echoed, some doubled.
    per_message = 2 * (1 + plan.duplication) * (8 + 3 * plan.timeout_s)
    bound = per_message * (len(world.fates) + 30)
    if plan.duplication and any(isinstance(end, OldEnd) for end in world.ends):
        # An old end takes a second echo for a command; we break the loop after so many.
        old_texts = {fate.text for fate in world.fates if isinstance(fate.end, OldEnd)}
        bound += 2 * (1 + plan.duplication) * plan.limits.identical * len(old_texts)
    assert world.datagrams <= bound, "a storm"

    sent_texts = {fate.text for fate in world.fates} | {REPORT}
    for end in world.ends:
        peer = world.other(end)
        known = {fate.text for fate in world.fates if fate.end is peer}
        for _, data in end.delivered:
            if read_number(data) is not None and end.__class__ is OurEnd and end.numbering is not False:
                assert is_ping(data) or bare(data) in known, "delivered what the other end never sent"
            else:
                assert is_ping(data) or bare(data) in sent_texts, "delivered what nobody sent"
        judge_order(end)
    for fate in world.fates:
        judge_fate(world, fate)


def judge_order(end):
    if not isinstance(end, OurEnd) or end.numbering is False:
        return
    last = {}
    for life, data in end.delivered:
        number = read_number(data)
        if number is not None:
            key = life, number.session
            assert number.number > last.get(key, 0), "out of order, or twice"
            last[key] = number.number


def judge_fate(world, fate):
    receiver = world.other(fate.end)
    data = fate.sending.data if fate.sending else fate.text
    times = sum(1 for _, one in receiver.delivered if one == data)
    if fate.number is not None and isinstance(receiver, OurEnd) and receiver.numbering is not False:
        assert times <= receiver.life + 1
        if fate.outcome == "confirmed":
            assert times >= 1, "confirmed and not delivered"
            if len(fate.peer_lives) == 1:
                assert times == 1
    elif fate.number is not None and isinstance(receiver, OldEnd) and not world.plan.duplication:
        assert times <= 1, "an old end was told twice"
    if fate.outcome == "confirmed" and fate.number is None and fate.text != b"[1, null]":
        assert times >= 1, "confirmed and not delivered"


def attempt(mix, seed, plan=None):
    try:
        world = build(mix, seed, plan).play()
        judge(world)
    except BaseException as error:
        error.add_note(f'replay("{mix}", {seed})')
        raise
    return world


def replay(mix, seed):
    """Run one schedule again."""
    return attempt(mix, seed)


@pytest.mark.fault("C11", "echo-udp", "LW")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mix", MIXES)
def test_any_schedule_of_accidents_keeps_the_promises(mix):
    confirmed = 0
    for seed in range(-(-SEEDS // len(MIXES))):
        world = attempt(mix, seed)
        confirmed += sum(fate.outcome == "confirmed" for fate in world.fates)
    assert confirmed > 0


def build_streams(kinds, seed):
    dice = random.Random(f"streams {seed}")
    plan = replace(Plan.roll(dice), loss=0, duplication=0, restarts=0, repeated_texts=False)
    world = StreamWorld(f"{kinds} {seed}", plan)
    for name, kind in zip("ab", kinds, strict=True):
        StreamEnd(world, name, kind)
    return world


@pytest.mark.fault("C1", "echo-tcp", "LW")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("mix", [mix for mix in MIXES if "old" not in mix])
def test_any_cuts_of_a_stream_keep_the_promises(mix):
    """Over TCP all that is sent is delivered once and in order, however numbers are cut off."""
    for seed in range(-(-SEEDS // len(MIXES))):
        world = build_streams(MIXES[mix], seed).play()
        try:
            judge_streams(world)
        except BaseException as error:
            error.add_note(f'build_streams(MIXES["{mix}"], {seed}).play()')
            raise


def judge_streams(world):
    assert world.datagrams <= 2 * len(world.fates) + sum(end.reports for end in world.ends) + 4
    for end in world.ends:
        assert end.is_quiet()
        assert end.conversation.counters.unexpected == 0
        peer = world.other(end)
        sent = [fate.text for fate in world.fates if fate.end is peer and fate.sending.transmissions]
        delivered = [data.strip() for _, data in end.delivered]
        assert [text for text in delivered if not is_ping(text)] == sent
        assert end.errors == peer.reports


@pytest.mark.fault("C12", "echo-udp")
@pytest.mark.fault("D8", "echo-udp")
@pytest.mark.parametrize("mix", [mix for mix in MIXES if "old" not in mix])
@pytest.mark.parametrize(
    "datagram", [b"[1, null]", add_number(b"[1, null]", Number(7, 3, 1)), b"", b"raw"], ids=repr
)
def test_datagrams_with_a_forged_source_make_no_storm(mix, datagram):
    """Each end takes them for news of the other; both give up echoing them."""
    world = build(mix, 0, replace(QUIET, sends=5))
    for end in world.ends:
        world.at(world.now, end.arrive, datagram)
    world.play()
    assert world.datagrams < 2 * 2 * world.plan.limits.identical + 100
    # What is no message may fail those that wait without a number.
    assert datagram[:1] != b"[" or all(fate.outcome == "confirmed" for fate in world.fates)


@pytest.mark.fault("C8", "echo-rig")
@pytest.mark.parametrize("mix", [mix for mix in MIXES if "old" not in mix])
def test_ends_that_come_back_at_once_make_no_storm(mix):
    """They take echoes of what they said before for news, and still everything comes to an end."""
    for seed in range(-(-SEEDS // 100)):
        plan = Plan(
            loss=0.1,
            duplication=0.2,
            delay_s=0.001,
            spread_s=0.01,
            sends=20,
            span_s=1,
            answered=0.3,
            restarts=10,
            away_s=1e-6,
        )
        world = build(mix, seed, plan).play()
        assert all(end.is_quiet() for end in world.ends)
        assert world.datagrams <= 100 * (len(world.fates) + 30)


def test_undisturbed_ends_write_each_message_and_its_echo_once():
    for mix, extra in (("not numbered", 0), ("numbered", 2), ("old", 0)):
        world = attempt(mix, 1, replace(QUIET, sends=0))
        for position in range(40):
            world.at(world.now + position, world.ends[0].command)
        world.play()
        judge(world)
        assert all(fate.outcome == "confirmed" for fate in world.fates)
        assert world.datagrams == 2 * 40 + 2 * extra
        assert getattr(world.ends[1], "closed", 0) == 0


QUIET = Plan(loss=0, duplication=0, delay_s=0.001, spread_s=0, sends=40, span_s=1)
