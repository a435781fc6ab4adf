"""The publisher of a member: its heartbeats say that it is one of ours."""

from __future__ import annotations

from group_ports._publish import GroupPubPort
from wireframe.group import Extension, encode_frames


class MemberPublisher(GroupPubPort):
    """A publisher whose ``tic`` carries the extension frame, whatever else does.

    Takes the parameters of `GroupPort`; ``settings.group`` is needed. Members of
    the original take such a heartbeat as any other. Unless all messages are
    numbered, heartbeats have numbers of their own.
    """

    _tics = 0

    def send_tic(self) -> None:
        """Publish the heartbeat; see `sendGroup`."""
        if self.settings.numbered or self._group_id is None:
            self.sendGroup(b"tic", self.member_id)
            return
        extension = Extension(self._tics + 1, self.member_id, self._group_id)
        self._look_who_subscribed()
        self._transmit(
            encode_frames(b"tic", self.member_id, stamp=self.settings.clock(), extension=extension)
        )
        self._tics += 1
