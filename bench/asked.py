"""What a record says of a benchmark beside digests: shots, filter and data set, for its readers."""

from collections.abc import Mapping
from pathlib import Path

from bench.benchmark import Benchmark
from bench.data import FORMATS, Rows
from merging.checkpoints.folders import is_repository
from results.record import Asked, AskedRows


def asked(benchmark: Benchmark, rows: Mapping[str, Rows]) -> Asked:
    """Return what a benchmark asks.

    Args:
        benchmark: the definition as it is scored.
        rows: its rows by lm-eval task.
    """
    kinds = (
        AskedRows(
            source=rows[task.name].origin,
            path=_name(task.config.get("dataset_path")),
            config=task.config.get("dataset_name"),
            split=task.scored_split,
        )
        for task in benchmark.tasks
    )
    return Asked(filter=benchmark.filter, num_fewshot=benchmark.num_fewshot, rows=tuple(dict.fromkeys(kinds)))


def _name(path: str | None) -> str | None:
    """Return a data set's name on the hub, `owner/name` or a name alone; None for a folder or a format."""
    if path is None or path in FORMATS:
        return None
    return path if is_repository(path) or len(Path(path).parts) == 1 else None
