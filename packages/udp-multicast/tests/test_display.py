"""What a terminal shows."""

from __future__ import annotations

import io
import os

import pytest

from udp_multicast._display import ProgressBar, Screen, can_show, is_terminal, quantity, sparkline


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def small_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("LINES", "4")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.5, "0.5"),
        (999, "999"),
        (999.6, "1 k"),
        (1000, "1 k"),
        (123456, "123 k"),
        (1e21, "1e+03 E"),
    ],
)
def test_numbers_have_three_digits_and_a_prefix(value, text):
    assert quantity(value) == text


def test_a_sparkline_goes_from_zero_to_the_largest():
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([1, 1]) == "██"
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8]) == "▁▂▃▄▅▆▇██"


@pytest.mark.parametrize(("encoding", "expected"), [("utf-8", True), ("ascii", False), ("latin-1", False)])
def test_characters_are_tried_before_they_are_written(encoding, expected):
    assert can_show(io.TextIOWrapper(io.BytesIO(), encoding=encoding)) is expected


def test_a_stream_without_encoding_gets_ascii():
    assert not can_show(io.StringIO())


def test_a_closed_stream_is_no_terminal():
    stream = io.StringIO()
    assert not is_terminal(stream)
    stream.close()
    assert not is_terminal(stream)


def test_a_screen_is_written_over_in_place():
    """The second picture begins where the first did; what is too wide or too high is cut."""
    stream = Terminal()
    screen = Screen(stream)
    screen.show(["one", "x" * 30, "three", "four"])
    assert stream.getvalue() == f"\rone\x1b[K\n\r{'x' * 19}\x1b[K\n\rthree\x1b[K\n\x1b[J"
    stream.seek(0)
    stream.truncate()
    screen.show(["two"])
    assert stream.getvalue() == "\x1b[3A\rtwo\x1b[K\n\x1b[J"


def test_a_progress_bar_is_drawn_now_and_then_and_wiped_in_the_end(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    now = [0.0]
    stream = Terminal()
    with ProgressBar(10, stream, lambda: now[0]) as bar:
        bar.update(0)
        bar.update(1)
        now[0] = 1.0
        bar.update(5, "half")
        now[0] = 2.0
        bar.update(20)
    drawn = stream.getvalue().split("\r")
    assert [line.removesuffix("\x1b[K") for line in drawn] == [
        "",
        "-" * 30 + "   0% ",
        "#" * 15 + "-" * 15 + "  50% half",
        "#" * 30 + " 100% ",
        "",
    ]


def test_a_job_of_unknown_size_is_shown_without_dividing_by_it():
    stream = Terminal()
    with ProgressBar(0, stream) as bar:
        bar.update(3)
    assert stream.getvalue()


def test_elsewhere_a_progress_bar_writes_nothing():
    stream = io.StringIO()
    with ProgressBar(10, stream) as bar:
        bar.update(5)
    assert stream.getvalue() == ""


if hasattr(os, "openpty"):

    def test_a_real_terminal_is_known_as_one():
        leader, follower = os.openpty()
        with os.fdopen(follower, "w") as stream:
            assert is_terminal(stream)
        os.close(leader)
