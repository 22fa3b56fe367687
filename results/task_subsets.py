"""Performance against the number of tasks that are merged: over every subset of some tasks.

Subsets share tasks, so that their numbers are not independent, and Student's t over the subsets covers as
little as half of what it promises. The tasks are what may be drawn anew, so the interval is a jackknife over
them: with U the mean over the subsets of a size, and U₋ₜ the mean over those without task t, the k tasks'
pseudo-values

    p_t = k U − (k − 1) U₋ₜ

have the mean U, and Student's t over them is the jackknife's interval (Arvesen, Annals of Mathematical
Statistics 40, 1969). It covers 95 % where a subset's number is a mean over its tasks; what belongs to pairs
or to single merges makes it cover more, never less (Efron and Stein, Annals of Statistics 9, 1981).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb
from statistics import fmean

from results.comparison import Comparison
from results.errors import InputError
from results.intervals import Interval, student_interval


@dataclass(frozen=True)
class OverSubsets:
    """A method's ANP, the mean over tasks of normalised performance, over the subsets of one size.

    Attributes:
        method: as the rows are called.
        protocol: post-hoc or many-shot.
        size: how many tasks are merged.
        mean: over subsets (and seeds).
        n: number of subsets.
        each: by task, its jackknife pseudo-value; empty where there are none, as `without` says.
        without: why there is no interval; empty where there is one.
    """

    method: str
    protocol: str
    size: int
    mean: float
    n: int
    each: Mapping[str, float]
    without: str = ""

    @property
    def interval(self) -> Interval | None:
        """95 %, over the tasks that subsets are made of."""
        return student_interval(list(self.each.values()))


def subsets_of(tasks: Sequence[str], sizes: Sequence[int]) -> list[tuple[str, ...]]:
    """Return every subset of the tasks of each size, in the order of the tasks.

    Raises:
        InputError: a size is below 2 or above the number of tasks.
    """
    for size in sizes:
        if not 2 <= size <= len(tasks):
            raise InputError(
                f"Subsets of {size} of {len(tasks)} tasks cannot be merged; give sizes from 2 on."
            )
    return [subset for size in dict.fromkeys(sizes) for subset in combinations(tasks, size)]


def by_tasks(comparisons: Iterable[Comparison]) -> dict[tuple[str, ...], Comparison]:
    """Return comparisons of runs by the tasks that each merged.

    Raises:
        InputError: two are of the same tasks.
    """
    compared: dict[tuple[str, ...], Comparison] = {}
    for comparison in comparisons:
        tasks = tuple(comparison.suite.tasks)
        if tasks in compared:
            raise InputError(
                f"the runs {compared[tasks].name} and {comparison.name} both merge {', '.join(tasks)}; "
                "give one of them"
            )
        compared[tasks] = comparison
    return compared


def over_subsets(comparisons: Mapping[tuple[str, ...], Comparison]) -> list[OverSubsets]:
    """Return every method's ANP by the number of tasks, in the order of the methods; by subset's tasks."""
    by_method: dict[tuple[str, str, int], dict[tuple[str, ...], list[float]]] = {}
    for subset, comparison in comparisons.items():
        for row in comparison.rows:
            value = row.anp.value
            if row.role == "merged" and value is not None:
                key = row.title, row.protocol, len(subset)
                by_method.setdefault(key, {}).setdefault(subset, []).append(value)
    summaries = []
    for key, by_subset in by_method.items():
        each = {subset: fmean(of_seeds) for subset, of_seeds in by_subset.items()}
        pseudo, without = pseudo_values(each)
        summaries.append(OverSubsets(*key, fmean(each.values()), len(each), pseudo, without))
    return summaries


def pseudo_values(each: Mapping[tuple[str, ...], float]) -> tuple[dict[str, float], str]:
    """By task, its jackknife pseudo-value of the mean over all subsets of one size; or why there are none."""
    tasks = list(dict.fromkeys(task for subset in each for task in subset))
    size = len(next(iter(each)))
    if size == len(tasks):
        return {}, "one subset"
    if len(each) < comb(len(tasks), size):
        return {}, f"{len(each)} of {comb(len(tasks), size)} subsets"
    mean = fmean(each.values())
    without = {task: fmean(value for subset, value in each.items() if task not in subset) for task in tasks}
    return {task: len(tasks) * mean - (len(tasks) - 1) * without[task] for task in tasks}, ""
