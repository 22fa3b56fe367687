"""Trying candidates, in this process or by workers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.engine import EngineSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.suite import load_suite
from bench.validation_parts import ValidationParts
from manyshot.experiment_scorer import scoring_setup
from manyshot.jobs import Job
from manyshot.search.candidates import Evaluator
from manyshot.search.estimate import Estimates
from manyshot.search.file import Search
from manyshot.search.opened import check_search, open_search
from manyshot.search.trials import Outcome, Pending, Trial
from manyshot.workers.driver import Crew
from manyshot.workers.queue import Queue

Keep = Callable[[Pending, Outcome], None]


@dataclass(frozen=True)
class CandidateJob(Job):
    """A candidate that is to be tried.

    Attributes:
        pending: which.
        best: with halving, the trials before its batch that no other is better than in every objective.
    """

    pending: Pending
    best: tuple[Trial, ...]

    @property
    def label(self) -> str:
        """What it is called in messages."""
        return f"candidate {self.pending.number}"


@dataclass(frozen=True)
class SearchSetup:
    """What a process must know to try candidates; values that can be sent.

    Attributes:
        search: what its file says.
        name: of its run.
        store: folder of the store.
        data_root: local data root, or None for the hub.
        out: folder of the search.
    """

    search: Search
    name: str
    store: Path
    data_root: Path | None
    out: Path

    @property
    def engine(self) -> EngineSettings:
        """Of each worker."""
        return self.search.experiment.engine

    @property
    def candidates(self) -> Path:
        """Where candidates lie while they are scored."""
        return self.out.resolve() / "candidates"

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""
        return self.out / "logs"

    def open(self) -> "OpenedTrying":
        """Open all that candidates need.

        Raises:
            InputError: something that the search names is not there or does not fit.
        """
        return OpenedTrying(self)


class OpenedTrying:
    """Tries candidates.

    Args:
        setup: of the search.

    Attributes:
        scoring: how all is scored.
        scorer: that scores it so.
        search: opened.
        evaluator: of candidates.
        halves: whether candidates are stopped that cannot be among the best.
    """

    def __init__(self, setup: SearchSetup) -> None:
        experiment, settings = setup.search.experiment, setup.search.settings
        self.halves = settings.halving is not None
        suite = load_suite(experiment.suite)
        objectives = check_search(setup.search, suite, setup.name)
        names = (experiment.base, *(experiment.experts or {}).values())
        self.scoring = scoring_setup(
            experiment,
            suite,
            map(ScoredCheckpoint.open, names),
            setup.store,
            setup.data_root,
            asked_by="A search scores",
        )
        self.scorer = self.scoring.open_scorer()
        self.search = open_search(
            setup.search,
            setup.name,
            suite,
            objectives,
            scorer=self.scorer,
            root=setup.data_root,
            out=setup.out,
        )
        parts = ValidationParts(self.search.signals, suite, settings.shares, settings.seed)
        estimate, endpoints = settings.estimate, (self.search.base, *self.search.experts.values())
        self.evaluator = Evaluator(
            self.search.family,
            self.search.signals,
            parts,
            objectives,
            setup.candidates,
            estimates=Estimates(parts, endpoints, estimate.dimensions) if estimate else None,
            estimator=estimate.estimator if estimate else "part",
            confidence=settings.halving.confidence if settings.halving else 1.0,
        )

    def do(self, job: CandidateJob) -> Outcome:
        """Try a candidate."""
        return self.evaluator.evaluate(job.pending.candidate, job.pending.number, job.best)

    def close(self) -> None:
        """Stop the engine."""
        self.scorer.close()


def try_by(crew: Crew, jobs: Sequence[CandidateJob], keep: Keep) -> None:
    """Let workers try candidates; one over which three have died has failed.

    Args:
        crew: of workers.
        jobs: the candidates.
        keep: called with each and what it gave.
    """
    queue = _CandidateQueue(jobs, keep)
    for failed in crew.do(lambda _: queue, len(jobs), lambda _: None):
        keep(failed.job.pending, Outcome((), failed=failed.why))


class _CandidateQueue(Queue[CandidateJob]):
    """Candidates, of which each outcome is kept when it is there."""

    def __init__(self, jobs: Sequence[CandidateJob], keep: Keep) -> None:
        super().__init__(jobs, workers=len(jobs))
        self._keep = keep

    def done(self, job: CandidateJob, value: Outcome) -> None:
        """Keep what a candidate gave."""
        super().done(job, value)
        self._keep(job.pending, value)
