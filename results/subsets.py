"""Performance against the number of tasks that are merged: over every subset of some tasks."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from results.bootstrap import Interval
from results.comparison import Comparison
from results.errors import InputError
from results.student import student_interval


@dataclass(frozen=True)
class OverSubsets:
    """A method's ANP, the mean over tasks of normalised performance, over the subsets of one size.

    Attributes:
        method: as the rows are called.
        protocol: post-hoc or many-shot.
        size: how many tasks are merged.
        mean: over subsets (and seeds).
        interval: 95 %, by Student's t over the subsets, each the mean over its seeds; None for one subset.
        n: number of subsets.
        each: the ANP of each subset, the mean over its seeds.
    """

    method: str
    protocol: str
    size: int
    mean: float
    interval: Interval | None
    n: int
    each: Mapping[tuple[str, ...], float]


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
    found: dict[tuple[str, ...], Comparison] = {}
    for one in comparisons:
        tasks = tuple(one.suite.tasks)
        if tasks in found:
            raise InputError(
                f"the runs {found[tasks].name} and {one.name} both merge {', '.join(tasks)}; give one of them"
            )
        found[tasks] = one
    return found


def over_subsets(comparisons: Mapping[tuple[str, ...], Comparison]) -> list[OverSubsets]:
    """Return every method's ANP by the number of tasks, in the order of the methods; by subset's tasks."""
    found: dict[tuple[str, str, int], dict[tuple[str, ...], list[float]]] = {}
    for subset, comparison in comparisons.items():
        for row in comparison.rows:
            value = row.anp.value
            if row.role == "merged" and value is not None:
                key = row.title or row.label, row.protocol or "", len(subset)
                found.setdefault(key, {}).setdefault(subset, []).append(value)
    summaries = []
    for key, by_subset in found.items():
        each = {subset: fmean(of_seeds) for subset, of_seeds in by_subset.items()}
        values = list(each.values())
        summaries.append(OverSubsets(*key, fmean(values), student_interval(values), len(values), each))
    return summaries
