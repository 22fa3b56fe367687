"""What runs a checkpoint: the contract that every engine keeps, and the engines by name."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from results.errors import InputError
from results.validation import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase

    from bench.divergence import Distributions

TokenIds = Sequence[int]
Dtype = Literal["float32", "bfloat16", "float16", "auto"]
Progress = Callable[[int, int], None]
"""Called with the numbers of requests done so far and in all."""


class EngineSettings(Settings):
    """How checkpoints are run."""

    name: str = "auto"
    """Engine: `hf`; `vllm`; `auto`: vllm on a GPU where it can, else hf; `replay`: recorded outputs."""
    dtype: Dtype = "auto"
    """Dtype of the computation; `auto` is float32 on a CPU, and the checkpoint's own on a GPU."""
    device: str = Field("auto", min_length=1)
    """Where to compute: `cpu`, `cuda`, `cuda:1`, …, or `auto`: a GPU where there is one."""
    batch_tokens: int | None = Field(None, gt=0)
    """Most tokens, padding included, computed at once; else as suits the device; hf only."""
    max_length: int | None = Field(None, ge=8)
    """Longest sequence in tokens; else the checkpoint's."""
    tensor_parallel: int = Field(1, gt=0)
    """Number of GPUs that share each tensor; vllm only."""
    memory_share: float | None = Field(None, gt=0, lt=1)
    """Share of a device's memory for weights and key-value cache; else vLLM's 0.9 on a GPU, and 2 GiB of
    cache on a CPU; vllm only."""

    def resolved(self) -> "EngineSettings":
        """The same settings with `auto` replaced by what it means on this machine.

        The engine is hf where `choose_engine` chose none. On a GPU the dtype stays `auto`, the checkpoint's
        own, which the digest of its weights tells.
        """
        if self.name == REPLAY:
            # No dtype of a computation: recorded outputs are computed by nothing.
            return EngineSettings.model_construct(name=REPLAY, dtype="none", device="none")  # type: ignore[arg-type]
        device = self.device
        if device == "auto":
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype: Dtype = "float32" if self.dtype == "auto" and device == "cpu" else self.dtype
        return self.but(name=HF if self.name == AUTO else self.name, device=device, dtype=dtype)


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
    """A generated answer.

    Attributes:
        text: without its stop string.
        ids: the tokens that were generated, without the end token.
        ended: whether the model ended it, by an end token, which was generated too.
    """

    text: str
    ids: tuple[int, ...]
    ended: bool

    @property
    def tokens(self) -> int:
        """How many tokens it took, without the end token."""
        return len(self.ids)


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
    """

    tokenizer: "PreTrainedTokenizerBase"
    max_length: int
    is_encoder_decoder: bool

    def swap(self, checkpoint: Path) -> None:
        """Load another checkpoint's weights and tokenizer; in place where it has the same architecture.

        Raises:
            InputError: it cannot be loaded, lacks a tensor, or holds NaN or infinity. Close the engine then.
        """

    def swap_tensors(self, tensors: "Mapping[str, torch.Tensor]") -> None:
        """Put weights that are in memory in place of those loaded; configuration and tokenizer stay.

        Raises:
            InputError: they are not those of the checkpoint that is loaded, hold NaN or infinity, or the
                engine runs in another process.
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

    def distributions(
        self,
        pairs: Sequence[tuple[TokenIds, TokenIds]],
        top_k: int | None = None,
        progress: Progress | None = None,
    ) -> "Iterator[tuple[int, Distributions]]":
        """Next-token distributions at every token of each continuation, with the pair's index.

        They come batch by batch, in no order, so that those of all pairs are never in memory together.

        Args:
            pairs: contexts and continuations, both not empty; lengths are as for `loglikelihood`.
            top_k: how many of the likeliest tokens; None is all of the vocabulary.
            progress: called with the numbers of pairs done and in all.

        Raises:
            InputError: the model computes NaN, or the engine gives fewer tokens than are asked for.
        """

    def close(self) -> None:
        """Free what the engine holds, and leave no process behind."""


def refuse_too_long(requests: Sequence[GenerationRequest], max_length: int) -> None:
    """Let no prompt through that does not fit with its answer.

    Raises:
        InputError: one does not.
    """
    for request in requests:
        if len(request.prompt) + request.max_new_tokens > max_length:
            raise InputError(
                f"A prompt of {len(request.prompt)} tokens and an answer of {request.max_new_tokens} do not "
                f"fit into {max_length}: raise the maximum length, or give fewer worked examples."
            )


def continuation_too_long(tokens: int, max_length: int) -> str:
    """The sentence for a continuation that alone does not fit."""
    return (
        f"A continuation of {tokens} tokens does not fit into {max_length}: "
        "raise the maximum length (--max-length)."
    )


def cut_to_fit(
    pairs: Sequence[tuple[TokenIds, TokenIds]], max_length: int, *, has_encoder: bool
) -> list[tuple[TokenIds, TokenIds]]:
    """Return pairs whose contexts lost from their left what a model cannot read; the last token it need not.

    Raises:
        InputError: a continuation leaves no room for one token before it.
    """
    longest = max((len(tokens) for _, tokens in pairs), default=0)
    if longest > max_length:
        raise InputError(continuation_too_long(longest, max_length))
    return [
        (context[-(max_length if has_encoder else max_length + 1 - len(tokens)) :], tokens)
        for context, tokens in pairs
    ]


def not_finite(checkpoint: Path) -> str:
    """The sentence for probabilities that are NaN."""
    return (
        f"The checkpoint {checkpoint} gives probabilities that are no numbers: its weights are finite, "
        "its activations are not; try another dtype."
    )


AUTO, HF, VLLM, REPLAY = "auto", "hf", "vllm", "replay"
ENGINES = {
    HF: "transformers, on a CPU or one GPU; decoder-only and encoder-decoder models",
    VLLM: "vLLM, on GPUs or a CPU; decoder-only models; one start for many checkpoints",
    REPLAY: "recorded outputs (JSONL) in place of a model",
}


def choose_engine(settings: EngineSettings, checkpoints: Sequence[Path]) -> EngineSettings:
    """The same settings with `auto` replaced by an engine.

    That is vllm where it is installed, there is a GPU and it supports every checkpoint, and hf otherwise.
    """
    if settings.name != AUTO:
        return settings
    return settings.but(name=VLLM if _vllm_serves(settings, checkpoints) else HF)


def _vllm_serves(settings: EngineSettings, checkpoints: Sequence[Path]) -> bool:
    if find_spec("vllm") is None or settings.resolved().device != "cuda":
        return False
    from bench.vllm_engine import serves

    return all(serves(checkpoint, settings) for checkpoint in checkpoints)


def open_engine(checkpoint: Path, settings: EngineSettings) -> Engine:
    """Start an engine with a checkpoint.

    Raises:
        InputError: no such engine, or the checkpoint cannot be loaded.
    """
    asked = settings.name
    settings = choose_engine(settings, [checkpoint])
    if settings.name not in ENGINES:
        raise InputError(f"There is no engine '{settings.name}'; there are {', '.join((*ENGINES, AUTO))}.")
    for option, value, usual in (
        ("tensor parallelism (--tensor-parallel)", settings.tensor_parallel, 1),
        ("a share of memory (--memory-share)", settings.memory_share, None),
    ):
        if settings.name == HF and asked == HF and value != usual:
            raise InputError(f"The engine hf knows no {option}: leave it out, or use --engine vllm.")
    if settings.name == REPLAY:
        raise InputError("The engine 'replay' answers from recorded outputs and runs no checkpoint.")
    if settings.name == VLLM:
        if find_spec("vllm") is None:
            raise InputError(
                "vLLM is not installed: install manyshot[vllm] for GPUs, or run `make setup-vllm`."
            )
        from bench.vllm_engine import VLLMEngine

        return VLLMEngine(checkpoint, settings)
    from bench.hf.engine import HFEngine

    return HFEngine(checkpoint, settings)
