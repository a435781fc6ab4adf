"""The table of targets: every decoder, the errors it may raise, and the memory it may take.

A target is a function of bytes. It may raise what its row allows and nothing else;
`Broken` means that it returned, and what it returned breaks a promise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import capture_targets
import message_targets
import package_targets
import stream_targets
from judging import FRAME_ERRORS

from group_ports._zeroconf_records import RecordRefused
from group_ports.errors import ObjectRefused
from mxl_sockets.manifest import MAX_SIZE
from wireframe.errors import BadHeader, BadPayload, FrameTooLarge, TruncatedFrame

#: Bytes of memory that a target may take whatever its input is: far less than a peer can announce.
SLACK = 1 << 20


@dataclass(frozen=True)
class Target:
    """One decoder.

    Attributes
    ----------
    run : callable
        Reads an input, and raises `judging.Broken` if a promise does not hold.
    refusals : tuple of exception types
        All that it may raise, besides.
    growth, slack : int
        Bytes of memory it may take for each byte of an input, and whatever the input is.
    """

    run: Callable[[bytes], None]
    refusals: tuple[type[Exception], ...] = ()
    growth: int = 64
    slack: int = SLACK

    def __call__(self, data: bytes) -> None:
        """Read an input; only what is wrong is raised."""
        try:
            self.run(data)
        except self.refusals:
            return


#: Empty containers of one or two bytes each, and copies of them to compare.
_CONTAINERS = 512

TARGETS = {
    "lenjson": Target(stream_targets.lenjson_stream, growth=_CONTAINERS),
    "ipi-from-server": Target(stream_targets.ipi_from_server),
    "ipi-from-driver": Target(stream_targets.ipi_from_driver),
    "ipi-batch": Target(stream_targets.ipi_batch),
    "aggregate-from-hub": Target(stream_targets.aggregate_from_hub, growth=_CONTAINERS),
    "aggregate-from-bridge": Target(stream_targets.aggregate_from_bridge),
    "datagram": Target(message_targets.one_datagram),
    "reassembly": Target(message_targets.reassembly, growth=_CONTAINERS),
    "channels": Target(message_targets.channels, growth=_CONTAINERS),
    "eventlog": Target(stream_targets.event_log),
    "echo-text": Target(message_targets.echo_text, (BadPayload,), growth=_CONTAINERS),
    "echo-number": Target(message_targets.echo_number),
    "echo-split": Target(stream_targets.echo_split, growth=_CONTAINERS),
    "group-frames": Target(message_targets.group_frames, FRAME_ERRORS),
    "group-body": Target(message_targets.group_body, FRAME_ERRORS),
    "group-vote": Target(message_targets.group_vote, (BadPayload, FrameTooLarge, TruncatedFrame)),
    "group-extension": Target(message_targets.group_extension, (BadHeader, BadPayload, TruncatedFrame)),
    "zmtp": Target(stream_targets.zmtp_stream, growth=_CONTAINERS),
    "capture-file": Target(capture_targets.capture_file, FRAME_ERRORS),
    "capture-packets": Target(capture_targets.capture_packets, growth=_CONTAINERS),
    "capture-stream": Target(capture_targets.capture_stream, growth=_CONTAINERS),
    "decode-command": Target(capture_targets.decode_command, growth=_CONTAINERS),
    "objects": Target(package_targets.objects, (ObjectRefused,), growth=2 * _CONTAINERS),
    "etcd": Target(package_targets.etcd, growth=_CONTAINERS),
    "zeroconf": Target(package_targets.zeroconf, (RecordRefused,)),
    "readout-array": Target(package_targets.readout_array, (BadHeader, BadPayload, TruncatedFrame)),
    "readout-json": Target(package_targets.readout_json, (BadPayload,), growth=_CONTAINERS),
    "mxl-status": Target(package_targets.mxl_status, (ValueError,), growth=_CONTAINERS),
    # A file is read into room for the longest one.
    "mxl-manifest": Target(
        package_targets.mxl_manifest, (ValueError,), growth=_CONTAINERS, slack=MAX_SIZE + SLACK
    ),
    "mxl-init": Target(package_targets.mxl_init, growth=_CONTAINERS),
}
