r"""Messages of a group: who is there, who leads, what was said, and how it was voted.

A message is a ZeroMQ multipart message, without an empty delimiter frame:

===== ========= ==============================================================
frame bytes     content
===== ========= ==============================================================
0     3         tag, ASCII
1     any       payload
2     8         stamp, may be missing: wall-clock seconds at the sender,
                float64 little-endian
3     48 or     extension, may be missing, only behind a stamp: `Extension`
      more
===== ========= ==============================================================

Members publish to all, ask the leader, and the leader answers one of them.
Integers in payloads are big-endian, a member is 16 bytes:

=== ========== =============================================== ===============
tag path       payload                                         body
=== ========== =============================================== ===============
tic published  member                                          `Tic`
req published  u32 term, candidate                             `Request`
vot published  u32 term, candidate, u32 vote (0, 1), voter     `Ballot`
ldr published  u32 term, leader, IPv4, u32 port (0: none)      `LeaderNote`
mlt published  member                                          `Leave`
msg published  of the application                              bytes
rcm published  vote message: the leader opens a poll           `RequestForVote`
ann published  vote message: the result                        `Announcement`
mtl query      of the application, to the leader               bytes
rfv query      vote message: please open a poll                `RequestForVote`
rtc query      vote message: a ballot                          `ReplyToCall`
mfl answer     of the application, to one member               bytes
=== ========== =============================================== ===============

Vote messages are Cap'n Proto, see `encode_vote`.

`decode_frames` reads the frames of a message, of whatever tag; `decode_body`
reads the payload of a known one. Both are functions of their arguments alone,
safe for use by several threads; from any frames of bytes they raise a
`wireframe.FrameError` or nothing. Readers skip tags they do not know.

Layouts were taken from the observable behaviour of RIAPS pycom 2.0.0, whose
members ignore frames from the fourth on; the extension is an addition.
"""

from __future__ import annotations

from wireframe.group._bodies import (
    ANSWER_TAGS,
    PUBLISHED_TAGS,
    QUERY_TAGS,
    Announcement,
    Ballot,
    Body,
    LeaderNote,
    Leave,
    ReplyToCall,
    Request,
    RequestForVote,
    Subject,
    Tic,
    Vote,
    VoteMessage,
    Voting,
)
from wireframe.group._extension import (
    EXTENSION_LENGTH,
    EXTENSION_MAGIC,
    Extension,
    decode_extension,
    encode_extension,
)
from wireframe.group._frames import MAX_SIZE, GroupMessage, decode_frames, encode_frames
from wireframe.group._members import MEMBER_LENGTH, member_id
from wireframe.group._payloads import decode_body, encode_body
from wireframe.group._votes import MAX_RFV_ID, MAX_VOTE_SIZE, decode_vote, encode_vote

__all__ = [
    "ANSWER_TAGS",
    "EXTENSION_LENGTH",
    "EXTENSION_MAGIC",
    "MAX_RFV_ID",
    "MAX_SIZE",
    "MAX_VOTE_SIZE",
    "MEMBER_LENGTH",
    "PUBLISHED_TAGS",
    "QUERY_TAGS",
    "Announcement",
    "Ballot",
    "Body",
    "Extension",
    "GroupMessage",
    "LeaderNote",
    "Leave",
    "ReplyToCall",
    "Request",
    "RequestForVote",
    "Subject",
    "Tic",
    "Vote",
    "VoteMessage",
    "Voting",
    "decode_body",
    "decode_extension",
    "decode_frames",
    "decode_vote",
    "encode_body",
    "encode_extension",
    "encode_frames",
    "encode_vote",
    "member_id",
]
