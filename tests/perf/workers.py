"""Scoring several checkpoints by one worker and by two, each with one thread: seconds, ratio, the records.

    python tests/perf/workers.py CHECKPOINT… [--benchmark NAME] [--limit N]

Whole commands, with the start of Ray and of the workers; also the command without workers.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

ASKED = 0.6


def scored(checkpoints: list[str], benchmark: str, limit: int, workers: int) -> tuple[float, list[object]]:
    """Seconds of a command, and its records without their seconds."""
    flags = ["--benchmark", benchmark, "--limit", str(limit), "--engine", "hf", "--device", "cpu", "--json"]
    flags += ["--workers", str(workers)] if workers else []
    with tempfile.TemporaryDirectory() as store:
        command = [sys.executable, "-m", "manyshot", "score", *checkpoints, *flags, "--store", store]
        started = time.perf_counter()
        done = subprocess.run(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True, text=True
        )
        seconds = time.perf_counter() - started
    return seconds, [{**record, "seconds": 0} for record in json.loads(done.stdout)]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path)
    parser.add_argument("--benchmark", default="arc_easy")
    parser.add_argument("--limit", type=int, default=200)
    options = parser.parse_args()
    checkpoints = [str(path) for path in options.checkpoints]
    found = {workers: scored(checkpoints, options.benchmark, options.limit, workers) for workers in (0, 1, 2)}
    one = found[1][0]
    table = Table("workers", "seconds", "of one worker's", "asked", "the same records")
    for workers, (seconds, records) in found.items():
        asked = str(ASKED) if workers == 2 else ""
        same = "yes" if records == found[0][1] else "no"
        table.add_row(str(workers or "none"), f"{seconds:.1f}", f"{seconds / one:.2f}", asked, same)
    Console().print(f"{len(checkpoints)} checkpoints on {options.benchmark}", table)


if __name__ == "__main__":
    main()
