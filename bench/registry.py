"""Finding benchmarks (folders of `tasks/` with a `benchmark.yaml`) and suites (`tasks/suites`) by name."""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark, read_benchmark
from bench.definition import FunctionReference, function_reference, load_definition
from results.errors import InputError
from results.suite import SuiteSpec


@dataclass(frozen=True)
class ExampleSource:
    """Where a task's training or validation examples come from and how a row becomes an example.

    Attributes:
        split: the split of the rows.
        prompt: jinja template of the prompt over a row's columns.
        completion: jinja template of the completion.
        generate: function that makes the rows, or None.
        files: split to JSONL file under the data root.
        hub: data set name on the hub, or None.
    """

    split: str
    prompt: str
    completion: str
    generate: FunctionReference | None = None
    files: Mapping[str, str] | None = None
    hub: str | None = None


@dataclass(frozen=True)
class SuiteTask:
    """A skill being merged: the benchmarks that measure it, and its training and validation data."""

    benchmarks: tuple[Benchmark, ...]
    training: ExampleSource | None = None
    validation: ExampleSource | None = None


@dataclass(frozen=True)
class Suite:
    """Tasks with their benchmarks, and the benchmarks that watch forgetting."""

    name: str
    title: str
    tasks: Mapping[str, SuiteTask]
    forgetting: tuple[Benchmark, ...]

    @property
    def benchmarks(self) -> tuple[Benchmark, ...]:
        """Every benchmark, those of the tasks first."""
        return tuple(b for task in self.tasks.values() for b in task.benchmarks) + self.forgetting

    @property
    def spec(self) -> SuiteSpec:
        """The part of the definition that metrics and reports need."""
        return SuiteSpec(
            self.name,
            {name: tuple(b.spec for b in task.benchmarks) for name, task in self.tasks.items()},
            tuple(b.spec for b in self.forgetting),
        )

    def task_of(self, benchmark: str) -> str | None:
        """Name of the task that a benchmark measures; None for one that watches forgetting."""
        return next((n for n, t in self.tasks.items() if benchmark in {b.name for b in t.benchmarks}), None)


@functools.cache
def tasks_folder() -> Path:
    """Folder of the benchmark definitions."""
    spec = importlib.util.find_spec("tasks")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("The package `tasks` is not installed: run `make setup`.")
    return Path(next(iter(spec.submodule_search_locations)))


def benchmark_names() -> tuple[str, ...]:
    """Names of all benchmarks, sorted."""
    return tuple(sorted(path.parent.name for path in tasks_folder().glob("*/benchmark.yaml")))


def suite_names() -> tuple[str, ...]:
    """Names of all suites, sorted."""
    return tuple(sorted(path.stem for path in (tasks_folder() / "suites").glob("*.yaml")))


@functools.cache
def load_benchmark(name: str) -> Benchmark:
    """Load a benchmark by name."""
    if name not in benchmark_names():
        raise InputError(f"There is no benchmark '{name}'; there are {', '.join(benchmark_names())}.")
    benchmark = read_benchmark(tasks_folder() / name)
    if benchmark.name != name:
        raise InputError(f"tasks/{name}/benchmark.yaml calls itself '{benchmark.name}': the two must agree.")
    return benchmark


def load_suite(name: str) -> Suite:
    """Load a suite by name, or from the path of a YAML file.

    Raises:
        InputError: no such suite, or the file lacks a key or names an unknown benchmark.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        if name not in suite_names():
            raise InputError(
                f"There is no suite '{name}'; there are {', '.join(suite_names())}, "
                "or give the path of a YAML file."
            )
        path = tasks_folder() / "suites" / f"{name}.yaml"
    content = load_definition(path)
    if not isinstance(content.get("suite"), str) or not isinstance(content.get("tasks"), dict):
        raise InputError(f"{path} must have the keys 'suite' (a name) and 'tasks' (a mapping).")
    unknown = set(content) - {"suite", "title", "tasks", "forgetting"}
    if unknown:
        raise InputError(f"{path} has an unknown key '{min(unknown)}'.")
    return Suite(
        name=content["suite"],
        title=content.get("title", content["suite"]),
        tasks={task: _suite_task(path, task, value) for task, value in content["tasks"].items()},
        forgetting=tuple(
            load_benchmark(b) for b in _names(path, "forgetting", content.get("forgetting") or [])
        ),
    )


def _suite_task(path: Path, name: str, content: object) -> SuiteTask:
    if not isinstance(content, dict) or not content.get("benchmarks"):
        raise InputError(f"{path}: the task '{name}' must name its benchmarks.")
    unknown = set(content) - {"benchmarks", "training", "validation"}
    if unknown:
        raise InputError(f"{path}: the task '{name}' has an unknown key '{min(unknown)}'.")
    return SuiteTask(
        benchmarks=tuple(load_benchmark(b) for b in _names(path, name, content["benchmarks"])),
        training=_example_source(path, name, content.get("training")),
        validation=_example_source(path, name, content.get("validation")),
    )


def _names(path: Path, key: str, content: object) -> list[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path}: '{key}' must name its benchmarks in a list, as in [gsm8k_cot].")
    return content


def _example_source(path: Path, task: str, content: object) -> ExampleSource | None:
    if content is None:
        return None
    if not isinstance(content, dict):
        raise InputError(f"{path}: the data of the task '{task}' must be a mapping.")
    content = dict(content)
    generate = content.pop("generate", None)
    try:
        return ExampleSource(
            generate=function_reference(generate, path.parent) if generate else None, **content
        )
    except TypeError as error:
        raise InputError(f"{path}: the data of the task '{task}': {error}.") from error
