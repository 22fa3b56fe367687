"""Scoring recorded outputs without a model, row by row, by the code that scores live answers."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.answers import judge_answers, reported_metrics, run_lm_eval
from bench.benchmark import Benchmark, EvalTask, RecordedForm
from bench.data import Row, Rows, load_rows
from bench.engines.replay import ReplayLM
from bench.hub import NoDataError
from bench.judge import Judge
from bench.prompts import documents_of, prompts_of
from bench.recorded import RecordedAnswer, read_recorded, recorded_form
from bench.score_settings import ScoreSettings
from merging.chat import THINK_END
from results.errors import InputError
from results.words import counted
from tasks.errors import WrongColumnError


@dataclass(frozen=True)
class RowVerdict:
    """What is said of one recorded row, in the words of the benchmark's authors, and the row's line."""

    line: int
    verdict: Any


@dataclass(frozen=True)
class Rescored:
    """What recorded outputs score.

    Attributes:
        benchmark: the benchmark's name.
        metric: its primary metric.
        value: its score, the mean over its lm-eval tasks; None where no document has one.
        n: number of recorded rows.
        metrics: every metric of every task, "task/metric,filter".
        verdicts: one for each recorded row, in the order of the file.
        notices: what the reader of the number should know.
    """

    benchmark: str
    metric: str
    value: float | None
    n: int
    metrics: Mapping[str, float]
    verdicts: Sequence[RowVerdict]
    notices: tuple[str, ...]


@dataclass(frozen=True)
class _AnsweredDocument:
    """A document that a recorded row answers, and the lm-eval task that it is of."""

    task: str
    doc: Row


def rescore(
    benchmark: Benchmark, outputs: Path, data_root: Path | None, judge: Judge, *, think_end: str = THINK_END
) -> Rescored:
    """Score recorded outputs.

    A row's document is looked for among the benchmark's rows by the benchmark's own column (`prompt`,
    `question`), else by the prompt that was sent. Where there is none, it is made of the row itself if the
    benchmark can do that; without a data root nothing else is tried then, and nothing is fetched.

    Args:
        benchmark: what was answered; its answers must be generated text.
        outputs: a JSONL file, or a folder that has one by the benchmark's name.
        data_root: local data root, or None for the hub.
        judge: gives verdicts on the answers, where the benchmark needs them.
        think_end: what ends the part of an answer that is thought, not said.

    Raises:
        NoDataError: documents are needed and cannot be had.
        InputError: a row is broken, or answers no document.
    """
    if not benchmark.is_generated:
        raise InputError(
            f"{benchmark.name} compares log-likelihoods of choices: recorded texts cannot be scored on it."
        )
    answers = read_recorded(outputs, benchmark)
    form = recorded_form(benchmark)
    documents = _documents(benchmark, answers, form, data_root)
    keys = _keys(documents)
    texts = {key: answer.said(think_end) for key, answer in zip(keys, answers, strict=True)}
    task_names = {document.task for document in documents}
    tasks = tuple(_without_examples(task) for task in benchmark.tasks if task.name in task_names)
    scored = benchmark.but(tasks=tasks)
    rows = {
        task.name: Rows(
            {task.scored_split: [each.doc for each in documents if each.task == task.name]}, str(outputs)
        )
        for task in tasks
    }
    settings = ScoreSettings()
    lm = ReplayLM(lambda request: texts[request.task_name, request.doc_id])
    results = run_lm_eval(lm, scored, rows, settings)
    notices = [benchmark.machine_notice] if benchmark.machine_notice else []
    if benchmark.judged:
        results, unjudged = judge_answers(results, scored, rows, settings, judge=judge)
        notices += unjudged
    by_document = _metrics(results["samples"])
    metrics = reported_metrics(results)
    primary = f"{benchmark.metric},{benchmark.filter}"
    values = [metrics[f"{task.name}/{primary}"] for task in tasks if f"{task.name}/{primary}" in metrics]
    unscored = sum(primary not in of_document for of_document in by_document.values())
    if unscored:
        notices.append(f"{counted(unscored, 'row')} without a label, left out of {benchmark.metric}")
    return Rescored(
        benchmark.name,
        benchmark.metric,
        sum(values) / len(values) if values else None,
        len(answers),
        metrics,
        [
            RowVerdict(answer.line, _verdict(by_document[key], form, primary))
            for answer, key in zip(answers, keys, strict=True)
        ],
        tuple(notices),
    )


def _documents(
    benchmark: Benchmark, answers: Sequence[RecordedAnswer], form: RecordedForm, data_root: Path | None
) -> list[_AnsweredDocument]:
    made = form.document.resolve() if form.document else None
    by_text = _DocumentsByText(form.match, _rows_at_hand(benchmark, data_root, needed=made is None))
    documents = []
    for answer in answers:
        document = by_text.answered_by(answer)
        if document is not None:
            documents.append(document)
        elif made is not None and form.match in answer.row:
            documents.append(_AnsweredDocument(benchmark.tasks[0].name, _made(made, answer)))
        else:
            raise InputError(
                f"{answer.source}: {benchmark.name} has no document that this row answers; documents are "
                f"known by '{form.match}', or by 'prompt' as it was sent."
            )
    return documents


def _rows_at_hand(
    benchmark: Benchmark, data_root: Path | None, *, needed: bool
) -> list[tuple[EvalTask, Rows]]:
    """The benchmark's rows. Where they are not needed, none is fetched, and there may be none."""
    if data_root is None and not needed:
        return []
    try:
        return [(task, load_rows(task, data_root)) for task in benchmark.tasks]
    except NoDataError:
        if needed:
            raise
        return []


class _DocumentsByText:
    """A benchmark's documents, by its own column and, where that is not enough, by the prompt as sent."""

    def __init__(self, match: str, tasks: Sequence[tuple[EvalTask, Rows]]) -> None:
        self._tasks = tasks
        self._by_key = {
            str(doc[match]).strip(): _AnsweredDocument(task.name, doc)
            for task, rows in tasks
            for doc in documents_of(task, rows)
            if match in doc
        }

    @functools.cached_property
    def _by_prompt(self) -> dict[str, _AnsweredDocument]:
        return {
            prompt.prompt.strip(): _AnsweredDocument(task.name, prompt.doc)
            for task, rows in self._tasks
            for prompt in prompts_of(task, rows, ScoreSettings().seed)
        }

    def answered_by(self, answer: RecordedAnswer) -> _AnsweredDocument | None:
        """The document that a recorded row answers, or None."""
        for text in (answer.key, answer.prompt):
            if text is not None and text.strip() in self._by_key:
                return self._by_key[text.strip()]
        if answer.prompt is None or not self._tasks:
            return None
        return self._by_prompt.get(answer.prompt.strip())


def _made(make: Any, answer: RecordedAnswer) -> Row:
    try:
        return make(answer.row)
    except KeyError as error:
        raise InputError(f"{answer.source}: the column {error} is missing.") from None
    except WrongColumnError as error:
        raise InputError(f"{answer.source}: {error}.") from None


def _keys(documents: Sequence[_AnsweredDocument]) -> list[tuple[str, int]]:
    """Of each document its lm-eval task, and its number among that task's."""
    counts: Counter[str] = Counter()
    keys = []
    for document in documents:
        keys.append((document.task, counts[document.task]))
        counts[document.task] += 1
    return keys


def _without_examples(task: EvalTask) -> EvalTask:
    """The task over documents that it has processed already; what stands before a prompt is not needed."""
    dropped = {"process_docs", "num_fewshot", "fewshot_config"}
    return replace(task, config={key: value for key, value in task.config.items() if key not in dropped})


def _metrics(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[tuple[str, int], dict[str, Any]]:
    """By lm-eval task and document, its metrics as "metric,filter"."""
    by_document: dict[tuple[str, int], dict[str, Any]] = {}
    for task, of_task in samples.items():
        for sample in of_task:
            metrics = {f"{metric},{sample['filter']}": sample[metric] for metric in sample["metrics"]}
            by_document.setdefault((task, sample["doc_id"]), {}).update(metrics)
    return by_document


def _verdict(metrics: Mapping[str, Any], form: RecordedForm, primary: str) -> Any:
    if form.verdict is not None:
        return form.verdict.resolve()(metrics)
    return float(metrics[primary])
