"""Where the experts of a round come from: they are given, or trained from the model before the round."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.checkpoints.folders import locate
from merging.examples import Example, examples_digest
from merging.train_settings import TrainSettings
from merging.training import TRAINING_VERSION, made_from, train, training_key
from results.errors import InputError


@dataclass(frozen=True)
class Expert:
    """An expert: its folder or hub name as a recipe names it, and its folder."""

    name: str
    folder: Path


@dataclass(frozen=True)
class GivenExperts:
    """Experts that are there.

    Attributes:
        experts: by task.
        digests: of the experts, by task.
    """

    experts: Mapping[str, Expert]
    digests: Mapping[str, str]

    def key(self) -> Any:
        """Return a JSON value of all that decides the experts."""
        return dict(self.digests)

    def round_experts(self, *_: object) -> dict[str, Expert]:
        """Return the experts of the only round."""
        return dict(self.experts)


@dataclass(frozen=True)
class TrainedExperts:
    """Experts that are trained in every round.

    Attributes:
        examples: what each task's expert learns.
        settings: of the training of one round.
    """

    examples: Mapping[str, Sequence[Example]]
    settings: TrainSettings

    def key(self) -> Any:
        """Return a JSON value of all that decides the experts, besides the model before the first round."""
        examples = {task: examples_digest(examples) for task, examples in self.examples.items()}
        return [examples, self.settings.deciding, TRAINING_VERSION]

    def round_experts(
        self, round_index: int, start: str, seed: int, out: Path, begin: Callable[[str], None]
    ) -> dict[str, Expert]:
        """Return a round's experts, trained where they are not there yet.

        Args:
            round_index: the round, from 1.
            start: the model, or the adapter, that is trained.
            seed: of the training.
            out: folder whose `experts/` has them.
            begin: called with a task before its training.
        """
        experts = {}
        for task in self.examples:
            training = self.round_training(task, round_index, start, seed, out)
            folder = training.expert(begin)
            experts[task] = Expert(str(folder), folder)
        return experts

    def round_training(
        self, task: str, round_index: int, start: str, seed: int, out: Path
    ) -> "ExpertTraining":
        """Return the training of a task's expert in a round; the arguments are those of `round_experts`."""
        passed = (round_index - 1) * math.ceil(self.settings.epochs)
        settings = self.settings.but(seed=seed, first_epoch=passed)
        return ExpertTraining(locate(start), task, self.examples[task], settings, out / "experts")


@dataclass(frozen=True)
class ExpertTraining:
    """A training whose expert is kept by all that it is made from.

    Attributes:
        start: the model, or the adapter, that is trained.
        task: what the expert is called.
        examples: what it learns.
        settings: how.
        folder: of experts.
    """

    start: Path
    task: str
    examples: Sequence[Example]
    settings: TrainSettings
    folder: Path

    @property
    def out(self) -> Path:
        """The expert's folder."""
        key = training_key(made_from(self.start, self.examples, self.settings))
        return self.folder / f"{self.task}-{key[:12]}"

    def expert(self, begin: Callable[[str], None] = lambda _: None) -> Path:
        """Return the expert's folder, trained where none was made in this way.

        Args:
            begin: called with the task before a training, as to give it the device.

        Raises:
            InputError: it cannot be trained.
        """
        out = self.out
        if out.exists():
            return out
        self.folder.mkdir(parents=True, exist_ok=True)
        begin(self.task)
        try:
            # A whole merged model carries a new adapter; a merged adapter is trained on.
            return train(self.start, self.examples, self.settings, out)
        except InputError:
            if not out.exists():  # otherwise another process has just trained the same
                raise
        return out


def training_seconds(expert: Path) -> float | None:
    """Return how long an expert was trained, wherever it was; None where nothing says so."""
    report = expert / "training.json"
    return float(json.loads(report.read_text(encoding="utf-8"))["seconds"]) if report.is_file() else None
