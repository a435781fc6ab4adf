"""Items for a reader that may be slow."""

from __future__ import annotations

import asyncio

import pytest

from echo_rig._bounded_stream import BoundedStream


async def read(stream):
    return [item async for item in stream]


def test_items_come_in_their_order_and_the_stream_ends_behind_what_was_kept():
    async def scenario():
        stream = BoundedStream(10)
        for item in (1, None, ()):
            stream.put(item)
        stream.close()
        stream.close()
        stream.put("too late")
        return await read(stream), await read(stream)

    assert asyncio.run(scenario()) == ([1, None, ()], [])


def test_beyond_the_limit_the_oldest_are_dropped_and_counted():
    async def scenario():
        stream = BoundedStream(2)
        for item in range(5):
            stream.put(item)
        stream.close()
        return stream.dropped, await read(stream)

    assert asyncio.run(scenario()) == (3, [3, 4])


def test_closing_ends_all_who_wait():
    async def scenario():
        stream = BoundedStream(2)
        readers = [asyncio.create_task(read(stream)) for _ in range(3)]
        await asyncio.sleep(0)
        stream.close()
        return await asyncio.wait_for(asyncio.gather(*readers), 5)

    assert asyncio.run(scenario()) == [[], [], []]


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="max_queued"):
        BoundedStream(0)
