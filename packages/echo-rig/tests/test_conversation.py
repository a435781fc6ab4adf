"""What a conversation decides without numbers: echo, copy, crossing or news."""

from __future__ import annotations

import tracemalloc

import pytest

from echo_rig._conversation import Conversation, Limits, Verdict
from wireframe.echo import Number, add_number

INIT = b"[1, null]"
START = b'[2, "ref", null]'
STATUS = b"[32, 20]"
PING = b"[32]"
ERROR = b'[0, "ValueError: boom", 1]'


@pytest.fixture
def udp():
    return Conversation(datagrams=True, session=1)


def verdicts(conversation, data, times, now):
    return [conversation.receive(data, now + 0.001 * step).verdict.name for step in range(times)]


@pytest.mark.parametrize("arguments", [{"session": 0}, {"session": 2**32}, {"session": 1, "first_number": 0}])
def test_sessions_and_numbers_have_32_bits(arguments):
    with pytest.raises(ValueError, match="32 bits"):
        Conversation(datagrams=True, **arguments)


def test_news_is_echoed_as_it_came_and_delivered(udp):
    received = udp.receive(b" [1,\tnull]\n", 1.0)
    assert (received.verdict, received.write, received.deliver) == (
        Verdict.NEWS,
        (b" [1,\tnull]\n",),
        (b" [1,\tnull]\n",),
    )
    assert udp.counters.news == 1


def test_the_same_bytes_confirm_and_are_neither_echoed_nor_delivered(udp):
    sending, write = udp.send(INIT, 1.0, context="a future")
    assert write == (INIT,)
    received = udp.receive(INIT, 1.25)
    assert (received.verdict, received.write, received.deliver) == (Verdict.CONFIRMED, (), ())
    assert received.sending is sending
    assert (sending.context, sending.round_trip_s, sending.transmissions) == ("a future", 0.25, 1)
    assert udp.outstanding == 0
    assert udp.round_trip.last_s == 0.25


def test_a_lost_echo_fails_one_message_and_nothing_else(udp):
    """Flaw 1."""
    lost, _ = udp.send(INIT, 1.0)
    other, _ = udp.send(START, 1.0)
    assert udp.give_up(lost, 2.0) == ()
    assert udp.receive(START, 2.1).sending is other
    again, write = udp.send(STATUS, 2.2)
    assert write == (STATUS,)
    assert udp.receive(STATUS, 2.3).sending is again


def test_one_doubled_echo_makes_no_storm(udp):
    """Flaw 2: the second copy may be a response; the third came around a loop."""
    udp.send(INIT, 1.0)
    assert verdicts(udp, INIT, 5, 1.1) == ["CONFIRMED", "NEWS", *3 * ["SURPLUS_ECHO"]]


def test_a_message_without_waiting_makes_no_storm(udp):
    """Flaw 2: its echo is dropped."""
    _, write = udp.send(INIT, 1.0, confirm=False)
    assert write == (INIT,)
    assert verdicts(udp, INIT, 4, 1.1) == ["SURPLUS_ECHO", "NEWS", "SURPLUS_ECHO", "SURPLUS_ECHO"]
    assert udp.outstanding == 0


def test_a_response_equal_to_its_command_is_news_once_for_each_command(udp):
    for turn in range(3):
        udp.send(INIT, turn)
        assert verdicts(udp, INIT, 2, turn + 0.1) == ["CONFIRMED", "NEWS"]


def test_what_the_other_end_says_at_its_own_pace_is_news_however_equal(udp):
    """A rig that reports the status once a second is no loop."""
    udp.send(STATUS, 0.0)
    assert udp.receive(STATUS, 0.1).verdict is Verdict.CONFIRMED
    assert [udp.receive(STATUS, float(second)).verdict for second in range(1, 9)] == 8 * [Verdict.NEWS]


def test_what_was_sent_is_forgotten_after_a_while():
    udp = Conversation(datagrams=True, session=1, limits=Limits(recent_s=3.0))
    sending, _ = udp.send(INIT, 0.0)
    udp.give_up(sending, 1.0)
    assert udp.receive(INIT, 4.1).verdict is Verdict.NEWS


def test_only_so_many_texts_are_remembered():
    udp = Conversation(datagrams=True, session=1, limits=Limits(recent_messages=2))
    for text in (INIT, START, STATUS):
        udp.send(text, 0.0, confirm=False)
    assert [udp.receive(text, 0.1).verdict.name for text in (INIT, START, STATUS)] == [
        "NEWS",
        "SURPLUS_ECHO",
        "SURPLUS_ECHO",
    ]


def test_a_text_sent_again_after_long_starts_anew(udp):
    udp.send(INIT, 0.0, confirm=False)
    udp.send(INIT, 60.0, confirm=False)
    assert verdicts(udp, INIT, 3, 60.1) == ["SURPLUS_ECHO", "NEWS", "SURPLUS_ECHO"]


def test_several_messages_wait_for_their_echoes_at_the_same_time(udp):
    """Flaw 3."""
    sendings = [udp.send(text, 1.0)[0] for text in (INIT, START, STATUS)]
    assert [udp.receive(text, 1.1).sending for text in (STATUS, INIT, START)] == [
        sendings[2],
        sendings[0],
        sendings[1],
    ]


def test_equal_messages_go_one_after_the_other(udp):
    """Flaws 3 and 4: each has its own echo."""
    first, _ = udp.send(INIT, 1.0)
    second, write = udp.send(INIT, 1.0)
    third, _ = udp.send(INIT, 1.0)
    assert (write, udp.queued, second.transmissions) == ((), 2, 0)
    received = udp.receive(INIT, 1.1)
    assert (received.sending, received.write) == (first, (INIT,))
    assert second.sent_at == 1.1
    assert udp.give_up(second, 1.2) == (INIT,)
    assert udp.receive(INIT, 1.3).sending is third
    assert udp.queued == udp.outstanding == 0


def test_cancelled_messages_leave_nothing_behind(udp):
    """Flaw 5: neither on their way nor in line; the late echo is dropped."""
    going, _ = udp.send(INIT, 1.0)
    in_line, _ = udp.send(INIT, 1.0)
    assert udp.give_up(in_line, 1.1) == ()
    assert udp.give_up(going, 1.1) == ()
    assert udp.outstanding == udp.queued == 0
    assert udp.receive(INIT, 1.2).verdict is Verdict.SURPLUS_ECHO
    assert udp.receive(START, 1.2).verdict is Verdict.NEWS


def test_giving_up_what_is_confirmed_does_nothing(udp):
    sending, _ = udp.send(INIT, 1.0)
    udp.receive(INIT, 1.1)
    other, _ = udp.send(INIT, 1.2)
    assert udp.give_up(sending, 1.3) == ()
    assert udp.receive(INIT, 1.4).sending is other


@pytest.mark.parametrize("crossing", [START, PING, b'["ExpInit", 1]', b'[ 0, "text", 1]'])
def test_a_crossing_is_echoed_and_delivered_while_the_wait_goes_on(udp, crossing):
    """Flaw 6."""
    sending, _ = udp.send(INIT, 1.0)
    received = udp.receive(crossing, 1.1)
    assert (received.verdict, received.write, received.deliver) == (Verdict.NEWS, (crossing,), (crossing,))
    assert udp.receive(INIT, 1.2).sending is sending


def test_a_reported_error_never_disturbs_and_is_never_echoed(udp):
    """Flaw 6, also where the very same bytes were sent."""
    udp.send(INIT, 1.0)
    udp.send(ERROR, 1.0)
    received = udp.receive(ERROR, 1.1)
    assert (received.verdict, received.write, received.deliver) == (Verdict.ERROR_MESSAGE, (), (ERROR,))
    assert received.sending is None
    assert udp.outstanding == 2


@pytest.mark.parametrize("foreign", [b"bar", b"", b"\xff", b"[512, 1]", b"[" * 30000, b"{}", b"[1]"])
def test_no_message_at_all_fails_the_one_that_waits_longest(udp, foreign):
    oldest, _ = udp.send(INIT, 1.0)
    other, _ = udp.send(START, 1.0)
    received = udp.receive(foreign, 1.1)
    assert (received.verdict, received.write, received.deliver) == (Verdict.UNEXPECTED, (), ())
    assert received.sending is oldest
    assert udp.receive(INIT, 1.2).verdict is Verdict.SURPLUS_ECHO
    assert udp.receive(START, 1.2).sending is other


@pytest.mark.parametrize("foreign", [b"bar", b"", b"\xff", b"[512, 1]", b"[" * 30000])
def test_no_message_at_all_is_echoed_like_any_while_nothing_waits(udp, foreign):
    """Flaw 13: senders rely on it; what to deliver decides the reader."""
    received = udp.receive(foreign, 1.0)
    assert (received.verdict, received.write, received.deliver) == (Verdict.NEWS, (foreign,), (foreign,))


@pytest.mark.parametrize("datagrams", [True, False])
@pytest.mark.parametrize(
    ("size", "verdict"), [(65534, "UNEXPECTED"), (65535, "TRUNCATED_ECHO"), (65536, "UNEXPECTED")]
)
def test_an_echo_of_exactly_the_largest_size_may_be_cut(datagrams, size, verdict):
    conversation = Conversation(datagrams=datagrams, session=1)
    message = b"[" + b"x" * 70000
    sending, _ = conversation.send(message, 1.0)
    received = conversation.receive(message[:size], 1.1)
    assert received.verdict.name == verdict
    assert received.sending is sending
    assert conversation.outstanding == 0


def test_a_message_of_the_largest_size_that_is_no_echo_is_news(udp):
    udp.send(INIT, 1.0)
    crossing = b'[1, "' + b"x" * 65528 + b'"]'
    assert len(crossing) == 65535
    assert udp.receive(crossing, 1.1).verdict is Verdict.NEWS


def test_a_loop_of_a_message_that_nobody_here_sent_is_ended():
    """Flaw 2, where the other end sent it first: no end knows that it is an echo."""
    udp = Conversation(datagrams=True, session=1, limits=Limits(identical=10))
    assert [udp.receive(INIT, 0.04 * step).verdict for step in range(12)] == [
        *10 * [Verdict.NEWS],
        *2 * [Verdict.BOUNCE],
    ]
    assert udp.receive(START, 0.5).verdict is Verdict.NEWS
    assert udp.receive(INIT, 0.55).verdict is Verdict.NEWS


def test_a_loop_is_ended_although_other_messages_come_between():
    udp = Conversation(datagrams=True, session=1, limits=Limits(identical=10))
    seen = [
        udp.receive(text, 0.01 * step).verdict.name
        for step in range(12)
        for text in (INIT, b"[4, %d]" % step)
    ]
    assert seen.count("BOUNCE") == 2


def test_a_busy_program_of_ours_is_told_from_a_loop_by_its_numbers():
    """The same text thousands of times at the pace of the network: every one is confirmed and delivered."""
    here, there = (Conversation(datagrams=True, session=one, limits=Limits(identical=10)) for one in (1, 2))
    now, delivered = 0.0, 0
    for _ in range(200):
        sending, wire = here.send(STATUS, now)
        while wire:
            now += 0.0001
            arrived = [there.receive(data, now) for data in wire]
            delivered += sum(STATUS in data for one in arrived for data in one.deliver)
            back = [here.receive(data, now) for one in arrived for data in one.write]
            wire = tuple(data for one in back for data in one.write)
        assert sending.round_trip_s is not None
    assert delivered == 200
    assert there.counters.bounces == 0
    assert here.numbers
    assert there.peer_numbers


def test_equal_messages_without_a_number_from_an_end_that_numbers_are_a_loop():
    """They are delivered, for they may ask for no echo, but not echoed."""
    udp = Conversation(datagrams=True, session=1)
    udp.receive(add_number(INIT, Number(7, 1, 1)), 1.0)
    seen = [udp.receive(STATUS, 1.0) for _ in range(20)]
    assert [one.verdict.name for one in seen] == [*16 * ["NEWS"], *4 * ["BOUNCE"]]
    assert all(one.deliver == (STATUS,) for one in seen)
    assert seen[-1].write == ()


def test_reports_at_intervals_are_no_loop():
    udp = Conversation(datagrams=True, session=1, limits=Limits(identical=10))
    assert {udp.receive(STATUS, 0.06 * step).verdict for step in range(1000)} == {Verdict.NEWS}


def test_only_so_many_messages_are_watched_for_loops():
    udp = Conversation(datagrams=True, session=1, limits=Limits(identical=1, recent_messages=2))
    texts = (INIT, START, STATUS, INIT)
    assert {udp.receive(text, 0.0).verdict for text in texts} == {Verdict.NEWS}
    assert udp.receive(STATUS, 0.0).verdict is Verdict.BOUNCE


def test_loops_can_be_left_alone():
    udp = Conversation(datagrams=True, session=1, limits=Limits(identical=None))
    assert {udp.receive(STATUS, 0.0).verdict for _ in range(1000)} == {Verdict.NEWS}


@pytest.mark.fault("C12", "echo-udp")
def test_echoes_are_limited_so_that_nobody_is_flooded_through_us():
    """Flaw 15."""
    udp = Conversation(datagrams=True, session=1, limits=Limits(echoes_per_s=10.0, echo_burst=3))
    texts = [b"[1, %d]" % number for number in range(6)]
    assert [udp.receive(text, 1.0).verdict.name for text in texts] == [*3 * ["NEWS"], *3 * ["REFUSED"]]
    assert udp.receive(b"[1, 7]", 1.25).verdict is Verdict.NEWS
    assert udp.receive(b"[1, 8]", 1.25).verdict is Verdict.NEWS
    assert udp.receive(b"[1, 9]", 1.25).write == ()


def test_what_was_on_its_way_is_returned_when_the_connection_is_lost(udp):
    going, _ = udp.send(INIT, 1.0)
    in_line, _ = udp.send(INIT, 1.0)
    assert udp.lost() == [going, in_line]
    assert udp.outstanding == udp.queued == 0
    assert udp.next_deadline() is None


def test_without_numbers_nothing_is_ever_due(udp):
    udp.send(INIT, 1.0)
    udp.receive(START, 1.0)
    assert udp.next_deadline() is None
    assert udp.on_time(99.0).write == udp.on_time(99.0).deliver == ()


def test_limits_are_more_than_nothing():
    with pytest.raises(ValueError, match="window must be more than 0, not 0"):
        Limits(window=0)


def test_the_round_trip_is_smoothed_within_bounds(udp):
    for step, seconds in enumerate((0.1, 0.2, 3.0, *100 * [0.0001])):
        udp.send(b"[1, %d]" % step, float(10 * step))
        udp.receive(b"[1, %d]" % step, 10 * step + seconds)
        if step == 1:
            assert udp.round_trip.smoothed_s == pytest.approx(0.1125)
            assert udp.round_trip.deviation_s == pytest.approx(0.0625)
            assert udp.round_trip.timeout_s == pytest.approx(0.3625)
        if step == 2:
            assert udp.round_trip.timeout_s == 0.5
    assert udp.round_trip.timeout_s == 0.01


def test_the_same_answer_to_two_questions_is_news_both_times(udp):
    """A token that was sent here, asked back twice at once: two answers of the same bytes, and no third."""
    token, question = b'[128, "url", {"user": "token"}]', b"[128, null, {}]"

    def confirmed(message, now):
        udp.send(message, now)
        assert udp.receive(message, now).verdict is Verdict.CONFIRMED

    confirmed(token, 1.0)
    assert udp.receive(token, 1.001).verdict is Verdict.NEWS
    confirmed(question, 1.002)
    assert udp.receive(token, 1.003).verdict is Verdict.NEWS
    assert udp.receive(token, 1.004).verdict is Verdict.SURPLUS_ECHO


@pytest.mark.parametrize("copies", [1, 2], ids=["watched for loops", "watched for copies"])
def test_what_is_watched_is_not_kept(copies):
    """Long messages of many texts cost no more than short ones."""
    udp = Conversation(datagrams=True, session=1)
    tracemalloc.start()
    try:
        for number in range(1, 257):
            text = b'[1, "%s"]' % (b"%05d" % number * 12_000)
            if copies == 2:
                text = add_number(text, Number(7, number, number))
            for _ in range(copies):
                udp.receive(text, 0.001 * number)
            del text
        assert tracemalloc.get_traced_memory()[0] < 1 << 20
    finally:
        tracemalloc.stop()
