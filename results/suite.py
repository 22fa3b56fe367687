"""A suite in plain words: which benchmarks measure which task, and which watch forgetting."""

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import Field

from results.errors import InputError
from results.record import Name
from results.validation import Settings, Several

TaskName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
"""A task's name in a suite, and that of its expert in a recipe."""
AGGREGATES = ("average", "worst_task", "gap", "anp")
"""What a comparison says of all tasks together: none of them is called so."""
RANKED_BY = ("average", "worst_task")
"""The aggregates that checkpoints are ranked by, and compared in."""


class BenchmarkSpec(Settings):
    """What the metrics need to know of one benchmark."""

    name: Name
    """The benchmark's name in the registry."""
    metric: Name
    """Its primary metric."""
    higher_is_better: bool = True
    """Whether a larger score is a better one; where it is not, a score s (a rate between 0 and 1) counts as
    1 - s."""
    chance: float = 0.0
    """What guessing scores, on the scale on which higher is better; 0 where guessing earns nothing."""


class SuiteSpec(Settings):
    """Tasks with the benchmarks that measure them, and the benchmarks that watch forgetting."""

    name: Name
    tasks: dict[Name, Several[BenchmarkSpec]]
    """The benchmarks of every task, in the order in which tables show them."""
    forgetting: Several[BenchmarkSpec] = ()
    """Benchmarks on which merged checkpoints are compared with the base."""
    leave_out_at_chance: bool = False
    """Whether aggregates leave out benchmarks on which the task's expert guesses."""
    leave_out_at_base: bool = False
    """Whether aggregates leave out benchmarks on which the task's expert is not told apart from the base."""

    def model_post_init(self, context: Any) -> None:
        """Refuse tasks and benchmarks that cannot be told apart, or are missing."""
        if not self.tasks:
            raise InputError(f"suite {self.name}: it has no tasks; name at least one")
        for task, benchmarks in self.tasks.items():
            if task in AGGREGATES:
                raise InputError(f"suite {self.name}: a task cannot be called '{task}'; call it otherwise")
            if not benchmarks:
                raise InputError(f"suite {self.name}: task {task} has no benchmarks; name at least one")
        names = [benchmark.name for benchmark in self.benchmarks]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"suite {self.name}: benchmark {name} is named twice; name it once")

    @property
    def task_benchmarks(self) -> tuple[BenchmarkSpec, ...]:
        """The benchmarks that measure a task, in the order of the tasks."""
        return tuple(benchmark for benchmarks in self.tasks.values() for benchmark in benchmarks)

    @property
    def benchmarks(self) -> tuple[BenchmarkSpec, ...]:
        """Every benchmark: those of the tasks first, then those that watch forgetting."""
        return (*self.task_benchmarks, *self.forgetting)

    def counted(self, left_out: Collection[str]) -> dict[str, tuple[BenchmarkSpec, ...]]:
        """The tasks with their benchmarks but these; a task that has no others is not among them."""
        kept = {
            task: tuple(spec for spec in benchmarks if spec.name not in left_out)
            for task, benchmarks in self.tasks.items()
        }
        return {task: benchmarks for task, benchmarks in kept.items() if benchmarks}

    def task_of(self, benchmark: str) -> str | None:
        """The task that the benchmark measures; None where it watches forgetting.

        Raises:
            InputError: the suite does not name the benchmark.
        """
        for task, benchmarks in self.tasks.items():
            if any(benchmark == spec.name for spec in benchmarks):
                return task
        if any(benchmark == spec.name for spec in self.forgetting):
            return None
        raise InputError(f"suite {self.name}: it has no benchmark {benchmark}")
