"""A search that is killed at random moments and started again tries what an undisturbed one does, once."""

import json
import sqlite3
import subprocess
import sys

import pytest
from searched_family import made, written

pytestmark = [pytest.mark.slow, pytest.mark.full]

# Python and its libraries are started once; each search is a process of its own, forked from that.
KILLED = """
import os, random, signal, sys, time
import torch, transformers, lm_eval.evaluator, optuna, cmaes, scipy.special
from manyshot.cli import main

torch.set_num_threads(1)

def started(out):
    child = os.fork()
    if child == 0:
        try:
            main(["search", "killed.yaml", "--out", out, "--store", f"{out}-store"])
        finally:
            os._exit(0)
    return child

begun = time.monotonic()
os.waitpid(started("whole"), 0)
took = time.monotonic() - begun
moments, kills = random.Random(int(sys.argv[1])), 0
for _ in range(10):
    child = started("killed")
    end = time.monotonic() + moments.uniform(0, took / 4)
    while time.monotonic() < end and os.waitpid(child, os.WNOHANG) == (0, 0):
        time.sleep(0.005)
    try:
        os.kill(child, signal.SIGKILL)
        kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    except (ProcessLookupError, ChildProcessError):
        break
os.waitpid(started("killed"), 0)
print(kills)
"""


def trials(folder):
    """What was tried and what it gave, without how long it took."""
    report = json.loads((folder / "search.json").read_text())
    return [{**trial, "seconds": 0} for trial in report["trials"]], report["tested"]


def test_a_killed_search_tries_what_an_undisturbed_one_does(tmp_path):
    family = made(tmp_path)
    written(family, "killed", limit=8, budget={"evaluations": 8}, halving={"first": 0.5})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, "0"], cwd=family, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) >= 3, done.stderr
    assert trials(family / "killed") == trials(family / "whole")
    with sqlite3.connect(family / "killed/search.db") as database:
        numbers = database.execute("SELECT number, state FROM trials ORDER BY number").fetchall()
    assert numbers == [(number, "COMPLETE") for number in range(8)]
    assert not (family / "killed/candidates").exists()
