"""What may change a score besides checkpoint, definition and data."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from bench.engine import EngineSettings
from merging.chat import ChatSettings
from results.validation import Settings

GenKwargs = Literal["neutral", "model"]
RunCode = Literal["sandbox"]
LARGEST_LIMIT = 10**9


def _number_or_share(limit: int | float) -> int | float:
    """A number of documents, or a share of them below 1; lm-eval would cut 1.5 to 1."""
    if limit < 1 or float(limit).is_integer():
        return limit if limit < 1 else int(limit)
    raise ValueError("a whole number of documents or a share of them below 1 is expected")


Limit = Annotated[int | float, Field(gt=0, le=LARGEST_LIMIT), AfterValidator(_number_or_share)]
"""Most documents of an lm-eval task: a number of them, or a share of them, of which lm-eval rounds up."""


def whole(limit: int | float | None) -> int | None:
    """A limit that is no share, as those of experiments and presets are."""
    assert not isinstance(limit, float)
    return limit


class ScoreSettings(Settings):
    """What may change a score besides checkpoint, definition and data."""

    engine: EngineSettings = EngineSettings()
    """How the checkpoint is run."""
    limit: Limit | None = None
    """Most documents of each lm-eval task, the first ones, or a share of them such as 0.1, as a flag also
    10%; else all."""
    seed: int = Field(1234, ge=0, lt=2**63)
    """Seed of the few-shot sampler."""
    limits: Mapping[str, Annotated[int, Field(gt=0, le=LARGEST_LIMIT)] | None] = {}
    """In place of `limit` for single benchmarks, by name."""
    gen_kwargs: GenKwargs = "neutral"
    """What greedy answers keep of a checkpoint's generation_config.json: `neutral` nothing, `model` its
    repetition penalty."""
    chat: ChatSettings = ChatSettings()
    """How questions are put to a model that was tuned for conversations."""

    run_code: RunCode | None = None
    """Let benchmarks run code that the model has written: in a `sandbox` of bubblewrap, without network and
    files."""
    confirm_run_unsafe_code: bool = False
    """Let them run it on this machine without a sandbox, with HF_ALLOW_CODE_EVAL=1."""

    def limit_of(self, benchmark: str) -> int | float | None:
        """Most documents of each lm-eval task of a benchmark, or a share of them, or None for all."""
        return self.limits.get(benchmark, self.limit)
