"""What a receiver of channels makes of datagrams, without a socket and on a clock of the test's own."""

from __future__ import annotations

import random
import struct
import sys
from collections import deque
from pathlib import Path

import pytest

from udp_multicast.channels import SenderStatistics, _ledger
from udp_multicast.channels._ledger import ChannelLedger
from wireframe.datagram import encode_fragments, encode_message, encode_small
from wireframe.errors import BadHeader, FrameError, FrameTooLarge, TruncatedFrame

sys.path.insert(0, str(Path(__file__).parent))

from lcm_vectors import pattern, recorded_messages

ADDRESS = ("192.0.2.1", 40000)
OTHER = ("192.0.2.2", 40000)
PIECE = 1000


def small(sequence, payload=b"hello", channel="ADC"):
    return b"".join(encode_small(sequence, channel, payload))


def fragments(sequence, size=3500, channel="ADC", fill=0):
    payload = bytes([fill]) * size
    return [b"".join(parts) for parts in encode_fragments(sequence, channel, payload, PIECE)]


def take(ledger, data, sender=ADDRESS, now=0.0):
    """The message that a datagram completes, or None."""
    ready = deque()
    count, error = ledger.take([(data, sender)], now, ready)
    assert count == 1
    if error is not None:
        raise error
    return ready.popleft() if ready else None


def feed(ledger, datagrams, sender=ADDRESS, now=0.0):
    """All messages that these datagrams make."""
    found = (take(ledger, data, sender, now) for data in datagrams)
    return [message for message in found if message is not None]


def tolerate(ledger, data, sender=ADDRESS, now=0.0):
    try:
        return take(ledger, data, sender, now)
    except FrameError:
        return None


def test_recorded_messages_come_out_with_nothing_lost():
    """All that a real LCM sender published, in the order of its datagrams."""
    ledger = ChannelLedger()
    recorded = recorded_messages()
    messages = [one for each in recorded for one in feed(ledger, each.datagrams)]
    assert [(one.channel, one.readout) for one in messages] == [
        (one.channel, one.payload) for one in recorded
    ]
    assert [one.sequence for one in messages] == list(range(len(recorded)))
    statistics = ledger.statistics(0.0)
    assert (statistics.lost, statistics.incomplete, statistics.broken, statistics.foreign) == (0, 0, 0, 0)
    assert statistics.bytes == sum(len(one.payload) for one in recorded)
    assert ledger.held_bytes == 0


def test_each_sender_is_counted_on_its_own():
    ledger = ChannelLedger()
    feed(ledger, [small(n) for n in (0, 1, 5)])
    feed(ledger, [small(n) for n in (90, 91)], OTHER)
    statistics = ledger.statistics(2.0)
    assert statistics.senders == {
        ADDRESS: SenderStatistics(messages=3, bytes=15, lost=3, gaps=1, silent_s=2.0),
        OTHER: SenderStatistics(messages=2, bytes=10, silent_s=2.0),
    }
    assert (statistics.messages, statistics.lost, statistics.gaps) == (5, 3, 1)
    assert statistics.senders[ADDRESS].loss == 0.5
    assert statistics.senders[OTHER].loss == 0.0


def test_one_row_of_numbers_spans_channels_small_and_large():
    ledger = ChannelLedger()
    feed(ledger, [small(0), *fragments(1, channel="IMAGE"), small(2, channel="LOG")])
    assert ledger.statistics(0.0).lost == 0


def test_messages_on_other_channels_are_counted_and_not_returned():
    """They take part in the sender's numbers: what nobody asked for is not lost."""
    ledger = ChannelLedger(["ADC"])
    messages = feed(ledger, [small(0), small(1, channel="LOG"), *fragments(2, channel="IMAGE"), small(3)])
    assert [one.sequence for one in messages] == [0, 3]
    statistics = ledger.statistics(0.0)
    assert (statistics.ignored, statistics.lost, statistics.messages) == (2, 0, 4)


def test_a_late_joiner_has_lost_nothing():
    """What was sent before it came is not a loss; the number it starts with may be any."""
    ledger = ChannelLedger()
    feed(ledger, [small(n % 2**32) for n in range(2**32 - 3, 2**32 + 3)])
    assert ledger.statistics(0.0).senders[ADDRESS] == SenderStatistics(messages=6, bytes=30)


def test_joining_in_the_middle_of_a_large_message_loses_that_message_only():
    ledger = ChannelLedger(max_age_s=1.0)
    messages = feed(ledger, [*fragments(7)[2:], *fragments(8)], now=0.0)
    assert [one.sequence for one in messages] == [8]
    assert ledger.statistics(2.0).incomplete == 1
    assert ledger.statistics(2.0).lost == 0


@pytest.mark.parametrize("seed", range(20))
def test_fragments_in_any_order_and_repeated_make_their_message_once(seed):
    order = random.Random(seed)
    datagrams = [data for n in range(4) for data in fragments(n, fill=n)] * 2
    order.shuffle(datagrams)
    ledger = ChannelLedger()
    messages = feed(ledger, datagrams)
    assert sorted((one.sequence, one.readout) for one in messages) == [
        (n, bytes([n]) * 3500) for n in range(4)
    ]
    assert ledger.statistics(0.0).lost == 0


def test_a_lost_fragment_loses_one_message():
    ledger = ChannelLedger(max_age_s=5.0)
    broken = fragments(1)
    del broken[2]
    messages = feed(ledger, [small(0), *broken, small(2)])
    assert [one.sequence for one in messages] == [0, 2]
    statistics = ledger.statistics(1.0)
    assert (statistics.lost, statistics.incomplete) == (1, 0)
    statistics = ledger.statistics(5.0)
    assert (statistics.lost, statistics.incomplete) == (1, 1)
    assert ledger.held_bytes == 0


def test_a_message_that_comes_after_a_higher_number_is_late_and_not_lost():
    ledger = ChannelLedger()
    messages = feed(ledger, [small(0), small(2), small(1)])
    assert [one.sequence for one in messages] == [0, 2, 1]
    assert ledger.statistics(0.0).senders[ADDRESS] == SenderStatistics(messages=3, bytes=15, gaps=1, late=1)


def test_a_repeated_message_is_dropped_and_counted():
    ledger = ChannelLedger()
    assert len(feed(ledger, [small(0), small(0), *fragments(1), *fragments(1), small(1)])) == 2
    assert ledger.statistics(0.0).senders[ADDRESS] == SenderStatistics(messages=2, bytes=3505, duplicates=2)


@pytest.mark.parametrize("make", [lambda n: [small(n)], fragments], ids=["small", "fragments"])
def test_a_sender_that_began_anew_on_the_same_address_is_heard_from_its_first_message(make):
    """Old numbers after silence are new messages, also when they look exactly like the old ones."""
    ledger = ChannelLedger()
    for n in range(5):
        assert len(feed(ledger, make(n), now=0.0)) == 1
    for n in range(5):
        assert len(feed(ledger, make(n), now=1.5)) == 1
    assert ledger.statistics(1.5).senders[ADDRESS].restarts == 1
    assert ledger.statistics(1.5).lost == 0


def test_a_large_message_on_its_way_is_not_silence():
    """A message overtaken by the next one, and 5 s on its way, is late; its sender did not begin anew."""
    ledger = ChannelLedger()
    slow = fragments(1)
    feed(ledger, [small(0), slow[0], small(2)], now=0.0)
    for step, data in enumerate(slow[1:]):
        messages = feed(ledger, [data], now=step * 0.9)
    assert [one.sequence for one in messages] == [1]
    one = ledger.statistics(5.0).senders[ADDRESS]
    assert (one.late, one.restarts, one.lost, one.duplicates) == (1, 0, 0, 0)


def test_a_pause_within_a_large_message_does_not_cost_it():
    """A sender that was suspended goes on where it was."""
    ledger = ChannelLedger()
    halves = fragments(1)
    feed(ledger, [small(0), *halves[:2]], now=0.0)
    assert [one.sequence for one in feed(ledger, halves[2:], now=4.0)] == [1]
    assert ledger.statistics(4.0).restarts == 0


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "foreign"),
        (b"M-SEARCH * HTTP/1.1\r\n", "foreign"),
        (b"LC01" + bytes(20), "foreign"),
        (b"LC02", "broken"),
        (b"LC02\0\0\0\0ADC", "broken"),
        (b"LC02\0\0\0\0" + b"A" * 64 + b"\0", "broken"),
        (b"LC02\0\0\0\0\xff\0", "broken"),
        (b"LC02\0\0\0\0ADC\0" + bytes(5001), "broken"),
        (struct.pack(">4sIIIHH", b"LC03", 0, 10, 0, 1, 1), "broken"),
        (struct.pack(">4sIIIHH", b"LC03", 0, 10, 20, 1, 2), "broken"),
        (struct.pack(">4sIIIHH", b"LC03", 0, 2**32 - 1, 0, 1, 65535), "broken"),
    ],
)
def test_what_is_not_a_message_is_refused_and_counted_once(data, counter):
    """The account of its sender stays as it was."""
    ledger = ChannelLedger(max_size=5000)
    feed(ledger, [small(0)])
    with pytest.raises(FrameError):
        take(ledger, data, ADDRESS, 0.0)
    assert len(feed(ledger, [small(1)])) == 1
    statistics = ledger.statistics(0.0)
    assert {"foreign": statistics.foreign, "broken": statistics.broken} == {
        "foreign": 0,
        "broken": 0,
        counter: 1,
    }
    assert (statistics.datagrams, statistics.lost) == (3, 0)


def test_the_sender_silent_for_longest_is_forgotten_first_and_its_counts_stay():
    ledger = ChannelLedger(max_senders=2)
    feed(ledger, [small(0), small(2)], ("first", 1), now=0.0)
    feed(ledger, [small(0)], ("second", 1), now=1.0)
    feed(ledger, [small(3)], ("first", 1), now=2.0)
    feed(ledger, [small(0), *fragments(1)[:2]], ("third", 1), now=3.0)
    statistics = ledger.statistics(3.0)
    assert list(statistics.senders) == [("first", 1), ("third", 1)]
    assert (statistics.forgotten, statistics.messages, statistics.lost) == (1, 5, 1)
    feed(ledger, [small(0)], ("fourth", 1), now=4.0)
    feed(ledger, [small(0)], ("fifth", 1), now=5.0)
    statistics = ledger.statistics(5.0)
    assert (statistics.forgotten, statistics.messages, statistics.lost, statistics.gaps) == (3, 7, 1, 1)
    assert statistics.incomplete == 1, "what a forgotten sender had in progress is gone too"
    assert ledger.held_bytes == 0


@pytest.mark.fault("C3", "udp-multicast", "M")
def test_a_flood_of_made_up_senders_and_fragments_stays_within_its_limits(figure):
    """And an honest sender beside it loses nothing, because it speaks up often enough."""
    noise = random.Random(1)
    limit = 1 << 20
    ledger = ChannelLedger(max_senders=50, max_bytes=limit, max_size=200_000)
    good, heard, held = 0, 0, 0
    for n in range(20_000):
        host = (f"10.0.{noise.randrange(256)}.{noise.randrange(256)}", noise.randrange(1, 65536))
        number, count = sorted(noise.sample(range(65536), 2))
        data = struct.pack(">4sIIIHH", b"LC03", n, noise.randrange(1 << 18), 0, number, count)
        tolerate(ledger, data + bytes(noise.randrange(1400)), host, n * 1e-4)
        held = max(held, ledger.held_bytes)
        assert held <= limit
        if n % 20 == 0:
            heard += tolerate(ledger, small(good), now=n * 1e-4) is not None
            good += 1
    statistics = ledger.statistics(2.0)
    assert heard == good
    assert statistics.senders[ADDRESS].lost == 0
    assert len(statistics.senders) <= 50
    assert statistics.forgotten > 10_000
    told = f"{statistics.datagrams} datagrams, {statistics.forgotten} senders forgotten"
    figure(f"{told}, at most {held} bytes held")


def test_random_and_mutated_datagrams_do_no_harm():
    """Whatever comes, either a message comes out or it is counted; nothing else is raised."""
    noise = random.Random(2)
    originals = [
        small(3),
        *fragments(4),
        *(data for one in recorded_messages()[:4] for data in one.datagrams),
    ]
    ledger = ChannelLedger(max_bytes=1 << 20, max_size=100_000)
    for n in range(20_000):
        data = bytearray(noise.choice(originals))
        for _ in range(noise.randrange(4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        tolerate(ledger, bytes(data[: noise.randrange(len(data) + 1)]), now=n * 1e-3)
    statistics = ledger.statistics(20.0)
    assert statistics.datagrams == 20_000
    assert statistics.broken > 1000
    assert ledger.held_bytes <= 1 << 20


@pytest.mark.parametrize("setting", [{"max_senders": 0}, {"max_size": 0}, {"max_age_s": 0}, {"max_bytes": 0}])
def test_refuses_limits_that_are_none(setting):
    with pytest.raises(ValueError, match="must be"):
        ChannelLedger(**setting)


def full_fragments(sequence, size):
    return [b"".join(parts) for parts in encode_fragments(sequence, "ADC", bytes(size))]


def test_messages_that_the_memory_cannot_hold_are_refused_and_counted():
    """Not broken, for they keep the rules; and a loss as soon as a message that fits comes."""
    ledger = ChannelLedger(max_bytes=1 << 20)
    feed(ledger, [small(0)])
    sent = [data for number in (1, 2) for data in full_fragments(number, 600_000)]
    for data in sent:
        with pytest.raises(FrameTooLarge, match=r"600000 bytes, in memory \d+, the limit is 524288"):
            take(ledger, data, ADDRESS, 0.0)
    feed(ledger, [small(3)])
    statistics = ledger.statistics(0.0)
    assert statistics.refused == len(sent) == 20
    assert (statistics.messages, statistics.lost, statistics.incomplete, statistics.broken) == (2, 2, 0, 0)
    assert (statistics.datagrams, ledger.held_bytes) == (22, 0)


def test_every_fragment_is_in_one_number():
    """Of its message, or of those that came again, came too late, or could not be held."""
    ledger = ChannelLedger(max_bytes=1 << 20, max_age_s=1.0)
    first, second = fragments(0), fragments(1)
    feed(ledger, [first[0], first[0], first[1], first[0], *first[2:]])
    feed(ledger, first)
    feed(ledger, second[:1])
    feed(ledger, second[:2], now=1.5)
    tolerate(ledger, full_fragments(2, 600_000)[1], now=1.5)
    tolerate(ledger, b"LC03", now=1.5)
    tolerate(ledger, b"nonsense", now=1.5)
    statistics = ledger.statistics(1.5)
    assert (statistics.repeated_fragments, statistics.refused) == (2, 1)
    assert (statistics.messages, statistics.incomplete) == (1, 1)
    assert statistics.late_fragments == len(first) + 2
    counted = statistics.repeated_fragments + statistics.late_fragments + statistics.refused
    in_messages = len(first) + 1
    assert counted + in_messages + statistics.broken + statistics.foreign == statistics.datagrams


@pytest.mark.parametrize("size", [0, 1, 5000, 65_487, 65_488, 300_000])
def test_a_size_that_is_asked_for_fits_half_of_the_memory_or_is_refused_at_once(size):
    """The least memory that is allowed is enough for such a message in full datagrams."""
    least = _ledger.least_cost(size)
    for max_bytes in (2 * least, 2 * least + 1):
        ledger = ChannelLedger(max_size=max(1, size), max_bytes=max_bytes + 2)
        (message,) = feed(ledger, full_fragments(0, size))
        assert len(message.readout) == size
    with pytest.raises(ValueError, match=f"must be at least {_ledger.least_cost(size + 1)} for messages of"):
        ChannelLedger(max_size=size + 1, max_bytes=2 * least - 1)


def test_our_sender_s_bytes_make_the_recorded_payloads():
    """The other direction of the recording: what we encode with its numbers is what was recorded."""
    for number, one in enumerate(recorded_messages()):
        assert [
            b"".join(parts) for parts in encode_message(number, one.channel, one.payload)
        ] == one.datagrams


def test_a_channel_of_the_largest_message_is_allowed_by_default():
    """2^28 bytes are admitted, one more is refused before anything is kept."""
    ledger = ChannelLedger()
    head = struct.pack(">4sIIIHH", b"LC03", 0, 1 << 28, 0, 0, 4100) + b"ADC\0"
    assert take(ledger, head + pattern(1000), ADDRESS, 0.0) is None
    assert ledger.held_bytes > 0
    with pytest.raises(FrameError, match="268435457"):
        take(ledger, struct.pack(">4sIIIHH", b"LC03", 1, (1 << 28) + 1, 0, 0, 4100) + b"ADC\0", ADDRESS, 0.0)


# Several datagrams at a time.


def all_at_once(ledger, arrived, now, told=()):
    """Messages of datagrams that come together, and the errors that have to be told."""
    ready, errors = deque(), []
    while arrived:
        count, error = ledger.take(arrived, now, ready, told)
        assert 1 <= count <= len(arrived)
        if error is not None:
            errors.append((count, error))
        arrived = arrived[count:]
    return list(ready), errors


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("max_senders", [1, 2, 1024])
def test_datagrams_together_are_what_they_are_one_by_one(seed, max_senders):
    """Messages and counts, whoever sent them; also when an account has to go for another in between."""
    noise = random.Random(seed)
    streams = []
    for sender in (ADDRESS, OTHER, ("192.0.2.3", 40000)):
        stream = [data for n in range(9) for data in noise.choice([[small(n)], fragments(n)])]
        for _ in range(4):
            at = noise.randrange(len(stream))
            stream[at] = noise.choice([b"", b"noise", small(0, channel="OTHER"), stream[at - 1], b"LC03"])
        streams.append([(data, sender) for data in stream])
    mixed = []
    while streams:
        stream = noise.choice(streams)
        mixed += stream[: (count := noise.choice([1, 1, 5]))]
        del stream[:count]
        streams = [each for each in streams if each]
    # As the slots have them, some as views.
    mixed = [(memoryview(data) if noise.random() < 0.1 else data, sender) for data, sender in mixed]
    one, many = (ChannelLedger(["ADC"], max_senders=max_senders) for _ in range(2))
    expected, got, now = [], [], 0.0
    while mixed:
        some = mixed[: (count := noise.randrange(1, 17))]
        del mixed[:count]
        now += noise.choice([0.01, 0.01, 1.5])
        expected += [message for data, sender in some if (message := tolerate(one, data, sender, now))]
        got += all_at_once(many, some, now)[0]
    assert got == expected
    assert many.statistics(now) == one.statistics(now)


def test_what_was_told_of_a_host_does_not_end_the_taking():
    """One host's error is not another's, nor another error of its own."""
    ledger = ChannelLedger()
    told = {(ADDRESS[0], BadHeader)}
    arrived = [(small(0), ADDRESS), (b"noise", ADDRESS), (small(1), ADDRESS), (b"noise", OTHER)]
    arrived += [(b"LC03", ADDRESS), (b"noise", ADDRESS), (small(2), ADDRESS)]
    messages, errors = all_at_once(ledger, arrived, 0.0, told)
    assert [message.sequence for message in messages] == [0, 1, 2]
    assert [(count, type(error)) for count, error in errors] == [(4, BadHeader), (1, TruncatedFrame)]
    statistics = ledger.statistics(0.0)
    assert (statistics.foreign, statistics.broken, statistics.datagrams) == (3, 1, 7)


def test_what_the_memory_cannot_hold_is_told_once_and_counted():
    ledger = ChannelLedger(max_bytes=1 << 20)
    arrived = [(data, ADDRESS) for data in full_fragments(0, 600_000)]
    _, errors = all_at_once(ledger, arrived, 0.0, {(ADDRESS[0], FrameTooLarge)})
    assert errors == []
    assert ledger.statistics(0.0).refused == len(arrived) == 10


def test_a_message_of_some_length_is_the_last_one_taken():
    """Those behind it would be in memory at the same time."""
    ledger, ready = ChannelLedger(), deque()
    first, second = fragments(0), [memoryview(small(1, bytes(5000)))]
    arrived = [(data, ADDRESS) for data in (*first, *second, small(2), small(3))]
    assert ledger.take(arrived, 0.0, ready) == (len(first), None)
    del arrived[: len(first)]
    assert ledger.take(arrived, 0.0, ready) == (1, None)
    assert ledger.take(arrived[1:], 0.0, ready) == (2, None)
    assert [message.sequence for message in ready] == [0, 1, 2, 3]


def test_messages_that_were_not_returned_are_not_counted_wherever_their_accounts_are():
    ledger, ready = ChannelLedger(max_senders=1), deque()
    ledger.take([(small(0, b"first"), ADDRESS), (small(0), OTHER), (small(1, b"again"), ADDRESS)], 0.0, ready)
    statistics = ledger.statistics(0.0, ahead=list(ready))
    assert (statistics.messages, statistics.bytes, statistics.datagrams) == (0, 0, 0)
    assert statistics.senders == {ADDRESS: SenderStatistics()}
    ready.popleft()
    assert ledger.statistics(0.0, ahead=list(ready)).messages == 1
