"""Simulated benchmarks of several languages with a known truth: how often intervals and tests are right.

    python tests/simulated_items.py      # prints the table of docs/intervals.md, in two minutes

Three checkpoints, an expert and two merged ones, answer 100 questions in four languages. What they say to a
question in one language is, with probability √ρ, what they say to it whatever the language, so that any two
languages correlate by ρ, for each checkpoint and for differences of two.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from results.bootstrap import DocumentScores, resample_together
from results.intervals import Draws, percentile_interval
from results.metrics import performance
from results.minima import mean_interval
from results.paired import mcnemar, swapping
from results.shared_items import Names
from results.suite import BenchmarkSpec, SuiteSpec

LANGUAGES = ("de", "es", "fr", "ru")
QUESTIONS, RESAMPLES, SWAPS = 100, 400, 399
CORRELATIONS = (0.0, 0.3, 0.5, 0.7)
TASKS = ("worst", "better")
SUITE = SuiteSpec(name="simulated", tasks={task: (BenchmarkSpec(name=task, metric="acc"),) for task in TASKS})
RIGHT = {"worst": {"expert": 0.8, "a": 0.4, "b": 0.5}, "better": {"expert": 0.85, "a": 0.75, "b": 0.7}}
"""Probabilities of a right answer."""
_AT_ONCE = 50
"""Replications that share what is drawn of them, which makes them no slower than one."""


@dataclass(frozen=True)
class Rates:
    """How often 95 % intervals hold the truth, and how often tests at 5 % find what is not there."""

    score: float
    difference: float
    average: float
    worst_task: float
    mcnemar: float
    swaps: float


def answers(
    generator: np.random.Generator, right: dict[str, float], correlation: float, replications: int
) -> dict[str, Draws]:
    """By checkpoint, right or wrong answers of shape (languages, replications, questions)."""
    shape = (len(LANGUAGES), replications, QUESTIONS)
    same = generator.random(shape) < np.sqrt(correlation)
    hard = np.where(same, generator.random(shape[1:]), generator.random(shape))
    found = {}
    for name, probability in right.items():
        # Half of what a checkpoint says is about the question's difficulty, which all share.
        own = np.where(same, generator.random(shape[1:]), generator.random(shape))
        alike = np.where(same, generator.random(shape[1:]), generator.random(shape)) < 0.5
        found[name] = (np.where(alike, hard, own) < probability).astype(np.float64)
    return found


def documents(task: str, said: dict[str, Draws], *, by_item: bool, missing: float = 0.0) -> DocumentScores:
    """The answers of some replications, each a checkpoint of its own, `name number`.

    Args:
        task: the benchmark's name.
        said: what `answers` gave.
        by_item: whether translations of a question are one item.
        missing: share of the translations that every language lacks, each another part.
    """
    scores: dict[str, dict[str, Draws]] = {}
    items: dict[str, Names] = {}
    for place, language in enumerate(LANGUAGES):
        lacks = np.random.default_rng(place).permutation(QUESTIONS)[: round(missing * QUESTIONS)]
        there = np.setdiff1d(np.arange(QUESTIONS), lacks)
        scores[language] = {
            f"{name} {number}": one[there][None]
            for name, of_name in said.items()
            for number, one in enumerate(of_name[place])
        }
        if by_item:
            items[language] = np.array([f"{task}/{number}" for number in there], dtype=object)
    return DocumentScores(task, "acc", scores, items)


def intervals(correlation: float, replications: int, **form: float | bool) -> Iterator[tuple[bool, ...]]:
    """For every replication, whether intervals hold the score, difference, average and worst task."""
    truths = {name: [RIGHT[task][name] / RIGHT[task]["expert"] for task in TASKS] for name in ("a", "b")}
    for block in range(0, replications, _AT_ONCE):
        generator = np.random.default_rng([block, int(1000 * correlation)])
        benchmarks = [
            documents(task, answers(generator, RIGHT[task], correlation, _AT_ONCE), **form)  # type: ignore[arg-type]
            for task in TASKS
        ]
        drawn = resample_together(benchmarks, resamples=RESAMPLES, seed=block)
        for number in range(_AT_ONCE):
            names = {name: f"{name} {number}" for name in ("expert", "a", "b")}
            experts = dict.fromkeys(TASKS, names["expert"])
            found = performance(SUITE, drawn, names["a"], experts, resamples=RESAMPLES)
            score = drawn["worst"][names["a"]]
            yield (
                _holds([score], RIGHT["worst"]["a"]),
                _holds([score - drawn["worst"][names["b"]]], RIGHT["worst"]["a"] - RIGHT["worst"]["b"]),
                _holds([found.average], float(np.mean(truths["a"]))),
                _holds(list(found.parts("worst_task")), min(truths["a"])),
            )


def false_rejections(
    correlation: float, replications: int, **form: float | bool
) -> Iterator[tuple[bool, bool]]:
    """For every replication of equally good checkpoints, whether McNemar's test and swaps tell them apart."""
    equal = {"first": 0.6, "second": 0.6}
    for block in range(0, replications, _AT_ONCE):
        generator = np.random.default_rng([block, int(1000 * correlation), 1])
        both = documents("one", answers(generator, equal, correlation, _AT_ONCE), **form)  # type: ignore[arg-type]
        for number in range(_AT_ONCE):
            sides = {
                language: {name: scores[f"{name} {number}"] for name in equal}
                for language, scores in both.scores.items()
            }
            one = replace(both, scores=sides)
            yield (
                mcnemar(_ahead(one)) <= 0.05,
                swapping(one, swaps=SWAPS, seed=block + number) <= 0.05,
            )


def rates(correlation: float, replications: int, *, by_item: bool = True, missing: float = 0.0) -> Rates:
    """How often intervals and tests are right.

    Args:
        correlation: between languages.
        replications: how many, a multiple of 50.
        by_item: whether translations of a question are one item, as they should be.
        missing: share of the translations that every language lacks.
    """
    form = {"by_item": by_item, "missing": missing}
    held = np.mean(list(intervals(correlation, replications, **form)), axis=0)
    rejected = np.mean(list(false_rejections(correlation, replications, **form)), axis=0)
    return Rates(*map(float, (*held, *rejected)))


def _holds(parts: list[Draws], truth: float) -> bool:
    interval = percentile_interval(parts[0]) if len(parts) == 1 else mean_interval([(np.stack(parts), None)])
    assert interval is not None
    return interval.low <= truth <= interval.high


def _ahead(both: DocumentScores) -> Draws:
    """By item, how many more documents the first got right."""
    names = np.concatenate([both.items_of(language) for language in both.scores])
    apart = np.concatenate([one["first"][0] - one["second"][0] for one in both.scores.values()])
    return np.bincount(np.unique(names.astype(str), return_inverse=True)[1], apart).round()


if __name__ == "__main__":
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    heads = list(Rates.__annotations__)
    lines = [["documents", "ρ", *heads], ["---"] * (2 + len(heads))]
    for form in ({"by_item": False}, {}, {"missing": 0.2}):
        for correlation in CORRELATIONS:
            found = rates(correlation, replications, **form)  # type: ignore[arg-type]
            drawn = "each alone" if form == {"by_item": False} else "by item"
            called = drawn + ", 20 % missing" * ("missing" in form)
            lines.append(
                [called, str(correlation), *(f"{getattr(found, name):.3f}".lstrip("0") for name in heads)]
            )
    sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))
