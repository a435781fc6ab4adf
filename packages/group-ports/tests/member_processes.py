"""Members in processes of their own, driven by JSON lines, and the discovery between them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LIMIT_S = 15.0
TIMES = {
    "heartbeat": 300,
    "electionMin": 450,
    "electionMax": 600,
    "peerTimeout": 900,
    "consensusTimeout": 450,
}


class MemberProcess:
    """One member; all events so far are in `events`."""

    def __init__(self, size=3, **config):
        config = {
            "name": "rig",
            "host": "127.0.0.1",
            "group": ["rack", "a"],
            "spec": {"kind": "leader", "message": "m", "timed": False, "params": TIMES},
            "min_size": size,
            "keys": None,
            "vote": "abstain",
            "reply": False,
            **config,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "group_ports", "member", json.dumps(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(_import_path())},
        )
        self.events = []
        self.errors = b""
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=run) for run in (self._read_events, self._read_errors)]
        for thread in self._threads:
            thread.start()
        self.address = None
        self.id = ""

    def register(self):
        event = self.wait(lambda event: event["event"] == "register")
        self.address, self.id = (event["host"], event["port"]), event["id"]

    def say(self, command, **fields):
        self.process.stdin.write(json.dumps({"command": command, **fields}).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, command, **fields):
        mark = len(self.events)
        self.say(command, **fields)
        return self.wait(lambda event: event["event"] == "result" and event["op"] == command, since=mark)[
            "value"
        ]

    def wait(self, condition, since=0):
        """Return the first event, of those since a mark, that is as wanted."""
        deadline = time.monotonic() + LIMIT_S
        with self._changed:
            while True:
                for event in self.events[since:]:
                    if condition(event):
                        return event
                rest = deadline - time.monotonic()
                assert rest > 0, f"no such event among {self.events[since:]}; {self.errors!r}"
                self._changed.wait(rest)

    def wait_event(self, name, since=0, **fields):
        wanted = {"event": name, **fields}
        return self.wait(lambda event: wanted.items() <= event.items(), since)

    def signal(self, number):
        self.process.send_signal(number)

    def end_input(self):
        """Close the input; return the exit code."""
        self.process.stdin.close()
        return self.process.wait(LIMIT_S)

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(LIMIT_S)
        for thread in self._threads:
            thread.join(LIMIT_S)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read_events(self):
        for line in self.process.stdout:
            with self._changed:
                self.events.append({**json.loads(line), "at": time.monotonic()})
                self._changed.notify_all()

    def _read_errors(self):
        for line in self.process.stderr:
            self.errors += line


def _import_path():
    import group_ports
    import wireframe

    return [str(Path(module.__file__).parents[1]) for module in (group_ports, wireframe)]


def introduce(members):
    """Tell all members of all publishers, their own included; return when the last was told."""
    for member in members:
        member.register()
    for member in members:
        for other in members:
            member.say("update", host=other.address[0], port=other.address[1])
    return time.monotonic()


def agreed_leader(members, other_than=None):
    """Wait until all of these name the same leader, and return that member and when the last knew."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        states = [member.ask("status") for member in members]
        leaders = {state["leader"] for state in states}
        if len(leaders) == 1 and leaders.isdisjoint({None, other_than}):
            leader_id = leaders.pop()
            if [state["id"] for state in states if state["is_leader"]] == [leader_id]:
                when = max(member.wait_event("leader", id=leader_id)["at"] for member in members)
                return next(member for member in members if member.id == leader_id), when
        time.sleep(0.01)
    raise AssertionError(f"no leader: {states}")
