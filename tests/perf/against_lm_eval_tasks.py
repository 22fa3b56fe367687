"""Twenty of lm-eval's tasks by name, scored here and by `lm_eval.simple_evaluate`, on one checkpoint.

    OMP_NUM_THREADS=1 MANYSHOT_DATA=… python tests/perf/against_lm_eval_tasks.py [CHECKPOINT] [--documents 8]

Both read lm-eval's own definition of a task, by its name, in one process and in float32: here as `manyshot
score --task NAME` does, there with `HFLM`, whose calls of `datasets.load_dataset` get the rows that were
asked here. Every metric that lm-eval gives is compared, rates within 1e-6 and perplexities within 1e-6 of
their size, and every generated answer, to the character. Exit 1 where something differs.

`HFLM` takes the logarithms of probabilities in float64 (`--softmax-dtype`): in float32 torch's code for CPUs
is 8e-6 off for each token, in one direction, with a vocabulary of 49,152; here they are 2e-7 off.

Rows are the task's own as they lie in the local data; or the task's own, brought into the columns that it
reads (`moved`); or those of other data, where the task's are not at hand (`stand-in`): its prompts are then
lm-eval's, its scores are not those of the real task.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from local_task_rows import Maker, copied, lambada, mmlu, pubmedqa, triviaqa, wikitext, write_root
from rich.console import Console
from rich.table import Table

from bench.answers import reported_metrics
from bench.benchmark import Benchmark
from bench.data import Row, data_root
from bench.engine import EngineSettings
from bench.lm_eval_tasks.benchmarks import LmEvalTasks
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from results.aggregation import PERPLEXITIES
from results.record import Record
from results.store import Store

SMOL = Path("~/.cache/manyshot/smol").expanduser()
TOLERANCE = 1e-6


@dataclass(frozen=True)
class Asked:
    """A task or a group of lm-eval's, its worked examples, and whose rows it gets."""

    name: str
    shots: int = 0
    rows: Literal["own", "moved", "stand-in"] = "own"
    make: Maker | None = None


TASKS = (
    Asked("arc_easy"),
    Asked("arc_challenge", shots=3),
    Asked("hellaswag"),
    Asked("xcopa_zh"),
    Asked("sst2"),
    Asked("rte", shots=2),
    Asked("cola"),
    Asked("mnli"),
    Asked("arc_es"),
    Asked("m_mmlu_ar"),
    Asked("pubmedqa", rows="moved", make=pubmedqa),
    Asked("mmlu_social_sciences", rows="moved", make=mmlu),
    Asked("lambada_openai", rows="stand-in", make=lambada("lambada_openai", "en")),
    Asked("lambada_openai_mt_de", rows="stand-in", make=lambada("lambada_openai_mt_de", "de")),
    Asked("wikitext", rows="moved", make=wikitext),
    Asked("gsm8k", shots=3),
    Asked("mgsm_direct_fr", make=copied("mgsm_direct_fr", "test", "mgsm/test_fr.jsonl")),
    Asked("coqa"),
    Asked("xquad_de", make=copied("xquad_de", "validation", "xquad/validation_de.jsonl")),
    Asked("triviaqa", shots=2, rows="stand-in", make=triviaqa),
)


@dataclass(frozen=True)
class Compared:
    """The scores of one task.

    Attributes:
        asked: what was scored.
        benchmark: the same, as it is defined here.
        documents: how many were scored.
        metrics: the score here and lm-eval's by "task/metric,filter"; None where one of them has none.
        answers: of generated ones the one here and lm-eval's, in the order of the documents.
    """

    asked: Asked
    benchmark: Benchmark
    documents: int
    metrics: Mapping[str, tuple[float | None, float | None]]
    answers: Sequence[tuple[str, str]] = ()

    @property
    def differing(self) -> list[str]:
        """What does not agree: metrics by name, and answers."""
        metrics = [f"{name}: {pair}" for name, pair in self.metrics.items() if not agree(name, *pair)]
        return metrics + [f"answers: {pair}" for pair in self.answers if pair[0] != pair[1]]

    @property
    def same_answers(self) -> str:
        """How many generated answers are the same, to the character."""
        same = sum(ours == theirs for ours, theirs in self.answers)
        return f"{same} of {len(self.answers)}" if self.answers else ""

    @property
    def largest(self) -> float:
        """The largest difference of two numbers."""
        return max(abs(a - b) for a, b in self.metrics.values() if a is not None and b is not None)


def agree(name: str, ours: float | None, theirs: float | None) -> bool:
    """Whether two values of "task/metric,filter" are one number."""
    if ours is None or theirs is None:
        return False
    metric = name.rpartition("/")[2].partition(",")[0]
    is_rate = metric not in (*PERPLEXITIES, "perplexity")
    return abs(ours - theirs) <= TOLERANCE * (1 if is_rate else abs(theirs))


@dataclass(frozen=True)
class LmEval:
    """A checkpoint in lm-eval's class for transformers, and what knows its tasks."""

    lm: HFLM
    manager: TaskManager


def compare(
    asked: Asked, scorer: Scorer, checkpoint: ScoredCheckpoint, lm_eval: LmEval, new_tokens: int
) -> Compared:
    """Score a checkpoint on a task here and by lm-eval.

    Args:
        asked: the task.
        scorer: what scores here.
        checkpoint: what it scores.
        lm_eval: the same checkpoint there.
        new_tokens: most of a generated answer.
    """
    (found,) = LmEvalTasks().benchmarks([asked.name])
    benchmark = found.with_fewshot(asked.shots).with_new_tokens(new_tokens)
    record = scorer.score(checkpoint, benchmark).record
    with rows_instead_of_the_hub(scorer, benchmark):
        results = simple_evaluate(
            model=lm_eval.lm,
            tasks=[asked.name],
            num_fewshot=asked.shots,
            limit=scorer.settings.limit,
            gen_kwargs={"max_gen_toks": new_tokens} if benchmark.is_generated else None,
            task_manager=lm_eval.manager,
            bootstrap_iters=0,
            log_samples=benchmark.is_generated,
        )
    ours, theirs = record.metrics, reported_metrics(results)
    names = dict.fromkeys([*ours, *theirs])
    metrics = {name: (ours.get(name), theirs.get(name)) for name in names}
    answers = zip(_ours(scorer, record), _theirs(results), strict=True) if benchmark.is_generated else ()
    return Compared(asked, benchmark, record.n, metrics, tuple(answers))


def _ours(scorer: Scorer, record: Record) -> list[str]:
    return list(scorer.store.documents(record).sort_values(["lm_eval_task", "doc_id"])["output"])


def _theirs(results: Mapping[str, Any]) -> list[str]:
    found = {
        (task, sample["doc_id"]): sample["resps"][0][0]
        for task, samples in results["samples"].items()
        for sample in samples
    }
    return [found[place] for place in sorted(found)]


@contextmanager
def rows_instead_of_the_hub(scorer: Scorer, benchmark: Benchmark) -> Iterator[None]:
    """Let lm-eval have the rows of a benchmark where it asks for the data sets of its tasks."""
    rows = scorer.rows(benchmark)
    data_sets = {
        (task.config["dataset_path"], task.config.get("dataset_name")): _Splits(rows[task.name].splits)
        for task in benchmark.tasks
    }
    theirs = datasets.load_dataset
    datasets.load_dataset = lambda path, name=None, **_: data_sets[path, name]
    try:
        yield
    finally:
        datasets.load_dataset = theirs


class _Splits(dict[str, datasets.Dataset]):
    """Splits of a data set; lm-eval opens all that a task names, also where it takes nothing from one."""

    def __init__(self, splits: Mapping[str, Sequence[Row]]) -> None:
        super().__init__({split: datasets.Dataset.from_list(list(rows)) for split, rows in splits.items()})

    def __missing__(self, split: str) -> datasets.Dataset:
        return next(iter(self.values())).select([])


def table(compared: Sequence[Compared]) -> Table:
    """What was compared, a task a line."""
    made = Table(
        "task",
        "kind",
        "shots",
        "rows",
        "documents",
        "metric",
        "ours",
        "lm-eval",
        "metrics",
        "largest difference",
        "same answers",
        "equal",
    )
    for one in compared:
        primary = f"{one.benchmark.name}/{one.benchmark.metric},{one.benchmark.filter}"
        ours, theirs = (f"{value:.6f}" if value is not None else "none" for value in one.metrics[primary])
        made.add_row(
            one.asked.name, kind(one.benchmark), str(one.asked.shots), one.asked.rows, str(one.documents),
            one.benchmark.metric, ours, theirs, str(len(one.metrics)), f"{one.largest:.1e}", one.same_answers,
            "no" if one.differing else "yes",
        )  # fmt: skip
    return made


def kind(benchmark: Benchmark) -> str:
    """How lm-eval asks the tasks of a benchmark, and how many they are."""
    asked_as = str(benchmark.tasks[0].config["output_type"])
    return asked_as if len(benchmark.tasks) == 1 else f"{asked_as}, {len(benchmark.tasks)} tasks"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", nargs="?", default=str(SMOL), help="(%(default)s, of `make smol`)")
    parser.add_argument("--documents", type=int, default=8, help="of each lm-eval task (%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=24, help="of a generated answer (%(default)s)")
    parser.add_argument("--max-length", type=int, default=1024, help="tokens that both read (%(default)s)")
    parser.add_argument("--softmax-dtype", default="float64", help="of lm-eval's class (%(default)s)")
    parser.add_argument("--task", action="append", help="only this one of the twenty; may be given again")
    options = parser.parse_args()
    console, root = Console(width=180), data_root(None)
    if root is None:
        raise SystemExit("MANYSHOT_DATA must name a folder with real rows.")
    tasks = [asked for asked in TASKS if not options.task or asked.name in options.task]
    place = {"dtype": "float32", "device": "cpu", "max_length": options.max_length}
    lm = HFLM(pretrained=options.checkpoint, batch_size=4, softmax_dtype=options.softmax_dtype, **place)
    lm_eval = LmEval(lm, TaskManager())
    compared = []
    with tempfile.TemporaryDirectory() as folder:
        rows, store = Path(folder, "rows"), Path(folder, "store")
        rows.mkdir()
        write_root(root, rows, [asked.make for asked in tasks if asked.make])
        settings = ScoreSettings(engine=EngineSettings(name="hf", **place), limit=options.documents)
        scorer = Scorer(settings, Store(store), rows)
        checkpoint = ScoredCheckpoint.open(options.checkpoint)
        for asked in tasks:
            started = time.perf_counter()
            compared.append(compare(asked, scorer, checkpoint, lm_eval, options.new_tokens))
            seconds, found = time.perf_counter() - started, compared[-1].differing
            Console(stderr=True).print(f"{asked.name}: {seconds:.0f} s, {found or 'equal'}")
        scorer.close()
    console.print(table(compared))
    differing = [line for one in compared for line in one.differing]
    for line in differing:
        console.print(f"here and in lm-eval, {line}", markup=False)
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
