"""The user's guide: its files are written and its commands run, in order, as its reader would."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from command_line import Done, manyshot
from made_up_leaderboard import make_store

from results.merge_trace import MergeTrace, SignalTrace
from results.run_manifest import load_run, save_run
from results.submission import check_submission

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guide"
BLOCK = re.compile(r"^```(?P<kind>[a-z]+)(?: (?P<name>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
Runner = Callable[[str, Path, dict[str, str]], Done]
"""Runs a block's text in a folder, in an environment."""


def in_a_shell(text: str, folder: Path, environment: dict[str, str]) -> Done:
    """Run a block as its reader would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def in_this_process(text: str, folder: Path, environment: dict[str, str]) -> Done:
    """Run a block of plain commands, without starting Python for each."""
    printed = ""
    for command, *arguments in map(shlex.split, text.splitlines()):
        if command == "export":  # which the environment has already
            continue
        with mock.patch.dict(os.environ, environment):
            done = manyshot(*arguments, cwd=folder)
        printed += done.stdout
        if done.returncode != 0:
            return done
    return Done(0, printed, "")


def follow(page: str, folder: Path, append: str = "", run: Runner = in_a_shell) -> str:
    """Write a page's files and run its shell blocks, the demo itself left out; all that was printed.

    A block of the kind `console` needs what a test has not; its reason stands in the page's text.
    """
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    printed = ""
    blocks = list(BLOCK.finditer((GUIDE / f"{page}.md").read_text(encoding="utf-8")))
    assert blocks
    for block in blocks:
        kind, name, text = block["kind"], block["name"], block["text"]
        if kind == "sh" and name != "demo":
            environment |= dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE))
            done = run(text, folder, environment)
            assert done.returncode == 0, f"{text}\n{done.stderr}"
            printed += done.stdout
        elif kind == "python" and name is None:
            ran = subprocess.run(
                [sys.executable, "-c", text],
                cwd=folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert ran.returncode == 0, ran.stderr
        elif name is not None and kind != "sh":
            (folder / name).write_text(text + (append if kind == "yaml" else ""), encoding="utf-8")
    return printed


def test_every_command_of_the_guide_is_one_of_ours():
    for page in GUIDE.glob("*.md"):
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            if block["kind"] in {"sh", "console"}:
                for line in block["text"].splitlines():
                    assert line.startswith(("manyshot ", "export MANYSHOT_STORE=")), line


@pytest.fixture(scope="module")
def folder(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("guide")
    shutil.copytree(demo, folder / "manyshot-demo")
    return folder


@pytest.mark.full  # the demo is trained for five minutes
def test_regenerate_a_table(folder):
    printed = follow("regenerate-a-table", folder)
    assert "metis-ablation" in printed and "the text says that METIS has the smallest gap" in printed
    lines = printed.splitlines()
    rule = max(place for place, line in enumerate(lines) if line.startswith("───"))
    # Of the last table; a title is broken over lines where the columns are narrow.
    assert {"ours", "paper", "difference"} <= set(" ".join(lines[rule - 3 : rule]).split())
    assert (folder / "scaling.tex").read_text().startswith(r"\documentclass")


@pytest.mark.full  # the demo is trained for five minutes
def test_compare_your_method(folder):
    """A method written from the guide alone merges, is scored, and stands on the leaderboard."""
    printed = follow("compare-your-method", folder, append="limit: 120\n")
    assert "mine where all agree" in printed
    page = (folder / "board" / "index.html").read_text()
    (table,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
    merged = {one["title"]: one["method"] for one in json.loads(table)["entries"] if one["role"] == "merged"}
    assert {
        "mine": "Agreement",
        "mine where all agree": "Agreement",
        "TIES": "ties",
    }.items() <= merged.items()
    assert "class Agreement(Method)" in (folder / "my-submission" / "methods" / "Agreement.py").read_text()
    check_submission(folder / "my-submission")
    assert (folder / "their-board" / "index.html").is_file()


def test_plot_erasure(tmp_path):
    """On a made-up store in the demo's place, since the tests' demo has no rounds."""
    store = make_store(tmp_path / "manyshot-demo" / "results")
    run = load_run(store, "lab")
    weights = {"math": 0.5, "multilingual": 0.25, "safety": 0.25}
    signal = SignalTrace(label="loss gap", values=weights, reference=0, reference_label="no gap")
    trace = MergeTrace(weights=weights, signal=signal, seconds={"train": 1.0, "merge": 0.5})
    entries = tuple(
        entry.model_copy(update={"trace": trace}) if entry.role in {"merged", "round"} else entry
        for entry in run.entries
    )
    save_run(store, run.model_copy(update={"entries": entries}))
    follow("plot-erasure", tmp_path, run=in_this_process)
    drawn = {path.name for path in tmp_path.iterdir() if path.is_file() and path.stat().st_size > 5000}
    assert drawn == {
        "erasure.pdf", "worst-task.pdf", "tasks.png", "radar.png", "forgetting.pdf", "erasure-rounds.pdf",
        "rounds.png", "weights.png", "cost.png",
    }  # fmt: skip
