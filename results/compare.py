"""Comparing the checkpoints of a run, from their records to the rows of its comparison."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from results import bootstrap, metrics, minima
from results.aggregation import document_columns
from results.comparison import Comparison, ComparisonRow, Estimate
from results.intervals import Draws
from results.reference import at_chance, check_settings, ordered_entries, records_of, references
from results.run import Entry, Run
from results.shared_items import ITEM
from results.store import DOCUMENT_KEY, Store
from results.suite import SuiteSpec


def compare(run: Run, store: Store, *, resamples: int = bootstrap.RESAMPLES) -> Comparison:
    """Compare the checkpoints of a run.

    Args:
        run: which checkpoints, and which records hold their scores.
        store: where the records are.
        resamples: of the documents, for the intervals.

    Raises:
        InputError: an expert is missing, a record is missing or is not the entry's, two checkpoints that
            are divided or subtracted were scored with different settings or on different documents.
    """
    entries = ordered_entries(run)
    records = {entry.label: records_of(entry, run.suite, store) for entry in entries}
    experts = {entry.label: references(run, entry) for entry in entries}
    base = entries[0] if entries[0].role == "base" else None
    check_settings(run.suite, entries, records, experts, base)
    aligned = []
    for benchmark in run.suite.benchmarks:
        columns = [*DOCUMENT_KEY, ITEM, *document_columns(benchmark.metric)]
        documents = {
            entry.label: store.documents(records[entry.label][benchmark.name], columns)
            for entry in entries
            if benchmark.name in records[entry.label]
        }
        if documents:
            aligned.append(bootstrap.align_documents(benchmark.name, benchmark.metric, documents))
    drawn = bootstrap.resample_together(aligned, resamples=resamples)
    scores = {
        label: {name: record.value for name, record in of_entry.items()}
        for label, of_entry in records.items()
    }
    left_out = at_chance(run, scores, drawn) if run.suite.leave_out_at_chance else {}
    rows = []
    for entry in entries:
        labels = {task: expert.label for task, expert in experts[entry.label].items()}
        resampled = bootstrap.resample_performance(
            run.suite,
            drawn,
            entry.label,
            labels,
            base.label if base else None,
            resamples=resamples,
            left_out=left_out,
        )
        row = _row(
            run.suite, entry, experts[entry.label], base, scores, resampled=resampled, left_out=left_out
        )
        rows.append(replace(row, n={name: record.n for name, record in records[entry.label].items()}))
    return Comparison(
        name=run.name,
        suite=run.suite,
        rows=tuple(row for row in rows if row.role != "round"),
        limit=run.settings.limit,
        rounds=tuple(row for row in rows if row.role == "round"),
        left_out=left_out,
        validation=run.settings.validation,
    )


def _row(
    suite: SuiteSpec,
    entry: Entry,
    experts: Mapping[str, Entry],
    base: Entry | None,
    scores: Mapping[str, Mapping[str, float]],
    *,
    resampled: bootstrap.ResampledPerformance,
    left_out: Collection[str],
) -> ComparisonRow:
    own = scores[entry.label]
    notes = []
    performance: dict[str, float | None] = {}
    unscored = {"": [benchmark.name for benchmark in suite.task_benchmarks if benchmark.name not in own]}
    for task, benchmarks in suite.tasks.items():
        expert = experts[task].label
        for benchmark in benchmarks:
            performance[benchmark.name] = None
            if benchmark.name not in own:
                continue
            if benchmark.name not in scores[expert]:
                unscored.setdefault(f" by the expert '{expert}'", []).append(benchmark.name)
                continue
            quotient = metrics.normalised_performance(
                benchmark, own[benchmark.name], scores[expert][benchmark.name]
            )
            performance[benchmark.name] = quotient.value
            if quotient.note is not None and benchmark.name not in left_out:
                notes.append(quotient.note)
    notes += [f"not scored{by_whom}: {', '.join(names)}" for by_whom, names in unscored.items() if names]
    counted = sum(len(benchmarks) for benchmarks in suite.counted(left_out).values())
    missing = sum(name not in left_out for names in unscored.values() for name in names)
    for name, count in resampled.dropped.items():
        if performance[name] is not None:
            total = resampled.average.size
            notes.append(
                f"{name}: the expert scores 0 in {count} of {total} resamples, left out of the interval"
            )
    tasks = metrics.task_performance(suite, performance, left_out)
    average = metrics.average(suite, performance, left_out)
    worst = metrics.worst_task(tasks)
    return ComparisonRow(
        entry=entry,
        scores=own,
        performance=performance,
        tasks={
            task: _estimate(tasks[task], resampled.parts(task)) if task in tasks else Estimate(None)
            for task in suite.tasks
        },
        average=_estimate(average, resampled.parts("average")),
        worst_task=_estimate(worst, resampled.parts("worst_task")),
        gap=_estimate(metrics.gap(worst, average), resampled.parts("gap")),
        anp=_estimate(metrics.anp(tasks), resampled.parts("anp")),
        forgetting={
            benchmark.name: metrics.forgetting(
                benchmark, own.get(benchmark.name), scores[base.label].get(benchmark.name) if base else None
            )
            for benchmark in suite.forgetting
        },
        complete=(counted - missing, counted),
        notes=tuple(notes),
        resampled=resampled,
    )


def _estimate(value: float | None, parts: Draws) -> Estimate:
    interval = minima.mean_interval([(parts, None)]) if value is not None else None
    return Estimate(value, interval.low, interval.high) if interval else Estimate(value)
