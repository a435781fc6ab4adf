"""Build the documentation site: ``python tools/docs/build.py DIRECTORY``.

The pages stand in ``pages/``; READMEs and changelogs of the packages and pages about their API are added in a
copy, and MkDocs makes the site of it. Then every link inside the site is followed: one that leads nowhere, or
a page that would load something from another host, fails the build and is named.

MkDocs, pdoc and the packages must be installed in the running Python.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

#: pdoc does not see names that are imported when they are first asked for: here they are, before it looks.
PDOC_PROGRAM = "from mxl_sockets import *; from wireframe import *; from pdoc.__main__ import cli; cli()"
PDOC = ("-W", "error", "-c", PDOC_PROGRAM, "--docformat", "numpy", "--template-directory", str(HERE / "pdoc"))
#: A source outside of the packages, relative to the root.
FAULTS = "tests-integration/faults/README.md"
#: A link of Markdown: its text in brackets, and where it leads.
LINK = re.compile(r"(\[[^\]]*\]\()([^)\s]+)(\))")
#: A style sheet that would load something from another host.
FOREIGN_STYLE = re.compile(r"""(?:url\(\s*|@import\s+)["']?((?:https?:)?//[^"')\s]*)""")


class DocsError(Exception):
    """The site cannot be built."""


def packages(root: Path) -> list[Path]:
    """Return the directories of all packages, sorted by name."""
    return sorted(project.parent for project in (root / "packages").glob("*/pyproject.toml"))


def public_modules(root: Path) -> list[str]:
    """Return the names of all modules without an underscore in front, of all packages."""
    found = []
    for package in packages(root):
        for file in sorted((package / "src").rglob("*.py")):
            parts = file.relative_to(package / "src").with_suffix("").parts
            names = parts[:-1] if parts[-1] == "__init__" else parts
            if not any(name.startswith("_") for name in names):
                found.append(".".join(names))
    return found


def copies(root: Path) -> dict[str, str]:
    """Return what becomes a page without standing in ``pages/``: source, relative to the root, to page."""
    found = {FAULTS: "faults.md"}
    for package in packages(root):
        source = package.relative_to(root).as_posix()
        found[f"{source}/README.md"] = f"packages/{package.name}.md"
        found[f"{source}/CHANGELOG.md"] = f"packages/{package.name}-changelog.md"
    return found


def rewrite_links(text: str, source: str, pages: dict[str, str]) -> str:
    """Let the links of a file lead from the page it becomes to the pages of their targets.

    Parameters
    ----------
    text : str
        Markdown. Code between fences is left alone.
    source : str
        The file, relative to the root.
    pages : dict of str to str
        What `copies` returned.

    Raises
    ------
    DocsError
        A link leads to a file that is no page.
    """
    here = PurePosixPath(pages[source]).parent

    def led(match: re.Match[str]) -> str:
        parts = urlsplit(match[2])
        if parts.scheme or parts.netloc or not parts.path:
            return match[0]
        target = os.path.normpath(PurePosixPath(source).parent / parts.path).replace(os.sep, "/")
        if target not in pages:
            raise DocsError(f"{source}: the link {match[2]} leads to {target}, which is no page")
        relative = os.path.relpath(pages[target], here).replace(os.sep, "/")
        fragment = f"#{parts.fragment}" if parts.fragment else ""
        return f"{match[1]}{relative}{fragment}{match[3]}"

    lines, is_code = [], False
    for line in text.splitlines(keepends=True):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        lines.append(line if is_code else LINK.sub(led, line))
    return "".join(lines)


class Page(HTMLParser):
    """What a page of HTML links to, loads, and offers as anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take in one element."""
        for name, value in attrs:
            if name == "id" or (name, tag) == ("name", "a"):
                self.anchors.add(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("src", "href"):
                self.loads.append(value or "")


def broken_links(site: Path) -> list[str]:
    """Return page, link and complaint of each link that leads nowhere, or that another host would answer."""
    site = site.resolve()
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(site.rglob("*.html"))}
    found = []
    for file, page in pages.items():
        for link in dict.fromkeys(page.links + page.loads):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if link in page.loads and parts.scheme != "data":
                    found.append(f"{file.relative_to(site)}: {link} is loaded from another host")
                continue
            path = unquote(parts.path)
            base = site if path.startswith("/") else file.parent
            target = (base / path.lstrip("/")).resolve() if path else file
            if target.is_dir():
                target /= "index.html"
            if not target.is_relative_to(site) or not target.is_file():
                found.append(f"{file.relative_to(site)}: {link} leads to no file of the site")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                place = target.relative_to(site)
                found.append(f"{file.relative_to(site)}: {link} leads to no anchor of {place}")
    for file in [*pages, *sorted(site.rglob("*.css"))]:
        foreign = FOREIGN_STYLE.findall(file.read_text(encoding="utf-8"))
        found += [f"{file.relative_to(site)}: {link} is loaded from another host" for link in foreign]
    return found


def build(site: Path, root: Path = ROOT) -> None:
    """Build the site into a directory, whose old content is replaced.

    Raises
    ------
    DocsError
        A source, a page or a link is wrong, or the directory holds something else than a site.
    """
    if site.exists() and any(site.iterdir()) and not (site / "404.html").exists():
        raise DocsError(f"{site} holds something else than a site, and would be emptied")
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        shutil.copytree(HERE / "pages", stage / "pages")
        shutil.copy(HERE / "mkdocs.yml", stage)
        sources = copies(root)
        for source, page in sources.items():
            text = rewrite_links((root / source).read_text(encoding="utf-8"), source, sources)
            (stage / "pages" / page).parent.mkdir(exist_ok=True)
            (stage / "pages" / page).write_text(text, encoding="utf-8")
        pdoc = [*PDOC, "--output-directory", str(stage / "pages" / "api")]
        _run(*pdoc, *public_modules(root))
        # Not quietly: MkDocs is strict about what it says only.
        _run("-m", "mkdocs", "build", "--strict", "-f", str(stage / "mkdocs.yml"), "-d", str(site))
    if broken := broken_links(site):
        raise DocsError("broken links:\n" + "\n".join(broken))


def _run(*command: str) -> None:
    if code := subprocess.run([sys.executable, *command], check=False).returncode:
        raise DocsError(f"python {' '.join(command)} ended with {code}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Build the documentation site.")
    parser.add_argument("directory", type=Path, help="where the site goes; an old one there is replaced")
    site = parser.parse_args().directory.resolve()
    try:
        build(site)
    except DocsError as error:
        raise SystemExit(f"tools/docs/build.py: {error}") from None
    print(f"{site / 'index.html'}: {len(list(site.rglob('*.html')))} pages, no broken links")


if __name__ == "__main__":
    main()
