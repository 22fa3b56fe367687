"""All that a worker must know to score as the process does that sends it jobs, and what it then does."""

import socket
from dataclasses import dataclass
from pathlib import Path

from bench.benchmark import Benchmark
from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scoring import Scorer
from bench.suite import load_suite
from manyshot.score_checkpoints import open_checkpoints, open_judge, wanted_benchmarks
from manyshot.scoring_plan import ScoringJob, do_job
from results.errors import InputError
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


@dataclass(frozen=True)
class ScoringSetup:
    """How jobs are done.

    Attributes:
        store: folder of the records.
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

    @property
    def engine(self) -> EngineSettings:
        """Of each worker."""
        return self.settings.engine

    @property
    def logs(self) -> Path:
        """Folder for what workers say."""
        return self.store / "logs"

    def open(self) -> "OpenedScoring":
        """Load what all jobs need.

        Raises:
            InputError: the judge or a benchmark is not there.
        """
        return OpenedScoring(self)


class OpenedScoring:
    """Does jobs with one engine, which it keeps from job to job, and writes the records.

    Args:
        setup: how.
    """

    def __init__(self, setup: ScoringSetup) -> None:
        self._engine, self._scorer = setup.engine, setup.open_scorer()
        self._benchmarks = {one.name: one for one in setup.benchmarks.load()}

    def do(self, job: ScoringJob) -> None:
        """Make the records of a job.

        Raises:
            InputError: they cannot be made, or would be others than the job was planned for.
        """
        self._check(job)
        for _ in do_job(self._scorer, job, self._benchmarks):
            pass

    def _check(self, job: ScoringJob) -> None:
        """Refuse a job that would make other records here than it was planned for."""
        host, path = socket.gethostname(), str(job.checkpoint.path)
        if not self._scorer.engine_kind.recorded:
            (here,) = open_checkpoints([path], self._engine)
            if here.identity != job.checkpoint.identity:
                raise InputError(f"{path} is another checkpoint on {host} than where jobs come from.")
        for name, digest in job.records.items():
            if self._scorer.key(job.checkpoint, self._benchmarks[name]).digest != digest:
                raise InputError(
                    f"{name} is asked otherwise on {host} than where jobs come from: its rows, its "
                    "definition or the version of the harness differ."
                )
