"""A free port, the address to it, and the file that tells others."""

from __future__ import annotations

import socket

import pytest

from mxl_sockets import ports
from mxl_sockets.ports import get_available_host_port


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_the_port_is_free_on_loopback():
    host, port = get_available_host_port()
    assert host == "127.0.0.1"
    with socket.socket() as listener:
        listener.bind((host, port))


def test_the_outward_address_belongs_to_this_machine():
    """It can be bound, whichever of the three ways found it."""
    host, port = get_available_host_port(localhost=False)
    with socket.socket() as listener:
        listener.bind((host, port))


def test_without_a_network_the_host_name_and_then_loopback_is_used(monkeypatch):
    """Connecting a datagram socket fails on a machine that is not connected."""

    class Disconnected(socket.socket):
        def connect(self, address):
            raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "socket", Disconnected)
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.9.8.7")
    assert get_available_host_port(localhost=False)[0] == "10.9.8.7"

    def unknown(name):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    assert get_available_host_port(localhost=False)[0] == "127.0.0.1"


def test_an_unspecified_address_is_not_told_to_anybody(monkeypatch):
    """Where the system answers 0.0.0.0, nobody could connect to it."""

    class Unspecified(socket.socket):
        def connect(self, address):
            pass

    monkeypatch.setattr(socket, "socket", Unspecified)
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "10.9.8.7")
    assert get_available_host_port(localhost=False)[0] == "10.9.8.7"


def test_no_datagram_is_sent_to_find_the_address(monkeypatch):
    """The address asked for is one of those reserved for documentation, and nothing but connect is called."""
    called = []

    class Watched(socket.socket):
        def connect(self, address):
            called.append(address)
            raise OSError

        def send(self, *arguments):
            called.append(arguments)

        sendto = send

    monkeypatch.setattr(socket, "socket", Watched)
    get_available_host_port(localhost=False)
    assert called == [("192.0.2.1", 9)]


@pytest.mark.parametrize("convert", [str, lambda path: path])
def test_the_file_holds_host_and_port_on_two_lines(tmp_path, convert):
    """Exactly these bytes, and no draft beside them."""
    path = tmp_path / "hub.txt"
    path.write_text("something much longer than what will be there afterwards")
    host, port = get_available_host_port(save_to_file=convert(path))
    assert path.read_bytes() == f"{host}\n{port}\n".encode()
    assert names(tmp_path) == ["hub.txt"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    get_available_host_port(save_to_file=tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text().startswith("127.0.0.1\n")


def test_a_file_that_cannot_be_put_in_place_leaves_no_draft(tmp_path):
    """Here the target is a folder."""
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        get_available_host_port(save_to_file=tmp_path / "taken")
    assert names(tmp_path) == ["taken"]


def test_only_the_master_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(ports, "am_master", lambda: False)
    get_available_host_port(save_to_file=tmp_path / "hub.txt")
    assert names(tmp_path) == []
