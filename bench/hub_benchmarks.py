"""Benchmarks of which the hub keeps a leaderboard, by the names they have here and in lm-eval.

A result counts there under the data set's name and a task of its `eval.yaml`
(https://huggingface.co/docs/hub/eval-results).
"""

from dataclasses import dataclass

from results.record import AskedRows, Record


@dataclass(frozen=True)
class HubBenchmark:
    """A data set on the hub that is a benchmark.

    Attributes:
        dataset: its name.
        task: the task of its `eval.yaml`.
        size: its number of documents.
        config: the configuration that they are in; None where it has one only.
        split: their split.
        metric: what is counted, a share of right answers.
    """

    dataset: str
    task: str
    size: int
    config: str | None = None
    split: str = "test"
    metric: str = "exact_match"


_GSM8K = HubBenchmark("openai/gsm8k", "gsm8k", 1319, config="main")
_KNOWN = {
    "gsm8k": _GSM8K,
    "gsm8k_cot": _GSM8K,
    "mmlu_pro": HubBenchmark("TIGER-Lab/MMLU-Pro", "mmlu_pro", 12_032),
}
HUB_BENCHMARKS = {(known.dataset, known.task): known for known in _KNOWN.values()}
"""By the data set's name and the task's."""


def hub_benchmark(record: Record) -> HubBenchmark | None:
    """Return which of the hub's benchmarks a record counts for.

    That is by its name, and only with all documents of the hub's own rows, as the record says: a local copy
    may hold other questions.
    """
    known, asked = _KNOWN.get(record.key.benchmark), record.asked
    if known is None or asked is None or record.key.settings.get("limit") is not None:
        return None
    wanted = AskedRows(source="hub", path=known.dataset, config=known.config, split=known.split)
    fits = asked.rows == (wanted,) and (record.n, record.metric) == (known.size, known.metric)
    return known if fits else None
