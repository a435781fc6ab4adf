"""The errors: their tree, their numbers, and that they travel."""

from __future__ import annotations

import copy
import pickle

import pytest

from wireframe import BadHeader, BadPayload, FrameError, FrameTooLarge, TruncatedFrame

ALL = [
    FrameError("odd", b"GET / HTTP/1.1"),
    BadHeader("odd", b"GET / HTTP/1.1"),
    BadPayload("odd"),
    FrameTooLarge("body", 11, 10, b"11"),
    TruncatedFrame(3, 12, b"STA"),
]


@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_every_error_is_a_frame_error_and_a_value_error(error):
    assert isinstance(error, FrameError)
    assert isinstance(error, ValueError)


def test_the_excerpt_is_the_first_32_bytes_as_bytes():
    error = BadHeader("odd", bytearray(range(100)))
    assert error.excerpt == bytes(range(32))
    assert type(error.excerpt) is bytes
    assert BadHeader("odd").excerpt == b""


def test_too_large_tells_both_numbers():
    error = FrameTooLarge("body", 11, 10)
    assert (error.size, error.limit) == (11, 10)
    assert str(error) == "peer announced body 11, the limit is 10"


def test_truncated_tells_both_numbers():
    error = TruncatedFrame(3, 12)
    assert (error.got, error.expected) == (3, 12)
    assert str(error) == "stream ended after 3 of at least 12 bytes"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("error", ALL, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied_and_sent_to_another_process(error, again):
    other = again(error)
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)
    assert other is not error
