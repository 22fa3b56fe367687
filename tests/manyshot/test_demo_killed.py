"""A demo that is killed and started again ends with the same records and makes none of them twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import Done, manyshot

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "manyshot", "demo", "--smoke", "--out"]


def records(out: Path) -> dict[str, tuple[int, bytes]]:
    """Time of writing and content of every record."""
    paths = sorted((out / "results/records").glob("??/*.json"))
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def scores(out: Path) -> dict[str, float]:
    return {name: json.loads(content)["record"]["value"] for name, (_, content) in records(out).items()}


def kill_when(condition, out: Path) -> None:
    with (out.parent / "log").open("ab") as log:
        process = subprocess.Popen([*COMMAND, out], stdout=log, stderr=log)
        while not condition() and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, (
            f"it ended before it could be killed: {(out.parent / 'log').read_text()}"
        )
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert smoke(folder).returncode == 0
    return folder / "demo"


def smoke(folder: Path) -> Done:
    """The demo in this process, in the folder `demo` of another."""
    return manyshot("demo", "--smoke", "--out", "demo", cwd=folder)


@pytest.mark.full
def test_a_killed_demo_goes_on_where_it_was(uninterrupted, tmp_path):
    out = tmp_path / "demo"
    models = out / "models"
    seen: dict[str, tuple[int, bytes]] = {}
    moments = [
        lambda: any(models.glob(".*")),  # the base is being made
        lambda: len(records(out)) >= 20,
    ]
    for moment in moments:
        kill_when(moment, out)
        now = records(out)
        assert seen.items() <= now.items()
        seen = now
    assert len(seen) >= 20
    subprocess.run([*COMMAND, out], check=True, capture_output=True)
    assert seen.items() <= records(out).items()
    assert scores(out) == scores(uninterrupted)
    assert len(scores(out)) >= (1 + 4 + 2 + 2 * 2) * 6


@pytest.mark.full
def test_a_finished_demo_makes_nothing_again(uninterrupted):
    before = records(uninterrupted)
    done = smoke(uninterrupted.parent)
    assert records(uninterrupted) == before
    assert f"0 records made, {13 * 6} found" in done.stderr
