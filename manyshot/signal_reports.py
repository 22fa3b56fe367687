"""Signals of a base and its experts, measured once and kept in the store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch

from bench.divergence import DIVERGENCES
from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from bench.suite import Suite
from merging.prepare import task_vectors
from merging.signals import ContinuationSettings
from merging.task_vectors import cosines
from merging.train_settings import Loss
from results.errors import InputError
from results.signal_report import SignalReport


def by_task(suite: Suite, experts: Sequence[str]) -> dict[str, str]:
    """Return experts by task: each given as TASK=PATH, or as a folder that is called as its task.

    Raises:
        InputError: an expert is of no task of the suite, or two are of one.
    """
    paths: dict[str, str] = {}
    for expert in experts:
        task, given, path = expert.partition("=")
        if not given or task not in suite.tasks:
            task, path = Path(expert).name, expert
        if task not in suite.tasks:
            raise InputError(
                f"The expert {expert} names none of the tasks of {suite.name} ({', '.join(suite.tasks)}): "
                "give it as TASK=PATH."
            )
        if task in paths:
            raise InputError(f"The task '{task}' has two experts, {paths[task]} and {path}; give one.")
        paths[task] = path
    return {task: paths[task] for task in suite.tasks if task in paths}


def measure(
    signals: ValidationSignals,
    suite: Suite,
    base: str,
    experts: Mapping[str, str],
    *,
    settings: ContinuationSettings,
    over: Loss = "text",
    score: bool = False,
) -> SignalReport:
    """Measure losses, divergences and cosines, and look for scores.

    Args:
        signals: what measures.
        suite: whose tasks are meant.
        base: θ₀.
        experts: by task.
        settings: of the continuations over which divergences are taken.
        over: what losses are taken over.
        score: whether scores that are not in the store are made.
    """
    tasks = list(experts)
    vectors = task_vectors(base, experts)
    models = {
        "base": ScoredCheckpoint.open(base),
        **{task: ScoredCheckpoint.open(path) for task, path in experts.items()},
    }
    continuations = {task: signals.continuations(models[task].path, task, settings) for task in tasks}
    losses: dict[str, dict[str, float]] = {}
    divergences: dict[str, dict[str, dict[str, float]]] = {
        kind: {task: {} for task in tasks} for kind in DIVERGENCES
    }
    scores: dict[str, dict[str, float | None]] = {}
    documents: dict[str, int] = {}
    for name, model in models.items():  # so that each is loaded once
        losses[name] = {task: signals.loss(model.path, task, over) for task in tasks}
        for kind in DIVERGENCES:
            for task in tasks:
                divergences[kind][task][name] = signals.divergence(
                    kind, models[task].path, model.path, task, settings
                )
        scores[name] = {}
        for task in tasks:
            scores[name][task], n = _score(signals, suite, model, task, make=score)
            documents |= {task: n} if n else {}
    gram = cosines(vectors, torch.get_num_threads())
    return SignalReport(
        tasks=tuple(tasks),
        models=tuple(models),
        losses=losses,
        divergences=divergences,
        cosines={task: dict(zip(tasks, row, strict=True)) for task, row in zip(tasks, gram, strict=True)},
        scores=scores,
        inputs={task: len(texts) for task, texts in continuations.items()},
        bounds=settings.top_k is not None or signals.scorer.engine_kind.max_logprobs is not None,
        documents=documents,
    )


def _score(
    signals: ValidationSignals, suite: Suite, model: ScoredCheckpoint, task: str, *, make: bool
) -> tuple[float | None, int]:
    """The mean of the primary metrics of a task's benchmarks, and the number of their documents.

    There is none, of no documents, where a benchmark has no record and none is made.
    """
    values, n = [], 0
    for benchmark in suite.tasks[task].benchmarks:
        if make:
            record = signals.scorer.score(model, benchmark).record
        else:
            kept = signals.scorer.find(model, benchmark)
            if kept is None:
                return None, 0
            record = kept
        values.append(record.value if benchmark.higher_is_better else 1 - record.value)
        n += record.n
    return fmean(values), n
