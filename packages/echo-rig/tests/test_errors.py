"""Errors of a round say who is missing, and survive copying."""

from __future__ import annotations

import asyncio
import copy
import pickle

import pytest

from echo_rig.errors import RemoteError, RigsFailed, RigsSilent, RoundError

FAILURES = {"a": TimeoutError("no echo"), "b": RemoteError("ValueError: boom", ("127.0.0.1", 5))}


@pytest.mark.parametrize(("kind", "builtin"), [(RigsSilent, TimeoutError), (RigsFailed, RuntimeError)])
def test_a_round_error_is_also_a_builtin_one(kind, builtin):
    error = kind("two of three", {"c": [42]}, FAILURES, {"c": 0.25})
    assert isinstance(error, builtin)
    assert isinstance(error, RoundError)
    for one in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(one) is kind
        assert str(one) == "two of three"
        assert (one.results, one.timings, one.silent) == ({"c": [42]}, {"c": 0.25}, ("a",))
        assert list(one.failures) == ["a", "b"]


def test_silence_is_a_timeout_for_older_programs():
    assert issubclass(RigsSilent, asyncio.TimeoutError)


def test_without_details():
    error = RoundError("nothing known")
    assert (error.results, error.failures, error.timings, error.silent) == ({}, {}, {}, ())


def test_a_remote_error_shows_the_text_of_the_other_end():
    error = pickle.loads(pickle.dumps(FAILURES["b"]))
    assert str(error) == error.text == "ValueError: boom"
    assert error.address == ("127.0.0.1", 5)
    assert RemoteError("x").address is None
