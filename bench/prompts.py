"""The prompts that a benchmark's documents become, as a model sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.benchmark import EvalTask
from bench.data import Row, Rows

DEFAULT_NEW_TOKENS = 256
"""Most tokens of an answer, lm-eval's, where a benchmark does not say."""


@dataclass(frozen=True)
class Prompt:
    """One document with its prompt.

    Attributes:
        doc: the document.
        prompt: the text before the answer, worked examples included.
        target: what lm-eval calls the right answer.
        choices: what the log-likelihood is taken of, one text for each choice; empty for generated answers.
    """

    doc: Row
    prompt: str
    target: Any
    choices: tuple[str, ...]


def documents_of(task: EvalTask, rows: Rows) -> Sequence[Row]:
    """The documents that a task makes of its rows, in their order."""
    from bench.lm_eval_task import build_task, lm_eval_at_work

    with lm_eval_at_work():
        return list(build_task(task, rows, seed=0).eval_docs)


def prompts_of(task: EvalTask, rows: Rows, seed: int, limit: int | None = None) -> Sequence[Prompt]:
    """The prompts of a task's documents.

    Args:
        task: the definition.
        rows: its rows.
        seed: seed of the few-shot sampler.
        limit: most documents (the first ones), or None for all.

    Raises:
        InputError: the rows are not as the task expects.
    """
    from bench.lm_eval_task import build_task, lm_eval_at_work

    with lm_eval_at_work():
        built = build_task(task, rows, seed)
        built.build_all_requests(limit=limit)
        requests_of: dict[int, list[Any]] = {}
        for request in built.instances:
            requests_of.setdefault(request.doc_id, []).append(request)
        generated = built.OUTPUT_TYPE == "generate_until"
        return [
            Prompt(
                requests[0].doc,
                requests[0].args[0],
                built.doc_to_target(requests[0].doc),
                () if generated else tuple(request.args[1] for request in requests),
            )
            for _, requests in sorted(requests_of.items())
        ]
