"""Rounds of blocking calls over several rigs."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from echo_rig import ExpMessage, RemoteError, RigsFailed, RigsSilent, Services
from echo_rig.sync import Endpoint, Rigs, connect, listen

from .blocking_lab import LIMIT_S, free_uri, in_thread, served


class Alyx:
    base_url = "https://alyx"
    is_logged_in = True
    user = "me"
    _token = "secret"


@contextlib.contextmanager
def laboratory(*names, scheme="udp", order=None, delay_s=0.0):
    """Rigs that answer every event with their name, and note in `order` when they are asked."""
    with contextlib.ExitStack() as stack:
        uris = {}
        servers = {}
        for name in names:
            uri = uris[name] = free_uri(scheme)
            server = servers[name] = listen(uri, name)

            def answer(data, address, event, server=server):
                if order is not None:
                    order.append((server.name, event.name, data))
                time.sleep(delay_s)
                server.send([event, server.name], address)

            server.assign_callback(ExpMessage.any(), answer)
            stack.enter_context(served(server))
        rigs = stack.enter_context(Rigs.connect(uris, timeout=LIMIT_S))
        yield rigs, servers


@pytest.fixture
def dead_uri():
    """Where somebody takes datagrams and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield f"udp://127.0.0.1:{silent.getsockname()[1]}"


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_every_operation_goes_to_all_rigs_and_returns_what_they_responded(scheme, concurrent):
    order = []
    with laboratory("a", "b", "c", scheme=scheme, order=order) as (rigs, _):
        everyone = {name: [name] for name in "abc"}
        assert rigs.init({"subject": 1}, concurrent=concurrent) == everyone
        assert set(rigs.timings) == set("abc")
        assert all(0 < seconds < LIMIT_S for seconds in rigs.timings.values())
        assert rigs.start("ref", concurrent=concurrent) == everyone
        assert rigs.status("RUNNING", concurrent=concurrent) == everyone
        assert rigs.info("RUNNING", "data", concurrent=concurrent) == everyone
        assert rigs.stop(concurrent=concurrent) == everyone
        assert rigs.stop(immediately=True, concurrent=concurrent) == everyone
        assert rigs.cleanup(concurrent=concurrent) == everyone
    if not concurrent:
        asked = "".join(name for name, _, _ in order)
        assert asked == "abc" * 4 + "cba" * 3
    assert [data for _, event, data in order if event == "EXPSTART"] == [["ref", None]] * 3


def test_all_rigs_work_at_the_same_time():
    barrier = threading.Barrier(3, timeout=LIMIT_S)
    with laboratory("a", "b", "c") as (rigs, servers):
        for server in servers.values():
            # Passes only when every rig has been asked.
            server.assign_callback("INIT", lambda data, address: barrier.wait())
        assert set(rigs.init()) == set("abc")


def test_a_silent_rig_is_named_and_the_others_are_asked_all_the_same(dead_uri):
    with laboratory("a", "c") as (some, _):
        uris = {"a": some["a"].server_uri, "dead": dead_uri, "c": some["c"].server_uri}
        with Rigs.connect(uris, timeout=LIMIT_S) as rigs:
            rigs["dead"].default_echo_timeout = 0.1
            for concurrent in (True, False):
                with pytest.raises(RigsSilent, match="no echo within") as caught:
                    rigs.stop(concurrent=concurrent)
                assert caught.value.results == {"c": ["c"], "a": ["a"]}
                assert caught.value.silent == ("dead",)
                assert set(caught.value.timings) == {"a", "c"}
            (link,) = rigs["dead"]._carrier.links.values()
            assert link.conversation.outstanding == 0
        with Rigs.connect(uris, timeout=0.1) as rigs:
            with pytest.raises(RigsSilent, match="no response within") as caught:
                rigs.wait_for("INIT")
            assert caught.value.silent == ("a", "dead", "c")


def test_a_rig_that_fails_is_told_apart_from_one_that_is_silent(dead_uri):
    def fail(data, address):
        raise ValueError("boom")

    with laboratory("a", "b") as (some, servers):
        servers["b"].clear_callbacks("INIT")
        servers["b"].assign_callback("INIT", fail)
        uris = {name: rig.server_uri for name, rig in some.items()}
        with Rigs.connect({**uris, "gone": free_uri("udp"), "dead": dead_uri}, timeout=LIMIT_S) as rigs:
            rigs["dead"].default_echo_timeout = 0.1
            with pytest.raises(RigsFailed, match="3 of 4 rigs did not answer") as caught:
                rigs.init()
            assert caught.value.results == {"a": ["a"]}
            assert list(caught.value.failures) == ["b", "gone", "dead"]
            assert isinstance(caught.value.failures["b"], RemoteError)
            assert isinstance(caught.value.failures["gone"], ConnectionRefusedError)
            assert caught.value.silent == ("dead",)


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
def test_a_rig_that_is_closed_fails_at_once(scheme):
    with laboratory("a", "b", scheme=scheme) as (rigs, _):
        rigs["b"].close()
        assert not rigs.is_connected
        with pytest.raises(RigsFailed) as caught:
            rigs.init()
        assert isinstance(caught.value.failures["b"], ConnectionError)
        assert caught.value.results == {"a": ["a"]}
        rigs.timeout = 0.05
        with pytest.raises(RigsFailed, match="2 of 2"):
            rigs.wait_for("INIT")


def test_a_rig_whose_connection_ends_fails_at_once():
    with laboratory("a", "b", scheme="tcp") as (rigs, servers):
        servers["b"].assign_callback("INIT", lambda data, address: servers["b"].close())
        servers["b"].clear_callbacks("START")
        servers["b"].assign_callback("START", lambda data, address: servers["b"].close())
        with pytest.raises(RigsFailed) as caught:
            rigs.start("ref")
        assert isinstance(caught.value.failures["b"], ConnectionError)
        assert caught.value.results == {"a": ["a"]}


def test_what_came_before_a_round_is_no_answer_to_it_but_counts_for_a_wait():
    with laboratory("a", "b") as (rigs, _):
        for rig in rigs.values():
            rig.send([1, "first"])
        assert rigs.wait_for("INIT") == {"a": ["a"], "b": ["b"]}
        rigs["a"].send([1, "second"])
        assert rigs["a"].next_event().data == ["a"]
        rigs["a"].message_received(b'[1, "old"]', ("127.0.0.1", 1))
        assert rigs.init() == {"a": ["a"], "b": ["b"]}


def test_callbacks_of_all_rigs_run_whichever_is_waited_for():
    seen = []
    with laboratory("a", "b") as (rigs, _):
        for name, rig in rigs.items():
            rig.assign_callback("INIT", lambda data, address, name=name: seen.append((name, data)))
        rigs["b"].send([1, None])
        rigs["a"].init()
        rigs["a"].wait_for("INIT")
        rigs["b"].wait_for("INIT")
    assert sorted(seen) == [("a", ["a"]), ("b", ["b"])]


def test_a_token_goes_to_all_rigs(dead_uri):
    order = []
    with laboratory("a", "b", order=order) as (rigs, _):
        rigs.alyx(Alyx())
        rigs.wait_for("ALYX")
    assert [data for _, _, data in order] == [["https://alyx", {"me": "secret"}]] * 2
    with Rigs.connect({"dead": dead_uri}) as rigs:
        rigs["dead"].default_echo_timeout = 0.02
        with pytest.raises(RigsSilent):
            rigs.alyx(Alyx())


def test_a_second_thread_is_refused():
    with laboratory("a", "b") as (rigs, _):
        entered, done = threading.Event(), threading.Event()

        def hold():
            with rigs["a"].loop:
                entered.set()
                done.wait(LIMIT_S)

        with in_thread(hold):
            assert entered.wait(LIMIT_S)
            for call in (rigs.init, rigs["b"].poll, rigs.close):
                with pytest.raises(RuntimeError, match="another thread"):
                    call()
            done.set()
        assert set(rigs.init()) == {"a", "b"}


def test_rigs_have_names_of_their_own_are_clients_and_belong_to_one_group():
    uri = free_uri("udp")
    with connect(uri, "same") as one, connect(uri, "same") as other, listen(uri) as server:
        with pytest.raises(ValueError, match="two rigs"):
            Rigs([one, other])
        with pytest.raises(ValueError, match="is a server"):
            Rigs([server])
        with pytest.raises(TypeError, match="Endpoint"):
            Rigs([Services([])])
        with connect(uri, "third") as third:
            Rigs([one, third])
            with pytest.raises(ValueError, match="other rigs already"):
                Rigs([third])
    with pytest.raises(ValueError, match="port"):
        Rigs.connect({"a": uri, "b": "udp://127.0.0.1:0"})


def test_no_rigs_no_round():
    with Rigs([]) as rigs:
        assert rigs.init() == {}
        assert not rigs.is_connected
        assert repr(rigs) == "<Rigs >"


def test_closed_rigs_stay_closed():
    with laboratory("a", "b") as (rigs, _):
        assert rigs.is_connected
        assert [isinstance(rig, Endpoint) for rig in rigs.values()] == [True, True]
        rigs.close()
        rigs.close()
        assert not rigs.is_connected
        with pytest.raises(RigsFailed):
            rigs.init()
        regrouped = Rigs(rigs.values())
        with pytest.raises(RigsFailed):
            regrouped.init()


def test_a_round_that_is_interrupted_leaves_nothing_on_its_way(dead_uri):

    def interrupt(data, address):
        raise KeyboardInterrupt

    with (
        laboratory("a") as (some, _),
        Rigs.connect({"a": some["a"].server_uri, "dead": dead_uri}) as rigs,
    ):
        rigs["a"].assign_callback("INIT", interrupt)
        with pytest.raises(KeyboardInterrupt):
            rigs.init()
        (link,) = rigs["dead"]._carrier.links.values()
        assert link.conversation.outstanding == 0
        rigs["a"].clear_callbacks("INIT")
        assert rigs["a"].wait_for("INIT", 0) == ["a"]
