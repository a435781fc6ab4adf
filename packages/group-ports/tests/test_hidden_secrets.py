"""Secrets do not show where objects are shown."""

from __future__ import annotations

import pytest

from group_ports import PortSettings
from group_ports.security import CurveKeys


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda thing: f"{[thing]}"])
def test_no_secret_key_is_shown(show):
    """Neither the member's nor the group's, by themselves or as part of the settings of a port."""
    group, member = CurveKeys.generate(), CurveKeys.generate()
    keys = CurveKeys(member.public, member.secret, group.public, group.secret, frozenset([member.public]))
    for thing in (keys, PortSettings(keys=keys)):
        shown = show(thing)
        assert member.public.decode() in shown
        assert member.secret.decode() not in shown
        assert group.secret.decode() not in shown
