"""A family of checkpoints with made-up document scores, kept in a store of their own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from results.json_values import digest_of
from results.record import CheckpointIdentity, Record, RecordKey
from results.run_manifest import Entry, Run, RunSettings
from results.store import Store
from results.suite import BenchmarkSpec, SuiteSpec

SUITE = SuiteSpec(
    name="lab",
    tasks={
        "math": (BenchmarkSpec(name="gsm8k", metric="exact_match"),),
        "multilingual": (
            BenchmarkSpec(name="m_mmlu", metric="acc", chance=0.25),
            BenchmarkSpec(name="m_arc", metric="acc"),
        ),
        "safety": (BenchmarkSpec(name="xstest", metric="refusal", higher_is_better=False),),
    },
    forgetting=(BenchmarkSpec(name="coqa", metric="f1"),),
)
METRICS = {benchmark.name: benchmark.metric for benchmark in SUITE.benchmarks}
SETTINGS = {"engine": "replay", "dtype": "float32", "limit": None, "num_fewshot": 0, "seed": 1}


def identity(label: str) -> CheckpointIdentity:
    return CheckpointIdentity(
        weights=digest_of(label), config=digest_of("config"), tokenizer=digest_of("tokenizer")
    )


def rows(
    scores: Sequence[float] | Mapping[str, Sequence[float]],
    task: str = "task",
    says: Callable[[str, int], str] | None = None,
) -> pd.DataFrame:
    """Documents with these scores; of several lm-eval tasks, those of one number are one item."""
    by_task = scores if isinstance(scores, Mapping) else {task: scores}
    found = pd.DataFrame(
        [
            {"lm_eval_task": name, "doc_id": index, "score": float(score), "prompt": f"question {index}"}
            for name, listed in by_task.items()
            for index, score in enumerate(listed)
        ]
    )
    if len(by_task) > 1:
        found["item"] = [f"item {index}" for index in found["doc_id"]]
    if says is not None:
        found["target"] = [f"answer {index}" for index in found["doc_id"]]
        found["output"] = [
            says(name, index) for name, index in zip(found["lm_eval_task"], found["doc_id"], strict=True)
        ]
    return found


def record(label: str, benchmark: str, documents: pd.DataFrame, **changes: object) -> Record:
    key = RecordKey(
        checkpoint=identity(label),
        benchmark=benchmark,
        definition=digest_of("definition"),
        data=digest_of("data"),
        settings=SETTINGS,
    )
    value = documents.groupby("lm_eval_task")["score"].mean().mean()
    metric = METRICS.get(benchmark, "acc")
    made = Record(
        key=key,
        name=f"models/{label}",
        metric=metric,
        value=value,
        metrics={f"task/{metric},none": value},
        n=len(documents),
        seconds=0.5,
    )
    return made.but(**changes)


@dataclass
class Family:
    """Scores a checkpoint of a label and collects the entries of a run."""

    store: Store
    entries: list[Entry]

    def add(
        self,
        label: str,
        role: str,
        scores: Mapping[str, Sequence[float] | Mapping[str, Sequence[float]]],
        says: Callable[[str, int], str] | None = None,
        **more: object,
    ) -> None:
        records = {}
        for benchmark, listed in scores.items():
            documents = rows(listed, benchmark, says)
            records[benchmark] = self.store.write(record(label, benchmark, documents), documents).key.digest
        entry = Entry(
            label=label,
            role=role,
            path=f"models/{label}",
            checkpoint=identity(label),
            records=records,
            **more,
        )  # type: ignore[arg-type]
        self.entries.append(entry)

    def run(self, suite: SuiteSpec = SUITE, name: str = "first") -> Run:
        return Run(
            name=name,
            suite=suite,
            settings=RunSettings(engine="replay", seed=1, limit=SETTINGS["limit"]),
            entries=tuple(self.entries),
        )


def hits(right: int, of: int = 20) -> list[int]:
    """Document scores: so many right answers, spread evenly."""
    order = np.random.default_rng(of).permutation(of)
    return [int(order[index] < right) for index in range(of)]


def write_many(arguments: tuple[Path, int]) -> list[tuple[str, float]]:
    """Keep records that every worker writes, and some of this worker's own; what the store says it holds."""
    root, worker = arguments
    store = Store(root)
    found = []
    for index in range(12):
        documents = rows(np.random.default_rng([worker, index]).random(20).tolist())
        for name in (f"shared {index}", f"own {worker} {index}"):
            written = store.write(record(name, "gsm8k", documents), documents)
            found.append((written.key.digest, written.value))
    return found
