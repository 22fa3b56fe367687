"""What `manyshot run --plan` prints: the work of an experiment, its hours, and what it reads and writes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from manyshot.plan_amounts import HOW, Amount, ExperimentPlan, Step
from manyshot.plan_files import PlannedFile
from manyshot.terminal import as_table, size
from results.errors import InputError

_UNKNOWN = "?"
_MANY = 4
Rates = tuple[float, float] | None
"""Tokens a second of training and of scoring."""


def rates_of(given: Sequence[float] | None) -> Rates:
    """Tokens a second of training and of scoring, where they are given; one number stands for both.

    Raises:
        InputError: there are more than two, or one is not above 0.
    """
    if not given:
        return None
    if len(given) > 2 or not all(0 < rate < float("inf") for rate in given):
        raise InputError(
            f"--tokens-per-second is {' '.join(f'{rate:g}' for rate in given)}; one or two numbers above 0 "
            "are expected: of training and of scoring."
        )
    return given[0], given[-1]


def plan_as_json(plan: ExperimentPlan, files: Sequence[PlannedFile], rates: Rates) -> str:
    """The plan for programs."""
    content = {
        "tasks": {task: asdict(texts) for task, texts in plan.tasks.items()},
        "benchmarks": {name: asdict(amount) for name, amount in plan.benchmarks.items()},
        "steps": [
            {
                **asdict(step),
                "data": list(step.data),
                "tokens": round(step.tokens),
                **_hours(step, rates),
            }
            for step in plan.steps
        ],
        "files": [asdict(file) for file in files],
        "estimate": HOW,
    }
    return json.dumps(content, indent=2)


def plan_as_text(plan: ExperimentPlan, files: Sequence[PlannedFile], rates: Rates) -> str:
    """The plan for people."""
    return "\n\n".join(_blocks(plan, files, rates))


def _blocks(plan: ExperimentPlan, files: Sequence[PlannedFile], rates: Rates) -> Iterator[str]:
    tasks = [
        (task, *_amount(texts.training), *_amount(texts.validation)) for task, texts in plan.tasks.items()
    ]
    yield as_table(("task", "training texts", "tokens each", "validation texts", "tokens each"), tasks)
    benchmarks = [(name, *_amount(amount)) for name, amount in plan.benchmarks.items()]
    yield as_table(("benchmark", "documents", "tokens each"), benchmarks)
    rows = [
        (step.phase, step.what, _names(step), f"{step.times:,}", *_read(step), *_hours_cell(step, rates))
        for step in plan.steps
    ]
    whole = Step("score", "", {}, 0, sum(s.texts for s in plan.steps), sum(s.tokens for s in plan.steps))
    whole.more = any(step.more for step in plan.steps)
    hours = [f"{sum(step.hours(*rates) or 0 for step in plan.steps):.2f}"] if rates else []
    rows.append(("in all", "", "", "", *_read(whole), *hours))
    headings = ("work", "of what", "texts of", "times", "texts", "tokens", *(["hours"] if rates else []))
    yield as_table(headings, rows)
    yield as_table((), _file_rows(files))
    notes = [
        HOW,
        "~ marks numbers that were not counted on rows; a + stands for texts of which nobody knows how many.",
        f"Hours are at {rates[0]:g} tokens a second forward and backward (train, learn) and {rates[1]:g} "
        "forward; merging, loading and the judge are not in them."
        if rates
        else "With --tokens-per-second TRAINING SCORING come hours.",
    ]
    yield "\n".join(notes)


def _amount(amount: Amount | None) -> tuple[str, str]:
    """How many texts, and their tokens."""
    if amount is None:
        return "none", ""
    mark = "" if amount.counted else "~"
    texts = f"all ({_UNKNOWN})" if amount.texts is None else f"{mark}{amount.texts:,}"
    return texts, f"{mark}{amount.tokens_each:,.0f}"


def _names(step: Step) -> str:
    names = list(step.data)
    first = ", ".join(names[:_MANY])
    return first if len(names) <= _MANY else f"{first} and {len(names) - _MANY} more"


def _read(step: Step) -> tuple[str, str]:
    if not step.texts and not step.more:
        return "", ""
    more = " +" if step.more else ""
    return f"{step.texts:,}{more}", f"{step.tokens / 1e6:,.2f} M{more}"


def _hours(step: Step, rates: Rates) -> dict[str, float]:
    """Nothing where there are no rates, or the step reads no texts, as merging does not."""
    hours = step.hours(*rates) if rates else None
    return {} if hours is None else {"hours": round(hours, 4)}


def _hours_cell(step: Step, rates: Rates) -> list[str]:
    if rates is None:
        return []
    hours = step.hours(*rates)
    return ["" if hours is None or not step.texts else f"{hours:.2f}"]


def _file_rows(files: Sequence[PlannedFile]) -> Iterator[tuple[str, str, str, str]]:
    """A line for each thing; files or sets that one thing is read from stand together."""
    grouped: dict[tuple[str, str], list[PlannedFile]] = {}
    for file in sorted(files, key=lambda file: file.use):
        grouped.setdefault((file.use, file.what), []).append(file)
    before = ""
    for (use, what), group in grouped.items():
        sizes = [file.nbytes for file in group if file.nbytes is not None]
        nbytes = size(sum(sizes)) if len(sizes) == len(group) else _UNKNOWN
        yield (
            "" if use == before else use,
            what,
            nbytes,
            ", ".join(dict.fromkeys(file.where for file in group)),
        )
        before = use
