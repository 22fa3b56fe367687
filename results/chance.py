"""Benchmarks on which the experts guess: quotients of their scores compare two guesses."""

from collections.abc import Mapping

import numpy as np

from results.bootstrap import Draws, percentile_interval
from results.metrics import mapped
from results.run import Run


def at_chance(
    run: Run, scores: Mapping[str, Mapping[str, float]], drawn: Mapping[str, Mapping[str, Draws]]
) -> dict[str, str]:
    """The benchmarks on which the task's experts (the mean over seeds) do not reliably beat chance, and why.

    Args:
        run: with the experts.
        scores: by label and benchmark.
        drawn: by benchmark and label, the scores of the resamples; the interval is their 95 %.
    """
    found = {}
    for task, benchmarks in run.suite.tasks.items():
        for benchmark in benchmarks:
            experts = [
                entry.label
                for entry in run.entries
                if entry.role == "expert" and entry.task == task and benchmark.name in scores[entry.label]
            ]
            if not experts:
                continue
            score = np.mean([mapped(benchmark, scores[label][benchmark.name]) for label in experts])
            interval = percentile_interval(
                np.mean([mapped(benchmark, drawn[benchmark.name][label]) for label in experts], axis=0)
            )
            if interval is not None and interval.low <= benchmark.chance:
                found[benchmark.name] = (
                    f"{benchmark.name}: left out of averages, because the expert is at chance "
                    f"({score:.3f} [{interval.low:.3f}, {interval.high:.3f}]; guessing scores "
                    f"{benchmark.chance:.3g})"
                )
    return found
