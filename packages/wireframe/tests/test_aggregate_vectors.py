"""The aggregate codec against bytes that a real peer wrote (MaxwellLink 0.5.0): both ways, both forms."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from wireframe import aggregate

VECTORS = {
    one["name"]: one
    for one in json.loads(
        Path(__file__).with_name("vectors").joinpath("mxl-sockets.json").read_text(encoding="utf-8")
    )["vectors"]
    if one["name"].startswith("agg/")
}
# In which the peer merges 0.0 and -0.0; we read it and never write it.
MERGED = "agg/step-zero-signs-merged"
STEPS = [name for name in VECTORS if name.startswith("agg/step-") and name not in {MERGED, "agg/step-block"}]
RESULTS = [name for name in VECTORS if name.startswith("agg/result-") and name != "agg/result-block"]
HELLOS = [name for name in VECTORS if name.startswith("agg/hello")]
INITS = [name for name in VECTORS if name.startswith("agg/init-")]
BLOCKS = ["agg/step-block", "agg/result-block"]


def golden(name):
    data = bytes.fromhex(VECTORS[name]["bytes"])
    assert len(data) == VECTORS[name]["len"]
    return data


def vector(numbers):
    return b"".join(bytes.fromhex(one["f64"]) for one in numbers)


def decoded(data, feed_all, **options):
    (event,) = feed_all(aggregate.Decoder(**options), [data])
    return event


def test_every_vector_is_tested():
    assert sorted([MERGED, *STEPS, *RESULTS, *HELLOS, *INITS, *BLOCKS]) == sorted(VECTORS)


@pytest.mark.parametrize("name", HELLOS)
def test_hello_both_ways(name, feed_all):
    group_id = VECTORS[name]["meaning"]["group_id"]
    assert aggregate.encode_hello(group_id) == golden(name)
    assert decoded(golden(name), feed_all) == aggregate.Hello(group_id)


@pytest.mark.parametrize("name", INITS)
def test_init_both_ways(name, feed_all):
    said = json.loads(VECTORS[name]["meaning"]["json_text"])
    payloads = {one: said["init_payloads"][str(one)] for one in said["molecule_ids"]}
    assert aggregate.encode_init(said["group_id"], payloads) == golden(name)
    event = decoded(golden(name), feed_all)
    assert event == aggregate.GroupInit(said["group_id"], payloads)
    assert list(event.payloads) == said["molecule_ids"]


@pytest.mark.parametrize("name", STEPS)
def test_scalar_step_both_ways(name, feed_all):
    meaning = VECTORS[name]["meaning"]
    requests = {int(one): vector(field) for one, field in meaning["requested"].items()}
    assert aggregate.encode_step(requests) == golden(name)
    event = decoded(golden(name), feed_all, accept=aggregate.FROM_HUB)
    assert event.fields == b"".join(map(vector, meaning["unique_fields"]))
    assert list(aggregate.STEP_RECORD.iter_unpack(event.records)) == [
        tuple(one) for one in meaning["records"]
    ]
    assert event.requests() == requests
    assert event.ids() == tuple(requests)
    assert event.field_block() == b"".join(requests.values())


def test_zeros_of_either_sign_are_read_as_the_peer_merged_them_and_kept_apart_by_us(feed_all):
    """Its table has one field for both; ours has two, which every decoder accepts."""
    requests = {int(one): vector(field) for one, field in VECTORS[MERGED]["meaning"]["requested"].items()}
    plus, minus = requests.values()
    assert plus != minus
    assert decoded(golden(MERGED), feed_all).requests() == {0: plus, 1: plus}
    ours = aggregate.encode_step(requests)
    assert aggregate.STEP_HEAD.unpack_from(ours)[1:] == (2, 2)
    assert decoded(ours, feed_all).requests() == requests


@pytest.mark.parametrize("name", RESULTS)
def test_scalar_result_both_ways(name, feed_all):
    meaning = VECTORS[name]["meaning"]
    rest, answers = bytes.fromhex(meaning["extras_hex"]), {}
    for one in meaning["records"]:
        extra, rest = rest[: one["extra_len"]], rest[one["extra_len"] :]
        answers[one["molecule_id"]] = (vector(one["amp"]), extra)
    assert aggregate.encode_result(answers) == golden(name)
    event = decoded(golden(name), feed_all, accept=aggregate.FROM_BRIDGE)
    assert event.answers() == answers
    assert event.ids() == tuple(answers)
    assert event.amplitude_block() == b"".join(amplitude for amplitude, _ in answers.values())
    assert event.extra_list() == [extra for _, extra in answers.values()]
    ids = struct.pack(f"<{len(answers)}i", *answers)
    assert b"".join(
        aggregate.encode_result_block(ids, event.amplitude_block(), event.extra_list())
    ) == golden(name)


def test_block_step_both_ways(feed_all):
    meaning = VECTORS["agg/step-block"]["meaning"]
    ids = [molecule_id for molecule_id, _ in meaning["records"]]
    fields = b"".join(map(vector, meaning["unique_fields"]))
    assert b"".join(aggregate.encode_step_block(ids, fields)) == golden("agg/step-block")
    event = decoded(golden("agg/step-block"), feed_all)
    assert (event.ids(), event.fields, event.field_block()) == (tuple(ids), fields, fields)
    # Of fields that differ the scalar form makes the same bytes.
    assert aggregate.encode_step(event.requests()) == golden("agg/step-block")


def test_block_result_both_ways(feed_all):
    event = decoded(golden("agg/result-block"), feed_all)
    assert list(event.ids()) == VECTORS["agg/result-block"]["meaning"]["ids"]
    assert event.extra_list() == [b"", b""]
    made = aggregate.encode_result_block(event.ids(), event.amplitude_block())
    assert b"".join(made) == golden("agg/result-block")
    assert aggregate.encode_result(event.answers()) == golden("agg/result-block")
