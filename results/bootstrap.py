"""Intervals from a paired bootstrap over items, which are documents with their translations.

One resample draws, with replacement, as many items of every lm-eval task as it has, and scores all
checkpoints on that same draw. What two checkpoints share (hard documents, easy documents) then cancels in
quotients and differences, as it does in the measured values. Lm-eval tasks that share items, such as a
benchmark's languages, draw from all their items together, and an item comes with all documents that it has.
Percentiles of what was drawn are intervals of means and their quotients, but not of a minimum, such as the
worst task: its intervals are made in `results.minima`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from results.aggregation import from_means, terms
from results.errors import InputError
from results.intervals import Draws
from results.shared_items import ITEM, Names, connected, numbered, own_items
from results.store import DOCUMENT_KEY

RESAMPLES = 2000
_ENTRIES_AT_ONCE = 1 << 21
_SMALL = 1 << 24


@dataclass(frozen=True)
class DocumentScores:
    """Scores of several checkpoints on the same documents of one benchmark.

    Attributes:
        benchmark: its name.
        metric: its primary metric.
        scores: by lm-eval task and checkpoint, what the metric is made of, an array of shape (terms,
            documents of the lm-eval task); the documents are in the same order for every checkpoint.
        items: by lm-eval task, the item of each document; where a task is not named, each is its own.
    """

    benchmark: str
    metric: str
    scores: Mapping[str, Mapping[str, Draws]]
    items: Mapping[str, Names] = field(default_factory=dict)

    def items_of(self, lm_eval_task: str) -> Names:
        """The item of each document of an lm-eval task."""
        if lm_eval_task in self.items:
            return self.items[lm_eval_task]
        return own_items(self.benchmark, lm_eval_task, self.size(lm_eval_task))

    def size(self, lm_eval_task: str) -> int:
        """How many documents an lm-eval task has."""
        return int(next(iter(self.scores[lm_eval_task].values())).shape[1])


def align_documents(
    benchmark: str, metric: str, documents: Mapping[str, pd.DataFrame | pa.Table]
) -> DocumentScores:
    """Match the documents of several checkpoints by (lm_eval_task, doc_id).

    Args:
        benchmark: its name, for messages.
        metric: its primary metric.
        documents: by checkpoint, a table with `lm_eval_task`, `doc_id`, what the metric is made of, and the
            `item`, without which each document is its own.

    Raises:
        InputError: two checkpoints were scored on different documents, or one twice on the same; the
            documents of several lm-eval tasks do not name their items.
    """
    keyed = {checkpoint: _keys(table) for checkpoint, table in documents.items()}
    first = next((name for name, keys in keyed.items() if ITEM in keys.column_names), next(iter(keyed)))
    order = _order(benchmark, first, keyed[first])
    keys = keyed[first].take(order)
    in_order: dict[str, Draws] = {}
    for checkpoint, own in keyed.items():
        own_order = order
        if not own.equals(keyed[first]):  # which most are: their rows came in the same order
            own_order = _order(benchmark, checkpoint, own)
            _check_alike(benchmark, (checkpoint, own.take(own_order)), (first, keys))
        in_order[checkpoint] = terms(metric, documents[checkpoint])[:, own_order]
    tasks = np.asarray(keys["lm_eval_task"]).astype(object)
    starts = [0, *(np.flatnonzero(tasks[1:] != tasks[:-1]) + 1), len(tasks)]
    parts = {str(tasks[start]): slice(start, stop) for start, stop in pairwise(starts)}
    if len(parts) > 1 and ITEM not in keys.column_names:
        raise InputError(
            f"benchmark {benchmark}: the documents of '{first}' do not say which of them are one item in "
            "several languages, so no interval of them holds; score it again"
        )
    names = np.asarray(keys[ITEM]).astype(object) if ITEM in keys.column_names else None
    return DocumentScores(
        benchmark,
        metric,
        {
            task: {name: np.ascontiguousarray(all_terms[:, part]) for name, all_terms in in_order.items()}
            for task, part in parts.items()
        },
        {} if names is None else {task: names[part] for task, part in parts.items()},
    )


def _keys(table: pd.DataFrame | pa.Table) -> pa.Table:
    """The columns that say which documents a table has, and their items where it names them."""
    there = table.columns if isinstance(table, pd.DataFrame) else table.column_names
    columns = [name for name in ("lm_eval_task", "doc_id", ITEM) if name in there]
    if isinstance(table, pd.DataFrame):
        return pa.table({name: pa.array(table[name], from_pandas=True) for name in columns})
    return table.select(columns)


def _order(benchmark: str, checkpoint: str, keys: pa.Table) -> NDArray[np.int64]:
    """Places of the documents in the order of their keys.

    Raises:
        InputError: a document is there twice.
    """
    names = keys.select(list(DOCUMENT_KEY))
    order = pc.sort_indices(names, [(name, "ascending") for name in DOCUMENT_KEY])
    if names.group_by(list(DOCUMENT_KEY)).aggregate([]).num_rows < len(names):
        raise InputError(
            f"benchmark {benchmark}: '{checkpoint}' was scored twice on one document; score it again"
        )
    places: NDArray[np.int64] = order.to_numpy().astype(np.int64)
    return places


def _check_alike(benchmark: str, one: tuple[str, pa.Table], other: tuple[str, pa.Table]) -> None:
    """Refuse two checkpoints that were scored on other documents, or whose documents name other items.

    Args:
        benchmark: its name.
        one: a checkpoint, and its keys in order.
        other: the same of the first.
    """
    (checkpoint, keys), (first, first_keys) = one, other
    named, first_named = (
        list(zip(*(table[name].to_pylist() for name in DOCUMENT_KEY), strict=True))
        for table in (keys, first_keys)
    )
    if named != first_named:
        odd = sorted(set(named) ^ set(first_named))
        raise InputError(
            f"benchmark {benchmark}: '{checkpoint}' and '{first}' were scored on different documents "
            f"({len(odd)} are not shared, for one {odd[0]}); score both on the same data"
        )
    is_in_both = ITEM in keys.column_names and ITEM in first_keys.column_names
    if is_in_both and keys[ITEM].to_pylist() != first_keys[ITEM].to_pylist():
        raise InputError(
            f"benchmark {benchmark}: documents of '{checkpoint}' and '{first}' name different items; "
            "score both again"
        )


def resample_scores(
    documents: DocumentScores, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Draws]:
    """The benchmark's score in every resample, as `resample_together` has it for several.

    Returns:
        An array of shape (resamples,) for every checkpoint.
    """
    return resample_together([documents], resamples=resamples, seed=seed)[documents.benchmark]


def resample_together(
    benchmarks: Sequence[DocumentScores], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, dict[str, Draws]]:
    """The score of each benchmark in every resample: the mean over lm-eval tasks of the score of each.

    What is drawn of an lm-eval task that shares no items depends on the seed, the benchmark and the task
    alone, so neither another checkpoint nor another benchmark changes it. In a resample that has no document
    of a task the score is NaN.

    Returns:
        By benchmark, an array of shape (resamples,) for every checkpoint.
    """
    by_name = {scored.benchmark: scored for scored in benchmarks}
    # One document an item needs no names, which take longer than all the rest.
    alone = [(name, task) for name, docs in by_name.items() for task in docs.scores if task not in docs.items]
    named = {(name, task): items for name, scored in by_name.items() for task, items in scored.items.items()}
    task_scores: dict[str, list[dict[str, Draws]]] = {name: [] for name in by_name}
    for group in [*([node] for node in alone), *connected(named)]:
        if group[0] in named:
            numbers, items = numbered({node: named[node] for node in group})
        else:
            items = by_name[group[0][0]].size(group[0][1])
            numbers = {group[0]: np.arange(items)}
        sums = {
            (name, task): _by_item(by_name[name].scores[task], numbers[name, task], items)
            for name, task in group
        }
        drawn = _drawn(sums, items, resamples, generator_of(seed, *(part for node in group for part in node)))
        for (name, _), means in drawn.items():
            task_scores[name].append(
                {checkpoint: from_means(by_name[name].metric, mean) for checkpoint, mean in means.items()}
            )
    return {
        name: {checkpoint: np.mean([task[checkpoint] for task in tasks], axis=0) for checkpoint in tasks[0]}
        for name, tasks in task_scores.items()
    }


_Node = tuple[str, str]
_DOCUMENTS = ""
"""Stands in place of a checkpoint's name for the number of documents."""


def _by_item(scores: Mapping[str, Draws], numbers: NDArray[np.int64], items: int) -> dict[str, Draws]:
    """Sums of each checkpoint's terms over the documents of each item, shape (terms, items)."""
    counted = {_DOCUMENTS: np.ones((1, len(numbers))), **scores}
    if np.array_equal(numbers, np.arange(items)):
        return counted
    return {
        name: np.stack([np.bincount(numbers, weights=term, minlength=items) for term in of_checkpoint])
        for name, of_checkpoint in counted.items()
    }


def _drawn(
    sums: Mapping[_Node, Mapping[str, Draws]], items: int, resamples: int, generator: np.random.Generator
) -> dict[_Node, dict[str, Draws]]:
    """Means of each checkpoint's terms over the documents of the drawn items, shape (terms, resamples)."""
    means = {
        node: {name: np.empty((len(of_checkpoint), resamples)) for name, of_checkpoint in of_node.items()}
        for node, of_node in sums.items()
    }
    step = max(1, _ENTRIES_AT_ONCE // items)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        times = _times_drawn(generator, stop - start, items)
        for node, of_node in sums.items():
            whole = [name for name, of_checkpoint in of_node.items() if _is_whole(of_checkpoint)]
            of_whole = (times @ np.concatenate([of_node[name] for name in whole]).T).T
            ends = np.cumsum([len(of_node[name]) for name in whole])[:-1]
            found = dict(zip(whole, np.split(of_whole, ends), strict=True))
            for name, of_checkpoint in of_node.items():
                # Others term by term, so that what is beside a checkpoint does not change its last digits.
                means[node][name][:, start:stop] = (
                    found[name] if name in found else [times @ term for term in of_checkpoint]
                )
    for of_means in means.values():
        documents = of_means.pop(_DOCUMENTS)
        documents[documents == 0] = np.nan
        for name in of_means:
            of_means[name] /= documents
    return means


def _is_whole(terms_of: Draws) -> bool:
    """Whether all are small whole numbers, such as right and wrong answers: sums of them are exact."""
    return bool((terms_of == np.rint(terms_of)).all() and np.abs(terms_of).max() < _SMALL)


def _times_drawn(generator: np.random.Generator, resamples: int, items: int) -> Draws:
    """How many times each resample has each item, shape (resamples, items)."""
    drawn = generator.integers(0, items, size=(resamples, items))
    drawn += items * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * items)
    return counts.reshape(resamples, items).astype(np.float64)


def generator_of(seed: int, *purpose: str) -> np.random.Generator:
    """Random numbers that depend on the seed and on what they are for alone."""
    digest = hashlib.sha256("\0".join([str(seed), *purpose]).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
