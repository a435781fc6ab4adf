"""Blocks, rows, INIT texts and frozen steps of an MPI hub, and what its drivers keep: all without MPI."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mxl_sockets import FrozenStepError, ModelError
from mxl_sockets.mpi._blocks import Assignment, partition
from mxl_sockets.mpi._book import HubBook
from mxl_sockets.mpi._initial import ParameterTexts, decode_initial, encode_initial
from mxl_sockets.mpi._keeper import Keeper
from mxl_sockets.mpi._models import ModelPerBlock
from mxl_sockets.mpi._rows import Order, Reply, Rows
from mxl_sockets.mpi._tails import decode_extras


@given(start=st.integers(0, 50), length=st.integers(0, 200), parts=st.integers(1, 20))
def test_a_partition_is_contiguous_complete_and_even(start, length, parts):
    """Every row once, in order; no part longer than another by more than one."""
    runs = partition(start, start + length, parts)
    assert [row for run in runs for row in range(*run)] == list(range(start, start + length))
    lengths = [stop - begin for begin, stop in runs]
    assert len(runs) == parts
    assert max(lengths) - min(lengths) <= 1


@given(count=st.integers(0, 60), ranks=st.integers(2, 8), data=st.data())
def test_whoever_dies_every_row_has_one_rank_and_survivors_keep_theirs(count, ranks, data):
    """Through any number of deaths; blocks that lived keep their keys."""
    assignment = Assignment(count, range(1, ranks + 1), itertools.count())
    while len(assignment.ranks) > 1:
        survivors = data.draw(st.lists(st.sampled_from(assignment.ranks), min_size=1, unique=True))
        survivors = [rank for rank in assignment.ranks if rank in survivors]
        before = {rank: [block.key for block in assignment.blocks(rank)] for rank in survivors}
        if len(survivors) == len(assignment.ranks):
            break
        assignment.hand_over(survivors)
        for rank in survivors:
            assert [block.key for block in assignment.blocks(rank)][: len(before[rank])] == before[rank]
        rows = sorted(row for rank in survivors for row in assignment.rows(rank))
        assert rows == list(range(count))
        keys = [block.key for rank in survivors for block in assignment.blocks(rank)]
        assert len(set(keys)) == len(keys)


@given(st.lists(st.lists(st.integers(0, 4), max_size=3), min_size=1, max_size=5))
def test_rows_carry_any_bits_to_any_blocks_and_back(sizes):
    """Headers apart, whatever the order of blocks: not a bit changes, NaN payloads neither."""
    runs, start = [], 0
    for blocks in sizes:
        runs.append([])
        for size in blocks:
            runs[-1].append((start, start + size))
            start += size
    rows = Rows(runs[::-1])
    words = np.random.default_rng(start).integers(-(2**63), 2**63 - 1, (start, 3))
    rows.set_headers(Order.STEP, 2**40, list(range(len(sizes))))
    rows.write(words.view(np.float64))
    assert (rows.read().view(np.int64) == words).all()
    assert rows.headers.tolist() == [[1, 2**40, index] for index in range(len(sizes))]
    assert sum(rows.counts) == len(rows.words) == 3 * (start + len(sizes))


def test_shared_parameters_are_sent_once_and_states_one_by_one():
    """A million molecules mostly have one mapping."""
    shared = {"dt_au": 0.5}
    texts = ParameterTexts({7: shared, 8: shared, 9: {"dt_au": 1.0}})
    assignment = Assignment(3, [1], itertools.count(5))
    text = encode_initial(assignment.blocks(1), [7, 8, 9], texts, {1: [1]}.get, extras=True)
    (block,) = json.loads(text)["blocks"]
    assert block["texts"] == ['{"dt_au": 0.5}', '{"dt_au": 0.5, "state": [1]}', '{"dt_au": 1.0}']
    extras, (told,) = decode_initial(text)
    assert (extras, told.key, told.count) == (True, 5, 3)
    assert told.molecules == {
        7: {"dt_au": 0.5, "molecule_id": 7},
        8: {"dt_au": 0.5, "state": [1], "molecule_id": 8},
        9: {"dt_au": 1.0, "molecule_id": 9},
    }
    assignment.acknowledge()
    again = decode_initial(encode_initial(assignment.blocks(1), [7, 8, 9], texts, {}.get, extras=True))
    assert again[1][0].molecules is None


def test_parameters_that_cannot_be_json_name_their_molecule():
    """Before anything is changed."""
    circle: dict = {}
    circle["self"] = circle
    book = HubBook([1])
    for payload, kind in (({"x": {1}}, TypeError), (circle, ValueError)):
        with pytest.raises(kind, match="molecule 4"):
            book.bind({3: {}, 4: payload})
    assert book.ids == ()


class Counting:
    """A block model that tells how often it was asked."""

    def __init__(self):
        self.calls = []

    def make(self, molecules):
        return ModelPerBlock(lambda found: lambda fields: self.step(tuple(found), fields), molecules)

    def step(self, molecules, fields):
        self.calls.append(molecules)
        return fields + len(self.calls)


def init(keeper, assignment, ids):
    texts = ParameterTexts({one: {} for one in ids})
    keeper.initialise(encode_initial(assignment.blocks(1), ids, texts, {}.get, extras=False), 0)


def test_a_repeated_step_gives_the_kept_answer_and_only_new_blocks_step():
    """The heart of the replay: known by the number, block by block."""
    model, keys, ids = Counting(), itertools.count(), [10, 11, 12]
    keeper = Keeper(model.make)
    assignment = Assignment(3, [1, 2], keys)
    init(keeper, assignment, ids)
    keeper.answer(1, np.zeros((2, 3)))
    first = keeper.reply.copy()
    keeper.answer(1, np.zeros((2, 3)))
    assert (keeper.reply == first).all()
    assert model.calls == [(10, 11)]
    assignment.acknowledge()
    assignment.hand_over([1])
    init(keeper, assignment, ids)
    keeper.answer(1, np.zeros((3, 3)))
    assert model.calls == [(10, 11), (12,)]
    assert keeper.reply.view(np.float64)[1:, 0].tolist() == [1, 1, 2]
    keeper.answer(2, np.zeros((3, 3)))
    assert model.calls[2:] == [(10, 11), (12,)]
    assert keeper.steps == 2
    assert keeper.reply[0].tolist() == [Reply.DONE, 2, 0]


def test_a_block_that_the_hub_counts_on_and_nobody_has_is_a_failure():
    """Never zeros in the place of answers."""
    keeper = Keeper(Counting().make)
    assignment = Assignment(2, [1], itertools.count())
    assignment.acknowledge()
    init(keeper, assignment, [1, 2])
    keeper.answer(1, np.zeros((2, 3)))
    assert keeper.reply[0, 0] == Reply.FAILED
    assert b"counts on" in keeper.tail
    assert isinstance(keeper.failure, ModelError)


def test_a_frozen_step_keeps_number_and_fields_through_deaths():
    """Only the same bits continue it; -0.0 is not 0.0."""
    book = HubBook([1, 2, 3])
    book.bind({one: {} for one in range(5)})
    book.told()
    fields = np.arange(15.0).reshape(5, 3)
    book.freeze(fields)
    frozen = fields.copy()
    fields += 1
    with pytest.raises(FrozenStepError):
        book.freeze(fields)
    with pytest.raises(FrozenStepError):
        book.bind({1: {}})
    other = frozen.copy()
    other[0, 0] = -0.0
    for survivors in ([1, 3], [3]):
        book.lose(survivors)
        with pytest.raises(FrozenStepError):
            book.freeze(other)
        book.freeze(frozen)
    assert (book.number, book.lost, book.generation) == (1, [2, 1], 2)
    book.told()
    assert (book.outgoing.read() == frozen).all()
    book.finish([])
    book.freeze(fields)
    assert book.number == 2


def test_an_answer_to_another_step_is_never_taken():
    """The echo of the number is compared for every rank."""
    book = HubBook([4, 9])
    book.bind({1: {}, 2: {}})
    book.told()
    book.freeze(np.zeros((2, 3)))
    book.expect()
    assert book.late_ranks() == [4, 9]
    book.incoming.set_headers(Reply.DONE, 1)
    assert book.late_ranks() == []
    assert book.all_done()
    book.incoming.words[1] = 0
    assert not book.all_done()
    with pytest.raises(ValueError, match=r"rank 4 answered .* to step 1"):
        book.lengths()
    book.incoming.set_headers(Reply.DONE, 1, [0, -1])
    assert not book.all_done()
    with pytest.raises(ValueError, match="rank 9"):
        book.lengths()


@pytest.mark.parametrize("tail", [b"\1", bytes(8), b"\5" + bytes(15) + b"abc"])
def test_extras_that_do_not_fit_are_refused(tail):
    """They are never cut elsewhere than the driver said."""
    with pytest.raises(ValueError, match="extras"):
        decode_extras(tail, 2)


def test_the_first_failure_is_the_one_that_is_told():
    """That a block is missing, of which a model could not be made, is no news."""

    def refuse(molecules):
        raise ModelError("want > 0")

    keeper = Keeper(refuse)
    assignment = Assignment(2, [1], itertools.count())
    init(keeper, assignment, [1, 2])
    assignment.acknowledge()
    init(keeper, assignment, [1, 2])
    assert keeper.tail == b"want > 0"
