"""Many datagrams in one call, and what happens where the kernel does not do that."""

from __future__ import annotations

import errno
import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from udp_multicast import RawBytes, _batch, _options
from udp_multicast._batch import MAX_PARTS, BatchSender, cut, runs
from wireframe.datagram import MAX_DATAGRAM


@given(st.lists(st.sampled_from([0, 1, 2, 1000, 40000]), max_size=300))
def test_runs_keep_order_and_the_rules_of_the_kernel(sizes):
    datagrams = [bytes(size) for size in sizes]
    found = list(runs(datagrams))
    assert list(itertools.chain.from_iterable(found)) == datagrams
    for run in found:
        assert 1 <= len(run) <= MAX_PARTS
        assert len({len(one) for one in run[:-1]}) <= 1
        assert len(run) == 1 or 0 < len(run[-1]) <= len(run[0])
        assert sum(map(len, run)) <= MAX_DATAGRAM


@given(st.binary(max_size=100), st.integers(0, 120))
def test_what_was_cut_is_the_same_joined(data, size):
    parts = cut(data, size)
    assert b"".join(parts) == data
    assert all(len(part) == size for part in parts[:-1])
    assert parts


class Recorder:
    """A socket that notes what is sent, and fails as told."""

    def __init__(self, *, knows=True, error=None):
        self.knows, self.error, self.batches, self.singles = knows, error, [], []

    def setsockopt(self, *_):
        if not self.knows:
            raise OSError(errno.ENOPROTOOPT, "unknown option")

    def sendmsg(self, parts, *_):
        self.batches.append(len(parts))
        if self.error:
            raise OSError(self.error, "told to")

    def send_one(self, data):
        self.singles.append(data)
        return len(data)


def _sender(recorder, largest=1472):
    return BatchSender(recorder, ("239.1.1.1", 1), recorder.send_one, largest)


def test_equal_datagrams_go_in_one_call():
    recorder = Recorder()
    _sender(recorder).send([b"ab"] * MAX_PARTS)
    assert (recorder.batches, recorder.singles) == ([MAX_PARTS], [])


def test_kernel_that_does_not_know_the_option_is_never_given_a_batch():
    recorder = Recorder(knows=False)
    _sender(recorder).send([b"ab"] * 3)
    assert (recorder.batches, recorder.singles) == ([], [b"ab"] * 3)


def test_other_systems_send_one_by_one(monkeypatch):
    monkeypatch.setattr(_options, "UDP_SEGMENT", None)
    recorder = Recorder()
    _sender(recorder).send([b"ab"] * 3)
    assert (recorder.batches, recorder.singles) == ([], [b"ab"] * 3)


@pytest.mark.parametrize(("refusal", "tries"), [(errno.EMSGSIZE, 2), (errno.EINVAL, 2), (errno.EIO, 1)])
def test_refused_batch_goes_out_one_by_one_and_its_size_is_not_tried_again(refusal, tries):
    recorder = Recorder(error=refusal)
    sender = _sender(recorder)
    sender.send([b"abcd"] * 3)
    sender.send([b"abcd"] * 3)
    sender.send([b"ab"] * 3)
    assert len(recorder.batches) == tries
    assert recorder.singles == [b"abcd"] * 6 + [b"ab"] * 3


def test_other_errors_of_a_batch_come_out():
    with pytest.raises(OSError, match="told to"):
        _sender(Recorder(error=errno.ENETUNREACH)).send([b"ab"] * 3)


def test_datagrams_longer_than_a_frame_are_not_tried_in_a_batch():
    recorder = Recorder()
    _sender(recorder, largest=3).send([b"abcd"] * 3)
    assert recorder.batches == []


def test_buffers_that_are_not_bytes_are_counted_in_bytes(pair):
    receiver, sender = pair()
    words = memoryview(b"abcdefgh").cast("I")

    class Words:
        def to_bytes(self):
            return words

    assert sender.send_readouts([Words(), RawBytes(b"12345678"), Words()]) == 3
    assert [receiver.receive() for _ in range(3)] == [b"abcdefgh", b"12345678", b"abcdefgh"]


@pytest.mark.parametrize("gro", [True, False])
def test_received_batch_is_cut_into_what_was_sent(pair, monkeypatch, gro):
    if not gro:
        monkeypatch.setattr(_options, "UDP_GRO", None)
    receiver, sender = pair(timeout=0.001)
    with pytest.raises(TimeoutError):
        receiver.receive_many()
    receiver.settimeout(10)
    readouts = [RawBytes(number.to_bytes(4, "big")) for number in range(200)]
    sender.send_readouts(readouts)
    received = []
    while len(received) < 200:
        received += receiver.receive_many()
    assert received == readouts
    assert receiver._inlet.has_gro is gro
    statistics = receiver.statistics
    assert (statistics.received, statistics.bytes) == (200, 800)


def test_kernel_without_gro_delivers_one_by_one():
    class Old:
        def setsockopt(self, *_):
            raise OSError(errno.ENOPROTOOPT, "unknown option")

    assert _batch.enable_gro(Old()) is False


def test_ancillary_data_of_others_is_no_batch():
    assert _batch.part_size([(socket.SOL_SOCKET, 40, b"\0" * 4)]) == 0
