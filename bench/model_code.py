"""Benchmarks that run what a model writes, which nobody has read, are refused unless the user allows it."""

import os
from collections.abc import Sequence

from bench.benchmark import Benchmark
from bench.score_settings import ScoreSettings
from results.errors import InputError


def refuse_model_code(benchmarks: Sequence[Benchmark], settings: ScoreSettings) -> None:
    """Refuse benchmarks that run what a model writes, unless the user has said that they may.

    Raises:
        InputError: names one and says how to allow it.
    """
    coding = [benchmark.name for benchmark in benchmarks if benchmark.runs_model_code]
    allowed = settings.confirm_run_unsafe_code and os.environ.get("HF_ALLOW_CODE_EVAL") == "1"
    if coding and not allowed:
        raise InputError(
            f"{', '.join(coding)}: code that the model writes would run on this machine, with all that you "
            "may do; where that is safe, allow it with --confirm-run-unsafe-code and HF_ALLOW_CODE_EVAL=1."
        )
