"""What a benchmark is: one or more lm-eval tasks, a primary metric, its direction and its chance level."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.columns import ColumnRule, column_rules
from bench.definition import (
    FunctionReference,
    filled,
    fingerprint,
    function_reference,
    load_definition,
    packaged_tasks,
)
from bench.items import ItemRule, item_rule
from results.errors import InputError
from results.suite import BenchmarkSpec

SCORING_VERSION = 1
"""Part of the key of every record. To be raised by whatever changes scores in general: how requests are cut,
stopped or batched. What changes those of one benchmark raises the `version` in its benchmark.yaml."""

_REQUIRED = ("benchmark", "title", "category", "licence", "metric", "tasks")
_FACTS = ("paper", "filter", "higher_is_better", "chance", "version")
_OPTIONAL = (*_FACTS, "languages", "items", "recorded", "judged", "notice")
_TASK_KEYS = ("packaged", "config", "files", "columns", "convert", "generate", "size")


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
class RecordedForm:
    """How recorded outputs of a benchmark look, where they are not ours or lm-eval's own.

    Attributes:
        match: column, of the recorded rows and of the documents, that says which document was answered.
        output: column of the recorded rows that holds the answer.
        document: makes a document of a recorded row whose document is not among the benchmark's rows.
        verdict: what a document's metrics ("metric,filter") say of the answer, in the authors' words.
    """

    match: str
    output: str
    document: FunctionReference | None = None
    verdict: FunctionReference | None = None


@dataclass(frozen=True)
class JudgedForm:
    """How a benchmark whose answers are judged for refusals is scored from verdicts.

    Attributes:
        request: column of the documents that holds what was asked.
        metrics: metrics of one document from (document, verdict).
    """

    request: str
    metrics: FunctionReference


@dataclass(frozen=True)
class Benchmark:
    """Something scored. See `tasks/*/benchmark.yaml` for the definitions.

    Attributes:
        metric: primary metric, as lm-eval names it.
        filter: lm-eval filter whose answers the primary metric is taken over.
        chance: score of a model that guesses; for a generated label, of one that always gives the commonest.
        version: part of the key of its records. To be raised by whatever changes what its functions do.
        items: tells which documents are one question in several languages; None where no two are.
        recorded: how recorded outputs look.
        judged: how verdicts on refusals become metrics, for a benchmark that needs a judge.
        notice_function: says what this machine lacks for scoring as the authors do; None where nothing.
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
    version: int = 1
    items: ItemRule | None = None
    recorded: RecordedForm | None = None
    judged: JudgedForm | None = None
    notice_function: FunctionReference | None = None

    @cached_property
    def notice(self) -> str | None:
        """What a reader should know of how this machine scores the benchmark."""
        return self.notice_function.resolve()() if self.notice_function else None

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
        return replace(self, name=f"{self.name}@{split}", tasks=tasks)

    @property
    def num_fewshot(self) -> tuple[int, ...]:
        """Numbers of worked examples before a question, each once, in the order of the tasks."""
        return tuple(dict.fromkeys(task.config.get("num_fewshot") or 0 for task in self.tasks))

    @property
    def spec(self) -> BenchmarkSpec:
        """The part of the definition that metrics and reports need."""
        return BenchmarkSpec(self.name, self.metric, self.higher_is_better, self.chance)

    @property
    def definition_digest(self) -> str:
        """Digest of everything that decides how answers are asked for, judged and counted, data apart."""
        content = {
            "metric": [self.metric, self.filter],
            "tasks": {task.name: fingerprint(task.config) for task in self.tasks},
            "lm_eval": version("lm_eval"),
            "versions": [SCORING_VERSION, self.version],
            "judged": fingerprint(vars(self.judged)) if self.judged else None,
            "notice": self.notice,
        }
        if self.items is not None:
            content["items"] = asdict(self.items)
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def read_benchmark(folder: Path, language: str | None = None) -> Benchmark:
    """Read `benchmark.yaml` of a folder.

    Args:
        folder: the benchmark's folder.
        language: one of the benchmark's languages, in place of its default ones.

    Raises:
        InputError: a key is missing or unknown, or the benchmark has no such language.
    """
    path = folder / "benchmark.yaml"
    content = load_definition(path)
    for key in _REQUIRED:
        if key not in content:
            raise InputError(f"{path} has no key '{key}'.")
    _refuse_unknown(content, _REQUIRED + _OPTIONAL, str(path))
    name, title = content["benchmark"], content["title"]
    items = item_rule(content.get("items"), name, str(path))
    languages = _languages(content, path).default
    if language is not None:
        if language not in _languages(content, path).all:
            raise InputError(f"{path} has no language '{language}'.")
        name, title, languages = f"{name}_{language}", f"{title} [{language}]", (language,)
    tasks = _read_tasks(content["tasks"], languages, folder)
    if len(tasks) > 1 and "items" not in content:
        raise InputError(
            f"{path} has several lm-eval tasks and no key 'items': name the column that says which of their "
            "documents are one question in several languages, or null where none are."
        )
    return Benchmark(
        name=name,
        title=title,
        tasks=tasks,
        items=items,
        recorded=_form(RecordedForm, content.get("recorded"), folder, "recorded"),
        judged=_form(JudgedForm, content.get("judged"), folder, "judged"),
        notice_function=function_reference(content["notice"], folder) if "notice" in content else None,
        **{key: content[key] for key in ("category", "licence", "metric", *_FACTS) if key in content},
    )


def benchmark_languages(folder: Path) -> tuple[str, ...]:
    """Languages in which a benchmark can be had by name, as in `m_arc_ar`; none for most."""
    path = folder / "benchmark.yaml"
    return _languages(load_definition(path), path).all


@dataclass(frozen=True)
class _Languages:
    default: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        return self.default + self.others


def _languages(content: Mapping[str, Any], path: Path) -> _Languages:
    given = content.get("languages")
    if given is None:
        return _Languages()
    if not isinstance(given, dict) or not given.get("default") or set(given) - {"default", "others"}:
        raise InputError(f"{path}: 'languages' must have the lists 'default' and, if wanted, 'others'.")
    return _Languages(tuple(given["default"]), tuple(given.get("others") or ()))


def _read_tasks(content: Mapping[str, Any], languages: tuple[str, ...], folder: Path) -> tuple[EvalTask, ...]:
    """The tasks; one that has {language} in its name stands for one of each language."""
    tasks = []
    for name, task in content.items():
        if "{language}" in name:
            tasks += [
                _read_task(filled(name, language=one), filled(task or {}, language=one), folder)
                for one in languages
            ]
        else:
            tasks.append(_read_task(name, task or {}, folder))
    return tuple(tasks)


def _read_task(name: str, content: dict[str, Any], folder: Path) -> EvalTask:
    where = f"{folder / 'benchmark.yaml'}: the task {name}"
    _refuse_unknown(content, _TASK_KEYS, where)
    config = load_definition(packaged_tasks() / content["packaged"]) if "packaged" in content else {}
    config |= content.get("config", {})
    for key in ("tag", "group", "task_list"):
        config.pop(key, None)
    return EvalTask(
        name=name,
        config=config | {"task": name},
        files=content.get("files", {}),
        columns=column_rules(content.get("columns") or {}, where),
        convert=function_reference(content["convert"], folder) if "convert" in content else None,
        generate=function_reference(content["generate"], folder) if "generate" in content else None,
        size=content.get("size"),
    )


def _form(kind: type, content: Any, folder: Path, key: str) -> Any:
    """A `RecordedForm` or a `JudgedForm`; what names a function is a reference in the file already."""
    if content is None:
        return None
    try:
        return kind(**content)
    except TypeError as error:
        raise InputError(f"{folder / 'benchmark.yaml'}: '{key}': {error}.") from None


def _refuse_unknown(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for key in content:
        if key not in known:
            raise InputError(f"{where} has an unknown key '{key}'; known are {', '.join(known)}.")
