"""Event logs on disk, and when their events are due."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from udp_multicast._commands._log_file import LogReader, LogWriter
from udp_multicast._commands._timeline import Timeline
from wireframe.eventlog import LogEvent, encode_event

VECTORS = json.loads((Path(__file__).parent / "vectors" / "lcm.json").read_text(encoding="utf-8"))


def written(path, events):
    with LogWriter(path) as log:
        for event in events:
            log.write(*event)
    return path


EVENTS = [(1_000_000, "ADC", b"hello"), (1_500_000, "IMAGE", bytes(3_000_000)), (1_500_001, "", b"")]


def test_what_is_written_is_read(tmp_path):
    with LogReader(written(tmp_path / "log", EVENTS)) as log:
        assert list(log) == [LogEvent(n, *event) for n, event in enumerate(EVENTS)]
        assert (log.position, log.skipped, log.truncated) == (log.size, 0, False)
    assert log.size == (tmp_path / "log").stat().st_size


def test_the_recorded_log_of_lcm_logger_is_read_and_written_alike(tmp_path):
    """Its whole events, and with their numbers and times the same bytes come out."""
    head = bytes.fromhex(VECTORS["log"]["first_600_bytes_hex"])
    (tmp_path / "theirs").write_bytes(head)
    with LogReader(tmp_path / "theirs") as log:
        events = list(log)
        assert log.truncated
    recorded = VECTORS["log"]["events"][: len(events)]
    assert [event.channel for event in events] == [one["channel"] for one in recorded]
    path = written(tmp_path / "ours", [(one.timestamp_us, one.channel, one.data) for one in events])
    assert path.read_bytes() == head[: VECTORS["log"]["events"][len(events)]["offset"]]


def test_a_file_that_exists_is_not_overwritten_unless_told(tmp_path):
    path = written(tmp_path / "log", EVENTS)
    with pytest.raises(FileExistsError):
        LogWriter(path)
    with LogWriter(path, overwrite=True) as log:
        log.write(0, "ADC", b"")
    assert path.read_bytes() == b"".join(encode_event(0, 0, "ADC", b""))


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_regular_file_is_refused_by_name(tmp_path, overwrite):
    """A pipe that nobody reads would be waited for without end, and none can be cut back."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match=r"(not a regular file|File exists): .*fifo"):
        LogWriter(path, overwrite=overwrite)
    with pytest.raises(OSError, match=re.escape(f"not a regular file: '{tmp_path}'")):
        LogWriter(tmp_path, overwrite=True)


def test_a_file_that_is_not_safely_on_the_disk_is_told(tmp_path, monkeypatch):
    """The system says so when it is asked at the end, and only then."""

    def refuse(_descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    log = LogWriter(tmp_path / "log")
    log.write(0, "ADC", b"hello")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        log.close()
    assert log._file.closed
    log.close()


def test_a_file_system_that_has_no_safer_place_is_no_error(tmp_path, monkeypatch):
    def refuse(_descriptor):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", refuse)
    assert written(tmp_path / "log", EVENTS[:1]).stat().st_size > 0


def test_flushed_events_are_whole_in_the_file(tmp_path):
    path = tmp_path / "log"
    with LogWriter(path) as log:
        log.write(0, "ADC", b"one")
        assert path.read_bytes() == b""
        log.flush()
        assert path.read_bytes() == b"".join(encode_event(0, 0, "ADC", b"one"))
        log.flush()
        log.write(0, "ADC", bytes(1 << 20))
        assert len(path.read_bytes()) > 1 << 20, "much data does not wait"
    log.close()


def test_a_full_disk_leaves_whole_events(tmp_path):
    """The write takes a part and fails then, as on a full disk; what was whole before stays."""
    path = tmp_path / "log"
    log = LogWriter(path)
    log.write(0, "ADC", b"good")
    log.flush()
    whole = path.read_bytes()
    real, calls = log._file, []

    class FullDisk:
        closed = False

        def write(self, data):
            calls.append(len(data))
            if len(calls) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real.write(data[:10])

        def __getattr__(self, name):
            return getattr(real, name)

    log._file = FullDisk()
    log.write(0, "ADC", b"too much")
    log.write(0, "ADC", b"and more")
    with pytest.raises(OSError, match="No space left"):
        log.flush()
    log.close()
    assert path.read_bytes() == whole
    assert (log.events, log.written, log.written_bytes) == (3, 1, len(whole))
    assert real.closed


def test_damage_is_skipped_and_counted(tmp_path):
    path = written(tmp_path / "log", EVENTS[:1])
    path.write_bytes(b"noise" + path.read_bytes() + b"noise" + path.read_bytes()[:-1])
    with LogReader(path) as log:
        assert [event.data for event in log] == [b"hello"]
        assert log.skipped == 10
        assert log.truncated


def test_an_empty_log_has_no_events(tmp_path):
    (tmp_path / "log").touch()
    with LogReader(tmp_path / "log") as log:
        assert list(log) == []
        assert not log.truncated


def dues(timeline, *seconds):
    return [timeline.due(round(one * 1e6)) for one in seconds]


@pytest.mark.parametrize(
    ("timeline", "expected"),
    [
        (Timeline(1.0), [0.0, 1.0, 1.5, 11.5]),
        (Timeline(2.0), [0.0, 0.5, 0.75, 5.75]),
        (Timeline(0.5), [0.0, 2.0, 3.0, 23.0]),
        (Timeline(None), [0.0, 0.0, 0.0, 0.0]),
        (Timeline(1.0, 2.0), [0.0, 1.0, 1.5, 3.5]),
    ],
)
def test_events_keep_their_distances(timeline, expected):
    assert dues(timeline, 100.0, 101.0, 101.5, 111.5) == pytest.approx(expected)


def test_a_clock_that_was_set_back_makes_no_pause_and_no_hurry():
    assert dues(Timeline(1.0), 100.0, 101.0, 50.0, 52.0) == pytest.approx([0.0, 1.0, 1.0, 3.0])


@pytest.mark.parametrize("arguments", [(0,), (-1.0,), (float("nan"),), (1.0, 0.0)])
def test_a_speed_or_pause_that_is_none_is_refused(arguments):
    with pytest.raises(ValueError, match="is more than 0"):
        Timeline(*arguments)
