"""What runs a checkpoint: the contract that every engine keeps, and the engines by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from results.errors import InputError

if TYPE_CHECKING:
    import numpy as np
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
        batch_tokens: most tokens, padding included, that are computed at once; None: as suits the device.
        max_length: longest sequence in tokens; None takes it from the checkpoint.
    """

    name: str = "hf"
    dtype: str = "auto"
    device: str = "auto"
    batch_tokens: int | None = None
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.batch_tokens is not None and self.batch_tokens < 1:
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
        adapter: folder of a PEFT adapter on the checkpoint, or None for the checkpoint itself.
    """

    prompt: TokenIds
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    adapter: Path | None = None


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
    """Runs one checkpoint at a time; `swap` puts another in its place.

    Attributes:
        tokenizer: the checkpoint's.
        max_length: longest sequence in tokens.
        is_encoder_decoder: whether contexts are read by an encoder.
        joins_benchmarks: whether the prompts of several benchmarks are best asked in one list.
    """

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    is_encoder_decoder: bool
    joins_benchmarks: bool

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint's weights and tokenizer; in place where it has the same architecture.

        Raises:
            InputError: it cannot be loaded, lacks a tensor, or holds NaN or infinity. Close the engine then.
        """

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests.

        Raises:
            InputError: a prompt with its answer is longer than `max_length`, or no adapters can be run.
        """

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-likelihoods of (context, continuation) pairs, both not empty, in the order given.

        A pair of more than `max_length` + 1 tokens loses some of its left: the last token is never read.

        Raises:
            InputError: a continuation alone is longer than `max_length`, or the model computes NaN.
        """

    def token_logprobs(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> "list[np.ndarray]":
        """Log-probability (natural logarithm) of every token of each continuation, given all before it.

        The negative mean is the teacher-forced loss. Lengths and errors are as for `loglikelihood`.
        """

    def close(self) -> None:
        """Free what the engine holds, and leave no process behind."""


def too_long(prompt: int, new_tokens: int, max_length: int) -> str:
    """The sentence for a prompt that does not fit with its answer."""
    return (
        f"A prompt of {prompt} tokens and an answer of {new_tokens} do not fit into {max_length}: "
        "raise the maximum length, or give fewer worked examples."
    )


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
    from bench.hf.engine import HFEngine

    return HFEngine(checkpoint, settings)
