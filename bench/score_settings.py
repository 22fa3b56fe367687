"""What may change a score besides checkpoint, definition and data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.engine import EngineSettings
from results.errors import InputError


@dataclass(frozen=True)
class ScoreSettings:
    """What may change a score besides checkpoint, definition and data.

    Attributes:
        engine: how the checkpoint is run.
        limit: most documents of each lm-eval task (the first ones), or None for all.
        seed: seed of the few-shot sampler.
        limits: in place of `limit` for single benchmarks, by name.
    """

    engine: EngineSettings = field(default_factory=EngineSettings)
    limit: int | None = None
    seed: int = 1234
    limits: Mapping[str, int | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for limit in (self.limit, *self.limits.values()):
            if limit is not None and limit < 1:
                raise InputError(f"The limit must be at least 1 document, not {limit}.")

    def limit_of(self, benchmark: str) -> int | None:
        """Most documents of each lm-eval task of a benchmark, or None for all."""
        return self.limits.get(benchmark, self.limit)
