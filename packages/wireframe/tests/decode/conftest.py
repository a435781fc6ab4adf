"""What the tests of the command share: running it in this process."""

from __future__ import annotations

import pytest

from wireframe.__main__ import main


@pytest.fixture
def decode(tmp_path, capsys):
    """Decode these bytes; answer the exit status, the lines, and what went to standard error."""

    def run(form, data, *options):
        path = tmp_path / "file"
        path.write_bytes(data)
        status = main(["decode", form, str(path), *options])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return run
