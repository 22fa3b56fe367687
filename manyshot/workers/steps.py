"""Steps of a run, done by several workers or one after the other."""

from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from manyshot.console import ScoringProgress, logger
from manyshot.run_steps import RunStep
from manyshot.workers.actor import Opened, Setup
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import Crew
from manyshot.workers.queue import Queue, Queued
from results.errors import InputError
from results.words import counted


class StepQueue(Queue[RunStep]):
    """Steps, of which those of a merge wait while too many other merges are not scored in all their rounds.

    Args:
        steps: each behind those that it waits for.
        workers: how many take steps.
        done: names of what is done already.
        few_unscored: begin no merge while one more than there are workers is under way.
    """

    def __init__(
        self,
        steps: Sequence[RunStep],
        workers: int,
        done: Collection[str] = (),
        *,
        few_unscored: bool = False,
    ) -> None:
        super().__init__(steps, workers, done)
        self._most = workers + 1 if few_unscored else len(steps)
        self._names: dict[object, set[str]] = {}
        for step in steps:
            if step.merge is not None:
                self._names.setdefault(step.merge, set()).update(step.does)
        self._begun = {merge for merge, names in self._names.items() if names & self.finished}

    def take(self, last: RunStep | None = None) -> Queued[RunStep] | None:
        """The next step of a worker; None where there is none for it now."""
        queued = super().take(last)
        if queued is not None and queued.job.merge is not None:
            self._begun.add(queued.job.merge)
        return queued

    def may_be_taken(self, job: RunStep) -> bool:
        """Whether a step waits for nothing."""
        if not super().may_be_taken(job):
            return False
        under_way = [merge for merge in self._begun if not self._names[merge] <= self.finished | self.lost]
        return job.merge is None or job.merge in self._begun or len(under_way) < self._most


def do_steps_here(steps: Sequence[RunStep], is_done: Callable[[RunStep], bool], opened: Opened) -> None:
    """Do the steps that are not done in this process, with few merges under way at a time.

    Args:
        steps: each behind those that it waits for.
        is_done: says of a step, whose earlier ones are done, whether it is.
        opened: does a step.

    Raises:
        InputError: one cannot be done.
    """
    done = _done(steps, is_done)
    queue = StepQueue(steps, 1, done, few_unscored=True)
    last = None
    while (queued := queue.take(last)) is not None:
        logger.info("%s: %d of %d steps are done", queued.job.name, len(queue.finished), _number(steps))
        opened.do(queued.job)
        queue.done(queued.job, None)
        last = queued.job
    assert not queue
    _say_scored(steps, queue.finished - done)


def do_steps(
    steps: Sequence[RunStep],
    is_done: Callable[[RunStep], bool],
    setup: Setup,
    workers: Workers,
    *,
    few_unscored: bool = False,
) -> None:
    """Let workers do the steps that are not done.

    Args:
        steps: each behind those that it waits for.
        is_done: says of a step, whose earlier ones are done, whether it is.
        setup: what workers open.
        workers: where they are.
        few_unscored: have at most one merge more under way than there are workers.

    Raises:
        InputError: names the steps that could not be done, when all others are that wait for none of them;
            or what was done cannot be seen here.
    """
    done, number = _done(steps, is_done), _number(steps)
    if len(done) == number:
        return
    left = number - len(done)
    logger.info("%s for workers, who write what they do into %s", counted(left, "step"), setup.logs)
    progress = ScoringProgress(number, "steps")
    progress.finish(len(done))
    shown, queues = len(done), list[StepQueue]()

    def queue_of(places: int) -> StepQueue:
        queues.append(StepQueue(steps, places, done, few_unscored=few_unscored))
        return queues[-1]

    def look(jobs: Collection[RunStep]) -> None:
        nonlocal shown
        progress.start(", ".join(job.name for job in jobs))
        progress.finish(len(queues[-1].finished) - shown)
        shown = len(queues[-1].finished)

    with progress.shown(), closing(Crew(workers, setup)) as crew:
        failed = crew.do(queue_of, left, look)
    finished = queues[-1].finished
    _say_scored(steps, finished - done)
    for step in steps:
        if step.does <= finished and not step.does <= done and not is_done(step):
            raise InputError(
                f"A worker has done '{step.name}', which this process does not find in {setup.logs.parent}: "
                "all machines must see this folder and the store under these paths, and have the same "
                "versions of torch and transformers."
            )
    if failed:
        missing, why = number - len(finished), [f"{one.job.name}: {one.why}" for one in failed]
        raise InputError(
            f"{missing} of {counted(left, 'step')} could not be done; a second start tries these again. "
            f"{' '.join(why)}"
        )


def _done(steps: Sequence[RunStep], is_done: Callable[[RunStep], bool]) -> set[str]:
    """Names of what is done."""
    done: set[str] = set()
    for step in steps:
        if step.after <= done and is_done(step):
            done |= step.does
    return done


def _say_scored(steps: Sequence[RunStep], done: Collection[str]) -> None:
    """Say how much was scored in the steps that were done."""
    if scored := sum(len(step.does.intersection(done)) for step in steps if step.benchmarks):
        logger.info("%s scored in steps, each of one checkpoint", counted(scored, "benchmark"))


def _number(steps: Sequence[RunStep]) -> int:
    """How much is to be done, benchmarks counted each."""
    return sum(len(step.does) for step in steps)
