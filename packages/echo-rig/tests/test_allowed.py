"""Which addresses are listened to."""

from __future__ import annotations

import pytest

from echo_rig._allowed import AllowedSources


@pytest.mark.parametrize(
    ("address", "is_allowed"),
    [
        ("10.0.0.7", True),
        ("10.0.1.7", False),
        ("192.168.0.1", True),
        ("192.168.0.2", False),
        ("::1", True),
        ("::2", False),
        # As a socket for both families shows IPv4 addresses.
        ("::ffff:10.0.0.7", True),
        ("::ffff:10.0.1.7", False),
        ("fe80::1%eth0", True),
        ("rig-pc", False),
        ("", False),
        (None, False),
    ],
)
def test_addresses_are_found_in_addresses_and_networks(address, is_allowed):
    sources = AllowedSources(["10.0.0.0/24", "192.168.0.1", "::1", "fe80::/64"])
    assert (address in sources) is is_allowed


def test_an_empty_list_allows_nobody():
    assert "127.0.0.1" not in AllowedSources([])


@pytest.mark.parametrize("entry", ["rig-pc", "10.0.0.1/24", "10.0.0.0/99", ""])
def test_what_is_no_address_is_refused(entry):
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        AllowedSources([entry])


def test_a_single_text_is_not_taken_for_a_list():
    with pytest.raises(TypeError, match="list"):
        AllowedSources("10.0.0.1")
