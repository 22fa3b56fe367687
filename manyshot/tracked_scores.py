"""What trackers are told of scores and comparisons."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from manyshot.tracking import tracked_checkpoint
from results.comparison import Comparison
from results.record import CheckpointIdentity, Record
from results.store import Store
from results.trackers import TrackedRun, Tracker, flat, report
from results.uncertainty import uncertainty

_STATISTICS = ("average", "worst_task", "gap", "anp")


def report_scores(
    trackers: Collection[Tracker], name: str, path: Path, records: Mapping[str, Record], store: Store
) -> None:
    """Report a checkpoint's scores with their intervals, and what it was merged from where it says so.

    Args:
        trackers: which.
        name: what the run is called.
        path: the checkpoint's folder.
        records: by benchmark.
        store: which holds them.
    """
    if trackers and records:
        identity = next(iter(records.values())).key.checkpoint
        report(trackers, tracked_scores(name, path, identity, records, store))


def report_comparison(trackers: Collection[Tracker], comparison: Comparison, store: Store) -> None:
    """Report every checkpoint of a run: its scores, and its normalised performance."""
    if not trackers:
        return
    for row in (*comparison.rows, *comparison.rounds):
        records = {name: store.get(digest) for name, digest in row.entry.records.items()}
        made = tracked_scores(row.label, Path(row.entry.path), row.entry.checkpoint, records, store)
        performance: dict[str, float] = {}
        for statistic in (*_STATISTICS, *row.tasks):
            performance |= _numbers(f"np/{statistic}", **row.estimate(statistic).to_json())
        about = {"run": comparison.name, "role": row.role, "seed": row.seed, "protocol": row.protocol or None}
        report(
            trackers,
            replace(
                made,
                name=f"{comparison.name} {row.label}",
                settings={**made.settings, **flat(about, "run.")},
                metrics={**made.metrics, **performance},
            ),
        )


def tracked_scores(
    name: str, path: Path, identity: CheckpointIdentity, records: Mapping[str, Record], store: Store
) -> TrackedRun:
    """Return what trackers are told of a checkpoint and its scores."""
    made = tracked_checkpoint(name, path, identity)
    metrics: dict[str, float] = {}
    rows = []
    for benchmark, record in records.items():
        known = uncertainty(record, store)
        interval = known.interval
        numbers = _numbers(
            f"{benchmark}/{record.metric}",
            value=record.value,
            standard_error=known.standard_error,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
        )
        metrics |= {**numbers, f"{benchmark}/n": float(record.n)}
        rows.append(
            {
                "benchmark": benchmark,
                "metric": record.metric,
                "value": record.value,
                "standard_error": known.standard_error,
                "interval_95": [interval.low, interval.high] if interval else None,
                "n": record.n,
                "settings": record.key.settings,
                "record": record.key.digest,
            }
        )
    files = {"scores.json": json.dumps(rows, indent=1) + "\n"} if rows else {}
    return replace(
        made, settings=_common(records), metrics={**made.metrics, **metrics}, files={**made.files, **files}
    )


def _numbers(name: str, value: float | None, **more: float | None) -> dict[str, float]:
    """A number under its name and what is known of it under `name/…`."""
    found = {name: value, **{f"{name}/{key}": one for key, one in more.items()}}
    return {key: float(one) for key, one in found.items() if one is not None}


def _common(records: Mapping[str, Record]) -> dict[str, Any]:
    """The settings that all records were scored with."""
    settings = [flat(record.key.settings, "score.") for record in records.values()]
    return {
        key: value for key, value in (settings[0] if settings else {}).items()
        if all(one.get(key) == value for one in settings)
    }  # fmt: skip
