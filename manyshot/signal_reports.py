"""Signals of a base and its experts, measured once and kept in the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch

from bench.divergence import DIVERGENCES
from bench.engine import VLLM
from bench.registry import Suite
from manyshot.harness import Asked, Harness
from manyshot.scoring import Candidate
from merging.geometry import cosines
from merging.prepare import task_vectors
from merging.train_settings import Loss
from results.errors import InputError
from results.signals import SignalReport


def by_task(suite: Suite, experts: Sequence[str]) -> dict[str, str]:
    """Return experts by task: each given as TASK=PATH, or as a folder that is called as its task.

    Raises:
        InputError: an expert is of no task of the suite, or two are of one.
    """
    found: dict[str, str] = {}
    for expert in experts:
        task, given, path = expert.partition("=")
        if not given or task not in suite.tasks:
            task, path = Path(expert).name, expert
        if task not in suite.tasks:
            raise InputError(
                f"The expert {expert} names none of the tasks of {suite.name} ({', '.join(suite.tasks)}): "
                "give it as TASK=PATH."
            )
        if task in found:
            raise InputError(f"The task '{task}' has two experts, {found[task]} and {path}; give one.")
        found[task] = path
    return {task: found[task] for task in suite.tasks if task in found}


def measure(
    harness: Harness,
    suite: Suite,
    base: str,
    experts: Mapping[str, str],
    *,
    asked: Asked,
    over: Loss = "text",
    score: bool = False,
) -> SignalReport:
    """Measure losses, divergences and cosines, and look for scores.

    Args:
        harness: what measures.
        suite: whose tasks are meant.
        base: θ₀.
        experts: by task.
        asked: inputs of the divergences.
        over: what losses are taken over.
        score: whether scores that are not in the store are made.
    """
    tasks = list(experts)
    vectors = task_vectors(base, experts)
    models = {"base": Candidate.open(base), **{task: Candidate.open(path) for task, path in experts.items()}}
    targets = {task: harness.targets(models[task].path, task, asked) for task in tasks}
    losses: dict[str, dict[str, float]] = {}
    found: dict[str, dict[str, dict[str, float]]] = {
        kind: {task: {} for task in tasks} for kind in DIVERGENCES
    }
    scores: dict[str, dict[str, float | None]] = {}
    documents: dict[str, int] = {}
    for name, one in models.items():  # so that each is loaded once
        losses[name] = {task: harness.loss(one.path, task, over) for task in tasks}
        for kind in DIVERGENCES:
            for task in tasks:
                found[kind][task][name] = harness.divergence(kind, models[task].path, one.path, task, asked)
        scores[name] = {}
        for task in tasks:
            scores[name][task], n = _score(harness, suite, one, task, make=score)
            documents |= {task: n} if n else {}
    gram = cosines(vectors, torch.get_num_threads())
    return SignalReport(
        tasks=tasks,
        models=list(models),
        losses=losses,
        divergences=found,
        cosines={one: dict(zip(tasks, row, strict=True)) for one, row in zip(tasks, gram, strict=True)},
        scores=scores,
        inputs={task: len(one) for task, one in targets.items()},
        bounds=asked.top_k is not None or harness.scorer.engine_settings.name == VLLM,
        documents=documents,
    )


def _score(
    harness: Harness, suite: Suite, one: Candidate, task: str, *, make: bool
) -> tuple[float | None, int]:
    """The mean of the primary metrics of a task's benchmarks, and the number of their documents.

    There is none, of no documents, where a benchmark has no record and none is made.
    """
    values, n = [], 0
    for benchmark in suite.tasks[task].benchmarks:
        if make:
            record = harness.scorer.score(one.path, one.name, one.identity, benchmark).record
        else:
            found = harness.scorer.find(one.identity, benchmark)
            if found is None:
                return None, 0
            record = found
        values.append(record.value if benchmark.higher_is_better else 1 - record.value)
        n += record.n
    return fmean(values), n
