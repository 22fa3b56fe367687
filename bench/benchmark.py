"""What a benchmark is: one or more lm-eval tasks, a primary metric, its direction and its chance level."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.definition import (
    FunctionReference,
    fingerprint,
    function_reference,
    load_definition,
    packaged_tasks,
)
from results.errors import InputError
from results.suite import BenchmarkSpec

ASKED = 1
"""Counts up when requests are cut, stopped or batched in another way that can change a score."""

_REQUIRED = ("benchmark", "title", "category", "licence", "metric", "tasks")
_OPTIONAL = ("paper", "filter", "higher_is_better", "chance")


@dataclass(frozen=True)
class EvalTask:
    """One lm-eval task of a benchmark and where its rows come from.

    Attributes:
        name: name of the lm-eval task.
        config: the task's lm-eval configuration; functions are still references.
        files: split to file, relative to a local data root.
        columns: turns a local row into a row with the hub's columns, where the two differ.
        generate: makes the rows ({split: [row]}), for data that exists nowhere else.
        local_notice: what the reader of a score on the local rows should know.
    """

    name: str
    config: Mapping[str, Any]
    files: Mapping[str, str]
    columns: FunctionReference | None = None
    generate: FunctionReference | None = None
    local_notice: str | None = None

    @property
    def scored_split(self) -> str:
        """The split whose documents are scored: lm-eval's rule, test before validation."""
        split = self.config.get("test_split") or self.config.get("validation_split")
        if split is None:
            raise InputError(f"The task {self.name} names neither a test nor a validation split.")
        return str(split)

    @property
    def hub(self) -> str | None:
        """The data set's name on the hub, with its configuration."""
        path, name = self.config.get("dataset_path"), self.config.get("dataset_name")
        return f"{path} ({name})" if path and name else path


@dataclass(frozen=True)
class Benchmark:
    """Something scored. See `tasks/*/benchmark.yaml` for the definitions.

    Attributes:
        metric: primary metric, as lm-eval names it.
        filter: lm-eval filter whose answers the primary metric is taken over.
        chance: score of a model that guesses.
    """

    name: str
    title: str
    category: str
    licence: str
    metric: str
    tasks: tuple[EvalTask, ...]
    paper: str | None = None
    filter: str = "none"
    higher_is_better: bool = True
    chance: float = 0.0

    @property
    def spec(self) -> BenchmarkSpec:
        """The part of the definition that metrics and reports need."""
        return BenchmarkSpec(self.name, self.metric, self.higher_is_better, self.chance)

    @property
    def definition_digest(self) -> str:
        """Digest of everything that decides how answers are asked for and judged, data apart."""
        content = {
            "metric": [self.metric, self.filter],
            "tasks": {task.name: fingerprint(task.config) for task in self.tasks},
            "lm_eval": version("lm_eval"),
            "asked": ASKED,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read_benchmark(folder: Path) -> Benchmark:
    """Read `benchmark.yaml` of a folder.

    Raises:
        InputError: a key is missing or unknown.
    """
    path = folder / "benchmark.yaml"
    content = load_definition(path)
    for key in _REQUIRED:
        if key not in content:
            raise InputError(f"{path} has no key '{key}'.")
    for key in content:
        if key not in _REQUIRED + _OPTIONAL:
            raise InputError(
                f"{path} has an unknown key '{key}'; known are {', '.join(_REQUIRED + _OPTIONAL)}."
            )
    return Benchmark(
        name=content["benchmark"],
        tasks=tuple(_read_task(name, task or {}, folder) for name, task in content["tasks"].items()),
        **{key: content[key] for key in _REQUIRED[1:-1] + _OPTIONAL if key in content},
    )


def _read_task(name: str, content: dict[str, Any], folder: Path) -> EvalTask:
    unknown = set(content) - {"packaged", "config", "files", "columns", "generate", "local_notice"}
    if unknown:
        raise InputError(f"{folder / 'benchmark.yaml'}: the task {name} has an unknown key '{min(unknown)}'.")
    config = load_definition(packaged_tasks() / content["packaged"]) if "packaged" in content else {}
    config |= content.get("config", {})
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    return EvalTask(
        name=name,
        config=config | {"task": name},
        files=content.get("files", {}),
        columns=function_reference(content["columns"], folder) if "columns" in content else None,
        generate=function_reference(content["generate"], folder) if "generate" in content else None,
        local_notice=content.get("local_notice"),
    )
