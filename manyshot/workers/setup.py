"""All that a worker must know to score as the process does that sends it jobs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from bench.benchmark import Benchmark
from bench.score_settings import ScoreSettings
from bench.scoring import Scorer
from bench.suite import load_suite
from manyshot.score_checkpoints import open_judge, wanted_benchmarks
from results.store import Store


@dataclass(frozen=True)
class WantedBenchmarks:
    """Benchmarks by what the user names: values that can be sent, which functions of tasks cannot.

    Attributes:
        suite: name or file of a suite, of which all are wanted.
        names: of benchmarks.
        tasks: names of lm-eval's tasks.
        include: further folders of tasks in lm-eval's format.
        trust_task_code: whether Python code of those may run.
        num_fewshot: worked examples before a question, in place of the benchmarks' own numbers.
        max_new_tokens: most tokens of an answer, of benchmarks that ask for more.
    """

    suite: str | None = None
    names: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    include: tuple[Path, ...] = ()
    trust_task_code: bool = False
    num_fewshot: int | None = None
    max_new_tokens: int | None = None

    def load(self) -> tuple[Benchmark, ...]:
        """The benchmarks.

        Raises:
            InputError: a name is unknown.
        """
        return wanted_benchmarks(
            load_suite(self.suite) if self.suite else None,
            self.names,
            self.tasks,
            self.include,
            trust_task_code=self.trust_task_code,
            num_fewshot=self.num_fewshot,
            max_new_tokens=self.max_new_tokens,
        )

    def absolute(self) -> Self:
        """The same, wherever a process works."""
        is_file = self.suite is not None and Path(self.suite).suffix in {".yaml", ".yml"}
        return replace(
            self,
            suite=str(Path(str(self.suite)).absolute()) if is_file else self.suite,
            include=tuple(folder.absolute() for folder in self.include),
        )


@dataclass(frozen=True)
class ScoringSetup:
    """How jobs are done.

    Attributes:
        store: folder of the records, which all workers see under this path.
        data_root: local data root, or None for the hub.
        settings: of scoring, with the engine `auto` replaced.
        judge: of refusals, by name.
        benchmarks: of all jobs.
    """

    store: Path
    data_root: Path | None
    settings: ScoreSettings
    judge: str
    benchmarks: WantedBenchmarks

    def open_scorer(self) -> Scorer:
        """Return what scores so.

        Raises:
            InputError: the judge is not there.
        """
        judge = open_judge(self.judge, self.settings.engine)
        return Scorer(self.settings, Store(self.store), self.data_root, judge=judge)

    def absolute(self) -> Self:
        """The same, wherever a process works."""
        root = self.data_root and self.data_root.absolute()
        return replace(
            self, store=self.store.absolute(), data_root=root, benchmarks=self.benchmarks.absolute()
        )
