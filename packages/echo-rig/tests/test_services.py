"""Several rigs as one: all are asked, and every failure is told with what the others said.

The rigs here are communicators whose other end lies in memory: a script says
how it behaves. No time passes, except where a time limit itself is tested.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from unittest import mock

import pytest

from echo_rig.communicator import Communicator
from echo_rig.errors import RemoteError, RigsFailed, RigsSilent
from echo_rig.service import Service
from echo_rig.services import Services
from wireframe.echo import ExpMessage, ExpStatus, decode

ADDRESS = ("127.0.0.1", 11001)


def answers(rig, message):
    """Respond with the name of the rig, in the next turn of the loop."""
    asyncio.get_running_loop().call_soon(rig.comes, [message[0], rig.name])


def answers_at_once(rig, message):
    """Respond before the sender learns of the echo."""
    rig.comes([message[0], rig.name])


def is_silent(rig, message):
    """Echo, and no more."""


def is_dead(rig, message):
    raise TimeoutError("no echo")


def is_unreachable(rig, message):
    raise OSError("no route")


def fails(rig, message):
    rig.comes([0, "ValueError: boom", message[0]])


class Rig(Communicator):
    """A communicator whose other end is a script; the journal keeps who was asked what."""

    def __init__(self, name, script=answers, journal=None):
        super().__init__("127.0.0.1", name)
        self.script = script
        self.journal = [] if journal is None else journal
        self.closed = False

    def comes(self, message):
        self._receive(self.encode(message), ADDRESS)

    async def confirmed_send(self, data):
        message = decode(self.encode(data))
        self.journal.append((self.name, message))
        await asyncio.sleep(0)
        result = self.script(self, message)
        if asyncio.iscoroutine(result):
            await result

    def send(self, data, addr=None):
        self.journal.append((self.name, decode(data)))

    @property
    def is_connected(self):
        return not self.closed

    def close(self):
        self.closed = True
        super().close()

    async def init(self, data=None):
        await self.confirmed_send(super().init(data))

    async def start(self, exp_ref, data=None):
        await self.confirmed_send(super().start(exp_ref, data))

    async def stop(self, data=None, immediately=False):
        await self.confirmed_send(super().stop(data, immediately))

    async def status(self, status):
        await self.confirmed_send(super().status(status))

    async def info(self, status, data=None):
        await self.confirmed_send(super().info(status, data))

    async def cleanup(self, data=None):
        await self.confirmed_send(super().cleanup(data))

    async def alyx(self, alyx):
        await self.confirmed_send(super().alyx(alyx))


@pytest.fixture
def journal():
    return []


@pytest.fixture
def make(journal):
    """Make services of rigs a, b, c ... with these scripts."""

    def make(*scripts, timeout=None):
        rigs = [Rig(name, script, journal) for name, script in zip("abcdef", scripts, strict=False)]
        return Services(rigs, timeout)

    return make


def run(coroutine):
    async def limited():
        async with asyncio.timeout(10):
            return await coroutine

    return asyncio.run(limited())


def _leaves_nothing(services):
    return not any(entries for rig in services.values() for entries in rig._callbacks.values())


both = pytest.mark.parametrize("concurrent", [True, False])


def test_rigs_by_name_and_unchangeable(make):
    services = make(answers, answers)
    assert list(services) == ["a", "b"]
    assert len(services) == 2
    assert services["b"].name == "b"
    assert "c" not in services
    assert repr(services) == "<Services a, b>"
    for change in (
        lambda: services.__setitem__("a", None),
        lambda: services.__delitem__("a"),
        lambda: services.pop("a"),
        lambda: services.pop("z", None),
        services.popitem,
        services.clear,
        lambda: services.update(a=None),
        lambda: services.setdefault("z", None),
    ):
        with pytest.raises(TypeError, match="cannot be changed"):
            change()


@pytest.mark.parametrize("other", [None, "rig", Rig, object()])
def test_only_services_are_rigs(other):
    with pytest.raises(TypeError, match="communicator"):
        Services([Rig("a"), other])


def test_two_rigs_of_one_name_are_refused():
    """Otherwise one of them would be lost."""
    with pytest.raises(ValueError, match="two rigs have the name 'a'"):
        Services([Rig("a"), Rig("b"), Rig("a")])


def test_rigs_may_come_from_a_generator(make):
    assert list(Services(Rig(name) for name in "xy")) == ["x", "y"]
    assert Services([]).timeout == 10.0


def test_connected_if_there_are_rigs_and_all_are(make):
    assert not make().is_connected
    services = make(answers, answers)
    assert services.is_connected
    services["b"].close()
    assert not services.is_connected


def test_close_reaches_all_rigs_even_if_one_raises(make):
    services = make(answers, answers, answers)

    def broken():
        raise OSError("cannot close")

    services["b"].close = broken
    with pytest.raises(OSError, match="cannot close"):
        services.close()
    assert (services["a"].closed, services["c"].closed) == (True, True)


@pytest.mark.parametrize("error", [None, KeyError("anything")])
def test_rigs_are_closed_when_the_block_of_their_services_is_left(make, error):
    services = make(answers, answers)

    async def main():
        async with services as entered:
            assert entered is services
            await entered.init("x")
            if error is not None:
                raise error

    with contextlib.nullcontext() if error is None else pytest.raises(KeyError):
        asyncio.run(main())
    assert [rig.closed for rig in services.values()] == [True, True]


OPERATIONS = [
    ("init", ("x",), [1, "x"], False),
    ("start", ("2022-01-01_1_s",), [2, "2022-01-01_1_s", None], False),
    ("stop", (), [4, None], True),
    ("stop", ("why", True), [16, "why"], True),
    ("status", ("RUNNING",), [32, 20], False),
    ("info", (ExpStatus.STOPPED, 5), [64, 30, 5], False),
    ("cleanup", ("x",), [8, "x"], True),
]


@both
@pytest.mark.parametrize(("operation", "arguments", "message", "reverse"), OPERATIONS)
def test_each_operation_asks_all_and_gathers(
    make, journal, operation, arguments, message, reverse, concurrent
):
    """In the order of the rigs; `stop` and `cleanup` the other way."""
    services = make(answers, answers, answers)
    results = run(getattr(services, operation)(*arguments, concurrent=concurrent))
    order = "cba" if reverse else "abc"
    assert journal == [(name, message) for name in order]
    assert list(results.items()) == [(name, [name]) for name in order]
    assert services.timings.keys() == results.keys()
    assert all(0 <= seconds < 10 for seconds in services.timings.values())
    assert _leaves_nothing(services)


@both
def test_no_rigs_no_results(make, concurrent):
    services = make()
    assert run(services.init(concurrent=concurrent)) == run(services.stop(concurrent=concurrent)) == {}
    assert run(services.await_all("init")) == {}
    assert run(services.alyx(None)) is None


def test_all_rigs_are_asked_before_the_first_echo(make):
    """None of these returns before all were asked."""

    async def scenario():
        together = asyncio.Barrier(4)

        async def meets(rig, message):
            await together.wait()
            answers(rig, message)

        return await make(*[meets] * 4).init()

    assert sorted(run(scenario())) == ["a", "b", "c", "d"]


def test_one_after_the_other_waits_for_each_response(make, journal):
    def notes(rig, message):
        def respond():
            journal.append(("response", rig.name))
            rig.comes([message[0], None])

        asyncio.get_running_loop().call_soon(respond)

    run(make(notes, notes).init(concurrent=False))
    assert [entry[0] for entry in journal] == ["a", "response", "b", "response"]


def test_results_are_in_the_order_of_arrival(make):
    async def scenario():
        second = asyncio.Event()

        async def waits(rig, message):
            await second.wait()
            answers(rig, message)

        def releases(rig, message):
            answers_at_once(rig, message)
            asyncio.get_running_loop().call_soon(second.set)

        return await make(waits, releases).init()

    assert list(run(scenario())) == ["b", "a"]


@both
def test_a_prompt_response_is_not_missed(make, concurrent):
    """Who listens only after the echo has missed it."""
    assert run(make(answers_at_once, answers_at_once).init(concurrent=concurrent)) == {"a": ["a"], "b": ["b"]}


@both
@pytest.mark.parametrize("operation", ["init", "stop", "cleanup"])
@pytest.mark.parametrize("dead", [0, 1, 2])
def test_a_dead_rig_keeps_the_message_from_nobody(make, journal, operation, dead, concurrent):
    scripts = [answers] * 3
    scripts[dead] = is_dead
    services = make(*scripts)
    with pytest.raises(RigsSilent, match="1 of 3 rigs did not answer") as caught:
        run(getattr(services, operation)(concurrent=concurrent))
    living = {"a", "b", "c"} - {"abc"[dead]}
    assert {name for name, _ in journal} == {"a", "b", "c"}
    assert caught.value.results == {name: [name] for name in living}
    assert caught.value.silent == ("abc"[dead],)
    assert caught.value.timings.keys() == services.timings.keys() == living
    assert str(caught.value.failures["abc"[dead]]) == "no echo"
    assert _leaves_nothing(services)


def test_an_interrupt_reaches_the_living(make, journal):
    services = make(is_dead, answers, is_unreachable)
    with pytest.raises(RigsFailed) as caught:
        run(services.stop(immediately=True))
    assert caught.value.results == {"b": ["b"]}
    assert [message[0] for _, message in journal] == [16, 16, 16]


@both
def test_rigs_that_only_echo_are_silent(make, concurrent):
    services = make(answers, is_silent, answers, is_silent, timeout=0.02)
    with pytest.raises(RigsSilent, match=r"EXPINIT: 2 of 4 .*b: no response within 0.02 s; d: ") as caught:
        run(services.init(concurrent=concurrent))
    assert caught.value.silent == ("b", "d")
    assert caught.value.results == {"a": ["a"], "c": ["c"]}
    assert isinstance(caught.value, TimeoutError)
    assert _leaves_nothing(services)


@pytest.mark.parametrize("timeout", [None, 0])
def test_without_a_time_limit_a_slow_rig_is_awaited(make, timeout):
    async def scenario():
        services = make(is_silent, timeout=timeout)
        task = asyncio.create_task(services.init())
        await asyncio.sleep(0.01)
        assert not task.done()
        services["a"].comes([1, "late"])
        return await task

    assert run(scenario()) == {"a": ["late"]}


def test_a_reported_error_ends_the_wait_for_this_rig(make):
    """No time limit here: waiting for it would take for ever."""
    services = make(answers, fails)
    with pytest.raises(RigsFailed, match=r"b: ValueError: boom") as caught:
        run(services.init())
    error = caught.value.failures["b"]
    assert isinstance(error, RemoteError)
    assert error.address == ADDRESS
    assert caught.value.results == {"a": ["a"]}
    assert caught.value.silent == ()
    assert caught.value.__cause__ is error
    assert _leaves_nothing(services)


@pytest.mark.parametrize("about", [2, 0, 256, "bogus", None, [1]])
def test_an_error_of_something_else_is_not_the_answer(make, about):
    def script(rig, message):
        rig.comes([0, "ValueError: earlier", about])
        rig.comes([0, "ValueError: earlier", about, "more"])
        answers(rig, message)

    assert run(make(script).init()) == {"a": ["a"]}


def test_a_second_error_changes_nothing(make):
    def script(rig, message):
        fails(rig, message)
        rig.comes([0, "ValueError: second", 1])

    with pytest.raises(RigsFailed, match="boom"):
        run(make(script).init())


def test_failures_are_told_in_the_order_of_the_rigs(make):
    services = make(is_silent, fails, is_dead, is_unreachable, answers, timeout=0.02)
    with pytest.raises(RigsFailed, match="4 of 5") as caught:
        run(services.init())
    assert [(name, type(error)) for name, error in caught.value.failures.items()] == [
        ("a", TimeoutError),
        ("b", RemoteError),
        ("c", TimeoutError),
        ("d", OSError),
    ]
    assert caught.value.silent == ("a", "c")
    assert caught.value.results == {"e": ["e"]}


def test_a_rig_that_is_closed_while_it_is_awaited_has_failed(make):
    async def scenario():
        services = make(is_silent, answers)
        task = asyncio.create_task(services.init())
        while not services["a"]._callbacks[1]:
            await asyncio.sleep(0)
        services["a"].close()
        await task

    with pytest.raises(RigsFailed, match="a: closed while its response was awaited") as caught:
        run(scenario())
    assert caught.value.results == {"b": ["b"]}


def test_a_rig_whose_sending_is_cancelled_by_its_closing_has_failed(make):
    """It is not taken for a cancellation of the round, which would hide it."""

    def closed(rig, message):
        raise asyncio.CancelledError

    services = make(closed, answers)
    for concurrent in (True, False):
        with pytest.raises(RigsFailed, match="a: closed while sending") as caught:
            run(services.init(concurrent=concurrent))
        assert caught.value.results == {"b": ["b"]}
    with pytest.raises(RigsFailed, match="a: closed while sending"):
        run(services.alyx(None))


def test_a_rig_that_was_closed_before_has_failed(make):
    services = make(answers, answers)
    services["a"].close()
    with pytest.raises(RigsFailed, match="a: a is closed"):
        run(services.init())


@both
@pytest.mark.parametrize("script", [is_silent, lambda rig, message: asyncio.Event().wait()])
def test_a_cancelled_round_leaves_nothing_behind(make, script, concurrent):
    async def scenario():
        services = make(script, script)
        task = asyncio.create_task(services.init(concurrent=concurrent))
        for _ in range(10):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert _leaves_nothing(services)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("operation", "argument", "error"),
    [("status", "running", KeyError), ("status", 5, ValueError), ("start", {"date": 1}, KeyError)],
)
def test_wrong_arguments_reach_no_rig(make, journal, operation, argument, error):
    services = make(answers, answers)
    with pytest.raises(error):
        run(getattr(services, operation)(argument))
    assert journal == []


def test_signal_takes_any_method_of_the_rigs(make, journal):
    services = make(answers, answers)
    results = run(services._signal("status", "confirmed_send", [32, 20], concurrent=False, reverse=True))
    assert results == {"b": ["b"], "a": ["a"]}
    assert journal == [("b", [32, 20]), ("a", [32, 20])]
    with pytest.raises(RigsFailed, match="no_such_method"):
        run(services._signal(1, "no_such_method"))
    with pytest.raises(ValueError, match="event"):
        run(services._signal("bogus", "init"))


def test_await_all(make):
    async def scenario(services):
        task = asyncio.create_task(services.await_all("end"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        services["b"].comes([4, 2])
        services["a"].comes([4, 1])
        return await task

    services = make(answers, answers)
    assert list(run(scenario(services)).items()) == [("b", [2]), ("a", [1])]
    assert _leaves_nothing(services)


def test_await_all_of_several_events(make):
    async def scenario(services):
        task = asyncio.create_task(services.await_all(ExpMessage.EXPINIT | ExpMessage.EXPEND))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        services["a"].comes([4, 1])
        return await task

    assert run(scenario(make(answers))) == {"a": [1]}


def test_await_all_tells_who_did_not_come(make):
    services = make(answers, answers, timeout=0.02)
    with pytest.raises(RigsSilent, match=r"EXPEND\|EXPCLEANUP: 2 of 2") as caught:
        run(services.await_all(ExpMessage.EXPEND | ExpMessage.EXPCLEANUP))
    assert caught.value.silent == ("a", "b")
    assert _leaves_nothing(services)


def test_alyx_goes_to_one_after_the_other_and_past_the_dead(make, journal):
    assert run(make(is_silent, is_silent).alyx(None)) is None
    assert journal == [("a", [128, None, {}]), ("b", [128, None, {}])]
    with pytest.raises(RigsSilent, match="ALYX: 1 of 3") as caught:
        run(make(is_silent, is_dead, is_silent).alyx(None))
    assert caught.value.silent == ("b",)
    assert [name for name, _ in journal[2:]] == ["a", "b", "c"]


def test_callbacks_of_all_rigs(make):
    services = make(answers, answers)
    plain, with_service = mock.MagicMock(spec_set=True), mock.MagicMock(spec_set=True)
    services.assign_callback("EXPINIT", plain)
    services.assign_callback("EXPINIT", with_service, return_service=True)
    for rig in services.values():
        rig.comes([1, "x"])
    assert plain.call_args_list == [mock.call(["x"], ADDRESS)] * 2
    assert with_service.call_args_list == [mock.call(["x"], ADDRESS, rig) for rig in services.values()]
    services.assign_callback("EXPINIT", with_service)
    assert services.clear_callbacks("EXPINIT", plain) == {"a": 1, "b": 1}
    assert services.clear_callbacks("EXPINIT", with_service) == {"a": 2, "b": 2}
    assert services.clear_callbacks("EXPINIT") == {"a": 0, "b": 0}


def test_a_callback_with_service_that_raises_is_named_in_the_log(make, caplog):
    def boom(data, address, service):
        raise ValueError("boom")

    services = make(answers)
    services.assign_callback(1, boom, return_service=True)
    services["a"].comes([1, "x"])
    (record,) = (one for one in caplog.records if one.levelno == logging.ERROR)
    assert "boom at 0x" in record.getMessage()


def test_a_callback_of_several_events_gets_the_service_last(make):
    services = make(answers)
    seen = []
    services.assign_callback(
        ~ExpMessage.EXPEND, lambda *arguments: seen.append(arguments), return_service=True
    )
    services["a"].comes([1, "x"])
    assert seen == [(["x"], ADDRESS, ExpMessage.EXPINIT, services["a"])]


def test_coroutine_callbacks_get_the_service_too(make, journal):
    async def respond(data, address, service):
        await service.init(data[0] + 1)

    async def scenario():
        services = make(is_silent)
        services.assign_callback("init", respond, return_service=True)
        services["a"].comes([1, 41])
        while not journal:
            await asyncio.sleep(0)

    run(scenario())
    assert journal == [("a", [1, 42])]


@pytest.mark.parametrize("return_service", [True, False])
@pytest.mark.parametrize("scripts", [(), (answers, answers)])
def test_bad_callbacks_are_refused_before_any_event(make, scripts, return_service):
    services = make(*scripts)
    with pytest.raises(TypeError, match="callable or a Future"):
        services.assign_callback("EXPEND", "foo", return_service)
    with pytest.raises(ValueError, match="event"):
        services.assign_callback("bogus", print, return_service)
    assert _leaves_nothing(services)


def test_a_future_cannot_get_a_service(make):
    async def scenario():
        services = make(answers)
        with pytest.raises(TypeError, match="Future"):
            services.assign_callback(1, asyncio.get_running_loop().create_future(), return_service=True)
        assert _leaves_nothing(services)

    run(scenario())


def test_a_future_is_set_by_the_first_rig_and_forgotten_by_all(make, caplog):
    async def scenario():
        services = make(answers, answers)
        future = asyncio.get_running_loop().create_future()
        services.assign_callback(1, future)
        services["b"].comes([1, "first"])
        assert await future == (["first"], ADDRESS)
        await asyncio.sleep(0)
        assert _leaves_nothing(services)
        services["a"].comes([1, "second"])

    run(scenario())
    assert "already resolved" not in caplog.text


def test_stand_ins_are_called_exactly_once_with_exactly_these_arguments(caplog):
    """They have no responses, so they are missing in the results; that raises nothing."""
    rigs = [mock.AsyncMock(spec=Rig), mock.AsyncMock(spec=Rig)]
    services = Services(rigs)
    alyx = mock.MagicMock()

    async def scenario():
        assert await services.init([42, "foo"]) == {}
        assert await services.start("ref") == {}
        assert await services.stop(immediately=True) == {}
        assert await services.status("RUNNING") == {}
        assert await services.info(20, "x") == {}
        assert await services.cleanup(data=8) == {}
        assert await services.await_all("init") == {}
        await services.alyx(alyx)

    run(scenario())
    for rig in rigs:
        rig.init.assert_awaited_once_with(data=[42, "foo"])
        rig.start.assert_awaited_once_with("ref", data=None)
        rig.stop.assert_awaited_once_with(data=None, immediately=True)
        rig.status.assert_awaited_once_with("RUNNING")
        rig.info.assert_awaited_once_with(20, data="x")
        rig.cleanup.assert_awaited_once_with(data=8)
        rig.alyx.assert_awaited_once_with(alyx)
    assert {record.levelno for record in caplog.records if "no pair" in record.getMessage()} == {
        logging.WARNING
    }


def test_stand_ins_may_respond():
    rigs = [mock.AsyncMock(spec=Rig) for _ in range(2)]
    for number, rig in enumerate(rigs):
        rig.name = f"client_{number}"
        rig.on_event.return_value = ([number], ADDRESS)
    for concurrent in (True, False):
        results = run(Services(rigs)._signal(ExpMessage.EXPINIT, "init", "foo", concurrent=concurrent))
        assert results == {"client_0": [0], "client_1": [1]}


def test_services_are_a_service():
    assert isinstance(Services([]), Service)
    assert Services([]).name == "services"
    assert not hasattr(Services([]), "server")
