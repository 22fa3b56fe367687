"""A suite in plain words: which benchmarks measure which task, and which watch forgetting."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from results.errors import InputError
from results.json_types import LIST, NUMBER, TEXT, TRUTH, checked

AGGREGATES = ("average", "worst_task", "gap", "anp")
"""What a comparison says of all tasks together: none of them is called so."""


@dataclass(frozen=True)
class BenchmarkSpec:
    """What the metrics need to know of one benchmark.

    Attributes:
        name: the benchmark's name in the registry.
        metric: its primary metric.
        higher_is_better: whether a larger score is a better one; where it is not, a score s (a rate
            between 0 and 1) counts as 1 - s.
        chance: what guessing scores, on the scale on which higher is better; 0 where guessing earns nothing.
    """

    name: str
    metric: str
    higher_is_better: bool = True
    chance: float = 0.0


@dataclass(frozen=True)
class SuiteSpec:
    """Tasks with the benchmarks that measure them, and the benchmarks that watch forgetting.

    Attributes:
        name: the suite's name.
        tasks: the benchmarks of every task, in the order in which tables show them.
        forgetting: benchmarks on which merged checkpoints are compared with the base.
        leave_out_at_chance: whether aggregates leave out benchmarks on which the task's expert guesses.
    """

    name: str
    tasks: Mapping[str, tuple[BenchmarkSpec, ...]]
    forgetting: tuple[BenchmarkSpec, ...] = ()
    leave_out_at_chance: bool = False

    def __post_init__(self) -> None:
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
            task: tuple(one for one in benchmarks if one.name not in left_out)
            for task, benchmarks in self.tasks.items()
        }
        return {task: benchmarks for task, benchmarks in kept.items() if benchmarks}

    def task_of(self, benchmark: str) -> str | None:
        """The task that the benchmark measures; None where it watches forgetting.

        Raises:
            InputError: the suite does not name the benchmark.
        """
        for task, benchmarks in self.tasks.items():
            if any(benchmark == one.name for one in benchmarks):
                return task
        if any(benchmark == one.name for one in self.forgetting):
            return None
        raise InputError(f"suite {self.name}: it has no benchmark {benchmark}")

    def to_dict(self) -> dict[str, Any]:
        """The suite as a JSON value, tasks as a list so that their order stays whoever sorts the keys."""
        return {
            "name": self.name,
            "tasks": [
                {"task": task, "benchmarks": [asdict(benchmark) for benchmark in benchmarks]}
                for task, benchmarks in self.tasks.items()
            ],
            "forgetting": [asdict(benchmark) for benchmark in self.forgetting],
            "leave_out_at_chance": self.leave_out_at_chance,
        }

    @classmethod
    def from_dict(cls, value: Any) -> "SuiteSpec":
        """The suite that `to_dict` described.

        Raises:
            ValueError: a field is missing, unknown or of another type.
            InputError: a task or benchmark is missing, or named twice.
        """
        given = checked(value, _SUITE, optional=("leave_out_at_chance",))
        return cls(
            name=given["name"],
            tasks={
                task["task"]: _benchmarks(task["benchmarks"])
                for task in (checked(one, _TASK) for one in given["tasks"])
            },
            forgetting=_benchmarks(given["forgetting"]),
            leave_out_at_chance=given.get("leave_out_at_chance", False),
        )


_BENCHMARK = {"name": TEXT, "metric": TEXT, "higher_is_better": TRUTH, "chance": NUMBER}
_TASK = {"task": TEXT, "benchmarks": LIST}
_SUITE = {"name": TEXT, "tasks": LIST, "forgetting": LIST, "leave_out_at_chance": TRUTH}


def _benchmarks(values: Iterable[Any]) -> tuple[BenchmarkSpec, ...]:
    optional = ("higher_is_better", "chance")
    return tuple(BenchmarkSpec(**checked(value, _BENCHMARK, optional)) for value in values)
