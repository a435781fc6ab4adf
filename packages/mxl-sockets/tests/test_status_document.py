"""The document of a status socket: bounded whatever the hub, and believed only if it is one."""

from __future__ import annotations

import contextlib
import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mxl_sockets._status_document import LARGEST, LISTED, decode_document, encode_document
from mxl_sockets.status import HubStatus, Loss, ReplyTimes

STATUS = HubStatus(
    address=("127.0.0.1", 31415),
    bound={0: "127.0.0.1:5001", 1: "127.0.0.1:5002"},
    missing=[4],
    waiting=["127.0.0.1:5003"],
    late={1: 2.5},
    paused=False,
    steps=12,
    dropped=1,
    last_error="127.0.0.1:5000: closed",
    reply_times=ReplyTimes(24, 0.001, 0.5, {0.001024: 20, 1.048576: 4}),
    orphaned=[4],
    steps_per_s=3.5,
    losses=[Loss(60.0, "127.0.0.1:5000: closed")],
)


def test_a_document_says_all_of_a_small_hub():
    read = decode_document(encode_document(STATUS, 0.25, 4242))
    assert (read.process, read.address, read.age_s) == (4242, "127.0.0.1:31415", 0.25)
    assert (read.steps, read.steps_per_s, read.paused) == (12, 3.5, False)
    assert (read.bound, read.missing, read.late, read.orphaned, read.waiting, read.dropped) == (
        2,
        1,
        1,
        1,
        1,
        1,
    )
    assert read.drivers == [(0, "127.0.0.1:5001", 1), (1, "127.0.0.1:5002", 1)]
    assert (read.missing_ids, read.orphans) == ([4], [(4, "", 1)])
    assert read.waiting_peers == ["127.0.0.1:5003"]
    assert (read.replies, read.mean_s, read.maximum_s) == (24, 0.001, 0.5)
    assert read.histogram == [(0.001024, 20), (1.048576, 4)]


def test_waits_and_losses_are_as_old_as_they_are_when_told():
    read = decode_document(encode_document(STATUS, 0.25, 1))
    assert read.late_s == [(1, 2.75, "127.0.0.1:5002", 1)]
    assert read.losses == [(60.25, "127.0.0.1:5000: closed")]


def test_a_group_is_one_entry_with_its_name_however_many_it_has():
    """So that no group crowds another one out."""
    many = 3 * LISTED
    groups = {one: f"node-{one // many}" for one in range(4 * many)}
    status = dataclasses.replace(
        STATUS,
        bound={one: f"peer-{one // many}" for one in range(3 * many)},
        late={one: float(one // many) for one in range(2 * many)},
        orphaned=list(range(3 * many, 4 * many)),
        groups=groups,
    )
    read = decode_document(encode_document(status, 0.0, 1))
    assert read.late_s == [
        (many, 1.0, "peer-1, group node-1", many),
        (0, 0.0, "peer-0, group node-0", many),
    ]
    assert read.orphans == [(3 * many, "group node-3", many)]
    assert [(who, count) for _, who, count in read.drivers] == [
        (f"peer-{one}, group node-{one}", many) for one in range(3)
    ]
    assert (read.late, read.orphaned, read.bound) == (2 * many, many, 3 * many)


def test_it_is_one_line():
    data = encode_document(STATUS, 0.0, 1)
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")


@pytest.mark.parametrize(("address", "text"), [("/run/hub", "/run/hub"), (("::1", 5), "[::1]:5"), (None, "")])
def test_the_address_is_told_as_it_is_typed(address, text):
    status = HubStatus(address, {}, [], [], {}, False, 0, 0, None, ReplyTimes())
    assert decode_document(encode_document(status, 0.0, 1)).address == text


def test_of_a_large_hub_everything_is_counted_and_little_is_listed():
    """Of the late ones those that are late longest."""
    many = 200_000
    status = HubStatus(
        address=("127.0.0.1", 1),
        bound={one: f"{one:0100}" for one in range(many)},
        missing=list(range(many)),
        waiting=["w" * 100] * many,
        late={one: float(one) for one in range(many)},
        paused=True,
        steps=1,
        dropped=1,
        last_error=None,
        reply_times=ReplyTimes(1, 1.0, 1.0, {2.0**one: 1 for one in range(32)}),
        orphaned=list(range(many)),
        losses=[Loss(1.0, "l" * 10_000)] * 16,
    )
    data = encode_document(status, 0.0, 1)
    assert len(data) < LARGEST // 8
    read = decode_document(data)
    assert {read.bound, read.missing, read.late, read.orphaned, read.waiting} == {many}
    assert len(read.drivers) == len(read.late_s) == len(read.missing_ids) == LISTED
    assert read.late_s[0][:2] == (many - 1, many - 1.0)


# -- what is not one -----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"{}",
        b'{"format": 2}',
        b'{"format": 1}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_status_is_refused(data):
    with pytest.raises(ValueError, match=r"this is no status|this status has no"):
        decode_document(data)


def changed(name, value):
    document = json.loads(encode_document(STATUS, 0.0, 1))
    document[name] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", "12"),
        ("steps", 1.5),
        ("steps", True),
        ("paused", 1),
        ("address", None),
        ("steps_per_s", "fast"),
        ("drivers", {}),
        ("drivers", [[1]]),
        ("drivers", [[1, 2]]),
        ("drivers", [5]),
        ("missing_ids", ["4"]),
        ("missing_ids", [4] * (LISTED + 1)),
        ("late_s", [[1, "long", "peer", 1]]),
        ("histogram", [[1.0, 2, 3]]),
        ("age_s", 10**400),
    ],
)
def test_what_has_another_shape_is_refused(name, value):
    with pytest.raises(ValueError, match="a status has"):
        decode_document(changed(name, value))


def test_a_whole_number_may_stand_for_a_time():
    assert decode_document(changed("age_s", 3)).age_s == 3.0


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=10,
    ),
    st.sampled_from(sorted(json.loads(encode_document(STATUS, 0.0, 1)))),
)
@settings(derandomize=True, deadline=None, database=None, max_examples=200)
def test_whatever_stands_anywhere_is_read_or_refused(value, name):
    with contextlib.suppress(ValueError):
        decode_document(changed(name, value))
