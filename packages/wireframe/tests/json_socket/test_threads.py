"""Several threads and processes: who wakes, who is refused, what stays apart."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading

import pytest

from wireframe import Socket
from wireframe.json_socket import BrokenConnection, SocketClosed
from wireframe.json_socket._address import connect
from wireframe.json_socket._poll import new_poll
from wireframe.lenjson import encode


@pytest.fixture(autouse=True)
def many_switches():
    """Threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def is_inside(server):
    """Whether a thread is in receive."""
    return server._server._intake.gate._owner is not None


@pytest.fixture
def receiving(run, eventually):
    """Start receive in a thread and be sure that it waits."""

    def start(one):
        running = run(one.receive)
        if one.role == "server":
            eventually(lambda: is_inside(one))
        else:
            eventually(lambda: any(link._users for link in one._client._links))
        return running

    return start


@pytest.mark.fault("C19", "json-socket")
def test_shutdown_wakes_a_waiting_server_and_has_closed_when_it_returns(new_server, receiving):
    server = new_server()
    waiting = receiving(server)
    server.shutdown()
    assert server.server.fileno() == -1
    with pytest.raises(SocketClosed, match="the server was shut down"):
        waiting.result()
    Socket("server", port=server.port).shutdown()


@pytest.mark.parametrize("end", ["close", "shutdown"])
@pytest.mark.parametrize("data", [b"", b"00000", b'0000000010"half'], ids=repr)
def test_closing_a_client_wakes_who_waits_for_a_reply(listener, new_client, receiving, end, data, eventually):
    client = new_client(listener.port)
    client.send(1)
    peer = listener.accept()
    peer.send(data)
    waiting = receiving(client)
    eventually(lambda: all(link.decoder.buffered == len(data) for link in client._client._links))
    getattr(client, end)()
    with pytest.raises(SocketClosed, match=f"127.0.0.1:{listener.port} was closed"):
        waiting.result()
    assert client.connection is None
    assert peer.read(100) == encode(1)


@pytest.mark.parametrize("end", ["close", "shutdown"])
def test_closing_a_client_wakes_who_waits_to_send(listener, new_client, run, end, eventually):
    client = new_client(listener.port)
    waiting = run(client.send, "x" * 20_000_000)
    eventually(lambda: any(link._users for link in client._client._links))
    getattr(client, end)()
    with pytest.raises(SocketClosed):
        waiting.result()


def test_closing_a_server_connection_leaves_the_waiter_waiting_and_tells_the_client(
    new_server, new_client, receiving, knock
):
    server = new_server()
    client = new_client(server)
    client.send(1)
    server.receive()
    waiting = receiving(server)
    server.close()
    with pytest.raises(BrokenConnection):
        client.receive()
    client.send(2)
    assert waiting.result() == 2
    assert server.dropped == 0


def test_a_connection_closed_with_half_a_message_on_it_is_no_fault_of_the_peer(new_server, knock, receiving):
    server = new_server()
    knock(server, encode(1) + b"00000")
    server.receive()
    waiting = receiving(server)
    server.close()
    knock(server, encode(2))
    assert waiting.result() == 2
    assert server.dropped == 0


def test_a_connection_may_be_closed_while_its_long_message_waits_for_room(
    new_server, knock, receiving, eventually
):
    server = new_server(max_size=200_000)
    knock(server, b"0000150000")  # the oldest always goes on, the two others have to share
    knock(server, b"0000150000" + b"1" * 149_000)
    held = knock(server, encode(1) + b"0000150000" + b"1" * 149_000)
    server.receive()
    waiting = receiving(server)
    (guest,) = [one for one in server._server._intake._room if one.served]
    eventually(lambda: guest.held)
    server.close()
    assert held.at_end()
    knock(server, encode(2))
    assert waiting.result() == 2
    assert server.dropped == 0


def test_closing_a_server_wakes_who_waits_to_answer(new_server, knock, run, eventually):
    server = new_server()
    knock(server, encode(1))
    server.receive()
    waiting = run(server.send, "x" * 20_000_000)
    eventually(lambda: server._server._guest._users)
    server.close()
    with pytest.raises(SocketClosed):
        waiting.result()


def test_shutting_a_server_down_wakes_who_waits_to_answer(new_server, knock, run, eventually):
    server = new_server()
    knock(server, encode(1))
    server.receive()
    waiting = run(server.send, "x" * 20_000_000)
    eventually(lambda: server._server._guest._users)
    server.shutdown()
    with pytest.raises(SocketClosed):
        waiting.result()


def test_a_second_thread_in_receive_is_refused(new_server, knock, receiving):
    server = new_server()
    waiting = receiving(server)
    for method in (server.receive, lambda: server.serve({})):
        with pytest.raises(RuntimeError, match="another thread is receiving"):
            method()
    knock(server, encode("only one"))
    assert waiting.result() == "only one"


def test_one_thread_may_answer_while_another_receives(new_server, new_client, receiving):
    """The reply goes to the message taken last, which a program like this must see to itself."""
    server = new_server()
    client = new_client(server)
    client.send("question")
    server.receive()
    waiting = receiving(server)
    server.send("answer")
    assert client.receive() == "answer"
    client.send("next")
    assert waiting.result() == "next"


def test_shutdown_waits_for_a_handler_only_so_long(new_server, new_client, run, monkeypatch):
    monkeypatch.setattr("wireframe.json_socket._server.PATIENCE", 0.01)
    server = new_server()
    finish, started = threading.Event(), threading.Event()

    def slow():
        started.set()
        finish.wait(20)
        return "finished"

    running = run(server.serve, {"slow": slow})
    reply = run(new_client(server).tcpcmd, {"command": "slow"})
    assert started.wait(20)
    server.shutdown()
    finish.set()
    assert reply.result() == "finished"
    running.result()
    assert server.server.fileno() == -1


@pytest.mark.fault("C21", "json-socket", "LW")
@pytest.mark.parametrize("persistent", [False, True])
def test_many_threads_may_send_commands_through_one_client(new_server, new_client, run, persistent, figure):
    """Each gets the reply to its own command."""
    server = new_server()
    run(server.serve, {"echo": lambda x: x})
    client = new_client(server, persistent=persistent)

    def work(first):
        return [client.tcpcmd({"command": "echo", "x": [first, number]}) for number in range(40)]

    workers = [run(work, first) for first in range(8)]
    replies = [worker.result() for worker in workers]
    assert replies == [[[first, number] for number in range(40)] for first in range(8)]
    assert server.dropped == 0
    figure(f"{sum(map(len, replies))} replies, each to the right one of {len(workers)} threads")


def test_a_busy_kept_connection_costs_a_command_its_deadline(listener, new_client, run):
    client = new_client(listener.port, persistent=True)
    slow = run(client.tcpcmd, "slow")
    peer = listener.accept()
    peer.read(16)
    with pytest.raises(TimeoutError, match="kept the connection busy"):
        client.tcpcmd("impatient", timeout=0.01)
    peer.send(encode("at last"))
    assert slow.result() == "at last"


@pytest.mark.fault("C21", "json-socket", "E")
def test_shutdown_during_many_commands_ends_them_all_by_type(new_server, new_client, run, eventually):
    server = new_server()
    run(server.serve, {"echo": lambda x: x})
    client = new_client(server)
    done = []

    def work():
        while True:
            client.tcpcmd({"command": "echo", "x": 1})
            done.append(1)

    workers = [run(work) for _ in range(4)]
    eventually(lambda: len(done) > 20)
    client.shutdown()
    for worker in workers:
        with pytest.raises(SocketClosed):
            worker.result()
    assert not client._client._links


def test_a_client_shut_down_while_it_connects_keeps_nothing_open(new_server, new_client, monkeypatch):
    server = new_server()
    client = new_client(server)
    opened = []

    def connect_and_shut_down(*arguments):
        opened.append(connect(*arguments))
        client.shutdown()
        return opened[-1]

    monkeypatch.setattr("wireframe.json_socket._client.connect", connect_and_shut_down)
    with pytest.raises(SocketClosed):
        client.tcpcmd(1)
    assert opened[0][0].fileno() == -1


@pytest.mark.fault("C19", "json-socket", "M")
def test_threads_that_start_and_stop_servers_leave_nothing_behind(run):
    def work():
        for _ in range(10):
            with Socket("server", port=0) as server, Socket("client", port=server.port, timeout=20) as client:
                client.send(1)
                assert server.receive() == 1
                server.send(2)
                assert client.receive() == 2

    for worker in [run(work) for _ in range(4)]:
        worker.result()


@pytest.fixture
def on_alarm():
    """Have something done by a signal handler in this thread, soon or when somebody sends the signal."""
    before = signal.getsignal(signal.SIGALRM)

    def call(function, *, soon=True):
        signal.signal(signal.SIGALRM, lambda *_: function())
        if soon:
            signal.setitimer(signal.ITIMER_REAL, 0.02)

    yield call
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif("not hasattr(signal, 'setitimer')")
def test_a_signal_handler_may_shut_down_the_server_its_thread_waits_in(new_server, on_alarm):
    server = new_server()
    on_alarm(server.shutdown)
    with pytest.raises(SocketClosed):
        server.receive(timeout=20)
    assert server.server.fileno() == -1
    server = new_server()
    on_alarm(server.shutdown)
    server.serve({})
    assert server.server.fileno() == -1


@pytest.mark.skipif("not hasattr(signal, 'setitimer')")
def test_a_signal_handler_may_close_what_its_thread_waits_for(
    new_server, new_client, listener, run, on_alarm
):
    client = new_client(listener.port)
    peers = []

    def alarm_when_the_command_is_here(thread):
        peers.append(listener.accept())
        peers[0].read(11)
        signal.pthread_kill(thread, signal.SIGALRM)

    on_alarm(client.close, soon=False)
    alarming = run(alarm_when_the_command_is_here, threading.get_ident())
    with pytest.raises(SocketClosed):
        client.tcpcmd(1, timeout=20)
    alarming.result()
    server = new_server()
    client = new_client(server)
    client.send(1)
    server.receive()

    def hang_up_and_send():
        server.close()
        new_client(server).send(2)

    on_alarm(hang_up_and_send)
    assert server.receive(timeout=20) == 2
    with pytest.raises(BrokenConnection):
        client.receive()


def test_an_interrupt_between_entering_and_waiting_locks_nobody_out(new_server, knock, run):
    """The same thread may go on at once, others as soon as the interrupt is dealt with."""
    server = new_server()
    torn = server._server._intake.entered()
    torn.__enter__()  # the interrupt comes here: nobody calls __exit__
    knock(server, encode("same thread"))
    assert server.receive() == "same thread"
    with pytest.raises(RuntimeError, match="another thread"):
        run(server.receive).result()
    del torn  # its traceback held it
    knock(server, encode("another thread"))
    assert run(server.receive).result() == "another thread"


def test_an_interrupt_in_the_middle_of_watching_leaves_the_server_usable(new_server, knock, monkeypatch):
    """It may come when the system has been told and this side has not taken note."""
    server = new_server()
    guests = [knock(server, b"0000000001"), knock(server, b"0000000001")]

    class Torn:
        """One of all registrations is torn."""

        before = 0

        def __init__(self):
            self._real = new_poll()
            self.poll, self.close = self._real.poll, self._real.close

        def register(self, *arguments):
            self._real.register(*arguments)
            Torn.before -= 1
            if Torn.before < 0:
                raise KeyboardInterrupt

    with pytest.raises(TimeoutError):
        server.receive(timeout=0.01)
    for Torn.before in range(4):  # bell, listening socket, both guests
        with monkeypatch.context() as patch:
            patch.setattr("wireframe.json_socket._watch.new_poll", Torn)
            with pytest.raises(KeyboardInterrupt):
                server.receive(timeout=5)
        with pytest.raises(TimeoutError):
            server.receive(timeout=0.01)
    for number, guest in enumerate(guests):
        guest.send(b"%d" % number)
        assert server.receive(timeout=5) == number


@pytest.mark.fault("C19", "json-socket")
@pytest.mark.skipif("not hasattr(signal, 'setitimer')")
def test_an_interrupt_leaves_receive_and_the_server_usable(new_server, knock):
    server = new_server()

    def interrupt(*_):
        raise KeyboardInterrupt

    def receive():
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        server.receive()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            receive()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    knock(server, encode("after"))
    assert server.receive() == "after"


# Processes.


def child_of_fork(server, client, queue):
    seen = []
    for method in (server.receive, lambda: server.send(1), lambda: server.serve({}), client.receive):
        try:
            method()
        except SocketClosed as error:
            seen.append(str(error))
    client.send("from the child")
    seen.append(client.receive())
    server.shutdown()
    client.shutdown()
    queue.put(seen)


def test_in_another_process_everything_but_new_messages_is_refused(new_server, new_client, monkeypatch):
    """The same as in a forked child, without one."""
    server = new_server()
    client = new_client(server, persistent=True)
    other = new_client(server, persistent=True)
    for one in (client, other):
        one.send("before")
        server.receive()
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        for method in (server.receive, lambda: server.send(1), lambda: server.serve({}), client.receive):
            with pytest.raises(SocketClosed, match="belongs to process"):
                method()
        first = other.connection
        other.send("new")
        assert other.connection is not first
        server.shutdown()
    assert server.server.fileno() == -1


@pytest.mark.fault("C20", "json-socket", "E")
@pytest.mark.skipif("'fork' not in __import__('multiprocessing').get_all_start_methods()")
def test_a_forked_child_is_refused_and_the_parent_is_not_disturbed(new_server, new_client, figure):
    server = new_server()
    client = new_client(server, persistent=True)
    client.send("before")
    assert server.receive() == "before"
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=child_of_fork, args=(server, client, queue))
    child.start()
    assert server.receive() == "from the child"
    server.send("to the child")
    child.join(20)
    seen = queue.get()
    queue.close()
    assert child.exitcode == 0
    child.close()
    assert seen[-1] == "to the child"
    assert len(seen) == 5
    refused = ["belongs to process" in one for one in seen[:4]]
    assert all(refused)
    client.send("after")
    assert server.receive() == "after"
    figure(f"{sum(refused)} calls refused in the child, none in the parent")


SERVER_PROGRAM = """
from wireframe import Socket
server = Socket("server", port=0)
print(server.port, flush=True)
server.serve({"ping": lambda: "pong"})
"""


@pytest.mark.fault("C8", "json-socket")
def test_a_server_that_is_killed_is_replaced_on_its_port_at_once(new_server, new_client):
    with subprocess.Popen([sys.executable, "-c", SERVER_PROGRAM], stdout=subprocess.PIPE) as process:
        try:
            port = int(process.stdout.readline())
            client = new_client(port, persistent=True, timeout=20)
            assert client.tcpcmd({"command": "ping"}) == "pong"
        finally:
            process.kill()
    server = new_server(port=port)
    client.send("again")
    assert server.receive(timeout=5) == "again"
