"""The entry point of the original: ``await main(...)`` and ``python -m echo_rig.app``."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from echo_rig import EchoProtocol, _example, app

from .raw_peers import free_uri, in_loop, is_taken, until


@pytest.mark.parametrize("scheme", ["udp", "tcp"])
@in_loop
async def test_a_server_and_a_client_of_the_entry_point_meet(scheme, capsys):
    uri = free_uri(scheme)
    serving = asyncio.ensure_future(app.main("server", uri, name="example"))
    await until(lambda: "Starting server" in capsys.readouterr().out)
    await until(lambda: is_taken(uri))
    await app.main("client", uri)
    assert capsys.readouterr().out == "Starting client\n"
    # Also while a client is connected.
    async with await EchoProtocol.client(uri):
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
    async with await EchoProtocol.server(uri):
        """The port is free."""


@in_loop
async def test_the_client_starts_the_example():
    async with await EchoProtocol.server(free_uri("udp")) as server:
        started = asyncio.ensure_future(server.on_event("EXPSTART"))
        await asyncio.sleep(0)
        await app.main("client", server.server_uri)
        assert (await started)[0] == ["2022-01-01_1_subject", None]


@in_loop
async def test_a_server_over_udp_serves_for_a_limited_time(monkeypatch):
    monkeypatch.setattr(_example, "SERVE_S", 0.01)
    await app.main("server", free_uri("udp"))


@in_loop
async def test_a_role_that_is_none_is_named():
    with pytest.raises(ValueError, match='Unknown role "x"'):
        await app.main("x", free_uri("udp"))


def test_the_command_line_reports_and_does_not_trace_back(capsys):
    uri = free_uri("tcp")
    assert app._run(["client", "-H", uri]) == 1
    captured = capsys.readouterr()
    assert "refused" in captured.err.lower() or "connect" in captured.err.lower()
    assert "Traceback" not in captured.err
    assert app._run(["client", "--host", "udp://nonsense host"]) == 1
    with pytest.raises(SystemExit):
        app._run(["neither"])


def test_an_interrupt_ends_the_command_line(monkeypatch):
    def interrupted(coroutine):
        coroutine.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(app.asyncio, "run", interrupted)
    assert app._run(["server"]) == 130


def test_the_module_can_be_run():
    done = subprocess.run(
        [sys.executable, "-m", "echo_rig.app", "client", "-v", "-H", free_uri("tcp")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "Starting client\n")
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
