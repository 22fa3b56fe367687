"""What `manyshot run --plan` prints: the texts of an experiment, the work on them, and its hours."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from bench.suite import load_suite
from manyshot.console import as_table
from manyshot.experiment import Experiment
from manyshot.jobs import longest_first
from manyshot.plan_amounts import ESTIMATE, Amount, ExperimentPlan, Step
from manyshot.run_steps import RunStep, run_steps
from results.errors import InputError
from results.words import ranges

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


def order_of_steps(experiment: Experiment, plan: ExperimentPlan) -> list[RunStep]:
    """The steps that workers do, the first of what most others wait for; of all subsets of tasks."""
    suite = load_suite(experiment.suite)

    def benchmarks(tasks: tuple[str, ...]) -> list[str]:
        merged = suite.but(tasks={task: suite.tasks[task] for task in tasks})
        return [one.name for one in merged.benchmarks if one.name in plan.benchmarks]

    return longest_first(run_steps(experiment, tuple(suite.tasks), benchmarks))


def plan_as_json(plan: ExperimentPlan, rates: Rates, order: Sequence[RunStep]) -> str:
    """The plan for programs."""
    content = {
        "tasks": {task: asdict(texts) for task, texts in plan.tasks.items()},
        "benchmarks": {name: asdict(amount) for name, amount in plan.benchmarks.items()},
        "steps": [
            {**asdict(step), "tokens": round(step.tokens)}
            | ({"hours": round(step.hours(*rates), 4)} if rates and step.reads else {})
            for step in plan.steps
        ],
        "estimate": ESTIMATE,
    }
    if order:
        content["order"] = [{"step": step.name, "after": sorted(step.after)} for step in order]
    return json.dumps(content, indent=2)


def plan_as_text(plan: ExperimentPlan, rates: Rates, order: Sequence[RunStep]) -> str:
    """The plan for people."""
    notes = [
        ESTIMATE,
        "~ marks numbers that were not counted on rows; a + stands for texts of which nobody knows how many.",
        f"Hours are at {rates[0]:g} tokens a second forward and backward (train, learn) and {rates[1]:g} "
        "forward; merging, loading and the judge are not in them."
        if rates
        else "With --tokens-per-second TRAINING SCORING come hours.",
    ]
    headings = ("work", "of what", "times", "texts", "tokens", *(["hours"] if rates else []))
    texts = as_table(("texts", "number", "tokens each"), _texts(plan))
    parts = [texts, as_table(headings, _work(plan, rates)), "\n".join(notes)]
    if order:
        numbers = {name: number for number, step in enumerate(order, 1) for name in step.does}
        steps = [
            (str(number), step.name, ranges({numbers[name] for name in step.after}))
            for number, step in enumerate(order, 1)
        ]
        parts.append(as_table(("step", "what workers do", "after steps"), steps))
    return "\n\n".join(parts)


def _texts(plan: ExperimentPlan) -> Iterator[tuple[str, str, str]]:
    for task, texts in plan.tasks.items():
        yield (f"training of {task}", *_amount(texts.training))
        yield (f"validation of {task}", *_amount(texts.validation))
    for name, amount in plan.benchmarks.items():
        yield (name, *_amount(amount))


def _amount(amount: Amount | None) -> tuple[str, str]:
    """How many texts, and their tokens."""
    if amount is None:
        return "none", ""
    mark = "" if amount.counted else "~"
    texts = "all (?)" if amount.texts is None else f"{mark}{amount.texts:,}"
    return texts, f"{mark}{amount.tokens_each:,.0f}"


def _work(plan: ExperimentPlan, rates: Rates) -> Iterator[tuple[str, ...]]:
    for step in plan.steps:
        yield (step.phase, step.what, f"{step.times:,}", *_read([step], rates))
    yield ("in all", "", "", *_read(plan.steps, rates))


def _read(steps: Sequence[Step], rates: Rates) -> Iterator[str]:
    """Texts, tokens and hours of some steps."""
    reads, more = any(step.reads for step in steps), " +" if any(step.more for step in steps) else ""
    yield f"{sum(step.texts for step in steps):,}{more}" if reads else ""
    yield f"{sum(step.tokens for step in steps) / 1e6:,.2f} M{more}" if reads else ""
    if rates:
        known = any(step.texts for step in steps)
        yield f"{sum(step.hours(*rates) for step in steps):.2f}{more}" if known else ""
