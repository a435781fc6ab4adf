"""A program: one member whose leader etcd decides about; it answers each line of its input with its status.

::

    python etcd_member.py URL SECONDS_OF_THE_LEASE PREFIX_OF_THE_KEYS
"""

from __future__ import annotations

import json
import sys

from group_ports import Group
from group_ports.etcd import EtcdLeaderSource


def main():
    url, lifetime_s, prefix = sys.argv[1:]
    source = EtcdLeaderSource([url], lifetime_s=int(lifetime_s), prefix=prefix)
    with Group.standalone("rack", "a", size=3, leader_source=source) as group:
        for _ in sys.stdin:
            status = group.status()
            state = {"id": group.getGroupId().hex(), "leads": status.is_leader, "term": status.term}
            print(json.dumps(state), flush=True)


if __name__ == "__main__":
    main()
