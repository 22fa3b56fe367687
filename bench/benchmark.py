"""What a benchmark is: one or more lm-eval tasks, a primary metric, its direction and its chance level."""

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from bench.columns import ColumnRule, column_rules
from bench.definition import FunctionReference, filled, fingerprint, load_definition, packaged_tasks
from bench.items import ItemRule, RowsAgreeIn, item_rule
from results.errors import InputError
from results.json_values import cache_key
from results.suite import BenchmarkSpec
from results.validation import Settings, Several, validated

SCORING_VERSION = 1
"""Part of the key of every record. To be raised by whatever changes scores in general: how requests are cut,
stopped or batched. What changes those of one benchmark raises the `version` in its benchmark.yaml."""


@dataclass(frozen=True)
class EvalTask:
    """One lm-eval task of a benchmark and where its rows come from.

    Attributes:
        name: name of the lm-eval task.
        config: the task's lm-eval configuration; functions are still references.
        files: split to file, relative to a local data root.
        columns: what every row must have, by column of the hub's set.
        convert: turns a local row into a row with the hub's columns, where the two differ.
        generate: makes the rows ({split: [row]}), for data that exists nowhere else.
        size: how many rows the scored split has on the hub, where local files may hold fewer.
    """

    name: str
    config: Mapping[str, Any]
    files: Mapping[str, str]
    columns: tuple[ColumnRule, ...] = ()
    convert: FunctionReference | None = None
    generate: FunctionReference | None = None
    size: int | None = None

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
class TaskGroup:
    """A group of lm-eval's, with a score of its own or without.

    Attributes:
        name: of the group.
        config: its lm-eval configuration, the members apart.
        members: names of its tasks and groups.
    """

    name: str
    config: Mapping[str, Any] = field(hash=False)
    members: tuple[str, ...] = ()


class RecordedForm(Settings):
    """How recorded outputs of a benchmark look, where they are not ours or lm-eval's own."""

    match: str
    """Column, of the recorded rows and of the documents, that says which document was answered."""
    output: str
    """Column of the recorded rows that holds the answer."""
    document: FunctionReference | None = None
    """Makes a document of a recorded row whose document is not among the benchmark's rows."""
    verdict: FunctionReference | None = None
    """What a document's metrics ("metric,filter") say of the answer, in the authors' words."""


class JudgedForm(Settings):
    """How a benchmark whose answers are judged for refusals is scored from verdicts."""

    request: str
    """Column of the documents that holds what was asked."""
    metrics: FunctionReference
    """Metrics of one document from (document, verdict)."""


class BenchmarkFacts(Settings):
    """What a definition says of a benchmark as a whole."""

    name: str = Field(min_length=1)
    title: str
    category: str
    licence: str
    metric: str
    """Primary metric, as lm-eval names it."""
    filter: str = "none"
    """lm-eval filter whose answers the primary metric is taken over."""
    higher_is_better: bool = True
    chance: float = 0.0
    """Score of a model that guesses; for a generated label, of one that always gives the commonest."""
    paper: str | None = None
    version: int = 1
    """Part of the key of its records. To be raised by whatever changes what its functions do."""
    recorded: RecordedForm | None = None
    """How recorded outputs look."""
    judged: JudgedForm | None = None
    """How verdicts on refusals become metrics, for a benchmark that needs a judge."""
    notice: FunctionReference | None = None
    """Says what this machine lacks for scoring as the authors do; None where nothing."""


class Benchmark(BenchmarkFacts):
    """Something scored, in one language or its default ones. `tasks/*/benchmark.yaml` has the definitions."""

    tasks: tuple[EvalTask, ...]
    items: ItemRule | None = None
    """Tells which documents are one question in several languages; None where no two are."""
    groups: tuple[TaskGroup, ...] = ()
    """The lm-eval groups that it is made of, inner ones first; its score is that of the last."""
    weighs_documents_equally: bool = False
    """Whether its score is the mean over the documents of all tasks, and not over the tasks' scores."""

    code: tuple[str, ...] = ()
    """Digests of code that decides scores and that no function's name shows."""
    documents: Mapping[str, tuple[int, ...]] | None = None
    """By lm-eval task the numbers of the documents that are asked, in order; None asks as many as the limit
    says."""

    @property
    def machine_notice(self) -> str | None:
        """What a reader should know of how this machine scores the benchmark."""
        return _notice(self.notice) if self.notice else None

    @property
    def is_generated(self) -> bool:
        """Whether every answer is generated text, so that recorded outputs can stand in for a model."""
        return all(task.config.get("output_type") == "generate_until" for task in self.tasks)

    def on_split(self, split: str) -> "Benchmark":
        """The same benchmark asked of another split's rows, as `name@split`: to choose settings by, say."""
        for task in self.tasks:
            if split == task.scored_split:
                raise InputError(
                    f"The split '{split}' is the one that {self.name} is scored on, so nothing may be chosen "
                    "by it: name another as `validation_split` in the suite, or none."
                )
        tasks = tuple(replace(task, config={**task.config, "test_split": split}) for task in self.tasks)
        return self.but(name=f"{self.name}@{split}", tasks=tasks)

    @property
    def num_fewshot(self) -> tuple[int, ...]:
        """Numbers of worked examples before a question, each once, in the order of the tasks."""
        return tuple(dict.fromkeys(task.config.get("num_fewshot") or 0 for task in self.tasks))

    def with_fewshot(self, number: int) -> "Benchmark":
        """The same benchmark with so many worked examples; a task that says 0 keeps it, as in lm-eval."""
        tasks = (
            task
            if task.config.get("num_fewshot") == 0
            else replace(task, config={**task.config, "num_fewshot": number})
            for task in self.tasks
        )
        return self.but(tasks=tuple(tasks))

    def with_new_tokens(self, most: int) -> "Benchmark":
        """The same benchmark with generated answers of so many tokens; a task that says fewer keeps them."""

        def cut(task: EvalTask) -> EvalTask:
            if task.config.get("output_type") != "generate_until":
                return task
            said = dict(task.config.get("generation_kwargs") or {})
            said["max_gen_toks"] = min(said.get("max_gen_toks", most), most)
            return replace(task, config={**task.config, "generation_kwargs": said})

        return self.but(tasks=tuple(map(cut, self.tasks)))

    @property
    def runs_model_code(self) -> bool:
        """Whether a task of it executes code that a model has written."""
        return any(task.config.get("unsafe_code") for task in self.tasks)

    @property
    def spec(self) -> BenchmarkSpec:
        """The part of the definition that metrics and reports need."""
        return BenchmarkSpec(
            name=self.name, metric=self.metric, higher_is_better=self.higher_is_better, chance=self.chance
        )

    @property
    def definition_digest(self) -> str:
        """Digest of everything that decides how answers are asked for, judged and counted, data apart."""
        content = {
            "metric": [self.metric, self.filter],
            "tasks": {task.name: fingerprint(task.config) for task in self.tasks},
            "lm_eval": version("lm_eval"),
            "versions": [SCORING_VERSION, self.version],
            "judged": fingerprint(dict(self.judged)) if self.judged else None,
            "notice": self.machine_notice,
        }
        if self.items is not None:
            content["items"] = asdict(self.items)
        if self.weighs_documents_equally:
            content["weighs"] = "documents"
        if self.code:
            content["code"] = self.code
        if self.documents is not None:
            content["documents"] = self.documents
        return cache_key(content)


@functools.cache
def _notice(function: FunctionReference) -> str | None:
    notice: str | None = function.resolve()()
    return notice


class Languages(Settings):
    """Languages in which a benchmark can be had by name, as in `m_arc_ar`."""

    default: Several[str] = Field((), min_length=1)
    """Those of the benchmark's own name."""
    others: Several[str] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Every language, the default ones first."""
        return self.default + self.others


class TaskDefinition(Settings):
    """What a definition says of one lm-eval task; {language} in its texts stands for a language."""

    packaged: str | None = None
    """File of a task that lm-eval ships, whose configuration comes first."""
    config: Mapping[str, Any] = {}
    """The task's lm-eval configuration."""
    files: Mapping[str, str] = {}
    """Split to file, relative to a local data root."""
    columns: Mapping[str, Any] = {}
    """What every row must have, by column of the hub's set; `bench.columns` has the kinds."""
    convert: FunctionReference | None = None
    """Turns a local row into a row with the hub's columns, where the two differ."""
    generate: FunctionReference | None = None
    """Makes the rows ({split: [row]}), for data that exists nowhere else."""
    size: int | None = Field(None, gt=0)
    """How many rows the scored split has on the hub, where local files may hold fewer."""


class BenchmarkFile(BenchmarkFacts):
    """A `benchmark.yaml`; the name is its folder's."""

    languages: Languages | None = None
    items: str | RowsAgreeIn | None = None
    """Column that names a question in every language; `bench.items` has more."""
    config: Mapping[str, Any] = {}
    """lm-eval configuration of all tasks; a task's own comes before it."""
    tasks: dict[str, TaskDefinition | None] = Field(min_length=1)
    """The lm-eval tasks by name; one with {language} in its name stands for one of each language."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        languages = len(self.languages.default) if self.languages else 0
        number = sum(languages if "{language}" in name else 1 for name in self.tasks)
        if number == 0:
            raise ValueError("its lm-eval tasks are one for each of its languages, and it names none")
        if number > 1 and "items" not in self.model_fields_set:
            raise ValueError(
                "it has several lm-eval tasks and no key 'items': name the column that says which of their "
                "documents are one question in several languages, or null where none are"
            )
        return self

    def eval_tasks(self, languages: tuple[str, ...], path: Path) -> tuple[EvalTask, ...]:
        """The lm-eval tasks, those of languages for each of these."""
        return tuple(
            self._eval_task(name, definition or TaskDefinition(), language, path)
            for name, definition in self.tasks.items()
            for language in (languages if "{language}" in name else (None,))
        )

    def _eval_task(self, name: str, definition: TaskDefinition, language: str | None, path: Path) -> EvalTask:
        stands_for = {} if language is None else {"language": language}
        name, packaged, own, files = filled(
            [name, definition.packaged, {**self.config, **definition.config}, definition.files],
            **stands_for,
        )
        config = load_definition(packaged_tasks() / packaged) if packaged else {}
        for key in ("tag", "group", "task_list"):
            config.pop(key, None)
        return EvalTask(
            name=name,
            config=config | own | {"task": name},
            files=files,
            columns=column_rules(definition.columns, f"{path}: the task {name}"),
            convert=definition.convert,
            generate=definition.generate,
            size=definition.size,
        )


def read_benchmark(folder: Path, language: str | None = None) -> Benchmark:
    """Read `benchmark.yaml` of a folder.

    Args:
        folder: the benchmark's folder.
        language: one of the benchmark's languages, in place of its default ones.

    Raises:
        InputError: a key is missing, unknown or of another type, or the benchmark has no such language.
    """
    file, path = _read_file(folder), folder / "benchmark.yaml"
    facts = {key: getattr(file, key) for key in BenchmarkFacts.model_fields}
    languages = file.languages.default if file.languages else ()
    if language is not None:
        if file.languages is None or language not in file.languages.all:
            raise InputError(f"{path} has no language '{language}'.")
        languages = (language,)
        facts |= {"name": f"{file.name}_{language}", "title": f"{file.title} [{language}]"}
    return Benchmark(tasks=file.eval_tasks(languages, path), items=item_rule(file.items, file.name), **facts)


def benchmark_languages(folder: Path) -> tuple[str, ...]:
    """Languages in which a benchmark can be had by name, as in `m_arc_ar`; none for most."""
    languages = _read_file(folder).languages
    return languages.all if languages else ()


def _read_file(folder: Path) -> BenchmarkFile:
    path = folder / "benchmark.yaml"
    return validated(BenchmarkFile, load_definition(path), str(path))
