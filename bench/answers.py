"""A checkpoint's answers to a benchmark, by lm-eval, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bench.benchmark import Benchmark
from bench.data import Rows
from bench.engine import GenerationRequest, Progress
from bench.judge import NO_VERDICT, Judge
from bench.sandbox import SANDBOX_NOTICE
from bench.score_settings import ScoreSettings
from merging.chat import ChatSettings
from results.aggregation import PERPLEXITIES, from_means
from results.errors import InputError
from results.shared_items import ITEM
from results.words import counted

if TYPE_CHECKING:
    import pandas as pd

    from bench.lm import EngineLM


@dataclass(frozen=True)
class Answers:
    """What lm-eval makes of a checkpoint's answers to one benchmark.

    Attributes:
        value: the primary metric: the mean over the benchmark's lm-eval tasks, or over all their documents.
        metrics: every metric of every task and group, "task/metric,filter".
        documents: one row per document: lm_eval_task, doc_id, the item where the benchmark says which
            documents are one, score, prompt, target, output, and each metric. Where all documents weigh
            the same, lm_eval_task is the group, doc_id counts on, and `subtask` and `subtask_doc_id` are
            lm-eval's.
        tokens: numbers of prompt and generated tokens.
        generated: numbers of generated answers, of those cut at their limit and of empty ones.
        notices: what the reader of the number should know.
    """

    value: float
    metrics: Mapping[str, float]
    documents: "pd.DataFrame"
    tokens: Mapping[str, int]
    generated: Mapping[str, int]
    notices: tuple[str, ...]


class AnsweringLM(Protocol):
    """An lm-eval model that also counts its tokens and answers, and has notices for the reader."""

    @property
    def tokens(self) -> Mapping[str, int]:
        """Numbers of tokens read (`prompt`) and written (`generated`)."""

    @property
    def answers(self) -> Mapping[str, int]:
        """Numbers of generated answers (`all`), of those `cut` at their limit and of `empty` ones."""

    @property
    def notices(self) -> tuple[str, ...]:
        """What the reader of the number should know."""


def evaluate(
    lm: AnsweringLM,
    benchmark: Benchmark,
    rows: Mapping[str, Rows],
    settings: ScoreSettings,
    *,
    judge: Judge,
    progress: Progress | None = None,
) -> Answers:
    """Ask a model a benchmark's documents and score its answers with lm-eval.

    Args:
        lm: what answers.
        benchmark: the definition.
        rows: rows of each of its lm-eval tasks.
        settings: limit and few-shot seed.
        judge: gives verdicts on the answers, where the benchmark needs them.
        progress: called with the numbers of answers judged and to be judged.

    Raises:
        InputError: the rows are not as the benchmark expects, or do not say which documents are one item.
    """
    import pandas as pd

    if benchmark.items is not None:
        benchmark.items.check(
            {task.name: rows[task.name].splits[task.scored_split] for task in benchmark.tasks}
        )
    results = run_lm_eval(lm, benchmark, rows, settings)
    notices = [f"{name}: {of_task.notice}" for name, of_task in rows.items() if of_task.notice]
    notices += [benchmark.machine_notice] if benchmark.machine_notice else []
    notices += [SANDBOX_NOTICE] if settings.run_code is not None and benchmark.runs_model_code else []
    if benchmark.judged:
        results, unjudged = judge_answers(results, benchmark, rows, settings, judge=judge, progress=progress)
        notices += unjudged
    metrics = reported_metrics(results)
    documents = pd.DataFrame(list(_documents(benchmark, results["samples"])))
    return Answers(
        value=_value(benchmark, metrics),
        metrics=metrics,
        documents=_as_one_task(benchmark.name, documents)
        if benchmark.weighs_documents_equally
        else documents,
        tokens=lm.tokens,
        generated=lm.answers,
        notices=(*notices, *lm.notices),
    )


def _value(benchmark: Benchmark, metrics: Mapping[str, float]) -> float:
    """The primary metric: that of the lm-eval group, or the mean over the benchmark's tasks."""
    primary = f"{benchmark.metric},{benchmark.filter}"
    for task in benchmark.tasks:
        if f"{task.name}/{primary}" not in metrics:
            given = [name.partition("/")[2] for name in metrics if name.startswith(f"{task.name}/")]
            raise InputError(
                f"{benchmark.name}: lm-eval gave no '{primary}' for the task {task.name}; it gave "
                f"{', '.join(given) or 'nothing'} (metric,filter)."
            )
    if benchmark.groups:
        return metrics[f"{benchmark.name}/{primary}"]
    return sum(metrics[f"{task.name}/{primary}"] for task in benchmark.tasks) / len(benchmark.tasks)


def _as_one_task(name: str, documents: "pd.DataFrame") -> "pd.DataFrame":
    """The documents of all tasks counted as those of one, so that each weighs the same."""
    return documents.assign(
        lm_eval_task=name,
        doc_id=range(len(documents)),
        subtask=documents["lm_eval_task"],
        subtask_doc_id=documents["doc_id"],
    )


def generation_requests(
    lm: "EngineLM", benchmark: Benchmark, rows: Mapping[str, Rows], settings: ScoreSettings
) -> list[GenerationRequest]:
    """What `run_lm_eval` will ask an engine to generate for a benchmark.

    Raises:
        InputError: a task has no documents, or its rows are not as it expects.
    """
    from lm_eval.evaluator_utils import get_sample_size

    from bench.lm_eval_task import build_task, lm_eval_at_work

    requests = []
    with lm_eval_at_work():
        for task in benchmark.tasks:
            built = build_task(task, rows[task.name], settings.seed, settings.run_code)
            asked = _asked(benchmark, settings)
            samples = asked["samples"] and asked["samples"][task.name]
            limit = get_sample_size(built, asked["limit"])
            built.build_all_requests(limit=limit, samples=samples, **_conversation(lm, settings.chat))
            requests += [lm.generation(*instance.args) for instance in built.instances]
    return requests


def run_lm_eval(
    lm: Any, benchmark: Benchmark, rows: Mapping[str, Rows], settings: ScoreSettings
) -> dict[str, Any]:
    """lm-eval's own results of any lm-eval model on a benchmark, without bootstrap or caches.

    Raises:
        InputError: a task has no documents, or its rows are not as it expects.
    """
    from lm_eval.evaluator import evaluate as lm_evaluate

    from bench.lm_eval_task import build_groups, build_task, lm_eval_at_work

    with lm_eval_at_work():
        tasks = {
            task.name: build_task(task, rows[task.name], settings.seed, settings.run_code)
            for task in benchmark.tasks
        }
        return lm_evaluate(
            lm,
            {"tasks": tasks, "groups": build_groups(benchmark.groups, tasks)},
            **_asked(benchmark, settings),
            bootstrap_iters=0,
            log_samples=True,
            confirm_run_unsafe_code=settings.confirm_run_unsafe_code or settings.run_code is not None,
            **_conversation(None, settings.chat),
        )


def _asked(benchmark: Benchmark, settings: ScoreSettings) -> dict[str, Any]:
    """What lm-eval is told of which documents are asked: the first ones, or some by their numbers."""
    if benchmark.documents is None:
        return {"limit": settings.limit_of(benchmark.name), "samples": None}
    return {"limit": None, "samples": {task: list(of) for task, of in benchmark.documents.items()}}


def _conversation(lm: "EngineLM | None", settings: ChatSettings) -> dict[str, Any]:
    """What lm-eval is told of how prompts are written; its `evaluate` has the model already."""
    if not settings.templated:
        return {"system_instruction": settings.system_instruction}
    told = {
        "system_instruction": settings.system_instruction,
        "apply_chat_template": True,
        "fewshot_as_multiturn": settings.fewshot_as_multiturn,
    }
    return told if lm is None else {**told, "chat_template": lm.apply_chat_template}


def reported_metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """Every metric of every task in lm-eval's results, "task/metric,filter"."""
    return {
        f"{task}/{key}": float(value)
        for task, values in results["results"].items()
        for key, value in values.items()
        if "," in key and isinstance(value, int | float) and "_stderr" not in key
    }


def judge_answers(
    results: Mapping[str, Any],
    benchmark: Benchmark,
    rows: Mapping[str, Rows],
    settings: ScoreSettings,
    *,
    judge: Judge,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """lm-eval's results for the answers in `results`, scored from a judge's verdicts on whether they refuse.

    Returns:
        The results, and what the reader of the number should know. An empty answer is not shown to the judge.

    Raises:
        InputError: the judge gives no verdict on any answer, so it is none.
    """
    from bench.engines.replay import ReplayLM

    form = benchmark.judged
    assert form is not None
    answers = {
        (task, sample["doc_id"]): (sample["doc"][form.request], sample["resps"][0][0])
        for task, samples in results["samples"].items()
        for sample in samples
    }
    exchanges = list(dict.fromkeys(exchange for exchange in answers.values() if exchange[1].strip()))
    verdicts = dict(zip(exchanges, judge.verdicts(exchanges, progress), strict=True))
    without = sum(verdicts.get(exchange) == NO_VERDICT for exchange in answers.values())
    if exchanges and set(verdicts.values()) == {NO_VERDICT}:
        raise InputError(
            f"The judge gave no verdict on any of {len(exchanges)} answers to {benchmark.name}: it must "
            "answer as WildGuard does, with a line 'Response refusal: yes' or 'no'."
        )
    metrics = form.metrics.resolve()

    def process_results(doc: Mapping[str, Any], answer: Sequence[str]) -> Mapping[str, float]:
        exchange = doc[form.request], answer[0]
        return metrics(doc, verdicts[exchange] if answer[0].strip() else NO_VERDICT)

    judged = benchmark.but(
        tasks=tuple(
            replace(task, config={**task.config, "process_results": process_results})
            for task in benchmark.tasks
        ),
    )
    chosen = benchmark.documents or {}

    def number(request: Any) -> int:
        """A document's own number; lm-eval counts those that are asked."""
        return chosen[request.task_name][request.doc_id] if chosen else request.doc_id

    lm = ReplayLM(lambda request: answers[request.task_name, number(request)][1])
    notices = (
        [f"{counted(without, 'answer')} got no verdict from the judge: taken as wrong"] if without else []
    )
    again = run_lm_eval(lm, judged, rows, settings.but(chat=ChatSettings()))
    sent = {(task, one["doc_id"]): one["arguments"] for task, of in results["samples"].items() for one in of}
    for task, samples in again["samples"].items():
        for sample in samples:
            sample["arguments"] = sent[task, sample["doc_id"]]
    return again, notices


def _documents(benchmark: Benchmark, samples: Mapping[str, list[dict[str, Any]]]) -> Any:
    for task in benchmark.tasks:
        by_document: dict[int, dict[str, Any]] = {}
        for sample in samples[task.name]:
            number = sample["doc_id"]
            row = by_document.setdefault(number, {"lm_eval_task": task.name, "doc_id": number})
            if benchmark.items is not None:
                row[ITEM] = benchmark.items.name(sample["doc"], number)
            elif len(benchmark.tasks) > 1:
                row[ITEM] = f"{benchmark.name}/{task.name}/{number}"
            for metric in sample["metrics"]:
                if isinstance(sample[metric], int | float):
                    row[f"{metric},{sample['filter']}"] = float(sample[metric])
            if sample["filter"] == benchmark.filter:
                row |= _scores(benchmark.metric, sample[benchmark.metric])
                row["prompt"] = sample["arguments"][0][0]
                row["target"] = _target(sample["target"], sample["arguments"])
                row["output"] = str(
                    sample["resps"][0][0] if len(sample["resps"]) == 1 else sample["filtered_resps"]
                )
                row["doc_hash"] = sample["doc_hash"]
        yield from by_document.values()


def _target(target: Any, asked: Sequence[Sequence[Any]]) -> str:
    """What was expected; of choices the text of the right one, where lm-eval has its number.

    Args:
        target: as lm-eval has it, a number or several where choices have numbers.
        asked: the prompt and the choice of every request of a document, or one prompt with its settings.
    """
    choices = [one[1].strip() if len(one) > 1 and isinstance(one[1], str) else "" for one in asked]
    numbers = target if isinstance(target, list | tuple) else [target]
    are_numbers = all(isinstance(one, int) and 0 <= one < len(choices) and choices[one] for one in numbers)
    if len(choices) < 2 or not numbers or not are_numbers:
        return str(target)
    return " or ".join(choices[one] for one in numbers)


def _scores(metric: str, value: Any) -> dict[str, float]:
    """A document's score. Of a metric over pairs, such as Matthews' correlation: equality, and the pair.

    Of a perplexity it is the document's own; its pair is the log-likelihood and the number of words or bytes.
    """
    if metric in PERPLEXITIES:
        logprob, units = map(float, value)
        own = from_means(metric, np.array([logprob, units]))
        return {"score": float(own), "logprob": logprob, "units": units}
    if isinstance(value, tuple | list):
        gold, predicted = value
        return {"score": float(gold == predicted), "gold": float(gold), "predicted": float(predicted)}
    return {"score": float(value)}
