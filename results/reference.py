"""What an entry of a run is divided by: the experts of its tasks, scored in the same way."""

from collections.abc import Mapping, Sequence

from results.errors import InputError
from results.record import Record
from results.run import Entry, Run
from results.suite import SuiteSpec


def references(run: Run, entry: Entry) -> dict[str, Entry]:
    """By task, the expert whose scores are the denominators of this entry.

    It is the expert of the same seed, so that an expert is its own reference; else the one without a seed,
    else the one of the lowest seed.

    Raises:
        InputError: a task has no expert, or two of the same seed.
    """
    found = {}
    for task in run.suite.tasks:
        experts = [one for one in run.entries if one.role == "expert" and one.task == task]
        if not experts:
            raise InputError(f"run {run.name}: no expert for task {task}; score the expert of every task")
        seeds = [one.seed for one in experts]
        for seed in seeds:
            if seeds.count(seed) > 1:
                raise InputError(
                    f"run {run.name}: two experts for task {task}; keep one, or give each its seed"
                )
        by_seed = {one.seed: one for one in experts}
        lowest = min((seed for seed in seeds if seed is not None), default=None)
        found[task] = by_seed.get(entry.seed) or by_seed.get(None) or by_seed[lowest]
    return found


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
                one, two = (records[each.label][benchmark.name] for each in (entry, other))
                differing = differing_settings(one, two)
                if differing:
                    raise InputError(
                        f"benchmark {benchmark.name}: '{entry.label}' and '{other.label}' were scored with "
                        f"different {differing}; score both with the same settings"
                    )


def differing_settings(one: Record, two: Record) -> str:
    """What two records of a benchmark were not made alike in, as a list in words; empty where nothing."""
    settings = sorted({*one.key.settings, *two.key.settings})
    missing = object()
    found = [
        f"{name} ({one.key.settings.get(name)} and {two.key.settings.get(name)})"
        for name in settings
        if one.key.settings.get(name, missing) != two.key.settings.get(name, missing)
    ]
    if one.key.definition != two.key.definition:
        found.append("definitions of the benchmark")
    if one.key.data != two.key.data:
        found.append("data")
    return ", ".join(found)
