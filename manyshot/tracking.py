"""What trackers are told of checkpoints: what one was merged from and by, and how it scored."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import read_mapping
from results.comparison import Comparison
from results.record import CheckpointIdentity, Record
from results.store import Store
from results.trackers import TrackedRun, Tracker, flat, report
from results.uncertainty import uncertainty

_STATISTICS = ("average", "worst_task", "gap", "anp")


def report_merge(trackers: Collection[Tracker], folder: Path) -> None:
    """Report a merged checkpoint: its recipe, digests and seconds, and its merge.json."""
    if trackers:
        report(trackers, tracked_run(folder.name, folder, open_checkpoint(folder).identity()))


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
        report(trackers, tracked_run(name, path, identity, records, store))


def report_comparison(trackers: Collection[Tracker], comparison: Comparison, store: Store) -> None:
    """Report every checkpoint of a run: its scores, and its normalised performance."""
    if not trackers:
        return
    for row in (*comparison.rows, *comparison.rounds):
        records = {name: store.get(digest) for name, digest in row.entry.records.items()}
        made = tracked_run(row.label, Path(row.entry.path), row.entry.checkpoint, records, store)
        performance: dict[str, float] = {}
        for statistic in (*_STATISTICS, *row.tasks):
            performance |= _numbers(f"np/{statistic}", **row.estimate(statistic).to_json())
        about = {"run": comparison.name, "role": row.role, "seed": row.seed, "protocol": row.protocol or None}
        report(
            trackers,
            TrackedRun(
                name=f"{comparison.name} {row.label}",
                digest=made.digest,
                parameters=made.parameters,
                settings={**made.settings, **flat(about, "run.")},
                metrics={**made.metrics, **performance},
                files=made.files,
            ),
        )


def tracked_run(
    name: str,
    path: Path,
    identity: CheckpointIdentity,
    records: Mapping[str, Record] | None = None,
    store: Store | None = None,
) -> TrackedRun:
    """Return what trackers are told of a checkpoint."""
    about: dict[str, Any] = {"checkpoint": {"path": str(path), **identity.model_dump()}}
    metrics: dict[str, float] = {}
    files: dict[str, str] = {}
    if (path / "merge.json").is_file():
        merge = read_mapping(path / "merge.json")
        about |= {key: merge[key] for key in ("recipe", "inputs", "versions", "device") if key in merge}
        if not merge.get("resumed"):
            metrics["merge/seconds"] = sum(merge.get("seconds", {}).values())
        files["merge.json"] = (path / "merge.json").read_text(encoding="utf-8")
    rows = []
    for benchmark, record in (records or {}).items():
        assert store is not None
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
    if rows:
        files["scores.json"] = json.dumps(rows, indent=1) + "\n"
    return TrackedRun(name, identity.digest, flat(about), _common(records or {}), metrics, files)


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
