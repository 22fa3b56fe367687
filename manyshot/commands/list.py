"""`manyshot list`: what there is."""

import argparse
import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.benchmark import Benchmark
from bench.data import NoDataError, data_root, load_rows
from bench.engine import ENGINES
from bench.registry import benchmark_names, load_benchmark, load_suite, suite_names
from manyshot.terminal import answer
from merging.method import known_methods
from results.errors import InputError


def run(options: argparse.Namespace) -> None:
    """Print a table of all, or what is known of one."""
    root = data_root(options.data)
    answer(
        {"benchmarks": _benchmarks, "suites": _suites, "methods": _methods, "engines": _engines}[
            options.what
        ](options.name, root)
    )


def _benchmarks(name: str | None, root: Path | None) -> str:
    if name is None:
        rows = [
            (b.name, b.category, b.metric, _data(b, root), b.title)
            for b in map(load_benchmark, benchmark_names())
        ]
        return _table(("benchmark", "category", "metric", "data", "what is asked"), rows)
    benchmark = load_benchmark(name)
    facts = {
        "benchmark": benchmark.name,
        "asks": benchmark.title,
        "category": benchmark.category,
        "metric": f"{benchmark.metric} (filter {benchmark.filter}; "
        f"{'higher' if benchmark.higher_is_better else 'lower'} is better; chance {benchmark.chance:g})",
        "lm-eval tasks": ", ".join(task.name for task in benchmark.tasks),
        "few-shot": ", ".join(
            dict.fromkeys(str(task.config.get("num_fewshot") or 0) for task in benchmark.tasks)
        ),
        "hub": ", ".join(dict.fromkeys(task.hub for task in benchmark.tasks if task.hub)) or "none",
        "data": _data(benchmark, root),
        "licence": benchmark.licence,
        "paper": benchmark.paper or "none",
    }
    return _table((), facts.items())


def _suites(name: str | None, root: Path | None) -> str:
    if name is None:
        suites = [load_suite(suite) for suite in suite_names()]
        return _table(
            ("suite", "tasks", "benchmarks"),
            [(s.name, ", ".join(s.tasks), len(s.benchmarks)) for s in suites],
        )
    suite = load_suite(name)
    rows = [
        (b.name, suite.task_of(b.name) or "forgetting", b.metric, _data(b, root)) for b in suite.benchmarks
    ]
    return _table(("benchmark", "task", "metric", "data"), rows)


def _methods(name: str | None, root: Path | None) -> str:
    methods = known_methods()
    if name is None:
        return _table(
            ("method", "settings", "paper"),
            [(m.name, ", ".join(m.settings) or "none", m.paper) for m in methods.values()],
        )
    if name not in methods:
        raise InputError(f"There is no method '{name}'; there are {', '.join(methods)}.")
    method = methods[name]
    documentation = inspect.getdoc(method.kind)
    signature = str(inspect.signature(method.kind)).removesuffix(" -> None")
    return f"{method.name}{signature}\n{method.paper}\n\n{documentation}"


def _engines(name: str | None, root: Path | None) -> str:
    if name not in (None, *ENGINES):
        raise InputError(f"There is no engine '{name}'; there are {', '.join(ENGINES)}.")
    return _table(("engine", "what it runs"), [(e, t) for e, t in ENGINES.items() if name in (None, e)])


def _data(benchmark: Benchmark, root: Path | None) -> str:
    """Rows at hand and where from; what would be fetched is named, not fetched."""
    rows, missing = 0, 0
    source = "hub"
    for task in benchmark.tasks:
        if task.generate is None and root is None:
            return f"hub: {task.hub}"
        try:
            loaded = load_rows(task, root)
            rows += len(loaded.splits[task.scored_split])
            source = "generated" if task.generate else "local"
        except NoDataError:
            missing += 1
    if missing:
        return f"none for {missing} of {len(benchmark.tasks)} tasks"
    return f"{rows} rows, {source}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [tuple(map(str, row)) for row in rows]
    if headings:
        lines.insert(0, tuple(headings))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
