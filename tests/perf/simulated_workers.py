"""How busy workers are with a hundred checkpoints on eight benchmarks, by jobs' measured seconds.

    python tests/perf/simulated_workers.py STORE [--checkpoints N] [--start S] [--swap S]

Seconds of a benchmark are drawn from the records of a store. The queue is the one that workers take jobs
from, only the clock is made up: a worker takes `--start` seconds to be there, and `--swap` to load another
checkpoint.
"""

import argparse
import heapq
import random
from collections import defaultdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.scoring_plan import ScoringJob
from manyshot.workers.queue import Queue
from results.record import CheckpointIdentity
from results.store import Store

BENCHMARKS = 8
GPUS = (1, 2, 4, 8, 16, 32, 64)
ASKED = dict.fromkeys((1, 2, 4, 8, 16), 0.9)


def measured(store: Path) -> dict[str, list[float]]:
    """Seconds of the records of a store, by benchmark."""
    seconds = defaultdict(list)
    for record in Store(store).records():
        seconds[record.key.benchmark].append(record.seconds)
    return seconds


def jobs_of(
    checkpoints: int, seconds: dict[str, list[float]], seed: int
) -> tuple[list[ScoringJob], dict[str, float]]:
    """A job for each checkpoint, and the seconds of each record."""
    drawn, names = random.Random(seed), sorted(seconds)
    jobs, of_record = [], {}
    for number in range(checkpoints):
        label = f"checkpoint {number}"
        records = {f"{names[k % len(names)]} {k}": f"{label} {k}" for k in range(BENCHMARKS)}
        for benchmark, digest in records.items():
            of_record[digest] = drawn.choice(seconds[benchmark.rpartition(" ")[0]])
        identity = CheckpointIdentity(weights=label, config="c", tokenizer="t")
        jobs.append(ScoringJob(ScoredCheckpoint(label, Path(label), identity), records))
    return jobs, of_record


def elapsed(
    jobs: list[ScoringJob], of_record: dict[str, float], gpus: int, start: float, swap: float
) -> tuple[float, int]:
    """Seconds until the last job is done, and how often a checkpoint was loaded."""
    queue, loads = Queue(jobs, gpus), 0
    free: list[tuple[float, int, ScoringJob | None]] = [(start, gpu, None) for gpu in range(gpus)]
    end = 0.0
    while queue:
        now, gpu, last = heapq.heappop(free)
        queued = queue.take(last)
        assert queued is not None
        same = last is not None and last.checkpoint.identity == queued.job.checkpoint.identity
        loads += not same
        now += (0.0 if same else swap) + sum(of_record[digest] for digest in queued.job.records.values())
        end = max(end, now)
        heapq.heappush(free, (now, gpu, queued.job))
    return end, loads


def main() -> None:
    """Simulate, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--checkpoints", type=int, default=100)
    parser.add_argument("--start", type=float, default=60.0)
    parser.add_argument("--swap", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    jobs, of_record = jobs_of(options.checkpoints, measured(options.store), options.seed)
    work = sum(of_record.values())
    table = Table("GPUs", "hours", "of the time scoring", "loads", "checkpoints a day", "asked")
    for gpus in GPUS:
        end, loads = elapsed(jobs, of_record, gpus, options.start, options.swap)
        table.add_row(
            str(gpus), f"{end / 3600:.2f}", f"{work / gpus / end:.3f}", str(loads),
            f"{options.checkpoints / end * 86400:,.0f}", str(ASKED.get(gpus, "")),
        )  # fmt: skip
    Console().print(f"{len(of_record)} records, {work / 3600:.2f} hours of scoring", table)


if __name__ == "__main__":
    main()
