"""What runs a checkpoint: the contract that every engine keeps, and the engines by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHORTEST = 8  # a shorter model has no room for a prompt and an answer

TokenIds = Sequence[int]
Progress = Callable[[int, int], None]
"""Called with the numbers of requests done so far and in all."""


@dataclass(frozen=True)
class EngineSettings:
    """How checkpoints are run.

    Attributes:
        name: `hf`, or `replay`, which starts nothing.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: float32 on a CPU, the checkpoint's own on a GPU.
        device: `cpu`, `cuda`, `cuda:1`, …, or `auto`: a GPU where there is one.
        batch_tokens: most tokens, padding included, in one forward pass.
        max_length: longest sequence in tokens; None takes it from the checkpoint.
    """

    name: str = "hf"
    dtype: str = "auto"
    device: str = "auto"
    batch_tokens: int = 16384
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens < 1:
            raise InputError(f"batch_tokens must be at least 1, not {self.batch_tokens}.")
        if self.max_length is not None and self.max_length < _SHORTEST:
            raise InputError(f"max_length must be at least {_SHORTEST} tokens, not {self.max_length}.")

    def resolved(self) -> "EngineSettings":
        """The same settings with `auto` replaced by what it means on this machine.

        On a GPU the dtype stays `auto`, the checkpoint's own, which the digest of its weights tells.
        """
        if self.name == REPLAY:
            return EngineSettings(REPLAY, dtype="none", device="none")
        device = self.device
        if device == "auto":
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = "float32" if self.dtype == "auto" and device == "cpu" else self.dtype
        return replace(self, device=device, dtype=dtype)


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to continue greedily.

    Attributes:
        prompt: token ids, not empty.
        max_new_tokens: most tokens to generate.
        stop: strings that end the answer and are cut off it.
    """

    prompt: TokenIds
    max_new_tokens: int
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Generation:
    """A generated answer, without its stop string, and how many tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True)
class Likelihood:
    """Log-likelihood (natural logarithm) of a continuation, and whether greedy decoding would produce it."""

    logprob: float
    is_greedy: bool


class Engine(Protocol):
    """Runs one checkpoint at a time; `swap` puts another of the same architecture in its place."""

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    is_encoder_decoder: bool

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint's weights and tokenizer."""

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests."""

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, both not empty, in the order given."""

    def close(self) -> None:
        """Free what the engine holds."""


REPLAY = "replay"
ENGINES = {
    "hf": "transformers, on a CPU or one GPU; decoder-only and encoder-decoder models",
    REPLAY: "recorded outputs (JSONL) in place of a model",
}


def open_engine(checkpoint: Path, settings: EngineSettings) -> Engine:
    """Start an engine with a checkpoint.

    Raises:
        InputError: no such engine, or the checkpoint cannot be loaded.
    """
    if settings.name not in ENGINES:
        raise InputError(f"There is no engine '{settings.name}'; there are {', '.join(ENGINES)}.")
    if settings.name == REPLAY:
        raise InputError("The engine 'replay' answers from recorded outputs and runs no checkpoint.")
    from bench.hf_engine import HFEngine

    return HFEngine(checkpoint, settings)
