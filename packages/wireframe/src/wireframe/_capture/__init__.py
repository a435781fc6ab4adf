"""What a packet capture holds: packets, datagrams and streams, from bytes alone.

======== =============================================================
module   from what to what
======== =============================================================
files    a pcap or pcapng file to the packets in it
packets  one packet to the UDP datagram or TCP segment in it
streams  TCP segments of one direction to its bytes in order
zmtp     the bytes of a ZeroMQ connection to its messages
======== =============================================================

Read are the link types Ethernet (with VLAN tags), loopback, raw IP and Linux
"any"; IPv4 and IPv6 with their fragments. What else a capture holds is
counted by its name and passed over.
"""
