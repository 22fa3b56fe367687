"""The validation data of a suite's tasks: examples, inputs, and which are needed for what."""

from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path

from bench.benchmark import Benchmark
from bench.examples import load_examples, load_shares
from bench.suite import Suite
from merging.examples import Example
from merging.signals import ContinuationSettings, SignalNeeds
from results.errors import InputError


class ValidationData:
    """Validation data, each read once.

    Args:
        suite: whose tasks are measured.
        data_root: local data root, or None for the hub.
        limit: most examples of a task; None takes all.
        prompts: gives a benchmark's prompts, at most so many.
    """

    def __init__(
        self,
        suite: Suite,
        data_root: Path | None,
        limit: int | None,
        prompts: Callable[[Benchmark, int | None], list[str]],
    ) -> None:
        self._suite, self._root, self._limit, self._prompts = suite, data_root, limit, prompts
        self._examples: dict[str, list[Example]] = {}
        self._inputs: dict[tuple[str, str, int | None], list[str]] = {}

    def examples(self, task: str) -> list[Example]:
        """A task's validation examples.

        Raises:
            InputError: the suite names none.
        """
        if task not in self._examples:
            sources = self._suite.tasks[task].validation
            if not sources:
                raise InputError(
                    f"The suite {self._suite.name} names no validation data for the task '{task}', by which "
                    "tasks are weighed, settings and rounds chosen and coefficients learned: name "
                    "`validation` examples there, or leave out what needs them."
                )
            pairs = load_shares(sources, self._root, self._limit)
            self._examples[task] = [Example(*pair) for pair in pairs]
        return self._examples[task]

    @property
    def counts(self) -> dict[str, int]:
        """How many validation examples were read of each task that any were read of."""
        return {task: len(examples) for task, examples in self._examples.items()}

    def inputs(self, task: str, settings: ContinuationSettings) -> list[str]:
        """Texts of a task's inputs, of each source or benchmark in turn: validation's, or what is scored.

        Of a validation source come as many as the limit lets through, each text once.
        """
        key = task, settings.source, settings.inputs
        if key not in self._inputs:
            suite_task = self._suite.tasks[task]
            if settings.source == "validation":
                self.examples(task)  # which says what is missing
                sources = suite_task.validation
                each = [[prompt for prompt, _ in load_examples([source], self._root)] for source in sources]
            else:
                each = [self._prompts(benchmark, settings.inputs) for benchmark in suite_task.benchmarks]
            rows = zip_longest(*(dict.fromkeys(texts) for texts in each))
            texts = list(dict.fromkeys(text for row in rows for text in row if text is not None))
            limits = [limit for limit in (settings.inputs, self._limit) if limit is not None]
            self._inputs[key] = texts[: min(limits)] if limits else texts
        return self._inputs[key]

    def tasks_with_losses(self, needs: SignalNeeds) -> list[str]:
        """The tasks of which losses or other numbers of validation examples are needed."""
        return [
            name
            for name, task in self._suite.tasks.items()
            if needs.losses or (needs.scores and task.validation_split is None)
        ]

    def benchmarks_needed(self, needs: SignalNeeds) -> dict[str, list[Benchmark]]:
        """The benchmarks that are scored on validation splits, or whose questions are read, by task."""
        needed: dict[str, list[Benchmark]] = {}
        for name, task in self._suite.tasks.items():
            needed[name] = list(task.benchmarks) if needs.questions else []
            if needs.scores and task.validation_split is not None:
                needed[name] += [benchmark.on_split(task.validation_split) for benchmark in task.benchmarks]
        return needed
