"""Which entries and records of a run belong together, in which order, and what is divided by what."""

from collections.abc import Mapping, Sequence

import numpy as np

from results.errors import InputError
from results.intervals import Draws, percentile_interval
from results.kept_rows import KeptRows
from results.metrics import mapped
from results.record import Record
from results.run_manifest import Entry, Role, Run
from results.store import Store
from results.suite import SuiteSpec
from results.validation import legible

_WHERE_IT_RUNS = "server"
"""The setting that says which server was asked: what was scored there, not how."""


def ordered_entries(run: Run) -> list[Entry]:
    """The base, the experts, the merged checkpoints, the rounds.

    Raises:
        InputError: there are none, two have one label, or two are the base.
    """
    labels = [entry.label for entry in run.entries]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(
                f"run {run.name}: two entries are labelled '{label}'; give each a label of its own"
            )
    roles: tuple[Role, ...] = ("base", "expert", "merged", "round")
    entries = [entry for role in roles for entry in run.entries if entry.role == role]
    if sum(entry.role == "base" for entry in entries) > 1:
        raise InputError(f"run {run.name}: two bases; checkpoints of one run come from one base")
    if not entries:
        raise InputError(f"run {run.name}: no entries; score the base, the experts and what was merged")
    return entries


def records_of(entry: Entry, suite: SuiteSpec, store: Store | KeptRows) -> dict[str, Record]:
    """The records of one entry, for the benchmarks of the suite.

    Raises:
        InputError: one is missing, or of another checkpoint, benchmark or metric.
    """
    records = {}
    for benchmark in suite.benchmarks:
        if benchmark.name not in entry.records:
            continue
        record = store.get(entry.records[benchmark.name])
        if record.key.benchmark != benchmark.name or record.key.checkpoint != entry.checkpoint:
            raise InputError(
                f"'{entry.label}': record {record.key.digest} is {record.key.benchmark} of {record.name}, "
                f"not {benchmark.name} of this checkpoint; score it again"
            )
        if record.metric != benchmark.metric:
            raise InputError(
                f"'{entry.label}': record {record.key.digest} holds {record.metric} of {benchmark.name}, of "
                f"which the suite counts {benchmark.metric}; score it again"
            )
        records[benchmark.name] = record
    return records


def references(run: Run, entry: Entry) -> dict[str, Entry]:
    """By task, the expert whose scores are the denominators of this entry.

    It is the expert of the same seed, so that an expert is its own reference; else the expert without a seed,
    else the expert of the lowest seed.

    Raises:
        InputError: a task has no expert, or two of the same seed.
    """
    by_task = {}
    for task in run.suite.tasks:
        experts = [expert for expert in run.entries if expert.role == "expert" and expert.task == task]
        if not experts:
            raise InputError(f"run {run.name}: no expert for task {task}; score the expert of every task")
        seeds = [expert.seed for expert in experts]
        for seed in seeds:
            if seeds.count(seed) > 1:
                raise InputError(
                    f"run {run.name}: two experts for task {task}; keep one, or give each its seed"
                )
        by_seed = {expert.seed: expert for expert in experts}
        lowest = min((seed for seed in seeds if seed is not None), default=None)
        by_task[task] = by_seed.get(entry.seed) or by_seed.get(None) or by_seed[lowest]
    return by_task


def check_settings(
    suite: SuiteSpec,
    entries: Sequence[Entry],
    records: Mapping[str, Mapping[str, Record]],
    experts: Mapping[str, Mapping[str, Entry]],
    base: Entry | None,
) -> None:
    """Refuse to divide or subtract scores that were not made in the same way.

    Every entry is held against its own reference, and against the first that has the benchmark, so that
    those of other seeds, whose references are others, were scored in the same way too.

    Args:
        suite: which benchmarks measure a task, and which watch forgetting.
        entries: what is compared.
        records: by label and benchmark.
        experts: by label, what `references` gave.
        base: what forgetting is measured against.

    Raises:
        InputError: the settings, the definition or the data of a benchmark differ.
    """
    for benchmark in suite.benchmarks:
        task = suite.task_of(benchmark.name)
        scored = [entry for entry in entries if benchmark.name in records[entry.label]]
        for entry in scored:
            reference = base if task is None else experts[entry.label][task]
            for other in (reference, scored[0]):
                if other is None or benchmark.name not in records[other.label]:
                    continue
                record, other_record = (records[each.label][benchmark.name] for each in (entry, other))
                differing = differing_settings(record, other_record)
                if differing:
                    raise InputError(
                        f"benchmark {benchmark.name}: '{entry.label}' and '{other.label}' were scored with "
                        f"different {differing}; score both with the same settings"
                    )


def differing_settings(first: Record, second: Record) -> str:
    """What two records of a benchmark were not made alike in, as a list in words; empty where nothing."""
    settings = sorted({*first.key.settings, *second.key.settings} - {_WHERE_IT_RUNS})
    missing = object()
    differing = [
        f"{name} ({legible(first.key.settings.get(name))} and {legible(second.key.settings.get(name))})"
        for name in settings
        if first.key.settings.get(name, missing) != second.key.settings.get(name, missing)
    ]
    if first.key.definition != second.key.definition:
        differing.append("definitions of the benchmark")
    if first.key.data != second.key.data:
        differing.append("data")
    return ", ".join(differing)


def not_learned(
    run: Run, scores: Mapping[str, Mapping[str, Draws]], drawn: Mapping[str, Mapping[str, Draws]]
) -> dict[str, str]:
    """The benchmarks on which the task's experts (the mean over seeds) have not reliably learned, and why.

    The suite says what they must beat: chance (`leave_out_at_chance`), the base (`leave_out_at_base`), both
    or nothing. The base is compared on the same resampled documents.

    Args:
        run: with the experts.
        scores: by benchmark and label; what was not measured is absent.
        drawn: the same of the resamples; the intervals are their 95 %.
    """
    reasons = {}
    for task, benchmarks in run.suite.tasks.items():
        for benchmark in benchmarks:
            measured, resampled = scores.get(benchmark.name, {}), drawn.get(benchmark.name, {})
            experts = [
                entry.label
                for entry in run.entries
                if entry.role == "expert" and entry.task == task and entry.label in measured
            ]
            if not experts:
                continue
            score, draws = (
                np.mean([mapped(benchmark, by_label[label]) for label in experts], axis=0)
                for by_label in (measured, resampled)
            )
            interval = percentile_interval(draws)
            if run.suite.leave_out_at_chance and interval is not None and interval.low <= benchmark.chance:
                reasons[benchmark.name] = (
                    f"{benchmark.name}: left out of averages, because the expert is at chance "
                    f"({score[0]:.3f} [{interval.low:.3f}, {interval.high:.3f}]; guessing scores "
                    f"{benchmark.chance:.3g})"
                )
                continue
            base = run.base
            if not run.suite.leave_out_at_base or base is None or base.label not in measured:
                continue
            of_base = mapped(benchmark, measured[base.label])
            gain = percentile_interval(draws - mapped(benchmark, resampled[base.label]))
            if gain is not None and gain.low <= 0:
                reasons[benchmark.name] = (
                    f"{benchmark.name}: left out of averages, because the expert is not told apart from its "
                    f"base ({score[0]:.3f} and {of_base[0]:.3f}; a gain of {gain.low:.3f} to {gain.high:.3f})"
                )
    return reasons
