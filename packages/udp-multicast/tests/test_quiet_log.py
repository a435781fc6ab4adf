"""A flood of bad senders is not a flood of log records."""

from __future__ import annotations

import logging

import pytest

from udp_multicast._quiet_log import MAX_CAUSES, MAX_HOSTS, QuietLogger


@pytest.fixture
def quiet(caplog):
    caplog.set_level(logging.DEBUG)
    return QuietLogger(logging.getLogger("test"))


def test_a_cause_is_a_warning_once_for_each_host(quiet, caplog):
    for host, cause in (("a", "late"), ("a", "late: by 3 s"), ("b", "late, again"), ("a", "lost")):
        quiet.warn(host, cause, "%s", host)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "DEBUG", "WARNING", "WARNING"]


def test_hosts_that_are_made_up_share_their_warnings(quiet, caplog):
    for _ in range(2):
        for number in range(100 * MAX_HOSTS):
            quiet.warn(f"host {number}", "late", "%d", number)
    assert sum(record.levelname == "WARNING" for record in caplog.records) == MAX_HOSTS + 1


def test_the_memory_of_causes_starts_anew_when_it_is_full(quiet):
    for number in range(2 * MAX_CAUSES + 1):
        quiet.warn("host", str(number), "%d", number)
    assert len(quiet._seen) == 1
