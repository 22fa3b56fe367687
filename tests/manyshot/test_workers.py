"""Workers make the records that one process makes, whichever die. RAY_ADDRESS may name a Ray that runs."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray  # noqa: F401 - before the workers do, as vLLM does, when it reads the environment
import torch
from command_line import manyshot
from scored_by_workers import deaths, files, scored, write_family
from searched_family import made, written

from bench.engine import EngineSettings
from manyshot.experiment import Experiment
from manyshot.lab.base import BaseSettings, make_base
from manyshot.run import RunContext, run_experiment
from manyshot.search.file import load_search
from manyshot.search.run import run_search
from manyshot.workers.cluster import Workers
from results.errors import InputError
from results.store import Store

pytestmark = pytest.mark.slow


TRAINED_SUITE = """
name: choices
tasks:
  answers: &trained
    benchmarks: [lab_yes_no]
    validation_split: validation
    training: &sentences
      generate: !function tasks.lab_multilingual.translation.splits
      split: train
      prompt: "{{sentence}}"
      completion: " {{answer}}"
    validation: {<<: *sentences, split: validation}
  languages: {<<: *trained, benchmarks: [lab_multilingual]}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return write_family(tmp_path_factory.mktemp("here"), models=3)


@pytest.fixture(scope="module")
def workers():
    workers = Workers(2, os.environ.get("RAY_ADDRESS"))
    yield workers
    workers.close()


@pytest.fixture(scope="module")
def alone(here):
    scored(here, "alone")
    return files(here / "alone")


def test_workers_make_the_same_records_though_one_is_killed_amid_a_job(here, workers, alone):
    deaths(here, 1)
    records = scored(here, "shared", workers)
    assert (here / "tasks/deaths").read_text() == "0"
    assert files(here / "shared") == alone
    assert [list(row) for row in records.values()] == [["fruit", "colour", "deadly"]] * 3


@pytest.mark.full
def test_a_job_over_which_three_workers_die_is_named_and_the_others_are_done(here, workers, alone):
    deaths(here, 99)
    with pytest.raises(
        InputError, match=r"1 of 3 records could .*models/1 on deadly: 3 workers died over it"
    ):
        scored(here, "torn", workers, models=[1])
    assert (here / "tasks/deaths").read_text() == "96"
    there = files(here / "torn")
    assert len(there) == 4
    assert there.items() <= alone.items()


@pytest.mark.full
def test_workers_train_merge_and_score_a_run_as_one_process_does(tmp_path, workers):
    """The same weights to the last bit and the same records; a second start finds all that is made."""
    base = make_base(tmp_path / "base", BaseSettings.smoke())
    train = {"rounds": 2, "examples": 8, "validation": 4, "max_length": 64}
    content = {
        "suite": "lab",
        "base": str(base),
        "train": train,
        "methods": [
            {"name": "average"},
            {"name": "metis", "protocol": "many-shot"},
            {"name": "average", "protocol": "many-shot"},
        ],
        "limit": 2,
        "engine": {"name": "hf", "device": "cpu"},
    }
    torch.set_num_threads(1)
    for folder, crew, kept in (("one", None, True), ("many", workers, True), ("few", workers, False)):
        context = RunContext(
            Store(tmp_path / folder / "store"), tmp_path / folder, workers=crew, keep_merged=kept
        )
        run_experiment(Experiment.model_validate(content), "run", context)
        assert files(tmp_path / folder / "store") == files(tmp_path / "one/store")
    one, many, few = (weights(tmp_path / folder) for folder in ("one", "many", "few"))
    assert len(one) == (4 + 4 + 2 * 4) + (1 + 2 + 2)
    assert many == one
    assert few == {path: digest for path, digest in one.items() if not path.startswith("merged")}
    assert "begins" in next((tmp_path / "many/logs").glob("*.log")).read_text()


@pytest.mark.full
def test_several_experts_are_trained_by_the_command_as_each_by_itself(tmp_path):
    make_base(tmp_path / "base", BaseSettings.smoke())
    arguments = ["--suite", "lab", "--base", "base", "--examples", 8, "--max-length", 64]
    for task in ("math", "safety"):
        assert manyshot("train", *arguments, "--task", task, f"alone/{task}", cwd=tmp_path).returncode == 0
    both = ["--task", "math", "--task", "safety"]
    command = [
        sys.executable,
        "-m",
        "manyshot",
        "train",
        *map(str, arguments),
        *both,
        "--workers",
        "2",
        "both",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["both/math", "both/safety"], done.stderr
    there = weights(tmp_path / "both")
    assert len(there) == 2
    assert there == weights(tmp_path / "alone")
    shutil.rmtree(tmp_path / "both/math")
    done = manyshot("train", *arguments, *both, "both", cwd=tmp_path)
    assert (done.returncode, "training math" in done.stderr, "safety" in done.stderr) == (0, True, False)
    assert weights(tmp_path / "both") == there
    done = manyshot("train", *arguments, *both, "--seed", 1, "both", cwd=tmp_path)
    assert done.returncode == 2
    assert "both/math exists already" in done.stderr


@pytest.mark.full
def test_workers_try_the_candidates_that_one_process_tries(tmp_path, workers):
    family = made(tmp_path)
    (family / "suite.yaml").write_text(TRAINED_SUITE)
    experts = {"experts": None, "train": {"examples": 8, "max_length": 64, "cpu": True}}
    search = load_search(
        written(family, batch=2, budget={"evaluations": 5}, halving={"first": 0.5}, **experts)
    )
    torch.set_num_threads(1)
    reports = []
    for folder, crew in (("one", None), ("many", workers)):
        context = RunContext(Store(family / folder / "store"), family / folder, workers=crew)
        report = run_search(search, "search", context).report.model_dump()
        reports.append([{**trial, "seconds": 0} for trial in report["trials"]])
        assert not (family / folder / "candidates").exists()
    assert reports[1] == reports[0]
    assert named_alike(family / "many/store") == named_alike(family / "one/store")
    assert weights(family / "many") == weights(family / "one")
    logs = "".join(log.read_text() for log in (family / "many/logs").glob("*.log"))
    assert {"begins answers expert", "begins candidate 4"} <= set(re.findall("begins .*", logs))
    assert "on lab_yes_no" in "".join(log.read_text() for log in (family / "many/store/logs").glob("*.log"))
    with pytest.raises(InputError, match="one candidate after the other: let its file say `batch: 4`"):
        run_search(load_search(written(family)), "alone", RunContext(Store(family), family, workers=workers))


def named_alike(store):
    """What a store's files hold, checkpoints called by the last part of their paths."""
    return {
        name: content | {"name": Path(content["name"]).name} if isinstance(content, dict) else content
        for name, content in files(store).items()
    }


def weights(folder):
    """Digests of all weights, by path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
        if "store" not in path.parts
    }


def test_a_ray_that_is_not_there_is_said_at_once():
    """It is not asked again for minutes, as Ray does."""
    with pytest.raises(InputError, match=r"Ray at 127\.0\.0\.1:1 cannot be joined: .*refused"):
        Workers(2, "127.0.0.1:1").settle(EngineSettings(name="hf"))
