"""Faults of the catalogue, played on the JSON socket with the tools of this folder."""

from __future__ import annotations

import contextlib
import threading
import time

import history
import measure
import pytest
from proxy import Faults, TcpProxy

from wireframe import Socket
from wireframe.errors import FrameError

#: Seconds for a step on a busy machine.
LIMIT_S = 20.0


@pytest.fixture
def served():
    """A server in a thread that doubles numbers, and notes which it was asked for."""
    asked = []

    def double(number):
        asked.append(number)
        return number * 2

    server = Socket("server", port=0)
    thread = threading.Thread(target=server.serve, args=({"double": double},), kwargs={"stop": "done"})
    thread.start()
    try:
        yield server, asked
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def ask(port, book, number, timeout=LIMIT_S, process="client"):
    """Ask for a number, and write down what is known about it."""
    operation = book.begin(process, number)
    client = Socket("client", port=port)
    try:
        with contextlib.closing(client):
            operation.done(client.tcpcmd({"command": "double", "number": number}, timeout=timeout))
    except (ConnectionError, TimeoutError, FrameError) as error:
        operation.unknown(error)


def judge(book, asked):
    assert history.unended(book) == []
    assert history.wrongly_paired(book, lambda number: 2 * number) == []
    assert history.not_exactly_once(book, asked) == []


@pytest.mark.fault("C4", "json-socket", "LWTE")
@pytest.mark.parametrize("resets", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("direction", ["to_server", "to_client"])
def test_c04_a_connection_that_ends_at_any_byte_costs_its_own_command_only(served, figure, direction, resets):
    """L W T E: at each byte of command and reply; told at once and by type, and the next one is served."""
    server, asked = served
    book = history.History()
    number = cut = slowest = 0
    with TcpProxy(("127.0.0.1", server.port)) as between:
        while True:
            setattr(between, direction, Faults(cut_after=cut, resets=resets))
            number, cut = number + 2, cut + 1
            began = time.monotonic()
            ask(between.port, book, number)
            slowest = max(slowest, time.monotonic() - began)
            last = book.operations[-1]
            # From outside the server is as ever.
            ask(server.port, book, number + 1, process="another")
            assert book.operations[-1].outcome == history.DONE
            if last.outcome == history.DONE:
                break
            assert not isinstance(last.reply, TimeoutError), "told by the deadline, not by the end"
            assert cut < 200
        judge(book, asked)
    # A command that was cut short was never carried out.
    told = len(book.requests(history.UNKNOWN))
    assert told > 10
    figure(f"{cut} cuts, {told} told as lost; slowest {slowest:.2f} s")


@pytest.mark.fault("C1", "json-socket", "LW")
def test_c01_commands_and_replies_byte_by_byte_are_what_they_were(served, figure):
    """L W: both directions a byte at a time, for commands of growing size."""
    server, asked = served
    book = history.History()
    bytewise = Faults(piece=1)
    with TcpProxy(("127.0.0.1", server.port), bytewise, bytewise) as between:
        for power in range(0, 300, 10):
            ask(between.port, book, 10**power)
        judge(book, asked)
        assert len(book.requests(history.DONE)) == len(asked) == 30
        figure(f"{between.counts['to server'] + between.counts['to client']} single bytes, 30 replies")


@pytest.mark.fault("C6", "json-socket", "LWT")
def test_c06_clients_that_stall_anywhere_hold_up_nobody_and_return_in_time(served, figure):
    """L W T: 20 connections stop at a byte of command or reply; another client makes 200 commands."""
    server, asked = served
    book = history.History()
    times = []

    def stalled(port, number):
        began = time.monotonic()
        ask(port, book, number, timeout=1.0, process=number)
        times.append(time.monotonic() - began)

    with contextlib.ExitStack() as stack:
        threads = []
        for number in range(20):
            where = {"to_server" if number % 2 else "to_client": Faults(stall_after=number // 2)}
            between = stack.enter_context(TcpProxy(("127.0.0.1", server.port), **where))
            threads.append(threading.Thread(target=stalled, args=(between.port, -1 - number)))
        for thread in threads:
            thread.start()
        for number in range(200):
            ask(server.port, book, number, process="steady")
        for thread in threads:
            thread.join(LIMIT_S)
    judge(book, asked)
    steady = [one for one in book.operations if one.process == "steady"]
    assert [one.outcome for one in steady] == [history.DONE] * 200
    late = [one for one in book.operations if one.outcome == history.UNKNOWN]
    assert len(late) == len(times) == 20
    assert all(isinstance(one.reply, TimeoutError | ConnectionError) for one in late)
    # On an idle machine no more than half a second over its own timeout of 1 s; the connection has a minute.
    assert max(times) < LIMIT_S
    figure(f"20 stalled commands of timeout 1 s returned after {min(times):.2f} to {max(times):.2f} s")


@pytest.mark.fault("C19", "json-socket", "M")
def test_c19_cut_connections_leave_no_descriptor_and_no_thread(figure):
    """M: after 100 connections that were cut anywhere, server and clients hold what they held before."""
    before = measure.running_threads(), measure.open_descriptors()
    server = Socket("server", port=0)
    thread = threading.Thread(
        target=server.serve, args=({"double": lambda number: 2 * number},), kwargs={"stop": "done"}
    )
    thread.start()
    book = history.History()
    try:
        with TcpProxy(("127.0.0.1", server.port)) as between:
            for cut in range(100):
                between.to_server = Faults(cut_after=cut % 50, resets=cut % 3 == 0)
                between.to_client = Faults(cut_after=cut // 5)
                ask(between.port, book, cut)
    finally:
        server.shutdown()
        thread.join(LIMIT_S)
    after = measure.running_threads(), measure.open_descriptors()
    assert after == before
    figure(f"{after[0]} threads and {after[1]} descriptors before and after")
