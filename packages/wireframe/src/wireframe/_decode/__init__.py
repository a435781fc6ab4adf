"""What ``python -m wireframe decode`` prints; the command itself is `__main__`.

========== =================================================================
module     holds
========== =================================================================
excerpts   values and bytes as short text
meanings   what each message of each format says, in a line
readers    a stream, or datagrams, to lines
formats    the table of formats, and how each is read
captures   a packet capture to lines, connection by connection
========== =================================================================
"""
