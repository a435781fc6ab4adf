"""What importing the package brings along: codecs are used without sockets, threads and a log."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wireframe

#: What no codec may cost: most of it is slow to import, and all of it is there to do I/O.
HEAVY = {
    *("asyncio", "email", "hashlib", "http", "inspect", "ipaddress", "logging", "multiprocessing", "pathlib"),
    *("secrets", "select", "selectors", "socket", "ssl", "subprocess", "tempfile", "threading", "urllib"),
    *("numpy", "zmq", "wireframe.json_socket"),
}
#: Of those, what `dataclasses` needs, and so every codec whose messages are some.
OF_DATACLASSES = {"inspect"}

PROGRAM = """
import sys
before = set(sys.modules)
{statement}
print(*sorted(set(sys.modules) - before))
"""


def loaded_by(statement):
    """Names of the modules that a statement loads in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    loaded = loaded_by("import wireframe")
    assert "wireframe.errors" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("codec", ["aggregate", "datagram", "echo", "eventlog", "group", "ipi", "lenjson"])
def test_importing_a_codec_loads_nothing_that_does_io(codec):
    loaded = loaded_by(f"import wireframe.{codec}")
    assert f"wireframe.{codec}" in loaded
    assert loaded & (HEAVY - OF_DATACLASSES) == set()


@pytest.mark.parametrize(
    "statement",
    [
        "from wireframe import Socket",
        "import wireframe; wireframe.Socket",
        "import wireframe; wireframe.json_socket.Socket",
        "from wireframe import json_socket",
        "from wireframe import *; Socket",
    ],
)
def test_the_socket_is_there_when_it_is_asked_for(statement):
    assert "wireframe.json_socket" in loaded_by(statement)


def test_the_socket_of_the_package_is_that_of_its_module():
    from wireframe import json_socket

    assert wireframe.Socket is json_socket.Socket


def test_the_package_lists_all_of_its_names():
    assert set(wireframe.__all__) <= set(dir(wireframe))


def test_a_name_that_there_is_not_is_no_attribute():
    with pytest.raises(AttributeError, match="no attribute 'Sokcet'"):
        _ = wireframe.Sokcet
