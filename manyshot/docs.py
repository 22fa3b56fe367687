"""Writes docs/methods.md and docs/benchmarks.md from what is registered: `python -m manyshot.docs`."""

import inspect
import json
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from bench.benchmark import Benchmark
from bench.data import count_rows
from bench.suite import benchmark_names, load_benchmark
from manyshot.absent_methods import ABSENT
from merging.known_methods import KnownMethod, known_methods
from merging.method import Method

_WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", types.NoneType: "null"}
_WRITTEN_BY = "<!-- Written by `make docs` from the registry: change the code, not this page. -->"


def setting_rows(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """Return of each setting of a model its name, type, default and description."""
    return [
        (
            name,
            _type_in_words(field.annotation),
            "required" if field.is_required() else json.dumps(field.default, default=str),
            " ".join((field.description or "").split()),
        )
        for name, field in model.model_fields.items()
    ]


def about_method(method: KnownMethod) -> str:
    """Return the docstrings of a method's class and of those that it is made of."""
    classes = [one for one in method.method_class.__mro__ if issubclass(one, Method) and one is not Method]
    return "\n\n".join(inspect.cleandoc(one.__doc__ or "") for one in classes)


def methods_page() -> str:
    """Return the page of all merge methods with their settings."""
    blocks = [
        "# Merge methods",
        _WRITTEN_BY,
        "Each is a `method` of a recipe and a row of an experiment; its settings are keys beside its `name`. "
        "Below, τ_t is the task vector θ_t − θ₀ of task t, and w_t its weight. What each needs and costs is "
        "that of its default settings. [All that merge four experts, side by side](studies/zoo.md).",
    ]
    ours = [
        method for method in known_methods().values() if method.method_class.__module__.startswith("merging.")
    ]
    costs = [(f"[{m.name}](#{m.name})", m.cost.needed, m.cost.passes, m.cost.held) for m in ours]
    blocks.append(_table(("method", "needs", "reads the experts", "holds"), costs))
    for method in ours:
        blocks += [f"## {method.name}", f"<{method.paper}>", about_method(method)]
        if method.cost.runs:
            blocks.append(str(method.cost))
        if rows := setting_rows(method.method_class):
            code = [(f"`{name}`", kind, f"`{default}`", about) for name, kind, default, about in rows]
            blocks.append(_table(("setting", "type", "default", "what it is"), code))
        for name, preset in method.method_class.presets.items():
            values = {**preset.settings, "weighting": dict(preset.weighting)}
            blocks.append(f"Preset `{name}`: {preset.about}: `{json.dumps(values)}`.")
    blocks += ["## Methods that are not here", "\n".join(f"- {name}: {why}." for name, why in ABSENT.items())]
    return "\n\n".join(blocks) + "\n"


def benchmarks_page() -> str:
    """Return the page of all benchmarks."""
    benchmarks = [load_benchmark(name) for name in benchmark_names()]
    rows = [
        (
            f"`{benchmark.name}`",
            benchmark.title,
            benchmark.category,
            benchmark.metric,
            f"{benchmark.chance:.3g}",
            _documents(benchmark),
            _source(benchmark),
            f"[paper]({benchmark.paper})" if benchmark.paper else "",
            benchmark.licence,
        )
        for benchmark in benchmarks
    ]
    headings = (
        "name", "what is asked", "category", "metric", "chance", "documents", "rows from", "paper", "licence"
    )  # fmt: skip
    blocks = [
        "# Benchmarks",
        _WRITTEN_BY,
        "`manyshot list benchmarks NAME` shows a benchmark's first prompt, and how many of its rows are at "
        "hand. Chance is the score of a model that guesses. Documents are counted where rows are generated.",
        _table(headings, rows),
    ]
    return "\n\n".join(blocks) + "\n"


def write_pages(folder: Path) -> None:
    """Write both pages."""
    (folder / "methods.md").write_text(methods_page(), encoding="utf-8")
    (folder / "benchmarks.md").write_text(benchmarks_page(), encoding="utf-8")


def _documents(benchmark: Benchmark) -> str:
    if any(task.generate is None for task in benchmark.tasks):
        return ""
    return str(sum(count_rows(task, None) for task in benchmark.tasks))


def _source(benchmark: Benchmark) -> str:
    if all(task.generate is not None for task in benchmark.tasks):
        return "generated"
    hubs = dict.fromkeys(str(task.config.get("dataset_path")) for task in benchmark.tasks if task.hub)
    return ", ".join(hubs) or "local files"


def _type_in_words(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_in_words(parts[0])
    if origin in {Union, types.UnionType}:
        return " or ".join(dict.fromkeys(map(_type_in_words, parts)))
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in parts)
    if origin in {list, tuple}:
        return f"list of {_type_in_words(parts[0])}"
    return _WORDS.get(annotation, "mapping")


def _table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    escaped = [[str(cell).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)


if __name__ == "__main__":
    write_pages(Path(__file__).parent.parent / "docs")
