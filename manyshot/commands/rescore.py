"""`manyshot rescore`: score recorded outputs without a model."""

import argparse
import json

from bench.data import data_root
from bench.engine import EngineSettings
from bench.rescore import Rescored, rescore
from bench.suite import load_benchmark
from manyshot.console import answer, logger
from manyshot.flags import settings_of
from manyshot.score_checkpoints import open_judge
from results.errors import InputError
from results.words import counted
from results.writing import write_atomically


def run(options: argparse.Namespace) -> None:
    """Score, write the verdicts where they are asked for, and print the metrics."""
    benchmark = load_benchmark(options.benchmark)
    if options.rows is not None and options.rows.exists() and options.rows.stat().st_size:
        raise InputError(f"{options.rows} exists already: name another file for the verdicts.")
    if options.rows is not None and not options.rows.parent.is_dir():
        raise InputError(f"The folder {options.rows.parent} of the verdicts does not exist.")
    judge = open_judge(options.judge, settings_of(options, EngineSettings))
    try:
        rescored = rescore(
            benchmark, options.outputs, data_root(options.data), judge, think_end=options.think_end
        )
    finally:
        judge.close()
    if options.rows is not None:
        lines = [
            json.dumps({"line": judged.line, "verdict": judged.verdict}, ensure_ascii=False)
            for judged in rescored.verdicts
        ]
        write_atomically(options.rows, "".join(f"{line}\n" for line in lines).encode())
    for notice in rescored.notices:
        logger.info("%s: %s", benchmark.name, notice)
    answer(json.dumps(_as_json(rescored), indent=2) if options.json else _as_text(rescored))


def _as_json(rescored: Rescored) -> dict[str, object]:
    return {
        "benchmark": rescored.benchmark,
        "metric": rescored.metric,
        "value": rescored.value,
        "n": rescored.n,
        "metrics": dict(rescored.metrics),
    }


def _as_text(rescored: Rescored) -> str:
    primary = "not known" if rescored.value is None else f"{rescored.value:.4f}"
    lines = [
        f"{rescored.benchmark}: {rescored.metric} {primary} over {counted(rescored.n, 'recorded answer')}"
    ]
    width = max(map(len, rescored.metrics), default=0)
    return "\n".join(
        lines + [f"  {name.ljust(width)}  {value:.4f}" for name, value in rescored.metrics.items()]
    )
