"""Groups, interfaces and sources are read as people write them, or refused with the reason."""

from __future__ import annotations

import socket

import pytest

from udp_multicast import AddressError, _address
from udp_multicast._address import (
    Group,
    Interface,
    given_interface,
    parse_group,
    parse_source,
    resolve_interface,
)

IPV4, IPV6 = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("239.1.1.1", Group("239.1.1.1", IPV4, True)),
        ("127.0.0.1", Group("127.0.0.1", IPV4, False)),
        ("localhost", Group("127.0.0.1", IPV4, False)),
        ("::1", Group("::1", IPV6, False)),
        ("fe80::1", Group("fe80::1", IPV6, False, True)),
        ("ff01::1", Group("ff01::1", IPV6, True, True)),
        ("ff12::1%lo", Group("ff12::1", IPV6, True, True, "lo")),
        ("FF05:0::1", Group("ff05::1", IPV6, True)),
    ],
)
def test_group(text, group):
    assert parse_group(text) == group


@pytest.mark.parametrize(
    "text", ["", "0.0.0.0", "::", "255.255.255.255", "239.1.1", "239.1.1.1%lo", "a" * 70, "\ud800", "a%b"]
)
def test_what_is_no_group_is_refused(text):
    with pytest.raises(AddressError):
        parse_group(text)


@pytest.mark.parametrize("text", ["::ffff:239.1.1.1", "::ffff:127.0.0.1", "::FFFF:ef01:101%lo"])
def test_ipv4_written_as_ipv6_is_refused_and_told_how_to_write_it(text):
    with pytest.raises(AddressError, match=r"give (239\.1\.1\.1|127\.0\.0\.1)"):
        parse_group(text)


def test_group_must_be_text():
    with pytest.raises(TypeError, match="NoneType"):
        parse_group(None)


def test_target_names_the_interface_only_where_the_group_needs_it():
    assert parse_group("239.1.1.1").target(7, 3) == ("239.1.1.1", 7)
    assert parse_group("ff15::1").target(7, 3) == ("ff15::1", 7, 0, 0)
    assert parse_group("ff02::1").target(7, 3) == ("ff02::1", 7, 0, 3)


def test_interface_by_name_index_and_address():
    index = socket.if_nametoindex("lo")
    for family in (IPV4, IPV6):
        assert resolve_interface("lo", family) == Interface("lo", index, "127.0.0.1")
        assert resolve_interface(index, family) == resolve_interface("lo", family)
    assert resolve_interface("::1", IPV6) == resolve_interface("lo", IPV6)
    assert resolve_interface("127.0.0.1", IPV4) == Interface("", 0, "127.0.0.1")
    assert resolve_interface("fe80::1%lo", IPV6).index == index


@pytest.mark.parametrize(
    ("interface", "family", "reason"),
    [
        ("nosuch0", IPV4, "no interface 'nosuch0'; there are .*lo"),
        ("with\0nul", IPV4, "no interface"),
        (1 << 20, IPV4, "no interface with index"),
        (1 << 80, IPV4, "no interface with index"),
        ("127.0.0.1", IPV6, "name of the interface"),
        ("2001:db8::1", IPV6, "no interface has the address"),
    ],
)
def test_interface_that_is_not_there_is_refused(interface, family, reason):
    with pytest.raises(AddressError, match=reason):
        resolve_interface(interface, family)


def test_interface_of_another_type_is_refused():
    with pytest.raises(TypeError, match="float"):
        resolve_interface(1.0, IPV4)


def test_ipv6_interface_by_address_is_refused_where_the_system_does_not_list_them(monkeypatch, tmp_path):
    monkeypatch.setattr(_address, "_IPV6_ADDRESSES", tmp_path / "none")
    with pytest.raises(AddressError, match="by its name only"):
        resolve_interface("::1", IPV6)


def test_scope_of_the_group_is_its_interface():
    index = socket.if_nametoindex("lo")
    assert given_interface(parse_group("ff02::1%lo"), None).index == index
    assert given_interface(parse_group(f"ff02::1%{index}"), "lo").index == index
    assert given_interface(parse_group("239.1.1.1"), None).index == 0


def test_scope_and_interface_must_agree(monkeypatch):
    monkeypatch.setattr(_address, "_index_of_name", lambda name: {"lo": 1, "eth9": 9}[name])
    with pytest.raises(AddressError, match=r"'lo'.*'eth9'"):
        given_interface(parse_group("ff02::1%lo"), "eth9")


def test_source_is_written_as_the_system_writes_it():
    assert parse_source("10.0.0.1", IPV4) == "10.0.0.1"
    assert parse_source("FE80:0::1", IPV6) == "fe80::1"
    for text, family in [("host", IPV4), ("::1", IPV4), ("10.0.0.1", IPV6), ("\0", IPV4)]:
        with pytest.raises(AddressError, match="is not an IPv"):
            parse_source(text, family)
