"""Benchmarks made of lm-eval's tasks by their names there, with what lm-eval says of metrics and groups."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import Field

from bench.benchmark import Benchmark, EvalTask
from bench.benchmark_changes import BenchmarkChanges
from bench.definition import FunctionReference
from bench.lm_eval_tasks.expansion import Branch, Leaf, expanded, member_of_group
from bench.lm_eval_tasks.files import code_digest
from bench.lm_eval_tasks.index import Index, task_index
from bench.lm_eval_tasks.metrics import (
    chance_of,
    direction,
    filters_of,
    may_report_others,
    metrics_of,
    primary,
    quoted_list,
)
from bench.suite import registered_tasks
from results.aggregation import PERPLEXITIES
from results.errors import InputError


class LmEvalBenchmark(BenchmarkChanges):
    """A task or a group of lm-eval's as a benchmark, and what is to be otherwise than lm-eval says."""

    lm_eval: str = Field(min_length=1)
    """Its name in lm-eval."""
    metric: str | None = None
    """Primary metric, in place of the rule's."""
    filter: str | None = None
    """lm-eval filter whose answers the metric is taken over, in place of the first."""
    higher_is_better: bool | None = None
    """In place of what the task says."""
    chance: float | None = Field(None, ge=0, lt=1)
    """Score of a model that guesses, where the definition does not show the number of choices."""


class LmEvalTasks:
    """Finds lm-eval's tasks by name.

    Args:
        include: further folders of tasks in lm-eval's format.
        trust_task_code: whether Python code of those folders may run.
    """

    def __init__(self, include: Sequence[Path] = (), *, trust_task_code: bool = False) -> None:
        self._index: Index = task_index(include)
        self._trusted = trust_task_code

    def benchmarks(self, names: Sequence[str]) -> tuple[Benchmark, ...]:
        """A benchmark for each task, and for each group that has a score of its own.

        A member that its group gives other keys than its file is named `group::member`.

        Args:
            names: tasks, groups, tags, members of groups, or patterns such as `mmlu_*`.

        Raises:
            InputError: a name is unknown, or its definition is not as it must be, or two of one name differ.
        """
        found: dict[str, Benchmark] = {}
        for name in names:
            for named, one in self._scored(name):
                benchmark = self._benchmark(one, LmEvalBenchmark(lm_eval=named), named)
                before = found.setdefault(named, benchmark)
                if before.definition_digest != benchmark.definition_digest:
                    raise InputError(
                        f"Two definitions of the task {named} are asked for, as groups give it different "
                        "keys: name one of the groups."
                    )
        return tuple(found.values())

    def benchmark(self, given: LmEvalBenchmark) -> Benchmark:
        """One benchmark, as a suite's YAML gives it.

        Raises:
            InputError: the name is unknown, or stands for several tasks without a score of their own.
        """
        inside = member_of_group(given.lm_eval, self._index)
        units = expanded(given.lm_eval, self._index) if inside is None else (inside[1],)
        if len(units) != 1 or not _has_score(units[0], given.metric):
            names = [one.name for unit in units for one in _scored(unit)]
            raise InputError(
                f"'{given.lm_eval}' stands for {len(names)} tasks of lm-eval without a mean of their own: "
                f"name them one by one ({', '.join(names[:5])}{', …' if len(names) > 5 else ''})."
            )
        name = units[0].name if inside is None else _called(*inside)
        benchmark = given.applied_to(self._benchmark(units[0], given, name))
        if benchmark.metric in PERPLEXITIES:
            raise InputError(
                f"lm_eval: {given.lm_eval}: checkpoints cannot be compared by {benchmark.metric}, which is "
                "no rate from 0 to 1; it is scored with `manyshot score --task`."
            )
        return benchmark

    def _scored(self, name: str) -> Iterator[tuple[str, Leaf | Branch]]:
        """What a name stands for and has a score, with what it is called."""
        inside = member_of_group(name, self._index)
        around = [inside] if inside else [(unit.name, unit) for unit in expanded(name, self._index)]
        for group, unit in around:
            for one in _scored(unit):
                yield _called(group, one), one

    def _benchmark(self, unit: Leaf | Branch, given: LmEvalBenchmark, name: str) -> Benchmark:
        if isinstance(unit, Branch):
            unit = replace(unit, name=name)
        leaves = unit.leaves if isinstance(unit, Branch) else (unit,)
        for leaf in leaves:
            self._refuse(leaf)
        aggregate = _aggregate(unit, given.metric)
        wanted = given.metric or (str(aggregate["metric"]) if aggregate else None)
        metric = primary(
            metrics_of(leaves[0].config), wanted, leaves[0].name, others=may_report_others(leaves[0].config)
        )
        chosen = given.filter or _filter(leaves[0].config, aggregate)
        for leaf in leaves:
            filters = tuple(one for one in filters_of(leaf.config) if one in _filters(aggregate, one))
            if chosen not in filters:
                raise InputError(
                    f"The task {leaf.name} has no filter '{chosen}': choose {quoted_list(filters)}."
                )
        higher = direction(metric) if given.higher_is_better is None else given.higher_is_better
        chances = {chance_of(leaf.config, metric.name) for leaf in leaves}
        chance = chances.pop() if len(chances) == 1 else 0.0
        own = any(leaf.own for leaf in leaves)
        return Benchmark(
            name=name,
            title=f"{name}, as lm-eval has it",
            category="own" if own else "lm-eval",
            licence="own" if own else "see lm-eval",
            metric=metric.name,
            filter=chosen,
            higher_is_better=higher,
            chance=chance if given.chance is None else given.chance,
            tasks=tuple(map(_eval_task, leaves)),
            code=tuple(digest for leaf in leaves if leaf.own for digest in _code_of_metrics(leaf.config)),
            groups=unit.groups if isinstance(unit, Branch) else (),
            weighs_documents_equally=bool(aggregate and aggregate.get("weight_by_size", True)),
        )

    def _refuse(self, leaf: Leaf) -> None:
        """Refuse what cannot be asked here, and what runs a user's code without being allowed to."""
        if leaf.entry.kind == "class" or "class" in leaf.config:
            raise InputError(
                f"The task {leaf.name} is a Python class of its own in lm-eval ({leaf.entry.file}); only "
                "tasks that are defined in YAML can be scored."
            )
        if leaf.config.get("doc_to_image") or leaf.config.get("doc_to_audio"):
            raise InputError(f"The task {leaf.name} shows pictures or plays sound; only text can be asked.")
        metrics_of(leaf.config)  # which refuses a list that is none
        code = next(_user_code(leaf.config, leaf.own), None)
        if code is not None and not self._trusted:
            raise InputError(
                f"The task {leaf.name} ({leaf.entry.file}) runs Python code that is not lm-eval's ({code}): "
                "read it, and allow it with --trust-task-code."
            )


def _called(group: str, one: Leaf | Branch) -> str:
    return f"{group}::{one.name}" if one.overridden else one.name


def _scored(unit: Leaf | Branch) -> Iterator[Leaf | Branch]:
    """What has a score: tasks, and groups with a mean over all their tasks; of other groups their members."""
    if isinstance(unit, Leaf) or _has_score(unit):
        yield unit
    else:
        for member in unit.members:
            yield from _scored(member)


def _has_score(unit: Leaf | Branch, wanted: str | None = None) -> bool:
    """Whether lm-eval gives a task or group a score of its own, made of every task in it.

    The mean of a group leaves out tasks without its metric or filter, of which nobody would know.
    """
    if isinstance(unit, Leaf):
        return True
    aggregate = _aggregate(unit, wanted)
    if aggregate is None:
        return False
    chosen = _filter(unit.leaves[0].config, aggregate)
    return all(
        any(metric.name == aggregate["metric"] and metric.is_rate for metric in metrics_of(leaf.config))
        and chosen in filters_of(leaf.config)
        for leaf in unit.leaves
    )


def _aggregate(unit: Leaf | Branch, wanted: str | None) -> Mapping[str, Any] | None:
    """The group's mean that is its score, by the same rule as of metrics; None where it has none."""
    given = unit.config.get("aggregate_metric_list") if isinstance(unit, Branch) else None
    listed = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, Mapping)]
    if not listed:
        return None
    if wanted is not None:
        return next((one for one in listed if one.get("metric") == wanted), None)
    names = [str(one.get("metric")) for one in listed]
    means = metrics_of({"metric_list": [{"metric": name, "aggregation": "mean"} for name in names]})
    chosen = primary(means, None, unit.name)
    return listed[names.index(chosen.name)]


def _filter(config: Mapping[str, Any], aggregate: Mapping[str, Any] | None) -> str:
    """The first filter: that of the group's mean where it names one, else the task's."""
    return _filters(aggregate, filters_of(config)[0])[0]


def _filters(aggregate: Mapping[str, Any] | None, default: str) -> tuple[str, ...]:
    """The filters that a group's mean names, else the default."""
    named = (aggregate or {}).get("filter_list")
    return (named,) if isinstance(named, str) else tuple(map(str, named or ())) or (default,)


def _eval_task(leaf: Leaf) -> EvalTask:
    """A task, with the local files of the registered benchmark that asks the same rows, if there is one."""
    task = EvalTask(leaf.name, leaf.config, {})
    known = registered_tasks().get(leaf.name)
    if known is None or known.hub is None or known.hub != task.hub:
        return task
    return replace(task, files=known.files, columns=known.columns, convert=known.convert, size=known.size)


def _user_code(config: Mapping[str, Any], own: bool) -> Iterator[str]:
    """Names of what runs code that is neither ours nor lm-eval's."""
    yield from (_name(function) for function in _functions(config) if function.runs_user_code)
    if not own:
        return
    import lm_eval.api.metrics  # noqa: F401  # without which no metric is registered
    from lm_eval.api.registry import METRIC_REGISTRY

    # The library `evaluate` runs the file of a metric that lm-eval does not have, and `pandas` reads pickles.
    for entry in config.get("metric_list") or ():
        name = entry["metric"]
        known = isinstance(name, FunctionReference) or config.get("process_results") is not None
        if not known and (name not in METRIC_REGISTRY or entry.get("hf_evaluate")):
            yield f"the metric {name}"
    if config.get("dataset_path") == "pandas":
        yield "the data set 'pandas'"


def _code_of_metrics(config: Mapping[str, Any]) -> Iterator[str]:
    """Digests of the files of metrics that the library `evaluate` would run."""
    for entry in config.get("metric_list") or ():
        path = Path(str(entry["metric"]))
        if not isinstance(entry["metric"], FunctionReference) and path.exists():
            yield code_digest(path)


def _functions(value: object) -> Iterator[FunctionReference]:
    if isinstance(value, FunctionReference):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _functions(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _functions(item)


def _name(function: FunctionReference) -> str:
    return f"{function.module.partition('@')[0]}.{function.name}"
