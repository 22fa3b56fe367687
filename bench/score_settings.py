"""What may change a score besides checkpoint, definition and data."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from bench.engine import EngineSettings
from merging.chat import ChatSettings
from results.validation import Settings

GenKwargs = Literal["neutral", "model"]
LARGEST_LIMIT = 10**9


class ScoreSettings(Settings):
    """What may change a score besides checkpoint, definition and data."""

    engine: EngineSettings = EngineSettings()
    """How the checkpoint is run."""
    limit: int | None = Field(None, gt=0, le=LARGEST_LIMIT)
    """Most documents of each lm-eval task, the first ones; else all."""
    seed: int = Field(1234, ge=0, lt=2**63)
    """Seed of the few-shot sampler."""
    limits: Mapping[str, Annotated[int, Field(gt=0, le=LARGEST_LIMIT)] | None] = {}
    """In place of `limit` for single benchmarks, by name."""
    gen_kwargs: GenKwargs = "neutral"
    """What greedy answers keep of a checkpoint's generation_config.json: `neutral` nothing, `model` its
    repetition penalty."""
    chat: ChatSettings = ChatSettings()
    """How questions are put to a model that was tuned for conversations."""

    def limit_of(self, benchmark: str) -> int | None:
        """Most documents of each lm-eval task of a benchmark, or None for all."""
        return self.limits.get(benchmark, self.limit)
