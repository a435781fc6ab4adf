"""What ``watch`` looks like: lines, bars, colours."""

from __future__ import annotations

import io

import pytest

from echo_rig import ExpMessage
from echo_rig._commands._display import Line, Screen, is_screen
from echo_rig._commands._rows import Row, summary, table
from echo_rig._pulse import Pace, Pulse
from echo_rig.events import Event


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    for name, value in (("COLUMNS", "20"), ("LINES", "4"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture
def rows():
    live = Pulse(Pace(), 0.0)
    live.heard(99.0, round_trip_s=0.00021)
    live.look(99.5)
    event = Event(ExpMessage.EXPSTATUS, [20], ("127.0.0.1", 1))
    return [
        Row("rig1", "udp://10.0.0.1:11001", live, event=event, event_at=40.0),
        Row("a rig with a name that is far too long", "udp://10.0.0.2:11001"),
        Row("rig3", "tcp://10.0.0.3:11001", problem="connection lost"),
    ]


def test_the_table_is_aligned_and_says_everything_about_each_rig(rows):
    lines = [line.text for line in table(rows, 100.0, 5)]
    assert [line.rstrip() for line in lines] == [
        "  1 of 3 live   a rig with a name that is far too long LATE   rig3 GONE",
        "  RIG                        STATE   ROUND TRIP   HEARD     AGE   LAST EVENT",
        "  rig1                       LIVE       0.21 ms     1 s   1 min   EXPSTATUS [20]",
        "  a rig with a name tha...   LATE             -       -       -   -",
        "  rig3                       GONE             -       -       -   connection lost",
    ]
    assert summary(rows[:1]) == "1 of 1 live"


@pytest.mark.parametrize(("height", "lines_each"), [(100, 4), (15, 4), (14, 2), (9, 2), (8, 1), (3, 1)])
def test_bars_are_as_tall_as_the_screen_allows(rows, height, lines_each):
    lines = list(table(rows, 100.0, height))
    assert len(lines) == 2 + lines_each * len(rows)
    styles = [line.style for line in lines[2:] if line.style]
    assert list(dict.fromkeys(styles)) == ["30;42", "30;43", "1;97;41"]


def test_a_screen_is_written_over_and_cut_to_its_size():
    stream = Terminal()
    with Screen(stream) as screen:
        screen.show([Line("x" * 50), Line("bar", "30;42"), Line(""), Line("does not fit")])
        screen.show([Line("one")])
    first, second = stream.getvalue().split("\x1b[3A")
    assert first == (
        f"\x1b[?25l\r{'x' * 19}\x1b[K\n\r\x1b[30;42mbar{' ' * 16}\x1b[0m\x1b[K\n\r\x1b[K\n\x1b[J"
    )
    assert second == "\rone\x1b[K\n\x1b[J\x1b[?25h"


def test_no_colours_for_those_who_do_not_want_them(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    Screen(stream).show([Line("bar", "30;42")])
    assert stream.getvalue() == "\rbar\x1b[K\n\x1b[J"


def test_files_dumb_terminals_and_closed_streams_are_no_screens(monkeypatch):
    assert is_screen(Terminal())
    assert not is_screen(io.StringIO())
    closed = io.StringIO()
    closed.close()
    assert not is_screen(closed)
    monkeypatch.setenv("TERM", "dumb")
    assert not is_screen(Terminal())
