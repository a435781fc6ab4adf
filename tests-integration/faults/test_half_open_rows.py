"""C5: the other end is gone without a word, as when a cable is pulled or the power fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from namespaces import Program, network_namespaces, python, require

PROGRAM = str(Path(__file__).with_name("half_open_program.py"))
#: A minute of liveness in the program, which takes it for 30 times as long as it is.
LIVENESS_S = 2.0
#: What any call may take above its own time.
SLACK_S = 0.5
#: Both ends of each.
ENDS = {
    "json-socket": {"client", "server"},
    "mxl-sockets": {"hub", "driver"},
    "mxl-aggregated": {"hub", "bridge"},
    "echo-tcp": {"client", "server"},
}


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are a thing of Linux")
@pytest.mark.fault("C5", "json-socket", "T")
@pytest.mark.fault("C5", "mxl-sockets", "T")
@pytest.mark.fault("C5", "mxl-aggregated", "T")
@pytest.mark.fault("C5", "echo-tcp", "T")
@pytest.mark.parametrize("kind", ENDS)
def test_c05_an_end_that_vanishes_without_a_word_is_noticed_on_either_side(tmp_path, figure, kind):
    """T: every packet of an idle connection is dropped; both ends notice within twice their liveness."""
    purpose = "this test needs a network namespace and a packet filter"
    require(["nft"], purpose)
    with (
        network_namespaces(1, "true", purpose) as (host,),
        Program(host, python(PROGRAM, kind), tmp_path) as both,
    ):
        port = json.loads(both.line())["port"]
        rules = "".join(f"add rule inet f in tcp {way} {port} drop\n" for way in ("dport", "sport"))
        host.nft(f"add table inet f\nadd chain inet f in {{ type filter hook input priority 0; }}\n{rules}")
        both.tell("gone")
        seconds = json.loads(both.line())
        assert set(seconds) == ENDS[kind], both.errors
        # Others on this machine may keep the program from running; what it has waited for them is known.
        for end, (taken, stalled) in seconds.items():
            assert taken - stalled <= 2 * LIVENESS_S + SLACK_S, (end, seconds)
        assert both.ended() == 0, both.errors
    told = ", ".join(f"{end} {taken} s" for end, (taken, _) in sorted(seconds.items()))
    figure(f"{kind}: {told}; a minute of liveness taken for {LIVENESS_S:g} s")
