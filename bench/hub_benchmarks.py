"""Benchmarks of which the hub keeps a leaderboard, by the names they have here and in lm-eval.

A result counts there under the data set's name and a task of its `eval.yaml`
(https://huggingface.co/docs/hub/eval-results).
"""

from dataclasses import dataclass

from bench.benchmark import Benchmark


@dataclass(frozen=True)
class HubBenchmark:
    """A data set on the hub that is a benchmark, the task of it, and its number of documents."""

    dataset: str
    task: str
    size: int


_GSM8K = HubBenchmark("openai/gsm8k", "gsm8k", 1319)
_KNOWN = {
    "gsm8k": _GSM8K,
    "gsm8k_cot": _GSM8K,
    "mmlu_pro": HubBenchmark("TIGER-Lab/MMLU-Pro", "mmlu_pro", 12_032),
}


def hub_benchmark(benchmark: Benchmark) -> HubBenchmark | None:
    """Return which of the hub's benchmarks one is: by its name, and only where it asks that data set."""
    known = _KNOWN.get(benchmark.name)
    asked = {task.config.get("dataset_path") for task in benchmark.tasks}
    return known if known and asked == {known.dataset} else None
