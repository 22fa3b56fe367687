"""What a process must know to do steps of a run, and the run opened for whichever tasks a step is of."""

from dataclasses import dataclass, replace
from pathlib import Path

from bench.engine import EngineSettings
from manyshot.check import accepted_by_task
from manyshot.experiment import Experiment
from manyshot.opened_run import OpenedRun
from manyshot.run_steps import RunStep


@dataclass(frozen=True)
class RunSetup:
    """What a process must know to do steps of a run; values that can be sent.

    Attributes:
        experiment: what is done.
        store: folder of the store.
        data_root: local data root, or None for the hub.
        out: folder for experts and merged checkpoints.
        skip_missing: leave out benchmarks without data.
        keep_merged: keep the weights of merged checkpoints that have been scored.
    """

    experiment: Experiment
    store: Path
    data_root: Path | None
    out: Path
    skip_missing: bool = False
    keep_merged: bool = True

    @property
    def engine(self) -> EngineSettings:
        """Of each worker, which has a GPU where trainings would use one."""
        train, engine = self.experiment.train, self.experiment.engine
        return engine.but(device="auto") if train is not None and not train.cpu else engine

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""
        return self.out / "logs"

    def open(self) -> "OpenedSubsets":
        """Return what does the steps.

        Raises:
            InputError: something that the experiment names is not there or does not fit.
        """
        return OpenedSubsets(self)


class OpenedSubsets:
    """Does the steps of a run, of whichever tasks they are.

    Args:
        setup: of the run.
    """

    def __init__(self, setup: RunSetup) -> None:
        self._setup, self._opened = setup, dict[tuple[str, ...], OpenedRun]()
        self._accepted = accepted_by_task(setup.experiment)

    def of(self, tasks: tuple[str, ...]) -> "OpenedRun":
        """The run on some of the suite's tasks, of which one at a time has an engine.

        Raises:
            InputError: something that the experiment names is not there or does not fit.
        """
        if tasks not in self._opened:
            setup = self._setup
            if setup.experiment.subsets is not None:
                setup = replace(setup, experiment=setup.experiment.only(tasks, self._accepted))
            self._opened[tasks] = OpenedRun(setup, tasks)
        for others, opened in self._opened.items():
            if others != tasks:
                opened.close()
        return self._opened[tasks]

    def do(self, step: RunStep) -> None:
        """Do a step whose earlier ones are done, unless it is done itself.

        Raises:
            InputError: it cannot be done.
        """
        self.of(step.tasks).do(step)

    def has(self, step: RunStep) -> bool:
        """Whether a step is done whose earlier ones are."""
        return self.of(step.tasks).has(step)

    def close(self) -> None:
        """Stop the engine."""
        for opened in self._opened.values():
            opened.close()
