"""The order of numbered messages: each once, none blocked for ever."""

from __future__ import annotations

from math import inf

import pytest

from echo_rig._limits import Limits
from echo_rig._order import Order
from echo_rig._verdict import Verdict
from wireframe.echo import Number

LIMITS = Limits(span=8, held_messages=4, held_bytes=100, held_s=5.0, sessions=2)


class Receiver:
    """Takes numbers; the message with number 3 of session 1 is ``1.3``."""

    def __init__(self):
        self.order = Order(LIMITS)

    def take(self, number, floor=1, *, session=1, now=0.0, size=0):
        data = f"{session}.{number}".encode().ljust(size)
        verdict, deliver, echo = self.order.take(Number(session, number, floor), data, now)
        # All but what an old session said.
        assert list(echo) == [one for one in deliver if one.startswith(b"%d." % session)]
        return verdict, [one.decode().strip() for one in deliver]


@pytest.fixture
def receiver():
    return Receiver()


def test_numbers_in_order_are_news_at_once(receiver):
    assert receiver.take(1) == (Verdict.NEWS, ["1.1"])
    assert receiver.take(2) == (Verdict.NEWS, ["1.2"])
    assert receiver.order.deadline == inf


def test_an_early_number_is_held_until_those_before_it_came(receiver):
    assert receiver.take(3) == (Verdict.HELD, [])
    assert receiver.take(1) == (Verdict.NEWS, ["1.1"])
    assert receiver.take(2) == (Verdict.NEWS, ["1.2", "1.3"])
    assert receiver.order.held == receiver.order.held_bytes == 0


def test_copies_are_delivered_once_whether_held_or_delivered(receiver):
    receiver.take(2)
    assert receiver.take(2) == (Verdict.HELD, [])
    receiver.take(1)
    assert receiver.take(1) == (Verdict.DUPLICATE, [])
    assert receiver.take(2) == (Verdict.DUPLICATE, [])


def test_a_number_given_up_as_told_by_a_floor_blocks_nothing(receiver):
    receiver.take(1)
    receiver.take(3)
    receiver.take(5)
    assert receiver.take(6, floor=5) == (Verdict.NEWS, ["1.3", "1.5", "1.6"])
    # It comes after all: its sender does not want it any more.
    assert receiver.take(4, floor=2) == (Verdict.DUPLICATE, [])


def test_a_floor_frees_what_was_held_in_order(receiver):
    receiver.take(1)
    receiver.take(3)
    receiver.take(5)
    assert receiver.take(7, floor=4) == (Verdict.HELD, ["1.3"])
    assert receiver.take(6, floor=5) == (Verdict.NEWS, ["1.5", "1.6", "1.7"])


def test_a_floor_far_ahead_costs_nothing(receiver):
    receiver.take(1)
    assert receiver.take(2**32 - 1, floor=2**32 - 4) == (Verdict.HELD, [])
    assert receiver.take(2**32 - 1, floor=2**32 - 1) == (Verdict.DUPLICATE, ["1.4294967295"])


def test_nothing_is_held_longer_than_the_limit(receiver):
    receiver.take(3, now=10.0)
    receiver.take(5, now=12.0)
    assert receiver.order.deadline == 15.0
    assert receiver.order.on_time(14.9) == ()
    assert receiver.order.on_time(15.0) == (b"1.3",)
    assert receiver.order.deadline == 17.0
    assert receiver.order.on_time(17.0) == (b"1.5",)
    assert receiver.order.deadline == inf


def test_a_number_skipped_by_age_is_refused_while_its_sender_wants_it(receiver):
    receiver.take(3, now=0.0)
    receiver.order.on_time(5.0)
    assert receiver.take(1) == (Verdict.REFUSED, [])
    assert receiver.take(4, floor=2) == (Verdict.NEWS, ["1.4"])
    assert receiver.take(1) == (Verdict.DUPLICATE, [])
    assert receiver.take(2) == (Verdict.REFUSED, [])
    assert receiver.take(5, floor=5) == (Verdict.NEWS, ["1.5"])
    assert receiver.take(2) == (Verdict.DUPLICATE, [])


def test_too_many_too_large_and_too_early_messages_are_refused(receiver):
    receiver.take(1)
    assert receiver.take(9)[0] is Verdict.HELD
    assert receiver.take(10)[0] is Verdict.REFUSED
    assert receiver.take(3, size=95)[0] is Verdict.HELD
    assert receiver.take(4, size=3)[0] is Verdict.REFUSED
    receiver.take(2)
    for number in (4, 5, 6):
        assert receiver.take(number)[0] is Verdict.NEWS
    assert [receiver.take(number)[0] for number in (8, 10, 11, 12)] == [
        Verdict.HELD,
        Verdict.HELD,
        Verdict.HELD,
        Verdict.REFUSED,
    ]


def test_what_is_refused_may_still_free_what_was_held(receiver):
    receiver.take(1)
    receiver.take(3)
    assert receiver.take(20, floor=5) == (Verdict.REFUSED, ["1.3"])


def test_the_first_number_of_a_session_sets_what_is_expected_to_its_floor(receiver):
    assert receiver.take(12, floor=11) == (Verdict.HELD, [])
    assert receiver.take(11, floor=11) == (Verdict.NEWS, ["1.11", "1.12"])


def test_a_new_session_delivers_first_what_the_old_one_said(receiver):
    receiver.take(1)
    receiver.take(3)
    assert receiver.take(1, session=2) == (Verdict.NEWS, ["1.3", "2.1"])
    assert receiver.take(3) == (Verdict.DUPLICATE, [])
    assert receiver.take(2) == (Verdict.REFUSED, [])
    assert receiver.take(2, session=2) == (Verdict.NEWS, ["2.2"])


def test_so_many_sessions_are_remembered(receiver):
    for session in (1, 2, 3):
        receiver.take(1, session=session)
    assert 1 not in receiver.order
    assert 2 in receiver.order
    assert receiver.take(1, session=2) == (Verdict.DUPLICATE, [])


def test_numbers_skipped_by_age_cost_one_entry_for_each_gap():
    """Five forged datagrams, each as far ahead as a sender may be, and one session that goes on like that."""
    order = Order(Limits())
    now = 0.0
    for step in range(1, 64):
        order.take(Number(1, 1023 * step + 1, 1), b"[1, 1]", now)
        now += 6.0
        order.on_time(now)
    (session,) = order._sessions.values()
    assert session.expected > 60_000
    assert len(session.skipped) <= 2
    assert order.take(Number(1, session.expected - 2, 1), b"[1, 2]", now)[0] is Verdict.REFUSED
