"""What `watch` shows, as text."""

from __future__ import annotations

import dataclasses
import io
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets import _watch_screen
from mxl_sockets._status_document import StatusDocument
from mxl_sockets._watch_screen import Screen, duration, is_screen, plain_line, printable, screen_lines

QUIET = StatusDocument(
    process=4242,
    address="127.0.0.1:31415",
    age_s=0.0,
    steps=0,
    steps_per_s=0.0,
    paused=False,
    bound=0,
    missing=0,
    late=0,
    orphaned=0,
    waiting=0,
    dropped=0,
    drivers=[],
    late_s=[],
    missing_ids=[],
    orphans=[],
    waiting_peers=[],
    losses=[],
    replies=0,
    mean_s=0.0,
    maximum_s=0.0,
    histogram=[],
)
BUSY = dataclasses.replace(
    QUIET,
    steps=1200,
    steps_per_s=20.14,
    bound=99,
    missing=1,
    late=2,
    orphaned=1,
    waiting=3,
    dropped=2,
    paused=True,
    drivers=[(one, f"node-{one}:5000", 1) for one in range(99)],
    late_s=[(17, 3.25, "node-17:5000", 1), (3, 0.5, "node-3:5000", 1)],
    missing_ids=[4],
    orphans=[(4, "", 1)],
    losses=[(600.0, "node-5:5000: closed"), (120.0, "node-4:5000 (molecule 4): closed")],
    replies=100,
    mean_s=0.0012,
    maximum_s=0.031,
    histogram=[(0.001024, 80), (0.002048, 0), (0.032768, 20)],
)


def test_a_hub_without_molecules():
    assert screen_lines(QUIET) == [
        "hub 127.0.0.1:31415, process 4242",
        "steps      0, 0 steps/s",
        "molecules  0 served",
    ]
    assert plain_line(QUIET) == "step 0; 0 steps/s; 0 served"


COUNTS = "99 served, 1 missing, 2 awaited, 1 without a driver in the step, 3 drivers waiting (paused)"


def test_a_hub_with_much_to_tell():
    assert screen_lines(BUSY) == [
        "hub 127.0.0.1:31415, process 4242",
        "steps      1200, 20.1 steps/s",
        f"molecules  {COUNTS}",
        "held by",
        "  molecule 17 for 3.2 s, node-17:5000",
        "  molecule 3 for 500 ms, node-3:5000",
        "  molecule 4, no driver",
        "missing    molecule 4",
        "replies    100, mean 1.2 ms, longest 31 ms",
        "  < 1.02 ms ######################################## 80 %",
        "  < 32.8 ms ########## 20 %",
        "drivers",
        *(f"  molecule {one}, node-{one}:5000" for one in range(8)),
        "  and 91 more",
        "lost       2, the latest:",
        "  2.0 min ago, node-4:5000 (molecule 4): closed",
        "  10.0 min ago, node-5:5000: closed",
    ]
    assert plain_line(BUSY) == (
        f"step 1200; 20.1 steps/s; {COUNTS}; held by molecule 17 for 3.2 s, node-17:5000 and 2 more; 2 lost"
    )


def test_of_a_crowd_that_holds_a_step_the_first_are_named_and_all_are_counted():
    crowd = dataclasses.replace(
        QUIET,
        late=5000,
        late_s=[(one, 9.0, f"p:{one}", 1) for one in range(100)],
        missing=500,
        missing_ids=list(range(100)),
    )
    lines = screen_lines(crowd)
    assert lines[4] == "  molecule 0 for 9.0 s, p:0"
    assert "  and 4992 more" in lines
    assert lines[-1] == "missing    molecule   0,  1,  2,  3,  4,  5,  6,  7,  and 492 more".replace(
        "molecule   0", "molecule 0"
    )


def test_crowds_with_one_peer_are_a_line_each_and_count_as_many():
    groups = dataclasses.replace(
        QUIET,
        bound=250,
        drivers=[(0, "p:1, group a", 100), (100, "p:2, group b", 150)],
        late=210,
        late_s=[(0, 9.0, "p:1, group a", 100), (100, 8.0, "p:2, group b", 10)],
        orphaned=50,
        orphans=[(300, "group c", 50)],
    )
    assert screen_lines(groups)[3:] == [
        "held by",
        "  molecule 0 and 99 more for 9.0 s, p:1, group a",
        "  molecule 100 and 9 more for 8.0 s, p:2, group b",
        "  molecule 300 and 49 more, group c, no driver",
        "  and 100 more",
        "drivers",
        "  molecule 0 and 99 more, p:1, group a",
        "  molecule 100 and 149 more, p:2, group b",
    ]
    assert plain_line(groups).endswith("held by molecule 0 and 99 more for 9.0 s, p:1, group a and 160 more")


def test_a_status_that_is_old_says_so():
    old = dataclasses.replace(QUIET, age_s=2.5)
    assert screen_lines(old)[0].endswith("busy: as of 2.5 s ago")
    assert plain_line(old).endswith("as of 2.5 s ago")


def test_a_hub_that_is_stopping_has_no_address():
    assert screen_lines(dataclasses.replace(QUIET, address=""))[0] == "hub (stopped), process 4242"


@given(st.text(max_size=50))
@settings(derandomize=True, deadline=None, database=None, max_examples=100)
def test_what_peers_say_cannot_steer_a_terminal(text):
    """A stranger's words stand in losses."""
    said = dataclasses.replace(
        BUSY,
        losses=[(1.0, text)],
        late_s=[(1, 1.0, text, 1)],
        drivers=[(0, text, 1)],
        orphans=[(2, text, 1)],
        address=text,
    )
    for line in (*screen_lines(said), plain_line(said), printable(text)):
        assert line.isprintable()


@given(st.floats(0, 1e9))
@settings(derandomize=True, deadline=None, database=None, max_examples=200)
def test_a_duration_is_what_it_says(seconds):
    number, unit = duration(seconds).split()
    size = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}[unit]
    assert float(number) * size == pytest.approx(seconds, rel=0.05, abs=0.5e-6)


# -- the terminal --------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def size(monkeypatch):
    monkeypatch.setattr(
        _watch_screen.shutil, "get_terminal_size", lambda: os.terminal_size((20, 4)), raising=True
    )


def test_lines_are_written_over_in_place(size):
    terminal = Terminal()
    with Screen(terminal) as screen:
        screen.show(["one", "two"])
        screen.show(["three"])
    assert terminal.getvalue() == (
        "\x1b[?25l\rone\x1b[K\n\rtwo\x1b[K\n\x1b[J\x1b[2A\rthree\x1b[K\n\x1b[J\x1b[?25h"
    )


def test_what_does_not_fit_is_cut(size):
    """Else a line would be two, and going up by the number of lines would leave some behind."""
    terminal = Terminal()
    with Screen(terminal) as screen:
        screen.show(["x" * 50] * 10)
    assert terminal.getvalue().count("x" * 19 + "\x1b[K") == 3
    assert "x" * 20 not in terminal.getvalue()


def test_the_cursor_comes_back_after_an_exception():
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), Screen(terminal):
        raise KeyboardInterrupt
    assert terminal.getvalue().endswith("\x1b[?25h")


def test_a_screen_is_a_terminal_that_is_not_dumb(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert is_screen(Terminal())
    assert not is_screen(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_screen(Terminal())
    closed = io.StringIO()
    closed.close()
    assert not is_screen(closed)
