"""Seconds in which a leaderboard is made of twenty thousand records with their documents.

    python tests/perf/leaderboard_of_many.py [--runs N]

Fifty runs, each of a base of its own, eight experts and forty-one merged checkpoints, on eight benchmarks of
a hundred documents. The command is run as a process of its own each time, whose seconds of the processor are
told, with those of importing what it needs: the first time, again, when it finds what it has kept beside the
records, and when one run more is there. The size of the page is told, too.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from results.json_values import digest_of
from results.record import CheckpointIdentity, Record, RecordKey
from results.run_manifest import Entry, Role, Run, RunSettings, save_run
from results.store import Store
from results.suite import BenchmarkSpec, SuiteSpec

DOCUMENTS, MERGED = 100, 41
BENCHMARKS = ("ifeval", "gsm8k_cot", "m_mmlu", "m_arc", "m_hellaswag", "xstest", "coqa", "pubmedqa")
SUITE = SuiteSpec(name="many", tasks={name: (BenchmarkSpec(name=name, metric="acc"),) for name in BENCHMARKS})
SETTINGS = {"engine": "vllm", "dtype": "bfloat16", "limit": DOCUMENTS, "seed": 1234}
QUESTION = "A train leaves at nine and arrives at noon; how far does it go, question {0}? " * 4


def write_record(root: Path, label: str, benchmark: str, scores: np.ndarray) -> str:
    """Write a record with its rows; return its digest. `Store.write` would wait for the disk."""
    content = io.BytesIO()
    columns = {
        "lm_eval_task": [benchmark] * DOCUMENTS,
        "doc_id": range(DOCUMENTS),
        "score": scores,
        "prompt": [QUESTION.format(index) for index in range(DOCUMENTS)],
        "target": [f"{index} miles" for index in range(DOCUMENTS)],
        "output": [f"{label} says {score:.0f} of {index}" for index, score in enumerate(scores)],
    }
    parquet.write_table(pa.table(columns), content)
    key = RecordKey(
        checkpoint=identity(label),
        benchmark=benchmark,
        definition=digest_of(benchmark),
        data=digest_of([benchmark]),
        settings=SETTINGS,
    )
    value = float(scores.mean())
    record = Record(
        key=key,
        name=f"models/{label}",
        metric="acc",
        value=value,
        metrics={f"{benchmark}/acc,none": value},
        n=DOCUMENTS,
        seconds=12.5,
    )
    told = {"record": record.model_dump(), "documents": sha256(content.getvalue()).hexdigest()}
    path = root / "records" / key.digest[:2] / f"{key.digest}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".parquet").write_bytes(content.getvalue())
    path.write_text(json.dumps({**told, "digest": digest_of(told)}, sort_keys=True, indent=2))
    return key.digest


def identity(label: str) -> CheckpointIdentity:
    """A checkpoint's, made of its label."""
    return CheckpointIdentity(**{part: digest_of([part, label]) for part in CheckpointIdentity.model_fields})


def write_run(root: Path, number: int) -> None:
    """Write a run with the records of its checkpoints."""
    generator = np.random.default_rng(number)
    hardness = generator.random(DOCUMENTS)

    def entry(label: str, role: Role, levels: dict[str, float], **about: str) -> Entry:
        records = {
            name: write_record(root, label, name, (generator.random(DOCUMENTS) * hardness < level) * 1.0)
            for name, level in levels.items()
        }
        path = f"models/{label}"
        return Entry(label=label, role=role, path=path, checkpoint=identity(label), records=records, **about)

    entries = [entry(f"base-{number}", "base", dict.fromkeys(BENCHMARKS, 0.1))]
    for task in BENCHMARKS:
        levels = {name: 0.5 if name == task else 0.1 for name in BENCHMARKS}
        entries.append(entry(f"{task}-{number}", "expert", levels, task=task))
    for place in range(MERGED):
        levels = dict(zip(BENCHMARKS, generator.uniform(0.1, 0.5, len(BENCHMARKS)), strict=True))
        about = {"method": "ties", "protocol": "post-hoc", "title": f"ties {place}"}
        entries.append(entry(f"ties-{number}-{place}", "merged", levels, **about))
    settings = RunSettings(engine="vllm", seed=1234, limit=DOCUMENTS)
    run = Run(name=f"study-{number}", suite=SUITE, settings=settings, entries=tuple(entries))
    save_run(Store(root), run)


def seconds(*arguments: str) -> float:
    """Seconds of the processor that a process of the command takes."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "manyshot", *arguments], check=True, capture_output=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50, help="of fifty checkpoints each (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store, out = Path(folder) / "store", Path(folder) / "board"
        for number in range(options.runs):
            write_run(store, number)
        records = len(list(store.glob("records/??/*.json")))
        board = ("report", "leaderboard", "--store", str(store), "--out", str(out))
        table = Table(f"{records:,} records, {options.runs} runs", "seconds")
        table.add_row("leaderboard, the first time", f"{seconds(*board):.1f}")
        table.add_row("leaderboard, again", f"{seconds(*board):.1f}")
        write_run(store, options.runs)
        table.add_row("leaderboard, after one run was added", f"{seconds(*board):.1f}")
        size = (out / "index.html").stat().st_size
        table.add_row("megabytes of its page", f"{size / 1e6:.1f}")
        run = ("report", "table", "--store", str(store), "--run", "study-0")
        table.add_row("table of one run of fifty checkpoints", f"{seconds(*run):.1f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
