"""A record: one immutable result, of one checkpoint on one benchmark under one set of settings."""

from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AllowInfNan, BeforeValidator, Field, JsonValue

from results.json_values import digest_of
from results.validation import Settings, Several


def _without_numpy(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


LONGEST_NAME = 4096
Name = Annotated[str, Field(max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")]
"""What people call something; a path, for example."""
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(_without_numpy)]
Number = Annotated[float, AllowInfNan(True), BeforeValidator(_without_numpy)]
"""The store says which of a record's numbers is not finite, with the benchmark and the checkpoint."""


class CheckpointIdentity(Settings):
    """What a checkpoint is, wherever it lies: digests (hex) of its three parts."""

    weights: Name
    config: Name
    tokenizer: Name

    @property
    def digest(self) -> str:
        """One digest over the three."""
        return digest_of([self.weights, self.config, self.tokenizer])


class RecordKey(Settings):
    """What a result depends on. Two runs with equal keys would score the same."""

    checkpoint: CheckpointIdentity
    """The scored checkpoint."""
    benchmark: Name
    definition: Name
    """Digest of the benchmark's definition."""
    data: Name
    """Digest of the benchmark's documents."""
    settings: dict[str, JsonValue]
    """Engine, dtype, device, max_length, limit, seed, chat_template and whatever else scoring was given."""

    @cached_property
    def digest(self) -> str:
        """The name of the record in the store."""
        return digest_of(self.model_dump())


class AskedRows(Settings):
    """Rows that were asked, as the definition names them on the hub."""

    source: Literal["hub", "local", "files", "generated"]
    """Where they came from: the hub, a local data root, files that the definition names, or a function."""
    path: Name | None = None
    """The data set; None where the definition names files in its place."""
    config: Name | None = None
    """Its configuration."""
    split: Name
    """Its split."""


class Asked(Settings):
    """What a benchmark's definition and rows say of a score beside their digests."""

    filter: Name
    """lm-eval filter of the answers that the primary metric is taken over; `none` for all of an answer."""
    num_fewshot: Several[Integer]
    """Numbers of worked examples before a question, each once."""
    rows: Several[AskedRows]
    """Its rows, each kind once."""


class Record(Settings):
    """One result."""

    key: RecordKey
    """What the result depends on."""
    name: Name
    """Path or hub name under which the checkpoint was scored."""
    metric: Name
    """The benchmark's primary metric."""
    value: Number
    """Its score."""
    metrics: dict[str, Number]
    """Every metric, as "lm_eval_task/metric,filter"."""
    n: Integer
    """Number of documents."""
    seconds: Number
    """Wall-clock time of the scoring."""
    tokens: dict[str, Integer] = {}
    """How many tokens were read (`prompt`) and written (`generated`)."""
    answers: dict[str, Integer] = {}
    """How many answers were generated (`all`), were `cut` at their limit of tokens, and are `empty`."""
    notices: Several[str] = ()
    """What the reader of the score should know."""
    versions: dict[str, str] = {}
    """Versions of the libraries that produced it."""
    asked: Asked | None = None
    """What was asked, in words; None in records of earlier versions."""
    created: str = Field(default_factory=_now)
    """UTC time, ISO 8601."""


@cache
def record_fields() -> dict[str, Any]:
    """The fields of a record, as a JSON schema: what is kept of records with other fields is made again."""
    return Record.model_json_schema()
