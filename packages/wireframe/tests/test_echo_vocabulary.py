"""Events and states: the golden numbers, the names that mean them, and nothing that strangers can grow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wireframe.echo import LISTEN_PORT, PROTOCOL_VERSION, ExpMessage, ExpStatus

VECTORS = json.loads((Path(__file__).parent / "vectors" / "echo-rig.json").read_text(encoding="utf-8"))
EVENTS = {
    name: value for name, value in VECTORS["tables"]["events"].items() if name in ExpMessage.__members__
}


def test_events_and_their_numbers_are_those_of_the_original():
    assert {name: int(one) for name, one in ExpMessage.__members__.items()} == EVENTS
    assert len(EVENTS) == 8


def test_any_is_all_events_and_not_the_error():
    assert ExpMessage.any() == VECTORS["tables"]["events"]["any()"] == 255
    assert list(ExpMessage.any()) == list(ExpMessage)


def test_states_and_their_numbers_are_those_of_the_original():
    assert {name: int(one) for name, one in ExpStatus.__members__.items()} == VECTORS["tables"]["statuses"]


def test_port_and_versions_are_those_of_the_original():
    assert VECTORS["default_port"] == LISTEN_PORT
    versions = {PROTOCOL_VERSION, ExpMessage.__version__, ExpStatus.__version__, VECTORS["protocol_version"]}
    assert versions == {"1.0.0"}


@pytest.mark.parametrize("event", [*ExpMessage, ExpMessage.any(), ExpMessage(0), ExpMessage(3)])
def test_an_event_in_a_text_is_its_number_on_every_python(event):
    assert f"{event}" == str(event) == json.dumps(event) == str(int(event))


def test_events_combine_and_take_apart():
    """Both in all Pythons alike, and the complement stays inside of the eight."""
    some = ExpMessage.EXPINIT | ExpMessage.ALYX
    assert list(some) == [ExpMessage.EXPINIT, ExpMessage.ALYX]
    assert some.bit_count() == 2
    assert ~some == 126
    assert ~some & some == ExpMessage(0)
    assert list(~ExpMessage.ALYX) == list(ExpMessage)[:-1]


def spellings(name):
    yield from (name, name.lower(), f" {name.title()} \n")
    yield from (short for short in (name.removeprefix("EXP"), name.removeprefix("EXP").lower()))


@pytest.mark.parametrize("name", EVENTS)
@pytest.mark.parametrize("allow_bitwise", [True, False])
def test_names_are_read_in_any_case_with_blanks_and_without_exp(name, allow_bitwise):
    for spelling in spellings(name):
        assert ExpMessage.validate(spelling, allow_bitwise) is ExpMessage[name]


def test_no_name_without_exp_is_ambiguous():
    short = [name.removeprefix("EXP") for name in EVENTS]
    assert len(set(short) | set(EVENTS)) == len(short) + len(EVENTS) - 1  # ALYX has no EXP


@pytest.mark.parametrize("name", ["", "EXP", "STOP", "any", "1", "EXPINIT|ALYX", "EXPEXPINIT", "__version__"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is no event"):
        ExpMessage.validate(name)


def test_a_long_name_is_not_quoted_whole():
    with pytest.raises(ValueError, match="is no event") as caught:
        ExpMessage.validate("x" * 100_000)
    assert len(str(caught.value)) < 300


def test_a_number_is_the_event_of_that_value():
    for value in range(256):
        assert ExpMessage.validate(value) == value
        assert type(ExpMessage.validate(value)) is ExpMessage
    assert ExpMessage.validate(True) is ExpMessage.EXPINIT


def test_an_event_is_itself():
    for event in (*ExpMessage, ExpMessage(0), ExpMessage.any()):
        assert ExpMessage.validate(event) is event


def test_negative_numbers_are_complements_as_in_the_original():
    """But never a single event, although -255 is the complement of all others."""
    for value in range(-256, 0):
        assert ExpMessage.validate(value) == value % 256
        with pytest.raises(ValueError, match="not a single event"):
            ExpMessage.validate(value, allow_bitwise=False)


def test_without_bitwise_only_the_eight_are_left():
    singles = set()
    for value in range(-300, 600):
        try:
            singles.add(ExpMessage.validate(value, allow_bitwise=False))
        except ValueError:
            continue
    assert singles == set(ExpMessage)
    for several in (ExpMessage(0), ExpMessage(3), ExpMessage.any()):
        with pytest.raises(ValueError, match="is not a single event"):
            ExpMessage.validate(several, allow_bitwise=False)


@pytest.mark.parametrize("other", [1.0, None, b"EXPINIT", [1], {}, (1,)])
def test_other_types_are_a_type_error(other):
    with pytest.raises(TypeError, match=type(other).__name__):
        ExpMessage.validate(other)


@given(st.integers().filter(lambda value: not -256 <= value <= 255))
def test_unknown_numbers_are_refused_and_leave_nothing_behind(value):
    """The original keeps every one for ever in its class."""
    before = len(ExpMessage._value2member_map_)
    with pytest.raises(ValueError, match="no event"):
        ExpMessage.validate(value)
    with pytest.raises(ValueError, match=r"."):
        ExpMessage(value)
    assert len(ExpMessage._value2member_map_) == before


def test_a_number_of_very_many_digits_is_not_worked_on():
    with pytest.raises(ValueError, match="no event") as caught:
        ExpMessage.validate(1 << 1_000_000)
    assert len(str(caught.value)) < 100


def test_all_that_is_ever_kept_are_combinations_of_the_eight():
    """In a fresh interpreter, where no other test has combined any."""
    program = (
        "from wireframe.echo import ExpMessage\n"
        "for value in range(-3000, 3000):\n"
        "    try: ExpMessage.validate(value, False)\n"
        "    except ValueError: pass\n"
        "print(len(ExpMessage._value2member_map_))\n"
        "for value in range(-3000, 3000):\n"
        "    try: ExpMessage.validate(value)\n"
        "    except ValueError: pass\n"
        "print(len(ExpMessage._value2member_map_))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=30)
    from_the_network, from_the_program = map(int, done.stdout.split())
    assert from_the_network == 8
    assert from_the_program <= 512  # 256 and their complements
