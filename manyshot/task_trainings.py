"""Training experts of a suite's tasks: one into a folder, or several into the folders of one."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.engine import EngineSettings
from bench.examples import load_shares
from bench.suite import Suite, load_suite
from manyshot.console import logger
from manyshot.run_steps import RunStep
from merging.checkpoints.folders import locate
from merging.examples import Example
from merging.train_settings import TrainSettings
from merging.training import made_from, train
from results.errors import InputError
from results.json_values import json_value
from results.reading import read_json


@dataclass(frozen=True)
class TrainingSetup:
    """What a process must know to train experts; values that can be sent.

    Attributes:
        suite: its name or file.
        base: what is trained.
        settings: how.
        most: examples of a task; None takes all.
        data_root: local data root, or None for the hub.
        out: folder for a folder of each task.
        store: folder of the store, which keeps digests of checkpoints.
        engine: says which device a worker has.
    """

    suite: str
    base: str
    settings: TrainSettings
    most: int | None
    data_root: Path | None
    out: Path
    store: Path
    engine: EngineSettings

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""
        return self.out / "logs"

    def open(self) -> "TaskTrainings":
        """Open the suite.

        Raises:
            InputError: it is not there.
        """
        return TaskTrainings(self)


class TaskTrainings:
    """Trains experts.

    Args:
        setup: how.
    """

    def __init__(self, setup: TrainingSetup) -> None:
        self._setup = setup
        self._examples: dict[str, list[Example]] = {}

    def examples(self, task: str) -> list[Example]:
        """What a task's expert learns.

        Raises:
            InputError: the suite has no such task, or names nothing to train on, or that is not at hand.
        """
        if task in self._examples:
            return self._examples[task]
        suite = self._suite
        if task not in suite.tasks:
            raise InputError(f"The suite {suite.name} has no task '{task}'; it has {', '.join(suite.tasks)}.")
        sources = suite.tasks[task].training
        if not sources:
            raise InputError(f"The suite {suite.name} names no training data for the task '{task}'.")
        pairs = load_shares(sources, self._setup.data_root, self._setup.most)
        return self._examples.setdefault(task, [Example(*pair) for pair in pairs])

    def train(self, task: str, out: Path) -> Path:
        """Train a task's expert into a folder, and return it.

        Raises:
            InputError: it cannot be trained, or something is in its place.
        """
        return train(locate(self._setup.base), self.examples(task), self._setup.settings, out)

    def has(self, step: RunStep) -> bool:
        """Whether a task's expert is in its folder, trained in this way."""
        assert step.task is not None
        report = self._setup.out / step.task / "training.json"
        if not report.is_file():
            return False
        examples = self.examples(step.task)
        made_by = json_value(made_from(locate(self._setup.base), examples, self._setup.settings))
        found = read_json(report, "remove its folder, and the expert is trained again")
        return all(found.get(name) == value for name, value in made_by.items())

    def do(self, step: RunStep) -> None:
        """Train a task's expert into its folder, unless it is there.

        Raises:
            InputError: it cannot be trained.
        """
        assert step.task is not None
        if not self.has(step):
            logger.info("training %s", step.task)
            self.train(step.task, self._setup.out / step.task)

    @cached_property
    def _suite(self) -> Suite:
        return load_suite(self._setup.suite)
