"""What a record says of a benchmark beside digests: shots, filter and data set, for its readers."""

from collections.abc import Mapping

from bench.benchmark import Benchmark
from bench.data import Rows
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
            path=None if rows[task.name].origin == "files" else task.config.get("dataset_path"),
            config=task.config.get("dataset_name"),
            split=task.scored_split,
        )
        for task in benchmark.tasks
    )
    return Asked(filter=benchmark.filter, num_fewshot=benchmark.num_fewshot, rows=tuple(dict.fromkeys(kinds)))
