"""Where status sockets are: the rule, and that nothing is believed about folders of others."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from mxl_sockets._connect import parse_target
from mxl_sockets._listen import unix_path
from mxl_sockets._status_folder import check_folder, file_name, find, folders, make_folder, own_path

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no UNIX sockets here")

TCP = ("127.0.0.1", 31415)


@pytest.fixture
def temporary(runtime, monkeypatch):
    """The folder for temporary files is the test's own, and no runtime folder is known."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(runtime))
    return runtime


def made(address, **how):
    path = Path(own_path(True, address))
    path.touch(**how)
    return path


def test_the_name_is_the_address_if_it_is_short():
    assert file_name(TCP) == "127.0.0.1:31415.status"
    assert file_name(("::1", 5)) == "[::1]:5.status"


@pytest.mark.parametrize(
    "address", ["/run/lab/hub", "/" + 100 * "x", ("fe80::1234:5678:9abc:def0%eth0", 65535), ("ü" * 13, 1)]
)
def test_the_name_is_short_and_without_slashes_else(address):
    name = file_name(address)
    assert len(os.fsencode(name)) <= 31
    assert "/" not in name
    assert name != file_name("/another")


def test_the_longest_name_fits_a_socket_path_where_folders_have_long_names():
    """Folders for temporary files of macOS have 49 characters, socket paths 103."""
    longest = file_name(("255.255.255.255", 65535))
    folder = "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T/" + "mxl_sockets-4294967295"
    assert len(unix_path(f"{folder}/{longest}")) <= 103


def test_the_runtime_folder_is_taken_first(runtime):
    assert folders()[0] == runtime / "mxl_sockets"
    assert make_folder() == runtime / "mxl_sockets"
    assert stat.S_IMODE((runtime / "mxl_sockets").lstat().st_mode) == 0o700


def test_without_a_runtime_folder_there_is_one_for_temporary_files(temporary):
    assert make_folder() == temporary / f"mxl_sockets-{os.getuid()}"


@pytest.mark.parametrize("value", ["", "relative/folder"])
def test_a_runtime_folder_that_is_no_absolute_path_does_not_count(temporary, monkeypatch, value):
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert len(folders()) == 1


def test_a_runtime_folder_that_is_not_there_does_not_count(temporary, monkeypatch):
    """In a batch job the variable may be that of the session the job was sent from."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary / "gone"))
    path = made(TCP)
    assert path.parent == temporary / f"mxl_sockets-{os.getuid()}"
    assert find(parse_target("127.0.0.1:31415")) == path


def test_a_hub_in_a_batch_job_is_found_from_a_session(temporary, monkeypatch):
    """The job knows no runtime folder, the session does."""
    path = made(TCP)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(temporary))
    assert find(parse_target("127.0.0.1:31415")) == path


def open_to_others(folder):
    folder.mkdir()
    folder.chmod(0o770)


def a_link(folder):
    (folder.parent / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "elsewhere")


def a_file(folder):
    folder.touch(mode=0o700)


@pytest.mark.parametrize("make", [open_to_others, a_link, a_file])
def test_a_folder_that_is_not_ours_alone_is_not_used(temporary, make):
    """Whoever made it could put a socket of his own there."""
    folder = temporary / f"mxl_sockets-{os.getuid()}"
    make(folder)
    with pytest.raises(OSError, match="mxl_sockets"):
        make_folder()
    if make is not a_file:
        (folder / file_name(TCP)).touch()
        with pytest.raises(PermissionError, match="only its owner"):
            find(parse_target("127.0.0.1:31415"))
    with pytest.raises(PermissionError):
        check_folder(folder)


def test_a_folder_of_another_user_is_not_used(temporary, monkeypatch):
    """Not every user may give folders away, so here we are somebody else."""
    other = os.getuid() + 1
    folder = temporary / f"mxl_sockets-{other}"
    folder.mkdir(mode=0o700)
    (folder / file_name(TCP)).touch()
    monkeypatch.setattr(os, "getuid", lambda: other)
    with pytest.raises(PermissionError, match="only its owner"):
        make_folder()
    with pytest.raises(PermissionError, match="only its owner"):
        find(parse_target("127.0.0.1:31415"))


@pytest.mark.parametrize("bound_to", ["127.0.0.1", "0.0.0.0", "::"])
def test_a_hub_is_found_by_any_address_that_reaches_it(runtime, bound_to):
    path = made((bound_to, 31415))
    assert find(parse_target("127.0.0.1:31415")) == path
    assert find(parse_target()) == path


def test_a_hub_is_found_by_its_unix_socket(runtime):
    path = made(unix_path("lab"))
    assert find(parse_target(unixsocket="lab")) == path
    assert find(parse_target(unixsocket=unix_path("lab"))) == path


def test_a_hub_is_found_by_what_it_was_told(runtime):
    path = Path(own_path("lab", TCP))
    path.touch()
    assert find(None, "lab") == path
    assert find(None, "/some/where") == Path("/some/where")


def test_another_port_is_another_hub(runtime):
    made(("127.0.0.1", 31416))
    with pytest.raises(
        FileNotFoundError, match=r"no status socket of 127\.0\.0\.1:31415 in .*status_socket=True"
    ):
        find(parse_target("127.0.0.1:31415"))


@pytest.mark.parametrize("name", ["", "a/b", "a\0b"])
def test_a_name_is_a_name(runtime, name):
    for call in (lambda: own_path(name, TCP), lambda: find(None, name)):
        with pytest.raises(ValueError, match="neither an absolute path nor a name"):
            call()


def test_a_runtime_folder_in_which_no_socket_fits_does_not_count(temporary, monkeypatch):
    deep = temporary / ("d" * 100)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    path = made(TCP)
    assert path.parent == temporary / f"mxl_sockets-{os.getuid()}"
    assert find(parse_target("127.0.0.1:31415")) == path
    assert list(deep.iterdir()) == []


def test_a_folder_for_temporary_files_in_which_no_socket_fits_does_not_count(runtime, monkeypatch):
    """Such as one of a job, deep below its own; the system's is short."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(runtime / ("d" * 100)))
    (folder,) = folders()
    assert folder == Path("/tmp", f"mxl_sockets-{os.getuid()}")
    assert unix_path(str(folder / file_name(("255.255.255.255", 65535))))
