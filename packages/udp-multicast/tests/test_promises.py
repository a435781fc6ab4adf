"""What the README promises: its figures are those of the code, its symptoms are what the code says."""

from __future__ import annotations

import inspect
import logging
import re
import shlex
from pathlib import Path

import pytest

from udp_multicast import (
    DEFAULT_BUFFER_SIZE,
    DEFAULT_GROUP,
    DEFAULT_TTL,
    AddressError,
    BackgroundReceiver,
    ChannelReceiver,
    DatagramTooLarge,
    JsonReadout,
    MulticastReceiver,
    MulticastSender,
    UnsupportedHere,
    _batch,
    _inlet,
    _losses,
    background,
    sender,
)
from udp_multicast.__main__ import build_parser
from udp_multicast.channels import _accounts
from udp_multicast.channels._ledger import ChannelLedger
from wireframe import datagram

TEXT = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
README = " ".join(TEXT.split())
#: What the README shows to be typed.
COMMANDS = re.findall(r"^(?:\$ )?udp-multicast ([a-z].*)", TEXT, re.MULTILINE)


def default(function, name):
    """What a parameter is when nothing is said."""
    return inspect.signature(function).parameters[name].default


@pytest.mark.parametrize(
    ("sentence", "code", "figure"),
    [
        ("4 MiB asked for", DEFAULT_BUFFER_SIZE, 4 << 20),
        ("more than 65507 bytes: `OSError`", sender.MAX_DATAGRAM, 65507),
        ("the default 2 is that of the original", DEFAULT_TTL, 2),
        ("the default group `127.0.0.1`", DEFAULT_GROUP, "127.0.0.1"),
        ("up to 256 senders one by one", _losses.MAX_SENDERS, 256),
        ("on channels 1024, all in the sum", default(ChannelReceiver, "max_senders"), 1024),
        ("`BackgroundReceiver(receiver, max_queued=1024)`", default(BackgroundReceiver, "max_queued"), 1024),
        ("for `max_age_s`, 10 s", default(ChannelReceiver, "max_age_s"), 10),
        ("readouts of any size up to 256 MiB", ChannelLedger()._max_size, 256 << 20),
        ("hands the kernel 64 readouts of one size at a time", _batch.MAX_PARTS, 64),
        ("which waits 2 s at most", _inlet.LEAVE_S + background._LEAVE_S, 2),
        ("above one frame (1472 bytes on Ethernet)", sender._USUAL_MTU - min(sender._HEADERS.values()), 1472),
    ],
)
def test_figures_of_the_readme_are_those_of_the_code(sentence, code, figure):
    assert sentence in README
    assert code == figure


@pytest.mark.parametrize(
    ("counter", "late"),
    [(_losses.LossLedger()._new_counter(), 511), (_accounts.Account(0.0).counter, 1023)],
    ids=["readouts", "channels"],
)
def test_ids_are_late_as_far_behind_as_the_readme_says(counter, late):
    """Farther behind one alone is a stray, and two in order are a sender that began anew."""
    assert "ids at most 511 behind are late, on channels 1023; one that is farther behind" in README
    for number in (0, 10_000):
        counter.update(number, 0.0)
    assert counter.update(10_000 - late, 0.0) is datagram.Arrival.LATE
    first, second = (counter.update(10_000 - late - behind, 0.0) for behind in (2, 1))
    assert (first, second) == (datagram.Arrival.DUPLICATE, datagram.Arrival.RESTART)


def test_a_datagram_that_is_too_large_is_told_in_the_words_of_the_readme(pair):
    _, source = pair()
    with pytest.raises(DatagramTooLarge, match="70000 bytes do not fit into one datagram of at most 65507"):
        source.send_data(bytes(70_000))
    assert "70000 bytes do not fit into one datagram of at most 65507`" in README


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: MulticastReceiver(JsonReadout, "239.1.1.1", 0, interface="eth9000"),
            "there is no interface '",
        ),
        (lambda: MulticastSender("a" * 64, 5007), "is neither a group nor a known host: "),
    ],
    ids=["interface", "group"],
)
def test_addresses_that_are_none_are_told_in_the_words_of_the_readme(make, words):
    with pytest.raises(AddressError, match=re.escape(words)):
        make()
    assert words in README


def test_statistics_have_the_figures_that_the_readme_names(make_receiver):
    named = README.partition("`receiver.statistics` is one object: ")[2].partition(".")[0]
    statistics = make_receiver().statistics
    names = re.findall(r"`(\w+)`", named)
    assert {"received", "kernel_drops", "senders"} <= set(names)
    assert [name for name in names if not hasattr(statistics, name)] == []


def test_silence_is_a_timeout_in_the_words_of_the_readme(make_receiver):
    with pytest.raises(TimeoutError, match=r"\] no datagram in time$"):
        make_receiver(timeout=0.01).receive()
    assert "TimeoutError: [Errno 110] no datagram in time" in README


def test_a_foreign_datagram_is_logged_in_the_words_of_the_readme(pair, caplog):
    receiver, source = pair(JsonReadout)
    source.send_data(b"?!")
    source.send_readout(JsonReadout(1))
    with caplog.at_level(logging.WARNING, logger="udp_multicast"):
        assert receiver.receive().value == 1
    assert re.search(r"datagram of 2 bytes from .* is not a readout: ", caplog.text)
    assert "datagram of 2 bytes from ... is not a readout: " in README


def test_what_a_system_lacks_is_refused_in_the_words_of_the_readme():
    said = str(UnsupportedHere("joining a group for chosen sources (sources=)"))
    assert said.endswith("not available on this operating system")
    assert "`UnsupportedHere: ... not available on this operating system`" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_command_lines_of_the_readme_are_understood(command):
    """All commands and options that it shows there are."""
    assert len(COMMANDS) >= 4
    build_parser().parse_args(shlex.split(command, comments=True))  # ends the program otherwise
