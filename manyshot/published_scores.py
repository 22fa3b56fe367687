"""A checkpoint's scores as they are published: what was measured, on what, how, and how far it is known."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.engine import EngineSettings
from bench.engine_registry import SERVERS
from bench.hub_benchmarks import HubBenchmark, hub_benchmark
from bench.score_settings import ScoreSettings
from results.json_values import digest_of
from results.record import CheckpointIdentity, Record
from results.store import Store
from results.uncertainty import Uncertainty, uncertainty

_DEFAULTS = {**EngineSettings().deciding, "seed": ScoreSettings().seed}
_SAID_APART = {"limit", "chat_template"}
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]{0,30}", re.ASCII)
"""A value that is shown as it is; of others, which may be long or name folders, a digest."""
_DIGITS = 12


@dataclass(frozen=True)
class PublishedScore:
    """A record, with what a reader elsewhere needs beside it.

    Attributes:
        record: the score.
        uncertainty: over its documents.
    """

    record: Record
    uncertainty: Uncertainty

    @property
    def name(self) -> str:
        """The benchmark's name."""
        return self.record.key.benchmark

    @property
    def metric(self) -> str:
        """The primary metric, with the filter of the answers where there is one."""
        filtered = self.record.asked.filter if self.record.asked else "none"
        return self.record.metric if filtered == "none" else f"{self.record.metric}, {filtered}"

    @property
    def num_fewshot(self) -> str:
        """Worked examples before a question; empty where that is not known."""
        return " or ".join(map(str, self.record.asked.num_fewshot)) if self.record.asked else ""

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
    def settings(self) -> str:
        """The engine, and every other setting that is not the default, in a line.

        Texts, and whatever may name a folder, are shown by the start of their digests. The template is apart,
        what it was given is not.
        """
        told: list[tuple[str, object]] = [
            (name, value)
            for name, value in self.record.key.settings.items()
            if name not in _SAID_APART and value is not None and value != _DEFAULTS.get(name)
        ]
        template = self.record.key.settings.get("chat_template")
        if isinstance(template, Mapping):
            arguments = template.get("arguments")
            told += list(arguments.items()) if isinstance(arguments, Mapping) else []
            told += [
                (name, value)
                for name, value in template.items()
                if name not in ("template", "arguments") and value is not None and value is not True
            ]
        told.sort(key=lambda one: (one[0] != "engine", one[0]))
        return ", ".join(f"{name} {_shown(value)}" for name, value in told)

    @property
    def setup(self) -> str:
        """How it was scored, in a line. Two scores of a benchmark with equal lines were scored alike."""
        shots = f"{self.num_fewshot}-shot" if self.num_fewshot else ""
        template = "" if self.chat_template == "none" else f"chat template {self.chat_template}"
        return ", ".join(filter(None, [shots, template, self.limit, self.settings]))

    @property
    def rows(self) -> str:
        """Where the rows came from: `hub`, `local`, `files`, `generated`; empty where that is not known."""
        asked = self.record.asked
        return " and ".join(dict.fromkeys(rows.source for rows in asked.rows)) if asked else ""

    @property
    def dataset(self) -> dict[str, Any]:
        """The data set on the hub with its configuration and split, as far as its rows agree on one."""
        asked = self.record.asked
        about = [
            {"type": rows.path, "config": rows.config, "split": rows.split}
            for rows in (asked.rows if asked else ())
        ]
        return {
            key: value
            for key, value in (about[0] if about else {}).items()
            if value and all(one[key] == value for one in about)
        }

    @property
    def hub(self) -> HubBenchmark | None:
        """The hub's benchmark that it counts for."""
        return hub_benchmark(self.record)


def _shown(value: object) -> str:
    if isinstance(value, bool | int | float):
        return f"{value}".lower()
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value
    return digest_of(value)[:_DIGITS]


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
    return [PublishedScore(record, uncertainty(record, store)) for record in records]
