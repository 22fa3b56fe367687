"""A checkpoint's scores as they are published: what was measured, on what, how, and how far it is known."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.benchmark import Benchmark
from bench.engine_registry import SERVERS
from bench.hub_benchmarks import HubBenchmark, hub_benchmark
from bench.suite import load_benchmark
from results.errors import InputError
from results.record import CheckpointIdentity, Record
from results.store import Store
from results.uncertainty import Uncertainty, uncertainty

_SHOTS = (*range(11), 15, 16, 20, 25, 32, 64)
"""Numbers of worked examples that a record's definition is held against."""


@dataclass(frozen=True)
class PublishedScore:
    """A record, with what a reader elsewhere needs beside it.

    Attributes:
        record: the score.
        uncertainty: over its documents.
        benchmark: its definition; None where today's is another, or there is none of its name.
    """

    record: Record
    uncertainty: Uncertainty
    benchmark: Benchmark | None

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return self.record.key.benchmark

    @property
    def metric(self) -> str:
        """The primary metric, with the filter of the answers where there is one."""
        filtered = self.benchmark.filter if self.benchmark else "none"
        return self.record.metric if filtered == "none" else f"{self.record.metric}, {filtered}"

    @property
    def num_fewshot(self) -> str:
        """Worked examples before a question; empty where that is not known."""
        return "" if self.benchmark is None else " or ".join(map(str, self.benchmark.num_fewshot))

    @property
    def limit(self) -> str:
        """Which documents were asked; empty for all."""
        limit = self.record.key.settings.get("limit")
        if limit is None:
            return ""
        return f"first {limit:.3g} of the documents" if isinstance(limit, float) else f"first {limit} a task"

    @property
    def chat_template(self) -> str:
        """`none`, or the start of the digest of the template that questions were put in."""
        used = self.record.key.settings.get("chat_template")
        return str(used["template"])[:12] if isinstance(used, Mapping) and "template" in used else "none"

    @property
    def setup(self) -> str:
        """How it was scored, in a line."""
        shots = f"{self.num_fewshot}-shot" if self.num_fewshot else ""
        template = "" if self.chat_template == "none" else f"chat template {self.chat_template}"
        return ", ".join(filter(None, [shots, template, self.limit]))

    @property
    def dataset(self) -> dict[str, Any]:
        """The data set on the hub with its configuration and split, as far as it is one."""
        tasks = self.benchmark.tasks if self.benchmark else ()
        about = [
            {
                "type": task.config.get("dataset_path"),
                "config": task.config.get("dataset_name"),
                "split": task.scored_split,
            }
            for task in tasks
        ]
        common = {
            key: about[0][key] for key in about[0] if all(one[key] == about[0][key] for one in about)
        } if about else {}  # fmt: skip
        return {key: value for key, value in common.items() if isinstance(value, str) and value}

    @property
    def hub(self) -> HubBenchmark | None:
        """The hub's benchmark that it counts for: only with all of its documents."""
        known = hub_benchmark(self.benchmark) if self.benchmark else None
        return known if known and self.record.n == known.size else None


def published_scores(identity: CheckpointIdentity, store: Store) -> list[PublishedScore]:
    """The scores of a checkpoint that a store has, by benchmark, the newest of equal names last.

    Those on validation data (`name@split`) are left out, since settings were chosen by them; and those of a
    server, since nobody knows whether it ran the checkpoint.
    """
    records = [
        record
        for record in store.records()
        if record.key.checkpoint == identity
        and "@" not in record.key.benchmark
        and record.key.settings.get("device") != SERVERS
    ]
    records.sort(key=lambda record: (record.key.benchmark, record.created, record.key.digest))
    return [
        PublishedScore(
            record, uncertainty(record, store), _definition(record.key.benchmark, record.key.definition)
        )
        for record in records
    ]


@functools.cache
def _definition(name: str, digest: str) -> Benchmark | None:
    """The benchmark of a name with the digest that a record has, whatever its number of worked examples."""
    try:
        named = [load_benchmark(name)]
    except InputError:
        named = _of_lm_eval(name)
    wanted = [*named, *(one.with_fewshot(number) for one in named for number in _SHOTS)]
    return next((one for one in wanted if one.definition_digest == digest), None)


def _of_lm_eval(name: str) -> list[Benchmark]:
    from bench.lm_eval_tasks.benchmarks import LmEvalTasks

    try:
        return list(LmEvalTasks().benchmarks([name]))
    except InputError:
        return []
