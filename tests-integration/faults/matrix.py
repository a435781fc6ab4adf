"""What has to be shown: each fault of the catalogue, and each flaw of the originals, for which packages.

Pass codes: L nothing is lost or applied twice without a report; W no wrong value, ever; M memory, descriptors
and threads stay within what is configured; T returns by its own deadline; E a typed error or a counter that
names peer and reason.
"""

from __future__ import annotations

# Columns: the codecs; the JSON socket; both kinds of hubs; readouts and channels; both transports of a rig.
JSON = "json-socket"
HUB = "mxl-sockets"
BRIDGES = "mxl-aggregated"
UDP = "udp-multicast"
RIG = "echo-rig"
RIG_TCP = "echo-tcp"
RIG_UDP = "echo-udp"
GROUP = "group-ports"
CODECS = "wireframe"

PACKAGES = (CODECS, JSON, HUB, BRIDGES, UDP, RIG, RIG_TCP, RIG_UDP, GROUP)

_PROGRAMS = (JSON, HUB, UDP, RIG, GROUP)
_STREAMS = (JSON, HUB, BRIDGES, RIG_TCP)

#: Number of the fault: the packages that have to survive it, and the codes that have to be measured.
REQUIRED: dict[str, tuple[tuple[str, ...], str]] = {
    "C1": ((CODECS, *_STREAMS), "LW"),
    "C2": ((CODECS,), "ME"),
    "C3": ((CODECS, JSON, HUB, BRIDGES, UDP, RIG_TCP, RIG_UDP, GROUP), "ME"),
    "C4": (_STREAMS, "LTE"),
    "C5": ((*_STREAMS, GROUP), "T"),
    "C6": (_STREAMS, "T"),
    "C7": (_STREAMS, "MT"),
    "C8": ((JSON, HUB, BRIDGES, RIG, GROUP), "L"),
    "C9": ((HUB, BRIDGES), "W"),
    "C10": ((HUB, BRIDGES), "LW"),
    "C11": ((UDP, RIG_UDP), "LW"),
    "C12": ((UDP, RIG_UDP), "M"),
    "C13": ((UDP,), "LM"),
    "C14": ((UDP,), "W"),
    "C15": (_PROGRAMS, "T"),
    "C16": ((GROUP,), "LT"),
    "C17": ((GROUP,), "LMT"),
    "C18": ((GROUP,), "TE"),
    "C19": (_PROGRAMS, "MT"),
    "C20": (_PROGRAMS, "E"),
    "C21": (_PROGRAMS, "LW"),
    "C22": ((RIG,), "M"),
    "C23": (_PROGRAMS, "TE"),
    "C24": ((HUB, GROUP), "M"),
    "C25": (_PROGRAMS, "LW"),
}

#: Flaws of the originals: the package that must not have it, and what it was.
FLAWS: dict[str, tuple[str, str]] = {
    "D1": (HUB, "an answer is dropped because another driver died in the same step"),
    "D2": (BRIDGES, "after one late reply a bridge's values belong to the step before"),
    "D3": (HUB, "half a reply holds a call up for the timeout of the hub, not its own"),
    "D4": (HUB, "out of descriptors in accept, and nobody is accepted any more"),
    "D5": (HUB, "all interfaces are listened on, and the first stranger becomes a molecule"),
    "D6": (HUB, "asking for the rank starts MPI"),
    "D7": (RIG_UDP, "one doubled datagram is echoed for ever"),
    "D8": (RIG_UDP, "one forged datagram between two servers is echoed for ever"),
    "D9": (JSON, "one stalled connection stops the server"),
    "D10": (JSON, "long messages take quadratic time"),
    "D11": (GROUP, "members that were forked have the same identity, and one is not heard"),
    "D12": (GROUP, "number and size of frames are used unchecked"),
}


def required_pairs() -> list[tuple[str, str]]:
    """All pairs of fault or flaw and package, in the order of the catalogue."""
    faults = [(row, package) for row, (packages, _) in REQUIRED.items() for package in packages]
    return faults + [(flaw, package) for flaw, (package, _) in FLAWS.items()]
