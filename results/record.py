"""A record: one immutable result, of one checkpoint on one benchmark under one set of settings."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from results.errors import InputError
from results.json_types import INTEGER, NUMBER, OBJECT, TEXT, TEXTS, checked, mapping

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


def digest_of(value: object) -> str:
    """Sha256, in hex, of the value's canonical JSON: sorted keys, no spaces, UTF-8.

    Raises:
        InputError: the value holds a NaN, an infinity, or something that JSON does not have.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{value!r} cannot be kept as JSON ({error}); give finite numbers and text"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CheckpointIdentity:
    """What a checkpoint is, wherever it lies: digests (hex) of its three parts."""

    weights: str
    config: str
    tokenizer: str

    @property
    def digest(self) -> str:
        """One digest over the three."""
        return digest_of([self.weights, self.config, self.tokenizer])

    @classmethod
    def from_json(cls, value: Any) -> "CheckpointIdentity":
        """The identity of these fields.

        Raises:
            ValueError: a field is missing, unknown or no text.
        """
        return cls(**checked(value, _IDENTITY))


@dataclass(frozen=True)
class RecordKey:
    """What a result depends on. Two runs with equal keys would score the same.

    Attributes:
        checkpoint: the scored checkpoint.
        benchmark: the benchmark's name.
        definition: digest of the benchmark's definition.
        data: digest of the benchmark's documents.
        settings: engine, dtype, limit, num_fewshot, seed, chat_template and whatever else scoring was given.
    """

    checkpoint: CheckpointIdentity
    benchmark: str
    definition: str
    data: str
    settings: Mapping[str, JSON]

    @property
    def digest(self) -> str:
        """The name of the record in the store."""
        return digest_of(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The key as a JSON value."""
        # asdict would copy every value on its own, which took half the time of loading a store.
        return {**vars(self), "checkpoint": dict(vars(self.checkpoint)), "settings": dict(self.settings)}

    @classmethod
    def from_json(cls, value: Any) -> "RecordKey":
        """The key that `to_json` described.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        given = checked(value, _KEY)
        return cls(**{**given, "checkpoint": CheckpointIdentity.from_json(given["checkpoint"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Record:
    """One result.

    Attributes:
        key: what the result depends on.
        name: path or hub name under which the checkpoint was scored.
        metric: the benchmark's primary metric.
        value: its score.
        metrics: every metric, as "lm_eval_task/metric,filter".
        n: number of documents.
        seconds: wall-clock time of the scoring.
        tokens: how many tokens were read (`prompt`) and written (`generated`).
        notices: what the reader of the score should know.
        versions: of the libraries that produced it.
        created: UTC time, ISO 8601.
    """

    key: RecordKey
    name: str
    metric: str
    value: float
    metrics: Mapping[str, float]
    n: int
    seconds: float
    tokens: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = field(default_factory=_now)

    def to_json(self) -> dict[str, Any]:
        """The record as a JSON value; numbers of numpy become Python's."""
        return {
            "key": self.key.to_json(),
            "name": self.name,
            "metric": self.metric,
            "value": float(self.value),
            "metrics": {name: float(value) for name, value in self.metrics.items()},
            "n": int(self.n),
            "seconds": float(self.seconds),
            "tokens": {name: int(count) for name, count in self.tokens.items()},
            "notices": list(self.notices),
            "versions": dict(self.versions),
            "created": self.created,
        }

    @classmethod
    def from_json(cls, value: Any) -> "Record":
        """The record that `to_json` described.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        given = checked(value, _RECORD)
        key = RecordKey.from_json(given["key"])
        return cls(**{**given, "key": key, "notices": tuple(given["notices"])})


_IDENTITY = {"weights": TEXT, "config": TEXT, "tokenizer": TEXT}
_KEY = {"checkpoint": OBJECT, "benchmark": TEXT, "definition": TEXT, "data": TEXT, "settings": OBJECT}
_RECORD = {
    "key": OBJECT,
    "name": TEXT,
    "metric": TEXT,
    "value": NUMBER,
    "metrics": mapping(NUMBER),
    "n": INTEGER,
    "seconds": NUMBER,
    "tokens": mapping(INTEGER),
    "notices": TEXTS,
    "versions": mapping(TEXT),
    "created": TEXT,
}
