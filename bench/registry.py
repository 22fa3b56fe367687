"""Finding benchmarks (folders of `tasks/` with a `benchmark.yaml`) and suites (`tasks/suites`) by name."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from bench.benchmark import Benchmark, EvalTask, benchmark_languages, read_benchmark
from bench.definition import load_definition, tasks_folder
from bench.examples import ExampleSource
from bench.score_settings import LARGEST_LIMIT
from results.errors import InputError
from results.suite import SuiteSpec
from results.validation import Settings, Several, quoted, validated


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


class Preset(Settings):
    """Settings of scoring under a name, such as those of a paper."""

    limit: int | None = Field(None, gt=0, le=LARGEST_LIMIT)
    """Most documents of each lm-eval task, or null for all."""
    limits: Mapping[str, Annotated[int, Field(gt=0, le=LARGEST_LIMIT)] | None] = {}
    """The same for single benchmarks, by name."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """Seed of the few-shot sampler, or null for the default."""


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict) else [] if value is None else value


Sources = Annotated[Several[ExampleSource], BeforeValidator(_as_list)]
"""One source of examples, or a list of them."""


class SuiteTaskFile(Settings):
    """A task in the file of a suite."""

    benchmarks: Several[str] = Field(min_length=1)
    """What measures it."""
    training: Sources = ()
    """Examples to learn."""
    validation: Sources = ()
    """Examples for signals and for choosing settings."""
    validation_split: str | None = None
    """Split of the benchmarks' own rows by which settings are chosen."""


class SuiteFile(Settings):
    """The file of a suite."""

    suite: str = Field(min_length=1)
    """Its name."""
    title: str | None = None
    tasks: dict[str, SuiteTaskFile] = Field(min_length=1)
    forgetting: Several[str] = ()
    """Benchmarks that watch forgetting."""
    presets: Mapping[str, Preset] = {}
    leave_out_at_chance: bool = False
    """Whether benchmarks on which the task's expert guesses count in no aggregate."""


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
    file = validated(SuiteFile, load_definition(path), str(path))
    try:
        suite = Suite(
            file.suite,
            file.title or file.suite,
            {name: _suite_task(name, task) for name, task in file.tasks.items()},
            tuple(map(load_benchmark, file.forgetting)),
            file.presets,
            file.leave_out_at_chance,
        )
        known = {
            benchmark.name for benchmark in suite.spec.benchmarks
        }  # which also looks for names given twice
    except InputError as error:
        raise InputError(f"{path}: {str(error).rstrip('.')}.") from None
    for preset_name, preset in file.presets.items():
        for benchmark in preset.limits:
            if benchmark not in known:
                raise InputError(
                    f"{path}: the preset {quoted(preset_name)} limits {quoted(benchmark)}, which is no "
                    "benchmark of the suite."
                )
    return suite


def _suite_task(name: str, file: SuiteTaskFile) -> SuiteTask:
    task = SuiteTask(
        benchmarks=tuple(map(load_benchmark, file.benchmarks)),
        training=tuple(map(_completed, file.training)),
        validation=tuple(map(_completed, file.validation)),
        validation_split=file.validation_split,
    )
    for benchmark in task.benchmarks if task.validation_split else ():
        benchmark.on_split(task.validation_split or "")
    for kind, sources in (("trains on", task.training), ("chooses by", task.validation)):
        for benchmark in task.benchmarks:
            if any(_is_scored(source, one) for source in sources for one in benchmark.tasks):
                raise InputError(
                    f"the task '{name}' {kind} the split that {benchmark.name} is scored on; name another."
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


def _completed(source: ExampleSource) -> ExampleSource:
    """The source with what it does not say taken from its benchmark's questions and answers."""
    if source.benchmark is None:
        return source
    task = load_benchmark(source.benchmark).tasks[0]
    question, answer = task.config.get("doc_to_text"), task.config.get("doc_to_target")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise InputError(
            f"{source.benchmark} makes its prompts by a function: give 'prompt' and 'completion'."
        )
    of_benchmark = {
        "prompt": question,
        "completion": task.config.get("target_delimiter", " ") + answer,
        "files": dict(task.files),
        "hub": task.config.get("dataset_path"),
        "hub_config": task.config.get("dataset_name"),
        "hub_options": task.config.get("dataset_kwargs") or {},
    }
    given = source.model_fields_set
    return source.but(**{key: value for key, value in of_benchmark.items() if key not in given})
