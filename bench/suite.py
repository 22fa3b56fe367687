"""Finding benchmarks (folders of `tasks/` with a `benchmark.yaml`) and suites (`tasks/suites`) by name."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from bench.benchmark import Benchmark, EvalTask, benchmark_languages, read_benchmark
from bench.benchmark_changes import BenchmarkChanges
from bench.definition import load_definition, tasks_folder
from bench.examples import ExampleSource
from bench.score_settings import LARGEST_LIMIT
from merging.chat import ChatSettings
from results.errors import InputError, nearest
from results.suite import SuiteSpec, TaskName
from results.validation import Settings, quoted, validated

if TYPE_CHECKING:
    from bench.lm_eval_tasks.benchmarks import LmEvalTasks


class Preset(Settings):
    """Settings of scoring under a name, such as those of a paper."""

    limit: int | None = Field(None, gt=0, le=LARGEST_LIMIT)
    """Most documents of each lm-eval task, or null for all."""
    limits: Mapping[str, Annotated[int, Field(gt=0, le=LARGEST_LIMIT)] | None] = {}
    """The same for single benchmarks, by name."""
    seed: int | None = Field(None, ge=0, lt=2**63)
    """Seed of the few-shot sampler, or null for the default."""


def _benchmarks(given: object) -> object:
    """Benchmarks in place of their names, of lm-eval's (`lm_eval: piqa`), and of what is said to change."""
    if not isinstance(given, list):
        return given
    return tuple(map(_benchmark, given))


class _Changed(BenchmarkChanges):
    """A registered benchmark with something otherwise."""

    benchmark: str = Field(min_length=1)
    """Its name, which it keeps."""


def _benchmark(given: object) -> object:
    if isinstance(given, dict) and "benchmark" in given:
        changed = validated(_Changed, given, f"benchmark: {given['benchmark']}")
        return changed.applied_to(load_benchmark(changed.benchmark))
    if isinstance(given, dict) and "lm_eval" in given:
        from bench.lm_eval_tasks.benchmarks import LmEvalBenchmark  # which asks the registry for local files

        return _lm_eval_tasks().benchmark(validated(LmEvalBenchmark, given, f"lm_eval: {given['lm_eval']}"))
    return load_benchmark(given) if isinstance(given, str) else given


@functools.cache
def _lm_eval_tasks() -> "LmEvalTasks":
    from bench.lm_eval_tasks.benchmarks import LmEvalTasks

    return LmEvalTasks()


def _sources(value: object) -> object:
    """One source or a list of them as a list, each with what it does not say taken from its benchmark."""
    if value is None:
        return ()
    sources = [value] if isinstance(value, dict) else value
    return tuple(map(_completed, sources)) if isinstance(sources, list) else sources


Benchmarks = Annotated[tuple[Benchmark, ...], BeforeValidator(_benchmarks)]
"""Benchmarks, which a file gives by name."""
Sources = Annotated[tuple[ExampleSource, ...], BeforeValidator(_sources)]
"""Sources of examples, of which a file may give one without a list."""


class SuiteTask(Settings):
    """A skill being merged: the benchmarks that measure it, and its training and validation data."""

    benchmarks: Benchmarks = Field(min_length=1)
    """What measures it."""
    training: Sources = ()
    """Examples to learn."""
    validation: Sources = ()
    """Examples for signals and for choosing settings."""
    validation_split: str | None = None
    """Split of the benchmarks' own rows by which settings are chosen; null where there is none, or its rows
    are trained on: then the validation examples' likelihood stands in."""


class Suite(Settings):
    """Tasks with their benchmarks, the benchmarks that watch forgetting, and presets of scoring by name."""

    name: str = Field(min_length=1)
    title: str = ""
    tasks: dict[TaskName, SuiteTask] = Field(min_length=1)
    forgetting: Benchmarks = ()
    """Benchmarks on which merged checkpoints are compared with the base."""
    presets: Mapping[str, Preset] = {}
    chat: ChatSettings = ChatSettings()
    """How questions are put, and training examples written, to a model tuned for conversations."""
    leave_out_at_chance: bool = False
    """Whether benchmarks on which the task's expert guesses count in no aggregate."""
    leave_out_at_base: bool = False
    """Whether benchmarks on which the task's expert is not told apart from its base count in no aggregate."""

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
            name=self.name,
            tasks={name: tuple(b.spec for b in task.benchmarks) for name, task in self.tasks.items()},
            forgetting=tuple(b.spec for b in self.forgetting),
            leave_out_at_chance=self.leave_out_at_chance,
            leave_out_at_base=self.leave_out_at_base,
        )


def benchmark_names() -> tuple[str, ...]:
    """Names of all benchmarks, sorted."""
    return tuple(sorted(path.parent.name for path in tasks_folder().glob("*/benchmark.yaml")))


def suite_names() -> tuple[str, ...]:
    """Names of all suites, sorted."""
    return tuple(sorted(path.stem for path in (tasks_folder() / "suites").glob("*.yaml")))


@functools.cache
def registered_tasks() -> Mapping[str, EvalTask]:
    """The lm-eval tasks of all benchmarks in all their languages, by name."""
    benchmarks = [load_benchmark(name) for name in benchmark_names()]
    for name in benchmark_names():
        languages = benchmark_languages(tasks_folder() / name)
        benchmarks += [load_benchmark(f"{name}_{language}") for language in languages]
    return {task.name: task for benchmark in benchmarks for task in benchmark.tasks}


@functools.cache
def load_benchmark(name: str) -> Benchmark:
    """Load a benchmark by name, or one language of it by name and language, as in `m_arc_ar`."""
    folder, language = tasks_folder() / name, None
    if name not in benchmark_names():
        stem, _, language = name.rpartition("_")
        folder = tasks_folder() / stem
        if stem not in benchmark_names():
            raise InputError(
                f"There is no benchmark '{name}'.{nearest(name, benchmark_names())} `manyshot list "
                "benchmarks` has all of them; --task, or `lm_eval:` in a suite, takes the names of lm-eval."
            )
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
    try:
        suite = validated(Suite, content, str(path))
        _check(suite)
    except InputError as error:
        message = str(error).rstrip(".")
        source = "" if message.startswith(str(path)) else f"{path}: "
        raise InputError(f"{source}{message}.") from None
    return suite


def _check(suite: Suite) -> None:
    """Refuse names that are given twice or unknown, and examples that are rows that are scored."""
    names = {benchmark.name for benchmark in suite.spec.benchmarks}  # which refuses a name given twice
    for preset_name, preset in suite.presets.items():
        for name in preset.limits:
            if name not in names:
                raise InputError(
                    f"the preset {quoted(preset_name)} limits {quoted(name)}, which is no benchmark "
                    "of the suite."
                )
    for task_name, task in suite.tasks.items():
        for benchmark in task.benchmarks:
            if task.validation_split is not None:
                benchmark.on_split(task.validation_split)  # which refuses the one that is scored
            for kind, sources in (("trains on", task.training), ("chooses by", task.validation)):
                if any(_is_scored(source, one) for source in sources for one in benchmark.tasks):
                    raise InputError(
                        f"the task '{task_name}' {kind} the split that {benchmark.name} is scored on; "
                        "name another."
                    )


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


def _completed(given: object) -> object:
    """A source as a file gives it, with what it does not say taken from its benchmark."""
    if not isinstance(given, dict) or not isinstance(given.get("benchmark"), str):
        return given
    benchmark = load_benchmark(given["benchmark"])
    task = benchmark.tasks[0]
    question, answer = task.config.get("doc_to_text"), task.config.get("doc_to_target")
    if not isinstance(question, str) or not isinstance(answer, str):
        raise InputError(f"{benchmark.name} makes its prompts by a function: give 'prompt' and 'completion'.")
    return {
        "prompt": question,
        "completion": task.config.get("target_delimiter", " ") + answer,
        "files": dict(task.files),
        "hub": task.config.get("dataset_path"),
        "hub_config": task.config.get("dataset_name"),
        "hub_options": task.config.get("dataset_kwargs") or {},
        **{key: value for key, value in given.items() if key != "benchmark"},
    }
