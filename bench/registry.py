"""Finding benchmarks (folders of `tasks/` with a `benchmark.yaml`) and suites (`tasks/suites`) by name."""

import functools
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.benchmark import Benchmark, EvalTask, benchmark_languages, read_benchmark
from bench.definition import function_reference, load_definition
from bench.examples import ExampleSource
from results.errors import InputError
from results.suite import SuiteSpec


@dataclass(frozen=True)
class SuiteTask:
    """A skill being merged: the benchmarks that measure it, and its training and validation data.

    Attributes:
        benchmarks: what measures it.
        training: examples to learn.
        validation: examples for signals and for choosing settings.
        validation_split: split of the benchmarks' own rows by which settings are chosen; None where there is
            none, or its rows are trained on: then the validation examples' likelihood stands in.
    """

    benchmarks: tuple[Benchmark, ...]
    training: tuple[ExampleSource, ...] = ()
    validation: tuple[ExampleSource, ...] = ()
    validation_split: str | None = None


@dataclass(frozen=True)
class Preset:
    """Settings of scoring under a name, such as those of a paper.

    Attributes:
        limit: most documents of each lm-eval task, or None for all.
        limits: the same for single benchmarks, by name.
        seed: seed of the few-shot sampler, or None for the default.
    """

    limit: int | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class Suite:
    """Tasks with their benchmarks, the benchmarks that watch forgetting, and presets of scoring by name.

    With ``leave_out_at_chance`` benchmarks on which the task's expert guesses count in no aggregate.
    """

    name: str
    title: str
    tasks: Mapping[str, SuiteTask]
    forgetting: tuple[Benchmark, ...]
    presets: Mapping[str, Preset] = field(default_factory=dict)
    leave_out_at_chance: bool = False

    def preset(self, name: str | None) -> Preset:
        """A preset by name; without a name, nothing is set.

        Raises:
            InputError: the suite has no such preset.
        """
        if name is None:
            return Preset()
        if name not in self.presets:
            known = ", ".join(self.presets) or "none"
            raise InputError(f"The suite {self.name} has no preset '{name}'; it has {known}.")
        return self.presets[name]

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
            self.leave_out_at_chance,
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
    """Load a benchmark by name, or one language of it by name and language, as in `m_arc_ar`."""
    folder, language = tasks_folder() / name, None
    if name not in benchmark_names():
        stem, _, language = name.rpartition("_")
        folder = tasks_folder() / stem
        if stem not in benchmark_names():
            raise InputError(f"There is no benchmark '{name}'; there are {', '.join(benchmark_names())}.")
        languages = benchmark_languages(folder)
        if language not in languages:
            known = f"in {', '.join(sorted(languages))}" if languages else "in its own language only"
            raise InputError(f"There is no benchmark '{name}'; {stem} is there {known}.")
    benchmark = read_benchmark(folder, language)
    if benchmark.name != name:
        raise InputError(f"{folder}/benchmark.yaml calls itself '{benchmark.name}': the two must agree.")
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
    unknown = set(content) - {"suite", "title", "tasks", "forgetting", "presets", "leave_out_at_chance"}
    if unknown:
        raise InputError(f"{path} has an unknown key '{min(unknown)}'.")
    tasks = {task: _suite_task(path, task, value) for task, value in content["tasks"].items()}
    forgetting = tuple(load_benchmark(b) for b in _names(path, "forgetting", content.get("forgetting") or []))
    leave_out = content.get("leave_out_at_chance", False)
    if not isinstance(leave_out, bool):
        raise InputError(f"{path}: 'leave_out_at_chance' must be true or false, not {leave_out!r}.")
    title = content.get("title", content["suite"])
    suite = Suite(content["suite"], title, tasks, forgetting, leave_out_at_chance=leave_out)
    presets = content.get("presets") or {}
    if not isinstance(presets, dict):
        raise InputError(f"{path}: 'presets' must be a mapping of names to settings.")
    known = {benchmark.name for benchmark in suite.benchmarks}
    return replace(suite, presets={one: _preset(path, one, value, known) for one, value in presets.items()})


def _preset(path: Path, name: str, content: object, benchmarks: set[str]) -> Preset:
    if not isinstance(content, dict):
        raise InputError(f"{path}: the preset '{name}' must be a mapping, as in {{limit: 100, seed: 42}}.")
    where = f"{path}: the preset '{name}'"
    unknown = set(content) - {"limit", "limits", "seed"}
    if unknown:
        raise InputError(f"{where} has an unknown key '{min(map(str, unknown))}'.")
    preset = Preset(**content)
    if not isinstance(preset.limits, dict):
        raise InputError(f"{where}: 'limits' must be a mapping of benchmarks to numbers.")
    numbers = {"limit": preset.limit, "seed": preset.seed, **preset.limits}
    for key, number in numbers.items():
        if number is not None and (type(number) is not int or number < (key != "seed")):
            raise InputError(f"{where}: '{key}' must be a whole number or null, not {number!r}.")
    for benchmark in preset.limits:
        if benchmark not in benchmarks:
            raise InputError(f"{where} limits '{benchmark}', which is no benchmark of the suite.")
    return preset


def _suite_task(path: Path, name: str, content: object) -> SuiteTask:
    if not isinstance(content, dict) or not content.get("benchmarks"):
        raise InputError(f"{path}: the task '{name}' must name its benchmarks.")
    unknown = set(content) - {"benchmarks", "training", "validation", "validation_split"}
    if unknown:
        raise InputError(f"{path}: the task '{name}' has an unknown key '{min(unknown)}'.")
    split = content.get("validation_split")
    if split is not None and not isinstance(split, str):
        raise InputError(f"{path}: the task '{name}' must name its validation_split as text, not {split!r}.")
    task = SuiteTask(
        benchmarks=tuple(load_benchmark(b) for b in _names(path, name, content["benchmarks"])),
        training=_example_sources(path, name, content.get("training")),
        validation=_example_sources(path, name, content.get("validation")),
        validation_split=split,
    )
    for kind, sources in (("trains on", task.training), ("chooses by", task.validation)):
        for benchmark in task.benchmarks:
            if any(_is_scored(source, one) for source in sources for one in benchmark.tasks):
                raise InputError(
                    f"{path}: the task '{name}' {kind} the split that {benchmark.name} is scored on; "
                    "name another."
                )
    return task


def _is_scored(source: ExampleSource, task: EvalTask) -> bool:
    """Whether examples are rows that are scored, wherever they are had from."""
    scored = task.scored_split
    file = task.files.get(scored)
    of_hub = [task.config.get(key) for key in ("dataset_path", "dataset_name")]
    return (
        (source.generate is not None and source.generate == task.generate and source.split == scored)
        or (file is not None and (source.files or {}).get(source.split) == file)
        or (source.hub is not None and [source.hub, source.hub_config, source.split] == [*of_hub, scored])
    )


def _names(path: Path, key: str, content: object) -> list[str]:
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        raise InputError(f"{path}: '{key}' must name its benchmarks in a list, as in [gsm8k_cot].")
    return content


def _example_sources(path: Path, task: str, content: object) -> tuple[ExampleSource, ...]:
    """One source, or a list of them."""
    if content is None:
        return ()
    return tuple(
        _example_source(path, task, one) for one in (content if isinstance(content, list) else [content])
    )


def _example_source(path: Path, task: str, content: object) -> ExampleSource:
    if not isinstance(content, dict):
        raise InputError(f"{path}: the data of the task '{task}' must be a mapping, or a list of mappings.")
    content = dict(content)
    generate = content.pop("generate", None)
    if "benchmark" in content:
        content = _asked_as(load_benchmark(str(content.pop("benchmark")))) | content
    try:
        return ExampleSource(
            generate=function_reference(generate, path.parent) if generate else None, **content
        )
    except TypeError as error:
        raise InputError(f"{path}: the data of the task '{task}': {error}.") from error


def _asked_as(benchmark: Benchmark) -> dict[str, object]:
    """What a source needs to make examples that look as the benchmark's questions and answers do."""
    task = benchmark.tasks[0]
    question, answer = task.config.get("doc_to_text"), task.config.get("doc_to_target")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise InputError(f"{benchmark.name} makes its prompts by a function: give 'prompt' and 'completion'.")
    return {
        "prompt": question,
        "completion": task.config.get("target_delimiter", " ") + answer,
        "files": task.files,
        "hub": task.config.get("dataset_path"),
        "hub_config": task.config.get("dataset_name"),
        "hub_options": task.config.get("dataset_kwargs") or {},
    }
