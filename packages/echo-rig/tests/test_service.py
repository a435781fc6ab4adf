"""Each operation stands for one message, and checks its arguments."""

from __future__ import annotations

import datetime as dt

import pytest

from echo_rig.service import Service
from wireframe.echo import PROTOCOL_VERSION, ExpMessage, ExpStatus


class Plain(Service):
    """Returns what the operations of the abstract class return."""

    def init(self, data=None):
        return super().init(data)

    def start(self, exp_ref, data=None):
        return super().start(exp_ref, data)

    def stop(self, data=None, immediately=False):
        return super().stop(data, immediately)

    def status(self, status):
        return super().status(status)

    def info(self, status, data=None):
        return super().info(status, data)

    def cleanup(self, data=None):
        return super().cleanup(data)

    def alyx(self, alyx):
        return super().alyx(alyx)


class Alyx:
    base_url = "https://alyx.example.org"
    is_logged_in = True
    user = "alice"
    _token = {"token": "secret"}  # noqa: RUF012


class LoggedOut(Alyx):
    is_logged_in = False
    user = _token = None


class Nowhere(LoggedOut):
    base_url = ""


REFERENCE = {"date": dt.date(2022, 1, 1), "sequence": "003", "subject": "mouse"}


@pytest.mark.parametrize(
    ("operation", "arguments", "message"),
    [
        ("init", (), (1, None)),
        ("init", ([42],), (1, [42])),
        ("start", ("2022-01-01_1_mouse",), (2, "2022-01-01_1_mouse", None)),
        ("start", (REFERENCE, {"a": 1}), (2, "2022-01-01_3_mouse", {"a": 1})),
        ("start", (["a", 1],), (2, ["a", 1], None)),
        ("start", ("",), (2, None, None)),
        ("start", ({},), (2, None, None)),
        ("stop", (), (4, None)),
        ("stop", ("why", True), (16, "why")),
        ("cleanup", ("x",), (8, "x")),
        ("status", (20,), (32, ExpStatus.RUNNING)),
        ("status", ("RUNNING",), (32, ExpStatus.RUNNING)),
        ("info", (ExpStatus.STOPPED, [1]), (64, ExpStatus.STOPPED, [1])),
        ("alyx", (None,), (128, None, {})),
        ("alyx", (Alyx(),), (128, "https://alyx.example.org", {"alice": {"token": "secret"}})),
        ("alyx", (LoggedOut(),), (128, "https://alyx.example.org", {})),
        ("alyx", (Nowhere(),), (128, None, {})),
    ],
)
def test_message(operation, arguments, message):
    got = getattr(Plain(), operation)(*arguments)
    assert got == message
    assert isinstance(got[0], ExpMessage)
    if operation in {"status", "info"}:
        assert isinstance(got[1], ExpStatus)


@pytest.mark.parametrize(
    ("operation", "argument", "error"),
    [
        ("start", {"date": "2022-01-01", "sequence": 1}, KeyError),
        ("start", REFERENCE | {"sequence": "one"}, ValueError),
        ("status", "running", KeyError),
        ("status", " RUNNING", KeyError),
        ("status", 5, ValueError),
        ("status", True, ValueError),
        ("status", None, ValueError),
        ("info", False, ValueError),
    ],
)
def test_wrong_arguments(operation, argument, error):
    with pytest.raises(error):
        getattr(Plain(), operation)(argument)


def test_the_class_is_abstract_and_knows_its_version():
    assert Service.__version__ == PROTOCOL_VERSION == "1.0.0"
    assert Service.__abstractmethods__ == {"init", "start", "stop", "status", "info", "cleanup", "alyx"}
