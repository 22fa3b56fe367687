"""What the documentation points at is there, and its commands are ones that the command line takes."""

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target.partition("#")[0]).exists(), target


def test_pictures_and_pages_are_all_linked():
    linked = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    }
    for file in (ROOT / "docs").rglob("*"):
        assert file.is_dir() or file.resolve() in linked, file


def test_make_targets_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"(?:`|^ +)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def commands():
    """Every `manyshot …` line of the pages, without what the shell does and comments say."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
            if line.strip().startswith("manyshot ") and not re.search(r"…|\$\(", line):
                yield page.name, line.strip().split("  #")[0].split(" > ")[0]


@pytest.mark.parametrize("page, line", list(commands()))
def test_commands_are_parsed(page, line):
    from manyshot.cli import parse

    parse(shlex.split(line)[1:])
