"""`manyshot score`: score checkpoints on a suite or on benchmarks."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from bench.data import data_root
from bench.engine import AUTO, EngineSettings
from bench.engine_registry import choose_engine, find_engine
from bench.model_code import refuse_model_code
from bench.score_settings import ScoreSettings
from bench.server_settings import ServerSettings
from bench.suite import Suite, load_suite
from manyshot.console import answer
from manyshot.flags import given, settings_of
from manyshot.lm_eval_files import check_output_path, write_for_lm_eval
from manyshot.score_checkpoints import (
    benchmarks_with_data,
    open_checkpoints,
    score_all,
    score_settings,
)
from manyshot.tracked_scores import report_scores
from manyshot.workers.cluster import Workers, open_workers
from manyshot.workers.driver import open_crew
from manyshot.workers.scoring_setup import ScoringSetup, WantedBenchmarks
from merging.chat import ChatSettings
from merging.checkpoints.kept_digests import keeping_digests
from reports.tables.scores import score_table
from results.errors import InputError
from results.record import Record
from results.store import Store, store_root
from results.trackers import ReportSettings, check_trackers


def run(options: argparse.Namespace) -> None:
    """Score, and print the records as a table or as JSON."""
    folder = store_root(options.store) / "digests"
    with (
        keeping_digests(folder, verify=options.verify),
        open_workers(options.workers, options.ray) as workers,
    ):
        _score(options, workers)


def _score(options: argparse.Namespace, workers: Workers | None) -> None:
    if options.output_path:
        check_output_path(options.output_path)
    trackers = settings_of(options, ReportSettings).report_to
    check_trackers(trackers)
    suite = load_suite(options.suite) if options.suite else None
    asked = WantedBenchmarks(
        suite=options.suite,
        names=tuple(options.benchmark or ()),
        tasks=tuple(options.task or ()),
        include=tuple(options.include_path or ()),
        trust_task_code=options.trust_task_code,
        num_fewshot=options.num_fewshot,
        max_new_tokens=options.max_new_tokens,
    )
    wanted = asked.load()
    engine = settings_of(options, EngineSettings, **server_of(options))
    engine = workers.settle(engine) if workers else engine
    if engine.name != AUTO and find_engine(engine.name).recorded and (chat := given(options, ChatSettings)):
        flag = next(iter(chat)).replace("_", "-")
        raise InputError(
            f"--{flag} is for prompts that are written now: recorded answers were given to others. Leave it "
            "out; of the end of thoughts `manyshot rescore` is told by --think-end."
        )
    settings = score_settings(
        suite,
        options.preset,
        engine,
        chat=settings_of(options, ChatSettings),
        **given(options, ScoreSettings),
    )
    checkpoints = open_checkpoints(options.checkpoints or (), engine)
    engine = choose_engine(engine, [checkpoint.path for checkpoint in checkpoints])
    settings = settings.but(engine=engine)
    refuse_model_code(wanted, settings)
    root, store = data_root(options.data), Store(store_root(options.store))
    setup = ScoringSetup(store.root, root, settings, options.judge, asked)
    scorer = setup.open_scorer()
    benchmarks = benchmarks_with_data(scorer, wanted, options.skip_missing)
    with open_crew(workers, setup) as crew:
        records = score_all(scorer, checkpoints, benchmarks, crew)
    if options.output_path:
        write_for_lm_eval(options.output_path, scorer, checkpoints, benchmarks, records)
    for one in checkpoints:
        report_scores(trackers, Path(one.name).name, one.path, records[one.name], store)
    if options.json:
        answer(json.dumps(score_rows(records, suite), indent=2))
    else:
        answer(score_table(records, suite.spec if suite else None))


def server_of(options: argparse.Namespace) -> dict[str, ServerSettings]:
    """The server that the user named, as a setting of the engine; nothing where there is none.

    Raises:
        InputError: it has no address, or one that is none.
    """
    named = given(options, ServerSettings)
    if named and "url" not in named:
        flag = next(iter(named)).replace("_", "-")
        raise InputError(f"--{flag} is for a server, whose address is missing (--url http://HOST:PORT/v1).")
    return {"server": settings_of(options, ServerSettings)} if named else {}


def score_rows(records: Mapping[str, Mapping[str, Record]], suite: Suite | None) -> list[dict[str, object]]:
    """One object per record, as `--json` prints it."""
    return [
        {
            "checkpoint": name,
            "digest": record.key.checkpoint.digest,
            "benchmark": benchmark,
            "task": suite.spec.task_of(benchmark) if suite else None,
            "metric": record.metric,
            "value": record.value,
            "n": record.n,
            "seconds": record.seconds,
            "answers": record.answers,
            "engine": record.key.settings["engine"],
        }
        for name, row in records.items()
        for benchmark, record in row.items()
    ]
