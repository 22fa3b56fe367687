"""Steps that make checkpoints, done by several workers."""

from collections.abc import Callable, Collection, Sequence
from contextlib import closing

from manyshot.console import ScoringProgress, logger
from manyshot.run_steps import RunStep
from manyshot.workers.actor import Setup
from manyshot.workers.cluster import Workers
from manyshot.workers.driver import Crew
from manyshot.workers.step_queue import StepQueue
from results.errors import InputError
from results.words import counted


def do_steps(
    steps: Sequence[RunStep], is_done: Callable[[RunStep], bool], setup: Setup, workers: Workers
) -> None:
    """Let workers do the steps that are not done.

    Args:
        steps: each behind those that it waits for.
        is_done: says of a step, whose earlier ones are done, whether it is.
        setup: what workers open.
        workers: where they are.

    Raises:
        InputError: names the steps that could not be done, when all others are that wait for none of them;
            or what was done cannot be seen here.
    """
    done: set[str] = set()
    for step in steps:
        if step.after <= done and is_done(step):
            done.add(step.name)
    left = len(steps) - len(done)
    if not left:
        return
    logger.info("%s for workers, who write what they do into %s", counted(left, "step"), setup.logs)
    queue, progress = StepQueue(steps, done), ScoringProgress(len(steps), "steps")
    progress.finish(len(done))
    shown = len(done)

    def look(jobs: Collection[RunStep]) -> None:
        nonlocal shown
        progress.start(", ".join(job.name for job in jobs))
        progress.finish(len(queue.finished) - shown)
        shown = len(queue.finished)

    with progress.shown(), closing(Crew(workers, setup)) as crew:
        failed = crew.do(lambda _: queue, left, look)
    for step in steps:
        if step.name in queue.finished - done and not is_done(step):
            raise InputError(
                f"A worker has done '{step.name}', which this process does not find in {setup.logs.parent}: "
                "all machines must see this folder under this path, and have the same versions of torch and "
                "transformers."
            )
    if failed:
        missing, why = len(steps) - len(queue.finished), [f"{one.job.name}: {one.why}" for one in failed]
        raise InputError(
            f"{missing} of {counted(left, 'step')} could not be done; a second start tries these again. "
            f"{' '.join(why)}"
        )
