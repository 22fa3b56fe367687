"""The public functions: `merge`, `score`, `load_results`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data import data_root
from bench.engine import EngineSettings
from bench.engine_registry import choose_engine
from bench.judge import PATTERNS
from bench.score_settings import GenKwargs, RunCode
from bench.scoring import Scorer
from bench.suite import load_suite
from manyshot.score_checkpoints import (
    benchmarks_with_data,
    open_checkpoints,
    open_judge,
    score_all,
    score_settings,
    wanted_benchmarks,
)
from manyshot.tracked_scores import report_scores
from manyshot.tracking import report_merge
from merging.chat import ChatSettings
from merging.checkpoints.kept_digests import keeping_digests
from merging.merge import merge as _merge
from merging.recipe import Recipe
from merging.recipe_file import load_recipe
from results.store import Store, load_results, store_root
from results.trackers import Tracker, check_trackers
from results.validation import validated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["load_results", "merge", "score"]


def merge(
    recipe: str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    device: str = "cpu",
    report_to: Sequence[Tracker] = (),
) -> Path:
    """Merge experts.

    Args:
        recipe: a recipe file, or what it would hold.
        out: folder of the merged checkpoint; must not exist.
        device: where to compute: `cpu`, `cuda`, …
        report_to: trackers that are told of it: wandb, mlflow, trackio, tensorboard.

    Returns:
        The folder.

    Raises:
        InputError: the recipe or its checkpoints are not in order; nothing is left at `out`. Or a tracker is
            not installed.
    """
    check_trackers(report_to)
    loaded = (
        load_recipe(Path(recipe))
        if isinstance(recipe, str | Path)
        else validated(Recipe, recipe, "the recipe")
    )
    with keeping_digests():
        merged = _merge(loaded, Path(out), device=device)
    report_merge(report_to, merged)
    return merged


def score(
    checkpoints: str | Path | Sequence[str | Path],
    suite: str | None = None,
    *,
    benchmarks: Sequence[str] = (),
    data: str | Path | None = None,
    limit: int | None = None,
    preset: str | None = None,
    engine: EngineSettings | None = None,
    chat: ChatSettings | None = None,
    gen_kwargs: GenKwargs | None = None,
    run_code: RunCode | None = None,
    judge: str = PATTERNS,
    store: str | Path | None = None,
    skip_missing: bool = False,
    report_to: Sequence[Tracker] = (),
) -> "pd.DataFrame":
    """Score checkpoints on a suite or on benchmarks; records that the store has are not made again.

    Args:
        checkpoints: folders or hub names; for the engine `replay`, files or folders of recorded outputs; for
            `api` what its server runs, or none.
        suite: name of a suite, or a YAML file.
        benchmarks: names of benchmarks, in place of a suite; `all` names every one.
        data: local data root; else MANYSHOT_DATA; else rows come from the hub.
        limit: most documents of each lm-eval task.
        preset: one of the suite's presets of limits and seed; `limit` goes before its limits.
        engine: how checkpoints are run; by default vllm on a GPU where it can, else hf.
        chat: how questions are put to models tuned for conversations; by default as the suite says.
        gen_kwargs: `model` keeps the repetition penalty of a checkpoint's own generation settings.
        run_code: `sandbox` lets coding benchmarks run what the checkpoints write, in one.
        judge: of refusals: `patterns`, or a classifier by path or hub name.
        store: folder of the records; else MANYSHOT_STORE; else ./manyshot-results.
        skip_missing: leave out benchmarks without data.
        report_to: trackers that are told of the scores: wandb, mlflow, trackio, tensorboard.

    Returns:
        One row per record, with the columns of `load_results`.

    Raises:
        InputError: a checkpoint, suite or benchmark is not there, or has no data; a tracker is not installed.
    """
    check_trackers(report_to)
    if isinstance(checkpoints, str | Path):
        checkpoints = [checkpoints]
    loaded = load_suite(suite) if suite else None
    wanted = wanted_benchmarks(loaded, benchmarks)
    folder = store_root(Path(store) if store else None)
    with keeping_digests(folder / "digests"):
        names = [str(checkpoint) for checkpoint in checkpoints]
        engine = engine or EngineSettings()
        opened = open_checkpoints(names, engine)
        engine = choose_engine(engine, [checkpoint.path for checkpoint in opened])
        settings = score_settings(
            loaded, preset, engine, limit, None, chat=chat, gen_kwargs=gen_kwargs, run_code=run_code
        )
        root = data_root(Path(data) if data else None)
        scorer = Scorer(settings, Store(folder), root, judge=open_judge(judge, engine))
        with_data = benchmarks_with_data(scorer, wanted, skip_missing)
        records = score_all(scorer, opened, with_data)
        for one in opened:
            report_scores(report_to, Path(one.name).name, one.path, records[one.name], scorer.store)
    made = [record.key.digest for row in records.values() for record in row.values()]
    return load_results(folder).set_index("record").loc[made].reset_index()
