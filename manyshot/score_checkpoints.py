"""Scoring many checkpoints on many benchmarks, with progress, each record made once."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.benchmark import Benchmark
from bench.engine import AUTO, EngineSettings, Progress
from bench.engine_registry import fallback, find_engine
from bench.judge import PATTERNS, ClassifierJudge, Judge, PatternJudge
from bench.score_settings import GenKwargs, RunCode, ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import Preset, Suite, benchmark_names, load_benchmark
from manyshot.console import ScoringProgress, logger
from manyshot.scoring_plan import ScoringJob, ScoringPlan, do_job, plan_scoring
from manyshot.workers.queue import Queue
from merging.chat import ChatSettings
from results.errors import InputError
from results.record import Record
from results.store import Store
from results.validation import quoted, validated
from results.words import counted

if TYPE_CHECKING:
    from manyshot.workers.driver import Crew

_MOST_NAMED = 4
"""Benchmarks in a sentence about what has no data."""


def open_checkpoints(names: Sequence[str], engine: EngineSettings) -> list[ScoredCheckpoint]:
    """What is scored, each once: checkpoints, recorded outputs for the engine that replays them, or a server.

    Raises:
        InputError: one is not there, or not whole; or the server and they do not go together.
    """
    kind = None if engine.name == AUTO else find_engine(engine.name)
    if kind is not None:
        kind.check(engine)
    elif engine.server is not None:
        raise InputError("A server's address (--url) is for the engine that asks servers: --engine api.")
    if kind is not None and kind.served:
        if len(names) > 1:
            raise InputError(
                f"A server has one model, and {len(names)} checkpoints are named: name one or none."
            )
        return [ScoredCheckpoint.of_server(engine, *names)]
    if not names:
        raise InputError("No checkpoint is named: give its folder or hub name.")
    opened = ScoredCheckpoint.recorded if kind is not None and kind.recorded else ScoredCheckpoint.open
    return [opened(name) for name in dict.fromkeys(names)]


def open_judge(name: str, engine: EngineSettings) -> Judge:
    """A judge of refusals by name: `patterns`, or a classifier by path or hub name.

    Args:
        name: which.
        engine: has the classifier's dtype and device.

    Raises:
        InputError: there is no such checkpoint.
    """
    if name == PATTERNS:
        return PatternJudge()
    try:
        classifier = ScoredCheckpoint.open(name)
    except InputError as error:
        raise InputError(
            f"The judge of refusals cannot be had: {error} With --judge, or `judge` in an experiment, name "
            f"another, or '{PATTERNS}', which needs no model."
        ) from error
    settings = fallback(engine).but(max_length=None)  # beside the engine that is scored
    return ClassifierJudge(classifier.path, classifier.identity.digest, settings)


def wanted_benchmarks(
    suite: Suite | None,
    names: Sequence[str],
    tasks: Sequence[str] = (),
    include: Sequence[Path] = (),
    *,
    trust_task_code: bool = False,
    num_fewshot: int | None = None,
    max_new_tokens: int | None = None,
) -> tuple[Benchmark, ...]:
    """A suite's benchmarks, or those that are named.

    Args:
        suite: of which all are wanted.
        names: benchmarks; `all` names every one.
        tasks: names of lm-eval's, each text one or several with commas between.
        include: further folders of tasks in lm-eval's format.
        trust_task_code: whether Python code of those folders may run.
        num_fewshot: worked examples before a question, in place of the benchmarks' own numbers.
        max_new_tokens: most tokens of an answer, of benchmarks that ask for more.

    Raises:
        InputError: a name is unknown.
    """
    if (include or trust_task_code) and not tasks:
        raise InputError("--include-path and --trust-task-code are for --task: name a task.")
    if num_fewshot is not None and num_fewshot < 0:
        raise InputError(f"--num-fewshot is {num_fewshot}, where a whole number from 0 on is expected.")
    benchmarks = _wanted(suite, names, tasks, include, trust_task_code)
    if max_new_tokens is not None:
        benchmarks = tuple(benchmark.with_new_tokens(max_new_tokens) for benchmark in benchmarks)
    if num_fewshot is None:
        return benchmarks
    fixed = [task.name for one in benchmarks for task in one.tasks if task.config.get("num_fewshot") == 0]
    if fixed and num_fewshot:
        logger.info("0 worked examples, as lm-eval fixes them, stay for: %s", ", ".join(fixed))
    return tuple(benchmark.with_fewshot(num_fewshot) for benchmark in benchmarks)


def _wanted(
    suite: Suite | None, names: Sequence[str], tasks: Sequence[str], include: Sequence[Path], trusted: bool
) -> tuple[Benchmark, ...]:
    if suite is not None:
        return suite.benchmarks
    if tasks:
        from bench.lm_eval_tasks.benchmarks import LmEvalTasks

        listed = [name.strip() for text in tasks for name in text.split(",") if name.strip()]
        if not listed:
            raise InputError(
                f"--task is {quoted(tasks[0])}, which names no task; give lm-eval's, with commas between."
            )
        return LmEvalTasks(include, trust_task_code=trusted).benchmarks(listed)
    every = benchmark_names() if "all" in names else ()
    return tuple(load_benchmark(name) for name in dict.fromkeys((*names, *every)) if name != "all")


def score_settings(
    suite: Suite | None,
    preset: str | None,
    engine: EngineSettings,
    limit: int | float | None = None,
    seed: int | None = None,
    *,
    chat: ChatSettings | None = None,
    gen_kwargs: GenKwargs | None = None,
    run_code: RunCode | None = None,
    confirm_run_unsafe_code: bool = False,
) -> ScoreSettings:
    """Return the settings of scoring: a suite's, and what is given beside it, which goes before.

    Raises:
        InputError: there is no such preset, or a number is out of range.
    """
    if preset is not None and suite is None:
        raise InputError(f"The preset '{preset}' needs a suite: presets are a suite's.")
    of_suite = suite.preset(preset) if suite else Preset()
    limits = {"limit": of_suite.limit, "limits": of_suite.limits} if limit is None else {"limit": limit}
    seed = of_suite.seed if seed is None else seed
    of_suite_chat = suite.chat if suite else ChatSettings()
    chat = chat.over(of_suite_chat) if chat else of_suite_chat
    kept: dict[str, object] = {} if gen_kwargs is None else {"gen_kwargs": gen_kwargs}
    kept |= {"run_code": run_code, "confirm_run_unsafe_code": confirm_run_unsafe_code}
    given = {"engine": engine, "chat": chat, **kept, **limits} | ({} if seed is None else {"seed": seed})
    return validated(ScoreSettings, given, "The settings of scoring")


def benchmarks_with_data(
    scorer: Scorer, benchmarks: Sequence[Benchmark], skip_missing: bool
) -> tuple[Benchmark, ...]:
    """The benchmarks that have rows; what has none is said.

    Raises:
        InputError: some have none and `skip_missing` is false, or none has any.
    """
    missing = scorer.missing_data(benchmarks)
    if missing and not skip_missing:
        reasons = "; ".join(f"{name} ({reason})" for name, reason in list(missing.items())[:_MOST_NAMED])
        if len(missing) > _MOST_NAMED:
            reasons += f"; and {len(missing) - _MOST_NAMED} more"
        of_all = f"{len(missing)} of {counted(len(benchmarks), 'benchmark')}"
        raise InputError(
            f"{of_all} {'has' if len(missing) == 1 else 'have'} no data: {reasons}. "
            "Give a data root that has them with --data, or leave them out with --skip-missing."
        )
    for name, reason in missing.items():
        logger.warning("no data for %s: %s", name, reason)
    if len(missing) == len(benchmarks):
        raise InputError("No benchmark has data: give a data root with --data.")
    return tuple(benchmark for benchmark in benchmarks if benchmark.name not in missing)


def score_all(
    scorer: Scorer,
    checkpoints: Sequence[ScoredCheckpoint],
    benchmarks: Sequence[Benchmark],
    crew: "Crew | None" = None,
) -> dict[str, Mapping[str, Record]]:
    """Records of every checkpoint on every benchmark, by the checkpoint's name and the benchmark's.

    Records that are in the store are not made again.

    Args:
        scorer: has the store, and makes the records unless there is a crew.
        checkpoints: what is scored.
        benchmarks: on what.
        crew: workers that make the records in place of this process.

    Raises:
        InputError: a checkpoint cannot be scored; of a crew's, when all others are.
    """
    plan = plan_scoring(scorer, checkpoints, benchmarks)
    progress = ScoringProgress(len(plan.keys))
    progress.finish(len(plan.keys) - plan.lacking)
    with progress.shown():
        try:
            if crew is None or not plan.jobs:
                made = score_here(scorer, plan, benchmarks, progress)
            else:
                scorer.close()  # its engine has a device that a worker may be given
                made = _score_by(crew, plan, scorer.store, progress)
        finally:
            scorer.close()
    records: dict[str, dict[str, Record]] = {}
    for (checkpoint_name, benchmark_name), digest in plan.keys.items():
        records.setdefault(checkpoint_name, {})[benchmark_name] = plan.found.get(digest) or made[digest]
    _log_notices(records)
    number = counted(plan.lacking, "record")
    logger.info("%s made, %d found in %s", number, len(plan.keys) - plan.lacking, scorer.store.root)
    return dict(records)


def score_here(
    scorer: Scorer, plan: ScoringPlan, benchmarks: Sequence[Benchmark], progress: ScoringProgress
) -> dict[str, Record]:
    """Do all jobs in this process; return the records by the digests of their keys."""
    by_name = {benchmark.name: benchmark for benchmark in benchmarks}
    made = {}
    for job in plan.jobs:
        making = do_job(scorer, job, by_name, announce=progress.start, progress=progress.requests)
        for record in making:
            made[record.key.digest] = record
            progress.finish()
    return made


def _score_by(crew: "Crew", plan: ScoringPlan, store: Store, progress: ScoringProgress) -> dict[str, Record]:
    """Let workers do all jobs; return the records by the digests of their keys.

    Raises:
        InputError: names what could not be done, and why.
    """
    lacking = {digest for job in plan.jobs for digest in job.records.values()}

    def look(jobs: Collection[ScoringJob]) -> None:
        listed = lacking.intersection(digest for job in jobs for digest in job.records.values())
        there = {digest for digest in listed if store.holds(digest)}
        lacking.difference_update(there)
        progress.finish(len(there))

    progress.start("workers")
    failed = crew.do(partial(Queue, plan.jobs), plan.lacking, look)
    look(plan.jobs)
    if lacking:
        reasons = dict.fromkeys(f"{one.job.name}: {one.why}" for one in failed)
        raise InputError(
            f"{len(lacking)} of {counted(plan.lacking, 'record')} could not be made; what could is in "
            f"{store.root}, and a second start tries the others again. {' '.join(reasons)}"
        )
    return {digest: store.get(digest) for job in plan.jobs for digest in job.records.values()}


def _log_notices(records: Mapping[str, Mapping[str, Record]]) -> None:
    """Say what is noted of records, once for all checkpoints of which it is."""
    noticed: dict[tuple[str, str], list[str]] = {}
    for name, row in records.items():
        for benchmark_name, record in row.items():
            for notice in record.notices:
                noticed.setdefault((benchmark_name, notice), []).append(Path(name).name)
    for (benchmark_name, notice), names in noticed.items():
        whose = "all checkpoints" if 1 < len(names) == len(records) else ", ".join(names)
        logger.info("%s on %s: %s", whose, benchmark_name, notice)


@contextmanager
def shown_progress(description: str) -> Iterator[Progress]:
    """Show how far a measurement is."""
    progress = ScoringProgress(1)
    with progress.shown():
        progress.start(description)
        yield progress.requests
        progress.finish()
