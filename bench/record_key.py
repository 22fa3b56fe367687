"""What a score depends on: the key under which its record is kept, and versions of libraries."""

from functools import cache
from importlib.metadata import version

from pydantic import JsonValue

from bench.benchmark import Benchmark
from bench.chat_forms import ChatForms
from bench.engine_registry import EngineKind
from bench.recorded import REPLAY_VERSION
from bench.sandbox import SANDBOX
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from results.record import RecordKey

_VERSIONED = ("manyshot", "lm_eval", "torch", "transformers", "datasets")


def versions(engine: EngineKind) -> dict[str, str]:
    """Versions of the libraries that produce a score with an engine."""
    packages = (*_VERSIONED, engine.installed)
    return {package: _version(package) for package in packages if package}


_version = cache(version)  # which reads the disk for milliseconds


def record_key(
    checkpoint: ScoredCheckpoint,
    benchmark: Benchmark,
    digests: tuple[str, str],
    settings: ScoreSettings,
    forms: ChatForms,
    *,
    judge: str,
    recorded: bool,
) -> RecordKey:
    """The key of a checkpoint's record on a benchmark.

    Args:
        checkpoint: what is scored.
        benchmark: what is asked.
        digests: of the benchmark's definition and of its rows.
        settings: how it is asked, without an engine `auto`.
        forms: how the checkpoint's conversations are written.
        judge: name of the judge, for the benchmarks that need one.
        recorded: whether recorded outputs are scored.

    Raises:
        InputError: the checkpoint has no chat template, and one is asked for.
    """
    definition, data = digests
    engine: dict[str, JsonValue] = {**settings.engine.deciding}
    form, system = forms.find(checkpoint), settings.chat.system_instruction
    optional: dict[str, JsonValue] = {}
    if settings.gen_kwargs == "model" and benchmark.is_generated:
        optional["gen_kwargs"] = "model"
    if form is None and system:
        optional["system_instruction"] = system
    if settings.run_code is not None and benchmark.runs_model_code:
        optional["run_code"] = SANDBOX
    if benchmark.judged:
        optional["judge"] = judge
    if recorded:
        optional["replayed"] = REPLAY_VERSION
    if checkpoint.served is not None:
        optional |= checkpoint.served.key(settings.chat)
    return RecordKey(
        checkpoint=checkpoint.identity,
        benchmark=benchmark.name,
        definition=definition,
        data=data,
        settings={
            "engine": engine.pop("name"),
            **engine,
            "limit": settings.limit_of(benchmark.name),
            "seed": settings.seed,
            "chat_template": None if form is None else form.key,
            **optional,
        },
    )
