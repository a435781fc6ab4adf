"""The command line, in this process and as a process."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
import socket
import subprocess
import sys
import threading

import pytest

from mxl_sockets.__main__ import UsageError, load_model, main, parse_parameter, stopped_by_signals
from mxl_sockets._model import FunctionModel
from mxl_sockets.driver import Driver
from mxl_sockets.two_level import TwoLevelSystem
from wireframe import ipi

LIMIT_S = 20.0
TLS = "mxl_sockets.two_level:TwoLevelSystem"
INIT = ipi.encode_init(0, b'{"dt_au": 1.0}')
STOP, EXIT = ipi.encode_header(ipi.STOP), ipi.encode_header(ipi.EXIT)

MODELS = """
from mxl_sockets.two_level import TwoLevelSystem

molecule = TwoLevelSystem()

def double(field, factor=2.0):
    return factor * field

def broken(field):
    raise ArithmeticError("diverged")

class Space:
    inside = double

number = 3
"""


@pytest.fixture
def listener():
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen()
        made.settimeout(LIMIT_S)
        yield made


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A module in the folder the command runs in."""
    (tmp_path / "my_models.py").write_text(MODELS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("my_models", None)


@pytest.fixture(autouse=True)
def untouched_logging(monkeypatch):
    """The command sets up logging for its process; this process is not its own."""
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)


def drive(listener, *arguments, say=EXIT, hear=0):
    """Run the command in this process against a hub that says something and closes; return both answers."""
    heard = []

    def serve():
        sock, _ = listener.accept()
        with sock:
            sock.settimeout(LIMIT_S)
            sock.sendall(say)
            received = b""
            while len(received) < hear:
                received += sock.recv(4096)
            heard.append(received)

    thread = threading.Thread(target=serve)
    thread.start()
    code = main(["drive", *arguments, "--hub", f"127.0.0.1:{listener.getsockname()[1]}"])
    thread.join(LIMIT_S)
    return code, heard[0]


def test_drives_a_class_with_parameters_until_the_hub_says_stop(listener):
    """--param reaches the constructor; the answer is that of the model."""
    code, heard = drive(
        listener,
        TLS,
        "--param",
        "omega=0.2",
        "--param",
        "orientation=0",
        "--param",
        "state=[0, 0.5, 0.5]",
        say=INIT + ipi.encode_request((0, 0, 0)) + STOP,
        hear=136,
    )
    molecule = TwoLevelSystem(omega=0.2, orientation=0, state=[0, 0.5, 0.5])
    molecule.initialize(0, 1.0, {})
    molecule.stage([0.0, 0.0, 0.0])
    assert code == 0
    assert ipi.reals(heard[24:48]) == molecule.commit()[0]


@pytest.mark.usefixtures("models")
def test_drives_a_function_with_parameters(listener):
    code, heard = drive(
        listener,
        "my_models:double",
        "--param",
        "factor=-3",
        say=INIT + ipi.encode_request((0, 0, 1)) + EXIT,
        hear=124,
    )
    assert (code, ipi.reals(heard[24:48])) == (0, (0.0, 0.0, -3.0))


@pytest.mark.usefixtures("models")
def test_a_failing_model_is_exit_code_1_and_named(listener, capsys):
    code, _ = drive(listener, "my_models:broken", say=INIT + ipi.encode_request((0, 0, 1)))
    assert code == 1
    assert "mxl-sockets: broken failed in stage: ArithmeticError: diverged" in capsys.readouterr().err


def test_a_hub_that_breaks_the_protocol_is_exit_code_4(listener, capsys):
    code, _ = drive(listener, TLS, say=b"HTTP/1.1 400 Bad Request\r\n")
    assert code == 4
    assert "broke the protocol" in capsys.readouterr().err


def test_a_lost_hub_is_exit_code_3(listener):
    assert drive(listener, TLS, "--reconnect-timeout", "0", say=INIT)[0] == 3


def test_a_silent_hub_is_exit_code_3_when_asked(listener, capsys):
    """The listener has a backlog, so it connects although nobody accepts."""
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    assert main(["drive", TLS, "--hub", address, "--silence-timeout", "0.05"]) == 3


@pytest.mark.parametrize("where", ["tcp", "unix"])
def test_no_hub_is_exit_code_3_and_says_where_and_for_how_long(where, capsys, tmp_path):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        path = str(tmp_path / "nobody")
        place = ["--hub", address] if where == "tcp" else ["--unix", path]
        assert main(["drive", TLS, *place, "--connect-timeout", "0.05", "--quiet"]) == 3
    message = capsys.readouterr().err
    assert f"cannot connect to hub {address if where == 'tcp' else path}: gave up after 0." in message
    assert message.count("\n") == 1


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_models"], "'my_models' is not package.module:Model"),
        ([":Model"], "is not package.module:Model"),
        (["no_such_module:Model"], "cannot import 'no_such_module'"),
        (["my_models:Missing"], "module 'my_models' has no 'Missing'"),
        (["my_models:number"], "cannot be called"),
        (["my_models:molecule", "--param", "omega=1"], "takes no --param"),
        ([TLS, "--param", "omgea=1"], "cannot make a TwoLevelSystem"),
        ([TLS, "--param", "omega=-1"], "omega is -1, want > 0"),
        ([TLS, "--hub", "nowhere"], "'nowhere' is not HOST:PORT"),
        (["my_models:number", "--param", "a=1"], "cannot be called"),
        ([TLS, "--unix", "x" * 200], "longer than"),
    ],
)
def test_wrong_arguments_are_exit_code_2_and_explained(arguments, message, capsys):
    assert main(["drive", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["drive"], ["drive", TLS, "--hub", "a:1", "--unix", "b"]])
def test_what_argparse_refuses_is_exit_code_2_too(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("text", ["omega", "=1", "a b=1", ""])
def test_parameters_must_be_key_and_value(text):
    with pytest.raises(argparse.ArgumentTypeError, match="key=value"):
        parse_parameter(text)


@pytest.mark.parametrize(
    ("text", "value"), [("a=1", 1), ("a=[1, 2]", [1, 2]), ("a=x=y", "x=y"), ("a=", ""), ("a=true", True)]
)
def test_values_are_json_or_text(text, value):
    assert parse_parameter(text) == ("a", value)


@pytest.mark.usefixtures("models")
def test_models_are_found_in_modules_and_inside_classes():
    assert isinstance(load_model("my_models:molecule", {}), TwoLevelSystem)
    assert isinstance(load_model("my_models:Space.inside", {}), FunctionModel)
    assert isinstance(load_model(TLS, {"omega": 1}), TwoLevelSystem)
    with pytest.raises(UsageError):
        load_model("my_models:Space", {"no": 1})


def test_signals_are_left_alone_outside_of_the_main_thread():
    found = []

    def work():
        with stopped_by_signals(Driver(abs)) as came:
            found.append((came, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [([], before)]


def test_a_first_signal_stops_and_a_second_has_its_usual_effect():
    """Python's own SIGINT handler raises KeyboardInterrupt: in a model that never returns, it still can."""
    driver = Driver(abs)
    before = signal.getsignal(signal.SIGINT)
    with stopped_by_signals(driver) as came:
        signal.raise_signal(signal.SIGINT)
        assert came == [signal.SIGINT]
        assert driver.run().reason.value == "stopped"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot be sent these signals there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("moment", ["waiting for a message", "waiting for a hub"])
def test_a_signal_closes_the_connection_and_ends_the_process_in_time(number, moment, listener, models):
    """Exit code 128 + n; the hub sees the end at once; everything it says goes to standard error."""
    port = listener.getsockname()[1]
    if moment == "waiting for a hub":
        listener.close()
    command = [
        sys.executable,
        "-m",
        "mxl_sockets",
        "drive",
        "my_models:double",
        "--hub",
        f"127.0.0.1:{port}",
    ]
    with (
        subprocess.Popen(
            command, cwd=models, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
        contextlib.ExitStack() as stack,
    ):
        stack.callback(process.kill)
        if moment == "waiting for a hub":
            assert "no hub at" in process.stderr.readline()
        else:
            sock, _ = listener.accept()
            stack.enter_context(sock).settimeout(LIMIT_S)
            sock.sendall(INIT + ipi.encode_header(ipi.STATUS))
            assert sock.recv(12) == ipi.encode_header(ipi.READY)
        process.send_signal(number)
        out, err = process.communicate(timeout=LIMIT_S)
        if moment != "waiting for a hub":
            assert sock.recv(1) == b""
    assert process.returncode == 128 + number
    assert out == ""
    assert "Traceback" not in err


def test_help_and_version_are_there(capsys):
    for arguments in (
        ["--version"],
        ["--help"],
        *([name, "--help"] for name in ("drive", "bridge", "watch")),
    ):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0
        assert ("exit codes: 0 " in capsys.readouterr().out) is ("--help" in arguments)
