"""Workers make the records that one process makes, whichever die. RAY_ADDRESS may name a Ray that runs."""

import json
import os

import pytest
import ray  # noqa: F401 - before the workers do, as vLLM does, when it reads the environment
from lm_eval_folder import CHOICES, rows, write_folder, write_rows, write_task
from searched_family import made
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.experiment import Experiment
from manyshot.run import RunContext, run_experiment
from manyshot.score_checkpoints import score_all
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import ScoringCrew
from manyshot.workers.setup import ScoringSetup, WantedBenchmarks
from results.errors import InputError
from results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kept_index")]

DEADLY = """
import os
from pathlib import Path

def text_f(doc):
    deaths = Path(__file__).with_name("deaths")
    left = int(deaths.read_text()) if deaths.exists() else 0
    if left:
        deaths.write_text(str(left - 1))
        os.kill(os.getpid(), 9)
    return f"Question : {doc['question']} Answer :"
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """Three checkpoints, and tasks of which `deadly` ends as many processes as its file `deaths` says."""
    here = tmp_path_factory.mktemp("here")
    write_folder(here / "tasks")
    (here / "tasks/deadly.py").write_text(DEADLY)
    questions = write_rows(here / "tasks/deadly.jsonl", rows(4))
    write_task(
        here / "tasks", "deadly", **CHOICES | {"doc_to_text": "!function deadly.text_f"},
        task="deadly", dataset_kwargs={"data_files": {"test": str(questions)}},
    )  # fmt: skip
    for seed in range(3):
        tiny_llama(here / f"models/{seed}", seed)
    return here


@pytest.fixture(scope="module")
def workers():
    workers = Workers(2, os.environ.get("RAY_ADDRESS"))
    yield workers
    workers.close()


def scored(here, store, workers=None, models=(0, 1, 2)):
    """Score all tasks, and return the records' files by name, without what differs from run to run."""
    wanted = WantedBenchmarks(
        tasks=("fruit", "colour", "deadly"), include=(here / "tasks",), trust_task_code=True
    )
    settings = ScoreSettings(engine=EngineSettings(name="hf", device="cpu"))
    setup = ScoringSetup(here / store, None, settings, "patterns", wanted)
    checkpoints = [ScoredCheckpoint.open(str(here / f"models/{model}")) for model in models]
    crew = ScoringCrew(workers, setup) if workers else None
    return score_all(setup.open_scorer(), checkpoints, wanted.load(), crew)


def files(folder):
    found = {}
    for path in sorted(folder.glob("records/??/*")):
        if path.suffix == ".json":
            record = json.loads(path.read_text())["record"]
            found[path.name] = record | {"seconds": 0, "created": ""}
        else:
            found[path.name] = path.read_bytes()
    return found


def deaths(here, number):
    (here / "tasks/deaths").write_text(str(number))


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
def test_the_checkpoints_of_a_run_are_scored_by_workers(here, workers):
    family = made(here / "family")
    content = {
        "suite": str(family / "suite.yaml"),
        "base": str(family / "models/base"),
        "experts": {task: str(family / "models" / task) for task in ("answers", "languages")},
        "methods": [{"name": "average"}],
        "limit": 4,
        "engine": {"name": "hf", "device": "cpu"},
    }
    found = []
    for folder, crew in (("one", None), ("many", workers)):
        context = RunContext(Store(family / folder), family / "out", workers=crew)
        run_experiment(Experiment.model_validate(content), "run", context)
        found.append(files(family / folder))
    assert len(found[0]) == 4 * 2 * 2
    assert found[1] == found[0]


def test_a_ray_that_is_not_there_is_said_at_once():
    """It is not asked again for minutes, as Ray does."""
    with pytest.raises(InputError, match=r"Ray at 127\.0\.0\.1:1 cannot be joined: .*refused"):
        Workers(2, "127.0.0.1:1").settle(EngineSettings(name="hf"))
