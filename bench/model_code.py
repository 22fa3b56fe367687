"""Benchmarks that run what a model writes, which nobody has read, are refused unless the user allows it."""

import os
from collections.abc import Sequence

from bench.benchmark import Benchmark
from bench.code_eval import runs_in_sandbox
from bench.sandbox import check_sandbox
from bench.score_settings import ScoreSettings
from results.errors import InputError


def refuse_model_code(benchmarks: Sequence[Benchmark], settings: ScoreSettings) -> None:
    """Refuse benchmarks that run what a model writes, unless the user has said that they may.

    Raises:
        InputError: names one and says how to allow it.
    """
    coding = [benchmark.name for benchmark in benchmarks if benchmark.runs_model_code]
    if coding and settings.run_code == "sandbox":
        tasks = [task for one in benchmarks for task in one.tasks if task.config.get("unsafe_code")]
        for task in tasks:
            if not runs_in_sandbox(task.config):
                raise InputError(
                    f"{task.name} runs code that the model writes by means of its own, around which there is "
                    "no sandbox: leave it out of --run-code sandbox."
                )
        check_sandbox()
        return
    allowed = settings.confirm_run_unsafe_code and os.environ.get("HF_ALLOW_CODE_EVAL") == "1"
    if coding and not allowed:
        raise InputError(
            f"{', '.join(coding)}: code that the model writes would run on this machine, with all that you "
            "may do; run it in a sandbox with --run-code sandbox (run_code in an experiment), or, where that "
            "is safe, without one with --confirm-run-unsafe-code and HF_ALLOW_CODE_EVAL=1."
        )
