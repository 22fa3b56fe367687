"""Checkpoints and tasks that workers score, and what they left, without what differs from run to run."""

import json
from pathlib import Path
from typing import Any

from lm_eval_folder import CHOICES, rows, write_folder, write_rows, write_task
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.score_checkpoints import score_all
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import open_crew
from manyshot.workers.scoring_setup import ScoringSetup, WantedBenchmarks

TASKS = ("fruit", "colour", "deadly")
_DEADLY = """
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


def write_family(here: Path, models: int) -> Path:
    """Write checkpoints, and tasks of which `deadly` ends as many processes as its file `deaths` says."""
    write_folder(here / "tasks")
    (here / "tasks/deadly.py").write_text(_DEADLY)
    questions = write_rows(here / "tasks/deadly.jsonl", rows(4))
    write_task(
        here / "tasks", "deadly", **CHOICES | {"doc_to_text": "!function deadly.text_f"},
        task="deadly", dataset_kwargs={"data_files": {"test": str(questions)}},
    )  # fmt: skip
    for seed in range(models):
        tiny_llama(here / f"models/{seed}", seed)
    return here


def scored(
    here: Path, store: str, workers: Workers | None = None, models: tuple[int, ...] = (0, 1, 2)
) -> dict[str, Any]:
    """Score all tasks, in this process or by workers."""
    wanted = WantedBenchmarks(tasks=TASKS, include=(here / "tasks",), trust_task_code=True)
    settings = ScoreSettings(engine=EngineSettings(name="hf", device="cpu"))
    setup = ScoringSetup(here / store, None, settings, "patterns", wanted)
    checkpoints = [ScoredCheckpoint.open(str(here / f"models/{model}")) for model in models]
    with open_crew(workers, setup) as crew:
        return score_all(setup.open_scorer(), checkpoints, wanted.load(), crew)


def files(folder: Path) -> dict[str, Any]:
    """The records' files of a store by name, without seconds and dates."""
    found: dict[str, Any] = {}
    for path in sorted(folder.glob("records/??/*")):
        if path.suffix == ".json":
            record = json.loads(path.read_text())["record"]
            found[path.name] = record | {"seconds": 0, "created": ""}
        else:
            found[path.name] = path.read_bytes()
    return found


def deaths(here: Path, number: int) -> None:
    """So many processes end at the task `deadly`."""
    (here / "tasks/deaths").write_text(str(number))
