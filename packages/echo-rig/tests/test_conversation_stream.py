"""What a conversation decides over TCP, where messages may be cut and nothing is lost."""

from __future__ import annotations

import pytest

from echo_rig._conversation import Conversation, Limits, Verdict
from wireframe.echo import Number, add_number, is_ping, read_number

INIT = b"[1, null]"
START = b'[2, "ref", null]'
NUMBERED = add_number(INIT, Number(7, 2, 1))


@pytest.fixture
def tcp():
    return Conversation(datagrams=False, session=1)


@pytest.fixture
def numbering():
    """An end that numbers, greeted by one that does too."""
    conversation = Conversation(datagrams=False, session=1, numbering=True)
    sending, write = conversation.send(b"[4, null]", 0.0)
    (hello,) = write
    assert is_ping(hello)
    (numbered,) = conversation.receive(hello, 0.1).write
    assert conversation.receive(numbered, 0.2).sending is sending
    conversation.receive(add_number(b"[32]", Number(7, 1, 1)), 0.3)
    return conversation


def test_to_an_unknown_end_one_message_goes_at_a_time(tcp):
    """Flaw 8: an old end cannot read two messages that arrive together."""
    sendings = [tcp.send(text, 1.0) for text in (INIT, START, INIT)]
    assert [write for _, write in sendings] == [(INIT,), (), ()]
    received = tcp.receive(INIT, 1.1)
    assert (received.sending, received.write) == (sendings[0][0], (START,))
    assert tcp.give_up(sendings[1][0], 1.2) == (INIT,)
    assert tcp.receive(START, 1.3).verdict is Verdict.SURPLUS_ECHO
    assert tcp.receive(INIT, 1.4).sending is sendings[2][0]


def test_a_message_in_line_can_be_given_up(tcp):
    tcp.send(INIT, 1.0)
    in_line, _ = tcp.send(START, 1.0)
    assert tcp.give_up(in_line, 1.1) == ()
    assert tcp.receive(INIT, 1.2).write == ()
    assert tcp.queued == 0


def test_equal_messages_of_the_other_end_are_news_as_often_as_they_come(tcp):
    """A stream makes no copies."""
    tcp.send(INIT, 1.0)
    assert tcp.receive(INIT, 1.1).verdict is Verdict.CONFIRMED
    assert {tcp.receive(INIT, 1.1).verdict for _ in range(1000)} == {Verdict.NEWS}


def test_each_late_echo_is_dropped_once_however_late(tcp):
    for _ in range(9):
        tcp.send(INIT, 1.0, confirm=False)
    sending, _ = tcp.send(START, 1.0)
    tcp.give_up(sending, 2.0)
    assert [tcp.receive(INIT, 999.0).verdict.name for _ in range(10)] == [*9 * ["SURPLUS_ECHO"], "NEWS"]
    assert [tcp.receive(START, 999.0).verdict.name for _ in range(2)] == ["SURPLUS_ECHO", "NEWS"]


def test_reported_errors_have_no_echo_to_come(tcp):
    tcp.send(b'[0, "E: e", 1]', 1.0, confirm=False)
    assert tcp.receive(b'[0, "E: e", 1]', 1.1).verdict is Verdict.ERROR_MESSAGE


def test_only_so_many_late_echoes_are_remembered():
    tcp = Conversation(datagrams=False, session=1, limits=Limits(late_messages=2))
    for number in range(3):
        tcp.send(b"[1, %d]" % number, 1.0, confirm=False)
    assert [tcp.receive(b"[1, %d]" % number, 1.0).verdict.name for number in range(3)] == [
        "NEWS",
        "SURPLUS_ECHO",
        "SURPLUS_ECHO",
    ]


@pytest.mark.parametrize("cut", [0, 1, 50, 95])
def test_an_echo_without_its_number_confirms_and_the_rest_is_dropped(numbering, cut):
    sending, (data,) = numbering.send(INIT, 1.0)
    end = len(INIT) + cut
    received = numbering.receive(data[:end], 1.1)
    assert (received.verdict, received.sending) == (Verdict.CONFIRMED, sending)
    rest = numbering.receive(data[end:], 1.2)
    assert (rest.write, rest.deliver) == ((), ())
    assert numbering.outstanding == 0


@pytest.mark.parametrize("cut", [0, 50])
def test_a_late_echo_without_its_number_is_dropped(numbering, cut):
    sending, (data,) = numbering.send(INIT, 1.0)
    numbering.give_up(sending, 2.0)
    assert numbering.receive(data[: len(INIT) + cut], 2.1).verdict is Verdict.SURPLUS_ECHO
    assert numbering.receive(INIT, 2.2).verdict is Verdict.NEWS


def test_a_late_echo_with_its_number_is_dropped_and_not_expected_again(numbering):
    sending, (data,) = numbering.send(INIT, 1.0)
    numbering.give_up(sending, 2.0)
    assert numbering.receive(data, 2.1).verdict is Verdict.SURPLUS_ECHO
    assert numbering.receive(INIT, 2.2).verdict is Verdict.NEWS


def test_the_rest_of_a_number_is_not_echoed_with_the_next_message(numbering):
    """Else it would get behind another message and be read there."""
    received = numbering.receive(NUMBERED[len(INIT) + 50 :] + START, 1.0)
    assert (received.verdict, received.write, received.deliver) == (Verdict.NEWS, (START,), (START,))


def test_the_rest_of_a_number_before_an_echo_an_error_or_a_numbered_message(numbering):
    rest = NUMBERED[len(INIT) + 50 :]
    sending, (data,) = numbering.send(START, 1.0)
    assert numbering.receive(rest + data, 1.1).sending is sending
    error = numbering.receive(rest + b'[0, "E: e", 1]', 1.2)
    assert (error.verdict, error.write, error.deliver) == (Verdict.ERROR_MESSAGE, (), (b'[0, "E: e", 1]',))
    news = numbering.receive(rest + NUMBERED, 1.3)
    assert (news.verdict, news.write) == (Verdict.NEWS, (NUMBERED,))


def test_white_space_of_an_old_end_is_echoed_exactly(tcp):
    for message in (b" [1, null]\n", b"\r\n {}", b" [1,null]"):
        received = tcp.receive(message, 1.0)
        assert (received.verdict, received.write) == (Verdict.NEWS, (message,))


def test_white_space_alone_is_dropped(tcp):
    received = tcp.receive(b" \t\n", 1.0)
    assert (received.verdict, received.write, received.deliver) == (Verdict.FILLER, (), ())


def test_a_number_alone_tells_that_the_other_end_numbers(tcp):
    """Its message came before it."""
    received = tcp.receive(NUMBERED[len(INIT) :], 1.0)
    assert (received.verdict, received.deliver) == (Verdict.FILLER, ())
    assert tcp.peer_numbers
    (hello,) = received.write
    assert is_ping(hello)
    assert read_number(hello).session == 1


def test_numbered_messages_are_delivered_as_they_come(numbering):
    """A stream keeps the order, so numbers decide nothing."""
    for number in (9, 9, 5):
        data = add_number(INIT, Number(7, number, 1))
        received = numbering.receive(data, 1.0)
        assert (received.verdict, received.write, received.deliver) == (Verdict.NEWS, (data,), (data,))
    assert numbering.next_deadline() is None or numbering.on_time(99.0).write == ()


def test_to_an_end_that_numbers_many_messages_go_at_a_time(numbering):
    sendings = [numbering.send(INIT, 1.0) for _ in range(300)]
    assert sum(len(write) for _, write in sendings) == 128
    assert numbering.queued == 172
    first = numbering.receive(sendings[0][0].data, 1.1)
    assert first.sending is sendings[0][0]
    assert len(first.write) == 1


def test_raw_text_goes_alone_even_to_an_end_that_numbers(numbering):
    _, (data,) = numbering.send(INIT, 1.0)
    raw, write = numbering.send(b"some raw words", 1.0)
    assert write == ()
    assert numbering.receive(data, 1.1).write == (b"some raw words",)
    _, write = numbering.send(START, 1.1)
    assert write == ()
    received = numbering.receive(b"some raw words", 1.2)
    assert received.sending is raw
    assert [read_number(one).number for one in received.write] == [4]


def test_the_echo_of_several_words_confirms_when_it_is_complete(tcp):
    sending, _ = tcp.send(b"some raw words", 1.0)
    assert [tcp.receive(word, 1.1).verdict.name for word in (b"some ", b"raw ")] == 2 * ["FILLER"]
    assert tcp.receive(b"words", 1.2).sending is sending


def test_other_words_than_those_sent_fail_the_message(tcp):
    sending, _ = tcp.send(b"some raw words", 1.0)
    tcp.receive(b"some ", 1.1)
    received = tcp.receive(b"others", 1.1)
    assert (received.verdict, received.sending) == (Verdict.UNEXPECTED, sending)


def test_a_greeting_without_an_echo_blocks_the_line_for_a_while_only():
    tcp = Conversation(datagrams=False, session=1, numbering=True)
    _, (hello,) = tcp.send(INIT, 0.0)
    assert tcp.next_deadline() == 5.0
    (message,) = tcp.on_time(5.0).write
    assert message.startswith(INIT)
    assert tcp.receive(hello, 5.1).verdict is Verdict.SURPLUS_ECHO


def test_nothing_is_repeated_over_tcp(numbering):
    numbering.send(INIT, 1.0)
    assert numbering.on_time(99.0).write == ()
    assert numbering.retransmissions == 0


def test_an_end_that_never_numbers_echoes_numbers_and_learns_nothing():
    tcp = Conversation(datagrams=False, session=1, numbering=False)
    received = tcp.receive(NUMBERED, 1.0)
    assert (received.verdict, received.write) == (Verdict.NEWS, (NUMBERED,))
    assert not tcp.peer_numbers
