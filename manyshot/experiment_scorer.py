"""How the checkpoints of an experiment or of a search are scored."""

from collections.abc import Iterable
from pathlib import Path

from bench.engine_registry import choose_engine, refuse_served
from bench.model_code import refuse_model_code
from bench.scored_checkpoint import ScoredCheckpoint
from bench.suite import Suite
from manyshot.experiment import Experiment
from manyshot.score_checkpoints import score_settings
from manyshot.workers.scoring_setup import ScoringSetup, WantedBenchmarks


def scoring_setup(
    experiment: Experiment,
    suite: Suite,
    checkpoints: Iterable[ScoredCheckpoint],
    store: Path,
    root: Path | None,
    *,
    asked_by: str,
) -> ScoringSetup:
    """Return how checkpoints are scored as an experiment says.

    Args:
        experiment: says how.
        suite: whose benchmarks are scored.
        checkpoints: its base and experts, which the engine must be able to run.
        store: folder of the store, where records are looked for and kept.
        root: local data root, or None for the hub.
        asked_by: begins the sentence that refuses a server.

    Raises:
        InputError: the engine is a server or cannot run a checkpoint, or benchmarks run code of models.
    """
    refuse_served(experiment.engine, asked_by)
    engine = choose_engine(experiment.engine, [checkpoint.path for checkpoint in checkpoints])
    settings = score_settings(
        suite,
        experiment.preset,
        engine,
        experiment.limit,
        experiment.fewshot_seed,
        chat=experiment.chat,
        gen_kwargs=experiment.gen_kwargs,
        run_code=experiment.run_code,
    )
    refuse_model_code(suite.benchmarks, settings)
    return ScoringSetup(store, root, settings, experiment.judge, WantedBenchmarks(suite=experiment.suite))
