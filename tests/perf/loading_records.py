"""Seconds in which twenty thousand records become a table, beside reading the same files as plain JSON.

    python tests/perf/loading_records.py [--records N]

Records are as scoring leaves them, each in a file of its own, whose digest is checked. Everything is read
three times, and the least of the processor's seconds is told: files then lie in memory. The first time there
is no index of the records yet.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from results.json_values import digest_of
from results.record import CheckpointIdentity, Record, RecordKey
from results.record_index import FILE
from results.store import load_results

ASKED = 1.5
BENCHMARKS = ("ifeval", "gsm8k_cot", "m_mmlu", "m_arc", "m_hellaswag", "xstest", "coqa", "pubmedqa")
LANGUAGES, METRICS = ("de", "es", "fr", "ru"), ("acc", "acc_norm")
PARTS = ("weights", "config", "tokenizer")


def write_records(root: Path, number: int) -> None:
    """Write records of several benchmarks for every checkpoint, without the rows of their documents."""
    for index in range(number):
        checkpoint, benchmark = divmod(index, len(BENCHMARKS))
        name = BENCHMARKS[benchmark]
        parts = (sha256(f"{part} {checkpoint}".encode()).hexdigest() for part in PARTS)
        settings = {
            "engine": "vllm", "dtype": "bfloat16", "device": "cuda", "max_length": 4096, "limit": 100,
            "seed": 1234, "chat_template": None,
        }  # fmt: skip
        key = RecordKey(
            checkpoint=CheckpointIdentity(**dict(zip(PARTS, parts, strict=True))),
            benchmark=name,
            definition=digest_of(name),
            data=digest_of([name]),
            settings=settings,
        )
        score = (index % 101) / 101
        record = Record(
            key=key,
            name=f"manyshot-runs/experiment/merged/method-{checkpoint}",
            metric="acc",
            value=score,
            metrics={f"{name}_{one}/{metric},none": score for one in LANGUAGES for metric in METRICS},
            n=400,
            seconds=12.5,
            tokens={"prompt": 123_456, "generated": 7890},
            notices=("3 answers were cut off at 256 tokens",),
            versions={"manyshot": "0.1.0", "lm_eval": "0.4.13", "torch": "2.13.0", "transformers": "5.19.0"},
        )
        content = {"record": record.model_dump(), "documents": digest_of(index)}
        path = root / "records" / key.digest[:2] / f"{key.digest}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**content, "digest": digest_of(content)}, sort_keys=True, indent=2)
        path.write_text(f"{text}\n")


def seconds(read: Callable[[], Any], before: Callable[[], object] = lambda: None) -> float:
    """The least seconds of three readings, each after something that does not count."""
    taken = []
    for _ in range(3):
        before()
        start = time.process_time()
        read()
        taken.append(time.process_time() - start)
    return min(taken)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=20_000, help="how many (%(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_records(root, options.records)
        files = sorted(root.glob("records/??/*.json"))
        plain = seconds(lambda: [json.loads(path.read_bytes()) for path in files])
        index = root / FILE
        first = seconds(lambda: load_results(root), before=lambda: index.unlink(missing_ok=True))
        assert index.is_file() and len(load_results(root)) == options.records
        ours = seconds(lambda: load_results(root))
    table = Table(f"{options.records:,} records", "seconds", "times plain", "asked, seconds")
    table.add_row("json.loads of every file", f"{plain:.2f}", "", "")
    table.add_row("load_results, the first time", f"{first:.2f}", f"{first / plain:.1f}", "")
    table.add_row("load_results, with its index", f"{ours:.2f}", f"{ours / plain:.1f}", f"{ASKED}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
