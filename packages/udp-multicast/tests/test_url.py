"""URLs of LCM networks."""

from __future__ import annotations

import pytest

from udp_multicast._url import DEFAULT_URL, ChannelUrl, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("udpm://", ChannelUrl()),
        (DEFAULT_URL, ChannelUrl("239.255.76.67", 7667, 0)),
        ("udpm://239.1.1.1:5007?ttl=1", ChannelUrl("239.1.1.1", 5007, 1)),
        ("udpm://239.1.1.1", ChannelUrl("239.1.1.1", 7667, 0)),
        ("udpm://239.1.1.1/", ChannelUrl("239.1.1.1", 7667, 0)),
        ("udpm://:5007", ChannelUrl("239.255.76.67", 5007, 0)),
        ("udpm://?ttl=255", ChannelUrl(ttl=255)),
        ("udpm://?recv_buf_size=2097152&ttl=1", ChannelUrl(ttl=1, buffer_size=2097152)),
        ("udpm://[ff02::1]:5007?ttl=1", ChannelUrl("ff02::1", 5007, 1)),
        ("udpm://[ff02::1]", ChannelUrl("ff02::1", 7667, 0)),
        ("UDPM://239.1.1.1:65535", ChannelUrl("239.1.1.1", 65535, 0)),
    ],
)
def test_reads_what_lcm_programs_write(url, expected):
    """What is missing is LCM's default, and the text of a URL means the same URL."""
    assert parse_url(url) == expected
    assert parse_url(str(expected)) == expected


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is not udpm://group:port"),
        ("239.1.1.1:5007", "is not udpm://group:port"),
        ("udp://239.1.1.1:5007", "is not udpm://group:port"),
        ("udpm:239.1.1.1:5007", "is not udpm://group:port"),
        ("udpm://239.1.1.1:0", "a port is 1 to 65535, not '0'"),
        ("udpm://239.1.1.1:65536", "a port is 1 to 65535"),
        ("udpm://239.1.1.1:", "a port is 1 to 65535, not ''"),
        ("udpm://239.1.1.1:http", "a port is 1 to 65535, not 'http'"),
        ("udpm://239.1.1.1:٣", "a port is 1 to 65535"),
        ("udpm://239.1.1.1:-1", "a port is 1 to 65535"),
        ("udpm://[ff02::1:5007", "cannot read the URL"),
        ("udpm://ff02::1:5007", "needs a numeric group"),
        ("udpm://daq.example:5007", "needs a numeric group such as 239.255.76.67, not 'daq.example'"),
        ("udpm://127.0.0.1:5007", "127.0.0.1 is no multicast group"),
        ("udpm://[::1]:5007", "::1 is no multicast group"),
        ("udpm://me@239.1.1.1:5007", "more than a group"),
        ("udpm://239.1.1.1:5007/data", "more than a group"),
        ("udpm://239.1.1.1:5007#data", "more than a group"),
        ("udpm://?ttl=256", "ttl is 0 to 255, not '256'"),
        ("udpm://?ttl=-1", "ttl is 0 to 255"),
        ("udpm://?ttl=", "ttl is 0 to 255, not ''"),
        ("udpm://?ttl", "cannot read the URL"),
        ("udpm://?tll=1", "unknown option 'tll'"),
        ("udpm://?recv_buf_size=0", "recv_buf_size is 1 to"),
    ],
)
def test_says_what_is_wrong_with_a_url(url, reason):
    with pytest.raises(ValueError, match=r"udpm|not") as caught:
        parse_url(url)
    assert reason in str(caught.value)


@pytest.mark.parametrize("url", [None, b"udpm://", 7667])
def test_refuses_what_is_no_text(url):
    with pytest.raises(TypeError, match="a URL is a str"):
        parse_url(url)
