"""Refusing more worked examples before a question than there are to choose from."""

from bench.benchmark import EvalTask
from bench.data import Rows, fewshot_splits
from results.errors import InputError
from results.words import counted


def refuse_few_rows(task: EvalTask, rows: Rows) -> None:
    """Refuse a task that asks for more worked examples than its rows can be, before a model is loaded.

    Where a function makes documents of rows their number is known only when it has run.

    Args:
        task: the definition.
        rows: its rows.

    Raises:
        InputError: names the task and both numbers.
    """
    own = task.config.get("fewshot_config") or {}
    if task.config.get("process_docs") or own.get("process_docs"):
        return
    split, samples = own.get("split") or task.config.get("fewshot_split"), own.get("samples")
    if places := fewshot_splits(task.config):
        there = sum(len(rows.splits[place]) for place in places)
    elif isinstance(samples, list):
        there = len(samples)
    else:
        return
    refuse_few(
        task.name, task.config.get("num_fewshot") or 0, there, apart=split == task.config.get("test_split")
    )


def refuse_few(task: str, asked: int, there: int, *, apart: bool) -> None:
    """Refuse more worked examples than there are.

    Args:
        task: its name.
        asked: the number of examples before a question.
        there: the number of documents to choose from.
        apart: whether the question itself may be among these, and is left out.

    Raises:
        InputError: names the task and both numbers.
    """
    usable = max(0, there - apart)
    if asked > usable:
        raise InputError(
            f"{task}: {counted(asked, 'worked example')} asked for, of {usable} to choose from "
            "(--num-fewshot, or 'num_fewshot' of the task)."
        )
