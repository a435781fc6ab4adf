"""What programs of the original rely on: names, signatures and defaults, as a table."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import echo_rig
from echo_rig import app, base

#: Where a name is, and its parameters with their defaults as the original has them. What ours adds stands
#: behind those, has a default, or can only be given by name.
SIGNATURES = {
    "EchoProtocol": "(server_uri, role, name=None, logger=None)",
    "EchoProtocol.server": "(server_uri, name=None, log=None, **kwargs)",
    "EchoProtocol.client": "(server_uri, name=None, log=None, **kwargs)",
    "EchoProtocol.awaiting_response": "(self, addr=None)",
    "EchoProtocol.init": "(self, data=None, addr=None)",
    "EchoProtocol.start": "(self, exp_ref, data=None, addr=None)",
    "EchoProtocol.stop": "(self, data=None, immediately=False, addr=None)",
    "EchoProtocol.status": "(self, status, addr=None)",
    "EchoProtocol.info": "(self, status, data=None, addr=None)",
    "EchoProtocol.cleanup": "(self, data=None, addr=None)",
    "EchoProtocol.alyx": "(self, alyx=None, addr=None)",
    "EchoProtocol.encode": "(data)",
    "EchoProtocol.decode": "(data)",
    "EchoProtocol.send": "(self, data, addr=None)",
    "EchoProtocol.confirmed_send": "(self, data, addr=None, timeout=None)",
    "EchoProtocol.close": "(self)",
    "EchoProtocol.connection_made": "(self, transport)",
    "EchoProtocol.connection_lost": "(self, exc)",
    "EchoProtocol.datagram_received": "(self, data, addr)",
    "EchoProtocol.data_received": "(self, data)",
    "EchoProtocol.eof_received": "(self)",
    "EchoProtocol.error_received": "(self, exc)",
    "EchoProtocol.assign_callback": "(self, event, callback)",
    "EchoProtocol.clear_callbacks": "(self, event, callback=None, cancel_futures=True)",
    "EchoProtocol.on_event": "(self, event)",
    "EchoProtocol._receive": "(self, data, addr)",
    "Services": "(remote_rigs, timeout=10.0)",
    "Services.assign_callback": "(self, event, callback, return_service=False)",
    "Services.clear_callbacks": "(self, event, callback=None)",
    "Services.close": "(self)",
    "Services.await_all": "(self, event)",
    "Services.init": "(self, data=None, concurrent=True)",
    "Services.cleanup": "(self, data=None, concurrent=True)",
    "Services.start": "(self, exp_ref, data=None, concurrent=True)",
    "Services.stop": "(self, data=None, immediately=False, **kwargs)",
    "Services.status": "(self, status, **kwargs)",
    "Services.info": "(self, status, data=None, **kwargs)",
    "Services.alyx": "(self, alyx)",
    "Services._signal": "(self, event, method, *args, concurrent=True, reverse=False, **kwargs)",
    "main": "(role, server_uri, name=None, **kwargs)",
    "base.Communicator": "(server_uri, name=None, logger=None)",
    "base.ExpMessage.any": "()",
    "base.ExpMessage.validate": "(event, allow_bitwise=True)",
    "base.is_success": "(fut)",
    "base.is_valid_ip": "(ip_address)",
    "base.external_ip": "()",
    "base.hostname2ip": "(hostname=None)",
    "base.validate_uri": "(uri, resolve_host=True, default_port=11001, default_proc='udp')",
}
#: Where only the name of a parameter is another one.
RENAMED = {"base.is_success": {"fut": "future"}}


def found(path):
    where = app
    for name in path.split("."):
        where = getattr(where, name)
    return where


def parameters(text):
    """The parameters of a signature that is written down."""
    namespace = {}
    exec(f"def written{text}: pass", namespace)
    return inspect.signature(namespace["written"]).parameters


@pytest.mark.parametrize("path", SIGNATURES)
def test_a_call_that_fits_the_original_fits_ours(path):
    theirs = parameters(SIGNATURES[path])
    ours = dict(inspect.signature(found(path)).parameters)
    renamed = RENAMED.get(path, {})
    in_order = [name for name, one in ours.items() if one.kind is one.POSITIONAL_OR_KEYWORD]
    for position, (name, one) in enumerate(theirs.items()):
        name = renamed.get(name, name)
        assert name in ours, f"{name} is missing"
        mine = ours.pop(name)
        assert mine.kind is one.kind or one.kind is one.VAR_KEYWORD
        assert mine.default == one.default
        if one.kind is one.POSITIONAL_OR_KEYWORD:
            assert in_order[position] == name, "the order is another one"
    for name, added in ours.items():
        assert added.default is not added.empty or added.kind in (added.VAR_KEYWORD, added.VAR_POSITIONAL), (
            name
        )


@pytest.mark.parametrize(
    "path",
    [path for path in SIGNATURES if path.split(".")[-1] in (
        "server", "client", "init", "start", "stop", "status", "info", "cleanup", "alyx", "confirmed_send",
        "on_event", "await_all", "_signal", "main",
    )],
)  # fmt: skip
def test_what_is_awaited_in_the_original_is_awaited_in_ours(path):
    assert inspect.iscoroutinefunction(found(path))


def test_constants_and_class_attributes_have_the_values_of_the_original():
    assert base.LISTEN_PORT == 11001
    assert base.PROTOCOL_VERSION == "1.0.0"
    for versioned in (base.ExpMessage, base.ExpStatus, base.Service):
        assert versioned.__version__ == base.PROTOCOL_VERSION
    assert app.EchoProtocol.Server is None
    assert app.EchoProtocol.default_echo_timeout == 1.0
    assert app.EchoProtocol.max_message_size == 65535
    assert {event.name: int(event) for event in base.ExpMessage} == {
        "EXPINIT": 1, "EXPSTART": 2, "EXPEND": 4, "EXPCLEANUP": 8,
        "EXPINTERRUPT": 16, "EXPSTATUS": 32, "EXPINFO": 64, "ALYX": 128,
    }  # fmt: skip
    assert {status.name: int(status) for status in base.ExpStatus} == {
        "CONNECTED": 0, "INITIALIZED": 10, "RUNNING": 20, "STOPPED": 30,
    }  # fmt: skip


def test_the_classes_are_what_they_were_of():
    assert issubclass(app.EchoProtocol, base.Communicator)
    assert issubclass(base.Communicator, base.Service)
    assert issubclass(app.Services, base.Service)
    assert issubclass(app.EchoProtocol, asyncio.DatagramProtocol)
    assert issubclass(app.EchoProtocol, asyncio.Protocol)


@pytest.mark.parametrize("name", ["role", "is_connected", "port", "hostname", "protocol"])
def test_properties_are_properties(name):
    assert isinstance(inspect.getattr_static(app.EchoProtocol, name), property)


def test_everything_that_is_promised_is_there():
    for module in (echo_rig, app, base):
        for name in module.__all__:
            assert hasattr(module, name), f"{module.__name__}.{name}"
    for name in ("EchoProtocol", "Services", "main", "ExpMessage", "ExpStatus", "Service", "Communicator",
                 "validate_uri", "hostname2ip", "is_valid_ip", "external_ip", "is_success"):  # fmt: skip
        assert name in echo_rig.__all__
