"""A stranger: a process that knows addresses and public keys, and tries to hear and to be heard.

Usage: attacker.py PUB_PORT ANS_PORT SERVER_PUBLIC_KEY. Prints the number of messages it got.
"""

import sys
import time

import zmq


def main():
    pub_port, ans_port = int(sys.argv[1]), int(sys.argv[2])
    server_key = sys.argv[3].encode()
    context = zmq.Context()
    sockets = []
    for mechanism in ("null", "plain", "curve with a pair of its own", "curve with a wrong server key"):
        for kind, port in ((zmq.SUB, pub_port), (zmq.DEALER, ans_port)):
            socket = context.socket(kind)
            socket.setsockopt(zmq.LINGER, 0)
            if mechanism == "plain":
                socket.plain_username, socket.plain_password = b"admin", b"admin"
            if mechanism.startswith("curve"):
                socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
                socket.curve_serverkey = server_key if "pair" in mechanism else zmq.curve_keypair()[0]
            if kind == zmq.SUB:
                socket.subscribe(b"")
            socket.connect(f"tcp://127.0.0.1:{port}")
            if kind == zmq.DEALER:
                socket.send_multipart([b"mtl", b"attack"])
            sockets.append(socket)
    poller = zmq.Poller()
    for socket in sockets:
        poller.register(socket, zmq.POLLIN)
    print("ready", flush=True)
    got = 0
    end = time.monotonic() + 20.0
    # Until the parent has seen enough and closes our input.
    poller.register(sys.stdin.fileno(), zmq.POLLIN)
    while time.monotonic() < end:
        ready = dict(poller.poll(200))
        if sys.stdin.fileno() in ready:
            break
        for socket in sockets:
            if socket in ready:
                socket.recv_multipart()
                got += 1
    print(got, flush=True)
    context.destroy(0)


if __name__ == "__main__":
    main()
