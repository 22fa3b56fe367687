"""A search beside mergekit-evolve: the same models, space, validation documents and number of candidates.

    python tests/perf/against_mergekit_evolve.py PYTHON [--seed 0 …] [--evaluations 40]

PYTHON is that of an environment with mergekit[evolve]. Models are the lab's base and its experts of 0.9 M
parameters. The space is a coefficient for each expert's task vector, the objective the average normalised
performance on the lab's 420 validation documents, and both search by CMA-ES. Each is one command, one after
the other, with one thread on one core. Wall seconds and the processor's are of the whole command, with its
start, the base's and the experts' scores here, and the saved model. What each hands over is then scored by
one engine, in float32, on validation and on test data.

mergekit-evolve starts at 1/4 for each coefficient and has no upper limit, the search here at the middle of 0
to 1; the first steps of both are 1/6. mergekit-evolve merges and scores in bfloat16, for which it has no
option, the search here in float32, or what --dtype says. --evolve hands flags on to mergekit-evolve, such as
`--evolve=--in-memory`. What it lacks on a machine without a GPU stands in `evolve_on_cpu.py`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import psutil
import yaml
from lm_eval_task_files import write_tasks
from rich.console import Console
from rich.table import Table

from bench.benchmark import Benchmark
from bench.data import data_root
from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_suite
from manyshot.experiment import SHIPPED, Experiment
from manyshot.lab.base import make_base
from manyshot.run import FinishedRun, RunContext, run_experiment
from results.store import Store
from results.validation import validated

HERE = Path(__file__).resolve().parent
BATCH_SIZE = 64


@dataclass(frozen=True)
class Family:
    """The base and the experts by task."""

    base: Path
    experts: Mapping[str, Path]


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes:
        wall: seconds of the whole command.
        cpu: seconds of the processor, of all its processes.
        candidates: wall seconds of the candidates alone; there from the first generation to the end.
        said: the best average on validation data that it names itself.
        model: the checkpoint that it hands over.
        coefficients: of the task vectors, in the order of the tasks.
    """

    wall: float
    cpu: float
    candidates: float
    said: float
    model: Path
    coefficients: tuple[float, ...]


class Marks:
    """Averages of normalised performance, by one engine.

    Args:
        scorer: has it.
        experts: whose scores are divided by, by task.
    """

    def __init__(self, scorer: Scorer, experts: Mapping[str, Path]) -> None:
        self._scorer, self._experts = scorer, experts
        self._suite = load_suite("lab")

    def benchmarks(self, split: str) -> dict[str, Benchmark]:
        """The benchmark of each task, on a split."""
        of_task = {task: about.benchmarks[0] for task, about in self._suite.tasks.items()}
        return {
            task: benchmark if split == "test" else benchmark.on_split(split)
            for task, benchmark in of_task.items()
        }

    def score(self, model: Path, benchmark: Benchmark) -> float:
        """A checkpoint's score."""
        return float(self._scorer.score(ScoredCheckpoint.open(str(model)), benchmark).record.value)

    def average(self, model: Path, split: str) -> float:
        """A checkpoint's average normalised performance."""
        return fmean(
            self.score(model, benchmark) / self.score(self._experts[task], benchmark)
            for task, benchmark in self.benchmarks(split).items()
        )


def family_of(seed: int, folder: Path) -> Family:
    """Train the experts of a seed as the lab's study does; what is there already is kept."""
    base = make_base(folder / "models" / "lab")
    content = yaml.safe_load((SHIPPED / "lab.yaml").read_text(encoding="utf-8"))
    changed = {**content, "base": str(base), "methods": [{"name": "average"}], "seeds": [seed]}
    context = RunContext(Store(folder / "results"), folder, data_root(None))
    run = run_experiment(validated(Experiment, changed, "lab"), f"family-{seed}", context)
    assert isinstance(run, FinishedRun)
    experts = {
        str(row.entry.task): Path(str(row.entry.path)) for row in run.comparison.rows if row.role == "expert"
    }
    return Family(base, experts)


def measured(
    command: list[str | Path], log: Path, mark: str = "", **environment: str
) -> tuple[float, float, float]:
    """Run a command.

    Args:
        command: which.
        log: for what it says.
        mark: what it says when it begins with candidates.
        environment: variables of it.

    Returns:
        Its wall seconds, the processor's of it and of all that it started, and wall seconds after the mark.
    """
    started, begun, done = time.monotonic(), [], threading.Event()
    seen: dict[int, float] = {}
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=log.parent,  # cma writes where it is
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )

    def watch() -> None:
        top = psutil.Process(process.pid)
        while not done.wait(0.2):
            if not begun and mark in log.read_text(errors="replace"):
                begun.append(time.monotonic())
            try:
                for one in (top, *top.children(recursive=True)):
                    times = one.cpu_times()
                    seen[one.pid] = times.user + times.system
            except psutil.NoSuchProcess:
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = process.wait()
    ended = time.monotonic()
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"{' '.join(map(str, command))} failed; see {log}")
    return ended - started, sum(seen.values()), ended - begun[0] if begun else 0.0


def theirs(python: Path, family: Family, marks: Marks, options: argparse.Namespace, work: Path) -> Found:
    """Search by mergekit-evolve. Its objective is a sum of metrics, so weights make it the same average."""
    tasks = []
    for task, benchmark in marks.benchmarks("validation").items():
        names = write_tasks(benchmark, work / "tasks")
        weight = 1 / (len(family.experts) * len(names) * marks.score(family.experts[task], benchmark))
        metric = f"{benchmark.metric},{benchmark.filter}"
        tasks += [{"name": name, "metric": metric, "weight": weight} for name in names]
    genome = {
        "base_model": str(family.base.absolute()),
        "models": [str(path.absolute()) for path in family.experts.values()],
        "merge_method": "task_arithmetic",
    }
    content = {"genome": genome, "tasks": tasks, "apply_chat_template": False, "fewshot_as_multiturn": False}
    (work / "genome.yaml").write_text(yaml.safe_dump(content))
    # The socket of a Ray lies in its folder, and has a name of 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="ray") as ray:
        wall, cpu, candidates = measured(
            [
                *(python, HERE / "evolve_on_cpu.py", "--ray", ray, work / "genome.yaml"),
                *(
                    "--max-fevals",
                    str(options.evaluations),
                    "--no-merge-cuda",
                    "--strategy",
                    options.strategy,
                ),
                *("--task-search-path", work / "tasks", "--storage-path", work / "evolve"),
                *("--batch-size", str(options.batch_size), *options.evolve),
            ],
            work / "evolve.log",
            "Received ",
            PYTHONPATH=str(HERE.parent.parent),
            HF_DATASETS_CACHE=str(work / "datasets"),
            HF_HUB_OFFLINE="1",
            RAY_USAGE_STATS_ENABLED="0",
            PYTHONUNBUFFERED="1",
        )
    said = max(map(float, re.findall(r"New best score: ([\d.]+)", (work / "evolve.log").read_text())))
    best = yaml.safe_load((work / "evolve" / "best_config.yaml").read_text())
    (piece,) = best["slices"]
    weights = [source["parameters"]["weight"] for source in piece["sources"] if source.get("parameters")]
    return Found(wall, cpu, candidates, said, work / "evolve" / "final_model", tuple(weights))


def ours(family: Family, options: argparse.Namespace, seed: int, work: Path) -> Found:
    """Search by manyshot."""
    method = {
        "name": f"{HERE / 'task_coefficients.py'}:TaskCoefficients",
        "coefficient": {"low": 0.0, "high": 1.0, "per_task": True},
    }
    content = {
        "suite": "lab",
        "base": str(family.base.absolute()),
        "experts": {task: str(path.absolute()) for task, path in family.experts.items()},
        "space": {"methods": [method]},
        "sampler": "cmaes",
        "budget": {"evaluations": options.evaluations},
        "engine": {"name": "hf", "device": "cpu", "dtype": options.dtype},
        "seed": seed,
    }
    (work / "search.yaml").write_text(yaml.safe_dump(content))
    wall, cpu, _ = measured(
        [
            *(sys.executable, "-m", "manyshot", "search", work / "search.yaml"),
            *("--out", work / "search", "--store", work / "store"),
        ],
        work / "search.log",
    )
    report = json.loads((work / "search" / "search.json").read_text())
    seconds = sum(trial["seconds"] for trial in report["trials"])
    (tested,) = report["tested"]
    (trial,) = (trial for trial in report["trials"] if trial["number"] == tested["number"])
    model = work / "search" / "merged" / f"trial-{tested['number']}"
    numbers = (trial["params"][f"TaskCoefficients.coefficient.{task}"] for task in family.experts)
    return Found(wall, cpu, seconds, trial["values"][0], model, tuple(numbers))


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", type=Path, help="with mergekit[evolve]")
    parser.add_argument("--folder", type=Path, default=Path("build/perf/evolve"), help="(%(default)s)")
    parser.add_argument("--seed", type=int, action="append", help="of experts and search; may stand again")
    parser.add_argument("--evaluations", type=int, default=40, help="candidates of each (%(default)s)")
    parser.add_argument("--strategy", default="pool", help="of mergekit-evolve (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="of lm-eval's class (%(default)s)")
    parser.add_argument("--evolve", action="append", default=[], help="a further flag of mergekit-evolve")
    parser.add_argument("--dtype", default="float32", help="of the search here (%(default)s)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table(
        *("seed", "search", "its own best", "validation", "test", "wall, s", "processor, s"),
        *("s a candidate", "coefficients"),
    )
    scorer = Scorer(
        ScoreSettings(engine=EngineSettings(name="hf", device="cpu", dtype="float32")),
        Store(options.folder / "results"),
        data_root(None),
    )
    for seed in options.seed or (0, 1, 2):
        family = family_of(seed, options.folder)
        marks = Marks(scorer, family.experts)
        work = (options.folder / f"seed-{seed}").absolute()
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        found = {
            "mergekit-evolve": theirs(options.python.absolute(), family, marks, options, work),
            "manyshot search": ours(family, options, seed, work),
        }
        for name, one in found.items():
            averages = (marks.average(one.model, split) for split in ("validation", "test"))
            table.add_row(
                *(str(seed), name, f"{one.said:.4f}", *(f"{value:.4f}" for value in averages)),
                *(f"{one.wall:.0f}", f"{one.cpu:.0f}", f"{one.candidates / options.evaluations:.2f}"),
                " ".join(f"{number:.2f}" for number in one.coefficients),
            )
    scorer.close()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
