"""The table of faults and tests: what it collects and finds missing, and that the tree's own is whole."""

from __future__ import annotations

import matrix
import pytest
import table

TEST = """
import pytest

@pytest.mark.fault({arguments})
@pytest.mark.parametrize("x", [1])
def test_something(x):
    pass
"""


@pytest.fixture
def tree(tmp_path):
    """A tree in which one test after the other is marked."""
    folder = tmp_path / "packages" / "mxl-sockets" / "tests"
    folder.mkdir(parents=True)
    readme = tmp_path / "README.md"
    readme.write_text("# The catalogue\n\nBy hand.\n")

    def write(*marks, name="test_a.py"):
        decorators = "".join(f"@pytest.mark.fault{mark!r}\n" for mark in marks)
        folder.joinpath(name).write_text(f"import pytest\n\n{decorators}async def test_something(x): pass\n")

    write.root, write.readme = tmp_path, readme
    write.run = lambda *more: table.main(["--root", str(tmp_path), "--readme", str(readme), *more])
    return write


def whole(tree):
    """Mark a test for all that is needed."""
    tree(*matrix.required_pairs())


def test_marks_are_read_without_importing_anything(tree):
    tree(("C4", "mxl-sockets", "LET"), ("D1", "mxl-sockets"))
    assert table.collect(tree.root) == [
        table.Mark("C4", "mxl-sockets", "LET", "packages/mxl-sockets/tests/test_a.py", "test_something"),
        table.Mark("D1", "mxl-sockets", "", "packages/mxl-sockets/tests/test_a.py", "test_something"),
    ]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ('"C26", "mxl-sockets"', "no fault 'C26'"),
        ('"C1", "mxl"', "'mxl' is none of"),
        ('"C1", "mxl-sockets", "LQ"', "Q is no pass code"),
        ('"C1"', "as plain text"),
        ('NAME, "mxl-sockets"', "as plain text"),
        ('"C1", package="mxl-sockets"', "as plain text"),
    ],
)
def test_a_mark_that_says_nonsense_is_refused_with_its_place(tree, capsys, arguments, reason):
    path = tree.root / "packages" / "mxl-sockets" / "tests" / "test_b.py"
    path.write_text(TEST.format(arguments=arguments))
    assert tree.run() == 1
    error = capsys.readouterr().err
    assert "packages/mxl-sockets/tests/test_b.py:4" in error
    assert reason in error


def test_each_pair_without_a_test_is_named(tree, capsys):
    tree(("C4", "mxl-sockets"))
    assert tree.run() == 1
    error = capsys.readouterr().err
    assert "no test plays C4 on json-socket\n" in error
    assert "no test plays D12 on group-ports\n" in error
    assert "C4 on mxl-sockets" not in error
    assert error.count("no test plays") == len(matrix.required_pairs()) - 1


def test_a_whole_tree_is_written_once_and_then_up_to_date(tree, capsys):
    whole(tree)
    assert tree.run("--check") == 1
    assert "README.md is stale" in capsys.readouterr().err
    assert tree.run() == 0
    text = tree.readme.read_text()
    assert text.startswith("# The catalogue\n\nBy hand.\n\n## What shows it\n")
    assert (
        "| C4 | mxl-sockets | (L T E) | `packages/mxl-sockets/tests/test_a.py::test_something` | - |" in text
    )
    assert tree.run("--check") == 0
    tree(("C4", "mxl-sockets"), name="test_c.py")
    assert tree.run("--check") == 1


def test_codes_that_a_test_measures_stand_without_brackets(tree):
    whole(tree)
    tree(("C4", "mxl-sockets", "ET"), name="test_c.py")
    tree.run()
    text = tree.readme.read_text()
    assert "| C4 | mxl-sockets | (L) | `packages/mxl-sockets/tests/test_a.py::test_something` | - |" in text
    assert "| C4 | mxl-sockets | T E | `packages/mxl-sockets/tests/test_c.py::test_something` | - |" in text


def test_figures_come_from_reports_stay_and_make_nothing_stale(tree):
    whole(tree)
    report = tree.root / "tests.xml"
    of = "packages.mxl-sockets.tests.test_a"
    cases = "".join(
        f'<testcase classname="{of}" name="test_something[{one}]"><properties>'
        f'<property name="figure" value="{one} | s"/><property name="other" value="x"/>'
        "</properties></testcase>"
        for one in (1, 2)
    )
    report.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    assert tree.run(str(report)) == 0
    line = "| D1 | mxl-sockets | {} | `packages/mxl-sockets/tests/test_a.py::test_something` | 1 / s; 2 / s |"
    assert line.format(matrix.FLAWS["D1"][1]) in tree.readme.read_text()
    assert tree.run("--check") == 0
    assert tree.run() == 0
    assert line.format(matrix.FLAWS["D1"][1]) in tree.readme.read_text()


def test_figures_may_be_of_one_package_of_a_test_alone(tree):
    tree(("C15", "echo-rig"), ("C15", "group-ports"))
    report = tree.root / "tests.xml"
    properties = "".join(
        f'<property name="figure" value="{one}"/>' for one in ("echo-rig: 1 s", "group-ports: 2 s")
    )
    report.write_text(
        '<testsuite><testcase classname="packages.mxl-sockets.tests.test_a" name="test_something">'
        f"<properties>{properties}</properties></testcase></testsuite>"
    )
    for reports in ([str(report)], []):
        tree.run(*reports)
        text = tree.readme.read_text()
        assert (
            "| C15 | echo-rig | (T) | `packages/mxl-sockets/tests/test_a.py::test_something` | 1 s |" in text
        )
        assert (
            "| C15 | group-ports | (T) | `packages/mxl-sockets/tests/test_a.py::test_something` | 2 s |"
            in text
        )


def test_the_matrix_knows_all_of_the_catalogue_and_nothing_else():
    """The numbers by hand above the table, and those that the tool wants tests for."""
    head = table.README.read_text(encoding="utf-8").partition(table.HEADING)[0]
    listed = [line.split("|")[1].strip() for line in head.splitlines() if line.startswith("| C")]
    assert listed == list(matrix.REQUIRED) == [f"C{number}" for number in range(1, 26)]
    assert list(matrix.FLAWS) == [f"D{number}" for number in range(1, 13)]
    for packages, codes in matrix.REQUIRED.values():
        assert set(packages) <= set(matrix.PACKAGES)
        assert set(codes) <= set(table.CODES)
