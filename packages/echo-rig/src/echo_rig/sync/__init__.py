"""Experiment messages for scripts and notebooks: plain calls that block, no event loop, no thread.

::

    import echo_rig.sync

    with echo_rig.sync.connect("udp://rig-pc") as rig:
        rig.init({"subject": "mouse"})            # returns when the rig has echoed it
        rig.start("2024-01-01_1_mouse")
        data = rig.wait_for("EXPINIT", timeout=5)

    with echo_rig.sync.listen("udp://0.0.0.0") as rig:
        rig.assign_callback("EXPINIT", lambda data, address: rig.init({"ready": True}, addr=address))
        rig.serve()

    with echo_rig.sync.Rigs.connect({"video": "udp://video-pc", "ephys": "tcp://ephys-pc"}) as rigs:
        rigs.init({"subject": "mouse"})           # what each rig responded, by name

The wire, the rules and the errors are those of `echo_rig.EchoProtocol` and `echo_rig.Services`.

What differs
------------
Everything happens inside the calls: messages are echoed and callbacks run while
the program is in one of them, and at no other time. A program that is to be
reachable spends its idle time in `Endpoint.serve`, `Endpoint.poll` or `Endpoint.wait_for`.
"""

from __future__ import annotations

from echo_rig.sync._endpoint import Endpoint
from echo_rig.sync._opening import connect, listen
from echo_rig.sync._rigs import Rigs

__all__ = ["Endpoint", "Rigs", "connect", "listen"]
