"""URIs as the original reads them, IPv6 besides, and no port that is none."""

from __future__ import annotations

import http.server
import ipaddress
import json
import socket
import threading
from pathlib import Path

import pytest

from echo_rig import uri
from echo_rig.uri import external_ip, hostname2ip, is_valid_ip, join_uri, split_uri, validate_uri
from wireframe.echo import LISTEN_PORT

CASES = json.loads(Path(__file__).with_name("vectors").joinpath("echo-rig.json").read_text("utf-8"))[
    "tables"
]["validate_uri"]
#: Where the original is followed no further: a scheme that it takes for another, a port that is no
#: number, IPv6 in a form that nobody can use.
OURS = {
    "'UDP://192.168.0.1'": "udp://192.168.0.1:11001",
    "'localhost:8 '": "!ValueError",
    "'localhost:1_0'": "!ValueError",
    "'localhost:+80'": "!ValueError",
    "'[::1]:9999'": "udp://[::1]:9999",
    "IPv6Address('::1')": "udp://[::1]:11001",
}


def _evaluated(text):
    names = {"IPv4Address": ipaddress.IPv4Address, "IPv6Address": ipaddress.IPv6Address}
    return eval(text, {"__builtins__": {}}, names)


def test_all_recorded_cases_are_there():
    assert len(CASES) == 38
    assert {case["uri"] for case in CASES} > OURS.keys()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['uri']} {case['kwargs']}")
def test_recorded_case(case):
    """The original and ours agree, or the difference stands in the list above."""
    expected = OURS.get(case["uri"], case["result"])
    assert expected != case["result"] or case["uri"] not in OURS
    given = _evaluated(case["uri"])
    if expected.startswith("!"):
        with pytest.raises({"!ValueError": ValueError, "!TypeError": TypeError}[expected]):
            validate_uri(given, **case["kwargs"])
    else:
        assert validate_uri(given, **case["kwargs"]) == expected


@pytest.mark.parametrize(
    ("given", "full"),
    [
        ("[::1]", "udp://[::1]:11001"),
        ("[::1]:", "udp://[::1]:11001"),
        ("tcp://[::1]", "tcp://[::1]:11001"),
        ("WSS://[FE80:0::1%eth0]:80", "wss://[fe80::1%eth0]:80"),
        ("[::ffff:127.0.0.1]:1", "udp://[::ffff:127.0.0.1]:1"),
        ("http://localhost:80", "http://127.0.0.1:80"),
        ("HTTP://10.0.0.1", "http://10.0.0.1:11001"),
        ("localhost:00080", "udp://127.0.0.1:80"),
    ],
)
def test_more_forms(given, full):
    text = validate_uri(given)
    # Python versions write mapped addresses in either way; both mean the same.
    assert text == full or ipaddress.ip_address(split_uri(text)[1]) == ipaddress.ip_address(
        "::ffff:127.0.0.1"
    )


@pytest.mark.parametrize("resolve", [True, False])
@pytest.mark.parametrize(
    "given",
    [
        "::1",
        "fe80::1:80",
        "[::1",
        "::1]",
        "[::1]80",
        "[127.0.0.1]:80",
        "[localhost]:80",
        "[]:80",
        "[fe80::1%]",
        "localhost:\u0661\u0662",
        "localhost:80\n",
        "localhost:000080",
        "localhost:0x50",
        "local host",
        "\n",
        "a://b://c",
        "://localhost",
        "\u00fcdp://localhost",
        "a" * 300,
        "a..b",
        "a\0b",
        "\ud800",
    ],
)
def test_what_is_no_uri_is_refused_without_asking_the_network(given, resolve, monkeypatch):
    def resolver(host, *_, **__):
        # As if no name server knew any of them; what cannot be asked for fails before.
        host.encode("idna")
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with pytest.raises(ValueError, match=r"[Ii]nvalid|not scheme|no IPv6|Failed to resolve"):
        validate_uri(given, resolve)


@pytest.mark.parametrize("proc", ["", "u dp", "9p", "udp:", "\u00fcdp"])
def test_a_default_scheme_is_of_letters(proc):
    with pytest.raises(ValueError, match="Invalid scheme"):
        validate_uri("10.0.0.1", default_proc=proc)


def test_default_scheme_is_lowered_and_default_port_checked():
    assert validate_uri("10.0.0.1", default_proc="WS") == "ws://10.0.0.1:11001"
    for port in (0, 65536, -1, "", "x", "8 "):
        with pytest.raises(ValueError, match="Invalid port"):
            validate_uri("10.0.0.1", default_port=port)


def test_an_empty_host_is_this_computer(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "localhost")
    assert validate_uri("") == validate_uri("udp://") == f"udp://127.0.0.1:{LISTEN_PORT}"
    assert validate_uri(":80") == "udp://127.0.0.1:80"
    assert hostname2ip() == hostname2ip("") == ipaddress.ip_address("127.0.0.1")


def test_hostname2ip_prefers_ipv4_and_takes_ipv6(monkeypatch):
    v6 = (socket.AF_INET6, socket.SOCK_DGRAM, 17, "", ("fe80::1%lo", 0, 0, 1))
    v4 = (socket.AF_INET, socket.SOCK_DGRAM, 17, "", ("10.0.0.1", 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6, v4])
    assert hostname2ip("rig") == ipaddress.ip_address("10.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6])
    assert hostname2ip("rig") == ipaddress.ip_address("fe80::1%lo")
    assert validate_uri("rig:5") == "udp://[fe80::1%lo]:5"
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(ValueError, match="no IP address"):
        hostname2ip("rig")


@pytest.mark.parametrize(
    ("given", "valid"),
    [("127.0.0.1", True), ("::1", True), (5, True), ("256.0.0.1", False), ("rig", False), (None, False)],
)
def test_is_valid_ip(given, valid):
    assert is_valid_ip(given) is valid


@pytest.mark.parametrize("parts", [("udp", "10.0.0.1", 1), ("ws", "::1", 65535), ("tcp", "fe80::1%eth0", 80)])
def test_split_is_the_inverse_of_join(parts):
    assert split_uri(join_uri(*parts)) == parts


@pytest.mark.parametrize(
    ("body", "address"),
    [(b"203.0.113.9\n", "203.0.113.9"), (b"2001:db8::1", "2001:db8::1"), (b"<html>", None)],
)
def test_external_ip_is_what_the_service_answers(body, address, monkeypatch):
    """Anything but an address is an error, however long it is."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        monkeypatch.setattr(uri, "EXTERNAL_IP_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        try:
            if address is None:
                with pytest.raises(ValueError, match="html"):
                    external_ip()
            else:
                assert external_ip() == ipaddress.ip_address(address)
        finally:
            thread.join(10)
