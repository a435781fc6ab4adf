"""Numbered messages over UDP: greeting, window, repetition, copies, what is given up."""

from __future__ import annotations

import itertools

import pytest

from echo_rig._conversation import Conversation, Limits, Verdict
from wireframe.echo import MAX_NUMBER, TAG_LENGTH, Number, add_number, is_ping, read_number

INIT = b"[1, null]"
START = b'[2, "ref", null]'
PING = b"[32]"
HELLO = add_number(PING, Number(7, 1, 1))


def of_peer(number, floor=1, message=INIT, session=7):
    return add_number(message, Number(session, number, floor))


def answer(conversation, write, now):
    """Echo everything, as any peer does; return the last thing that came of it."""
    received = None
    for data in write:
        received = conversation.receive(data, now)
    return received


@pytest.fixture
def unknown():
    """An end that numbers from the start, to one it knows nothing of."""
    return Conversation(datagrams=True, session=5, numbering=True)


@pytest.fixture
def known():
    """The same, when the other end is known to number, after a round trip of 10 ms."""
    conversation = Conversation(datagrams=True, session=5, numbering=True)
    _, write = conversation.send(INIT, 0.0)
    answer(conversation, write, 0.01)
    conversation.receive(HELLO, 0.01)
    conversation.on_time(0.5)
    assert conversation.peer_numbers
    assert conversation.outstanding == 0
    assert conversation.next_deadline() is None
    return conversation


def test_by_default_nothing_is_numbered_until_the_other_end_numbers():
    conversation = Conversation(datagrams=True, session=5)
    assert conversation.send(INIT, 0.0)[1] == (INIT,)
    assert not conversation.numbers
    received = conversation.receive(of_peer(1), 0.1)
    assert (received.verdict, received.deliver) == (Verdict.NEWS, (of_peer(1),))
    echo, hello = received.write
    assert echo == of_peer(1)
    assert (is_ping(hello), read_number(hello)) == (True, Number(5, 1, 1))
    assert conversation.numbers
    assert conversation.peer_numbers
    _, (data,) = conversation.send(START, 0.2)
    assert data == add_number(START, Number(5, 2, 1))


def test_the_first_numbered_message_is_preceded_by_one_greeting(unknown):
    sending, (hello, data) = unknown.send(INIT, 0.0)
    assert hello == add_number(PING, Number(5, 1, 1))
    assert data == sending.data == add_number(INIT, Number(5, 2, 1))
    assert (sending.number, sending.message) == (2, INIT)
    assert len(unknown.send(START, 0.0)[1]) == 1


def test_an_end_that_was_greeted_first_does_not_greet_again(unknown):
    received = unknown.receive(HELLO, 0.0)
    assert len(received.write) == 2
    assert len(unknown.send(INIT, 0.1)[1]) == 1
    other = Conversation(datagrams=True, session=6, numbering=True)
    other.send(INIT, 0.0)
    assert other.receive(HELLO, 0.1).write == (HELLO,)


def test_an_end_may_greet_on_its_own_account():
    here = Conversation(datagrams=True, session=5)
    there = Conversation(datagrams=True, session=6)
    (hello,) = here.greet(0.0)
    assert here.greet(0.0) == ()
    answered = there.receive(hello, 0.1)
    for data in answered.write:
        here.receive(data, 0.2)
    assert here.numbers
    assert there.numbers


def test_white_space_that_is_no_number_is_white_space(known):
    received = known.receive(INIT + b" \t" * 48, 1.0)
    assert (received.verdict, len(received.write)) == (Verdict.NEWS, 1)


def test_an_end_that_came_back_is_greeted_again(known):
    received = known.receive(of_peer(1, session=8), 1.0)
    echo, hello = received.write
    assert (echo, is_ping(hello)) == (of_peer(1, session=8), True)
    assert known.receive(of_peer(2, session=8), 1.1).write == (of_peer(2, session=8),)
    # One greeting at a time is on its way.
    assert known.receive(of_peer(1, session=9), 1.1).write == (of_peer(1, session=9),)


def test_a_greeting_is_sent_five_times_and_again_before_the_next_message(unknown):
    sending, (hello, _) = unknown.send(INIT, 0.0)
    unknown.give_up(sending, 0.001)
    times = [0.0]
    while unknown.next_deadline() is not None:
        now = unknown.next_deadline()
        times += [now] * unknown.on_time(now).write.count(hello)
    assert len(times) == 5
    assert times[-1] < 1.0
    assert unknown.outstanding == 0
    assert len(unknown.send(INIT, 2.0)[1]) == 2


def writes_until(conversation, end_s):
    """All that a conversation writes on its own account, with the time."""
    writes = []
    while conversation.next_deadline() is not None and conversation.next_deadline() < end_s:
        now = conversation.next_deadline()
        writes += [(now, data) for data in conversation.on_time(now).write]
    return writes


def test_while_a_message_waits_an_end_that_is_silent_is_greeted_again_and_again(unknown):
    """All greetings may have been lost, and without one nothing is repeated."""
    sending, (hello, _) = unknown.send(INIT, 0.0)
    writes = writes_until(unknown, 30.0)
    assert all(is_ping(one) for _, one in writes)
    first = {}
    for now, one in writes:
        first.setdefault(one, now)
    assert first.pop(hello) < 1.0
    times = list(first.values())
    gaps = [later - before for before, later in itertools.pairwise(times)]
    assert times[0] == 1.5
    assert len(times) > 4
    assert gaps[-1] > 3 * gaps[0]
    unknown.give_up(sending, 30.0)
    assert not [one for _, one in writes_until(unknown, 60.0) if one not in first]
    assert unknown.next_deadline() is None


@pytest.mark.parametrize("echoes", [True, False])
def test_an_old_end_sees_nothing_more_as_long_as_sends_have_their_usual_time(unknown, echoes):
    """Its message is lost, whether it echoes greetings or not."""
    for number in range(20):
        sending, _ = unknown.send(INIT, float(number))
        for now, one in writes_until(unknown, number + 1.0):
            assert is_ping(one)
            assert now < 1.0 + number
            if echoes:
                unknown.receive(one, now)
        unknown.give_up(sending, number + 1.0)
    pings = [one for _, one in writes_until(unknown, 100.0)]
    assert len(pings) < 5
    assert unknown.next_deadline() is None


def test_who_echoes_greetings_and_never_numbers_is_greeted_only_while_an_old_message_waits(unknown):
    _, write = unknown.send(INIT, 0.0)
    unknown.receive(write[0], 0.01)
    writes = writes_until(unknown, 1.4)
    assert writes == []
    now = unknown.next_deadline()
    (again,) = unknown.on_time(now).write
    assert (now, is_ping(again)) == (1.5, True)
    unknown.receive(again, 1.51)
    unknown.receive(write[1], 1.6)
    assert writes_until(unknown, 100.0) == []
    # What waits is younger than that, however many follow each other.
    for number in range(100):
        _, (data,) = unknown.send(START, 100.0 + number)
        assert writes_until(unknown, 101.0 + number) == []
        unknown.receive(data, 101.0 + number)


def test_a_greeting_that_was_given_up_is_sent_again_when_the_other_end_says_something():
    """All of them were lost, and the other end does not know yet that numbers are read here."""
    conversation = Conversation(datagrams=True, session=5)
    _, hello = conversation.receive(HELLO, 0.0).write
    # One at a time is on its way.
    assert conversation.receive(HELLO, 0.1).write == (HELLO,)
    assert len(writes_until(conversation, 10.0)) == 4
    received = conversation.receive(HELLO, 10.0)
    echo, again = received.write
    assert (received.verdict, echo, is_ping(again)) == (Verdict.DUPLICATE, HELLO, True)
    assert again != hello
    conversation.receive(again, 10.1)
    assert conversation.receive(HELLO, 10.2).write == (HELLO,)


def test_an_end_that_never_numbers_treats_numbers_as_white_space():
    conversation = Conversation(datagrams=True, session=5, numbering=False)
    for _ in range(2):
        received = conversation.receive(of_peer(4), 0.0)
        assert (received.verdict, received.write, received.deliver) == (
            Verdict.NEWS,
            (of_peer(4),),
            (of_peer(4),),
        )
    assert conversation.send(INIT, 0.1)[1] == (INIT,)
    assert not conversation.peer_numbers


@pytest.mark.parametrize(
    "message", [b"raw", b"{}", b"[raw", b'[0, "E: e", 1]', b" [1, 2]", b"[1, %s]" % (b"1" * 65500)]
)
def test_only_lists_that_still_fit_are_numbered(known, message):
    assert known.send(message, 1.0)[1] == (message,)


def test_what_is_not_to_be_numbered_or_not_confirmed_is_sent_as_it_is(known):
    assert known.send(INIT, 1.0, numbered=False)[1] == (INIT,)
    assert known.send(START, 1.0, confirm=False)[1] == (START,)


def test_pings_with_notes_behind_them_are_numbered(known):
    _, (data,) = known.send(PING + b" \t" * 40, 1.0)
    assert read_number(data).number == 3


def test_the_floor_is_the_oldest_number_still_wanted(known):
    first, _ = known.send(INIT, 1.0)
    second, (data,) = known.send(INIT, 1.0)
    assert read_number(data) == Number(5, 4, 3)
    known.receive(second.data, 1.1)
    assert read_number(known.send(INIT, 1.2)[1][0]).floor == 3
    known.receive(first.data, 1.3)
    assert read_number(known.send(INIT, 1.4)[1][0]) == Number(5, 6, 5)


def test_equal_messages_are_told_apart(known):
    """Flaws 3 and 7."""
    first, (one,) = known.send(INIT, 1.0)
    second, (two,) = known.send(INIT, 1.0)
    crossing = known.receive(of_peer(2), 1.1)
    assert (crossing.verdict, crossing.deliver) == (Verdict.NEWS, (of_peer(2),))
    assert known.receive(two, 1.1).sending is second
    assert known.receive(one, 1.1).sending is first


def test_an_echo_nobody_waits_for_is_dropped_however_often_it_comes(known):
    sending, _ = known.send(INIT, 1.0)
    known.receive(sending.data, 1.1)
    for _ in range(100):
        received = known.receive(sending.data, 1.2)
        assert (received.verdict, received.write, received.deliver) == (Verdict.SURPLUS_ECHO, (), ())


def test_a_message_with_a_forged_number_of_ours_is_no_echo(known):
    sending, _ = known.send(INIT, 1.0)
    assert known.receive(add_number(START, Number(5, sending.number, 1)), 1.1).verdict is Verdict.SURPLUS_ECHO
    assert known.outstanding == 1


def test_what_is_no_message_does_not_fail_a_numbered_one(known):
    known.send(INIT, 1.0)
    assert known.receive(b"bar", 1.1).verdict is Verdict.NEWS
    assert known.outstanding == 1


def test_copies_are_echoed_again_and_not_delivered(known):
    known.receive(of_peer(2), 1.0)
    received = known.receive(of_peer(2), 1.1)
    assert (received.verdict, received.write, received.deliver) == (Verdict.DUPLICATE, (of_peer(2),), ())


def test_copies_of_one_message_are_echoed_so_often_only(known):
    """Two ends that both take a message for the other's send it to and fro for ever."""
    known.receive(of_peer(2), 1.0)
    seen = [known.receive(of_peer(2), 1.0 + step / 1000) for step in range(100)]
    assert sum(len(one.write) for one in seen) == 17
    assert seen[-1].verdict is Verdict.BOUNCE
    assert known.receive(of_peer(2), 3.0).write == (of_peer(2),)
    assert known.receive(of_peer(3), 3.0).verdict is Verdict.NEWS


def test_so_many_repeated_messages_are_remembered():
    conversation = Conversation(
        datagrams=True, session=5, limits=Limits(held_messages=2, copies=1, copies_per_s=0.001)
    )
    for number in (1, 2, 3):
        for _ in range(2):
            conversation.receive(of_peer(number), 0.0)
    # The first is forgotten, so it is echoed once more.
    assert conversation.receive(of_peer(3), 0.0).verdict is Verdict.BOUNCE
    assert conversation.receive(of_peer(1), 0.0).verdict is Verdict.DUPLICATE


def test_numbered_echoes_count_against_the_limit_of_echoes():
    conversation = Conversation(datagrams=True, session=5, limits=Limits(echo_burst=1, echoes_per_s=1.0))
    conversation.receive(of_peer(1), 0.0)
    assert conversation.receive(of_peer(2), 0.0).verdict is Verdict.REFUSED
    assert conversation.receive(of_peer(2), 1.0).verdict is Verdict.NEWS


def test_an_early_message_is_echoed_and_delivered_in_its_turn(known):
    """Nothing that was confirmed dies with the receiver."""
    for now in (1.0, 1.05):
        early = known.receive(of_peer(3), now)
        assert (early.verdict, early.write, early.deliver) == (Verdict.HELD, (), ())
    assert known.held == 1
    filled = known.receive(of_peer(2), 1.1)
    assert filled.write == filled.deliver == (of_peer(2), of_peer(3))
    assert known.receive(of_peer(3), 1.2).write == (of_peer(3),)


def test_a_floor_has_what_was_kept_echoed_whatever_tells_it(known):
    known.receive(of_peer(3), 1.0)
    known.receive(of_peer(5), 1.0)
    held = known.receive(of_peer(8, floor=3), 1.1)
    assert (held.verdict, held.write, held.deliver) == (Verdict.HELD, (of_peer(3),), (of_peer(3),))
    refused = known.receive(of_peer(5000, floor=10), 1.2)
    assert refused.verdict is Verdict.REFUSED
    assert refused.write == refused.deliver == (of_peer(5), of_peer(8, floor=3))


def test_what_an_old_session_said_is_delivered_and_not_echoed_to_the_new_one(known):
    known.receive(of_peer(3), 1.0)
    received = known.receive(of_peer(1, session=8), 1.1)
    assert received.deliver == (of_peer(3), of_peer(1, session=8))
    assert of_peer(3) not in received.write


def test_what_was_given_up_before_the_other_end_was_known_is_told_when_it_is(unknown):
    """It may keep later messages because of it."""
    sending, _ = unknown.send(INIT, 0.0)
    later, _ = unknown.send(START, 0.0)
    writes_until(unknown, 1.0)
    unknown.give_up(sending, 1.0)
    unknown.receive(HELLO, 1.1)
    pings = [one for now, one in writes_until(unknown, 1.2) if is_ping(one)]
    assert read_number(pings[-1]).floor == later.number


def test_an_early_message_is_delivered_after_five_seconds_at_most(known):
    known.receive(of_peer(3), 1.0)
    assert known.next_deadline() == 6.0
    due = known.on_time(6.0)
    # Not echoed: who said it may have been replaced meanwhile. If not, it repeats it.
    assert (due.write, due.deliver) == ((), (of_peer(3),))
    assert known.receive(of_peer(3), 6.1).write == (of_peer(3),)
    assert known.receive(of_peer(2), 6.1).verdict is Verdict.REFUSED


def test_messages_are_repeated_at_growing_intervals_until_confirmed(known):
    sending, (data,) = known.send(INIT, 1.0)
    times = []
    while known.next_deadline() < 3.0:
        now = known.next_deadline()
        times += [now] * len(known.on_time(now).write)
    gaps = [later - before for before, later in zip([1.0, *times], times, strict=False)]
    assert gaps[0] == pytest.approx(known.round_trip.timeout_s)
    assert gaps[1] == pytest.approx(1.5 * gaps[0])
    assert max(gaps) == pytest.approx(0.5)
    assert sending.transmissions == len(times) + 1
    assert known.retransmissions == len(times)
    assert known.receive(data, 3.0).sending is sending
    known.on_time(9.0)
    assert known.next_deadline() is None


def test_a_round_trip_with_repetitions_is_not_taken_for_the_networks(known):
    before = known.round_trip.smoothed_s
    sending, (data,) = known.send(INIT, 1.0)
    assert known.on_time(known.next_deadline()).write == (data,)
    known.receive(data, 2.0)
    assert sending.round_trip_s == pytest.approx(1.0)
    assert known.round_trip.smoothed_s == before


def test_nothing_but_pings_is_repeated_to_an_end_that_is_not_known_to_number(unknown):
    """An old end would run its callbacks again."""
    _, write = unknown.send(INIT, 0.0)
    ping, (data,) = unknown.send(PING, 0.0)
    assert {one for _, one in writes_until(unknown, 1.5)} == {write[0], data}
    assert all(is_ping(one) for _, one in writes_until(unknown, 10.0))
    assert ping.transmissions > 5


def test_what_is_on_its_way_is_repeated_once_the_other_end_numbers(unknown):
    sending, _ = unknown.send(INIT, 0.0)
    unknown.receive(HELLO, 0.01)
    assert unknown.next_deadline() <= 0.07
    assert sending.data in unknown.on_time(0.07).write


def test_a_number_given_up_is_told_soon_by_a_ping(known):
    first, _ = known.send(INIT, 1.0)
    second, _ = known.send(INIT, 1.0)
    known.receive(second.data, 1.01)
    assert known.give_up(first, 1.02) == ()
    told = []
    while not told:
        assert known.next_deadline() < 1.05
        told += known.on_time(known.next_deadline()).write
    assert (is_ping(told[0]), read_number(told[0])) == (True, Number(5, 5, 5))


def test_a_number_given_up_is_told_by_the_next_message(known):
    first, _ = known.send(INIT, 1.0)
    known.send(INIT, 1.0)
    known.give_up(first, 1.01)
    assert read_number(known.send(INIT, 1.011)[1][0]) == Number(5, 5, 4)
    assert not any(is_ping(data) for data in known.on_time(1.05).write)


def test_many_numbers_given_up_are_told_by_one_ping_even_behind_another(known):
    sendings = [known.send(INIT, 1.0)[0] for _ in range(20)]
    for sending in sendings[:10]:
        known.give_up(sending, 1.001)
    pings = set()
    for step in range(100):
        if step == 2:
            for sending in sendings[10:-1]:
                known.give_up(sending, 1.003 + step / 1000)
        now = 1.003 + step / 1000
        pings.update(read_number(data).floor for data in known.on_time(now).write if is_ping(data))
    assert pings <= {13, 22}
    assert 22 in pings


def test_nothing_is_told_when_nothing_followed(known):
    sending, _ = known.send(INIT, 1.0)
    known.give_up(sending, 1.001)
    assert known.on_time(1.5).write == ()
    assert known.next_deadline() is None


def test_what_exceeds_the_window_waits(known):
    sendings = [known.send(INIT, 1.0)[0] for _ in range(300)]
    assert (known.outstanding, known.queued) == (128, 172)
    received = known.receive(sendings[9].data, 1.1)
    assert received.write == (sendings[128].data,)
    in_line = sendings[299]
    assert (in_line.number, in_line.data) == (None, INIT)
    assert known.give_up(in_line, 1.1) == ()
    assert known.queued == 170


def test_no_number_is_too_far_above_the_oldest_one_wanted():
    conversation = Conversation(datagrams=True, session=5, numbering=True, limits=Limits(span=8))
    oldest, (hello, _) = conversation.send(INIT, 0.0)
    conversation.receive(hello, 0.0)
    for _ in range(20):
        sending, _ = conversation.send(INIT, 0.0)
        if sending.number is not None:
            conversation.receive(sending.data, 0.0)
    assert conversation.next_number - oldest.number == 8
    assert conversation.queued == 13
    assert len(conversation.give_up(oldest, 1.0)) == 8


def test_a_greeting_goes_before_what_waits_for_room():
    conversation = Conversation(datagrams=True, session=5, numbering=True, limits=Limits(window=2))
    sendings = [conversation.send(INIT, 0.0)[0] for _ in range(4)]
    conversation.receive(sendings[0].data, 0.0)
    hello = next(iter(conversation._outbox.waiting))
    conversation.receive(hello, 0.0)
    conversation.receive(of_peer(1), 0.0)
    conversation.receive(of_peer(1, session=8), 0.1)
    received = conversation.receive(sendings[1].data, 0.2)
    assert [is_ping(data) for data in received.write] == [True]


def test_after_the_last_number_a_new_session_begins():
    conversation = Conversation(datagrams=True, session=5, numbering=True, first_number=MAX_NUMBER - 1)
    sending, (_, data) = conversation.send(INIT, 0.0)
    assert read_number(data) == Number(5, MAX_NUMBER, MAX_NUMBER - 1)
    other, write = conversation.send(START, 0.0)
    assert write == ()
    hello = next(iter(conversation._outbox.waiting))
    conversation.receive(hello, 0.1)
    received = conversation.receive(data, 0.1)
    assert received.write == (add_number(START, Number(6, 1, 1)),)
    assert conversation.receive(sending.data, 0.2).verdict is Verdict.SURPLUS_ECHO
    assert conversation.receive(other.data, 0.2).sending is other


def test_a_conversation_that_follows_goes_on_above_the_numbers_used():
    """A receiver that remembers the session would take lower ones for copies."""
    there = Conversation(datagrams=True, session=7)
    first_number = 1
    for _ in range(2):
        here = Conversation(datagrams=True, session=5, numbering=True, first_number=first_number)
        for data in here.send(INIT, 0.0)[1]:
            assert there.receive(data, 0.0).verdict is Verdict.NEWS
        first_number = here.next_number
    assert first_number == 5


def test_what_is_lost_with_the_connection_holds_no_greeting(unknown):
    sending, _ = unknown.send(INIT, 0.0)
    assert unknown.lost() == [sending]
    assert unknown.next_deadline() is None


def test_a_numbered_message_is_longer_by_its_number_only(known):
    _, (data,) = known.send(START, 1.0)
    assert data[:-TAG_LENGTH] == START
