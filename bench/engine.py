"""What runs a checkpoint: settings, and the contract that every engine keeps."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import Field

from bench.server_settings import ServerSettings
from results.errors import InputError
from results.validation import Settings

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import PreTrainedTokenizerBase

    from bench.divergence import Distributions

AUTO = "auto"
"""In place of an engine's name: the one that suits checkpoints and machine."""
TokenIds = Sequence[int]
Dtype = Literal["float32", "bfloat16", "float16", "auto"]
Progress = Callable[[int, int], None]
"""Called with the numbers of requests done so far and in all."""


_UNDECIDING = frozenset({"batch_tokens", "tensor_parallel", "memory_share", "server"})
"""Settings of an engine that answers do not depend on; what a server is, a record's checkpoint says."""


class EngineSettings(Settings):
    """How checkpoints are run."""

    name: str = AUTO
    """Engine: `hf`; `vllm`; `auto`: vllm on a GPU where it can, else hf; `replay`: recorded outputs; `api`: a
    server."""
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
    server: ServerSettings | None = None
    """The server that is asked; api only."""

    @property
    def deciding(self) -> dict[str, str | int | None]:
        """The settings that answers depend on, the engine's name first; of a device its kind, no number."""
        values = {name: getattr(self, name) for name in type(self).model_fields if name not in _UNDECIDING}
        return values | {"device": self.device.partition(":")[0]}


@dataclass(frozen=True)
class GenerationRequest:
    """A prompt to continue greedily.

    Attributes:
        prompt: token ids, not empty.
        max_new_tokens: most tokens to generate.
        stop: strings that end the answer and are cut off it.
        ends: tokens that end it besides the checkpoint's own.
        repetition_penalty: divides the positive logits of tokens that are there already, of the prompt or the
            answer, and multiplies the negative ones (Keskar et al. 2019).
    """

    prompt: TokenIds
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    repetition_penalty: float = 1.0


@dataclass(frozen=True)
class Generation:
    """A generated answer.

    Attributes:
        text: without its stop string.
        ids: the tokens that were generated, without the end token.
        ended: whether the model ended it, by an end token, which was generated too.
        cut: whether it took all tokens that it was given, and did not end.
        count: how many tokens it took, where their ids are not known.
        filtered: whether a server's filter of contents kept it back; then it is empty.
    """

    text: str
    ids: tuple[int, ...]
    ended: bool
    cut: bool = False
    count: int | None = None
    filtered: bool = False

    @property
    def tokens(self) -> int:
        """How many tokens it took, without the end token."""
        return len(self.ids) if self.count is None else self.count


class KeptBackError(InputError):
    """A server's filter of contents keeps back how likely some continuations are.

    Args:
        pairs: which of those that were asked for, by their places.
        message: in a sentence, what cannot be scored.
    """

    def __init__(self, pairs: Sequence[int], message: str = "") -> None:
        super().__init__(message or f"The server's filter of contents keeps {len(pairs)} choices back.")
        self.pairs = pairs


@dataclass(frozen=True)
class Likelihood:
    """How likely a continuation is, token by token, given all before it; in natural logarithms.

    Attributes:
        logprob: of the whole continuation.
        is_greedy: whether greedy decoding would produce it.
        logprobs: of each token, (tokens,) in float32; their negative mean is the teacher-forced loss.
    """

    logprob: float
    is_greedy: bool
    logprobs: "np.ndarray" = field(compare=False)


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

    def generate(
        self, requests: Sequence[GenerationRequest], progress: Progress | None = None
    ) -> list[Generation]:
        """Greedy continuations, in the order of the requests.

        Raises:
            InputError: a prompt with its answer is longer than `max_length`.
        """

    def loglikelihood(
        self, pairs: Sequence[tuple[TokenIds, TokenIds]], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Likelihoods of continuations in (context, continuation) pairs, both not empty, in the order given.

        A pair of more than `max_length` + 1 tokens loses some of its left: the last token is never read.

        Raises:
            InputError: a continuation alone is longer than `max_length`, or the model computes NaN.
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


class TensorEngine(Engine, Protocol):
    """An engine that also takes weights from memory, of a model that it has loaded from a folder."""

    def takes(self, tensors: Mapping[str, "torch.Tensor"]) -> bool:
        """Return whether tensors of these names and shapes are all of the model that is loaded."""

    def swap_tensors(self, checkpoint: Path, tensors: Mapping[str, "torch.Tensor"]) -> None:
        """Put weights in place of those of a checkpoint, of which all else is kept.

        Raises:
            InputError: the checkpoint cannot be loaded, or weights are NaN or infinite in the engine's dtype.
        """


def refuse_too_long(requests: Sequence[GenerationRequest], max_length: int) -> None:
    """Refuse a prompt that does not fit with its answer.

    Raises:
        InputError: one does not.
    """
    for request in requests:
        if len(request.prompt) + request.max_new_tokens > max_length:
            raise InputError(
                f"A prompt of {len(request.prompt)} tokens and an answer of {request.max_new_tokens} do not "
                f"fit into {max_length}: raise the maximum length, or give fewer worked examples."
            )


def refuse_long_continuations(pairs: Sequence[tuple[TokenIds, TokenIds]], max_length: int) -> None:
    """Refuse continuations that alone do not fit.

    Raises:
        InputError: one does not.
    """
    longest = max((len(continuation) for _, continuation in pairs), default=0)
    if longest > max_length:
        raise InputError(
            f"A continuation of {longest} tokens does not fit into {max_length}: "
            "raise the maximum length (--max-length)."
        )


def cut_to_fit(
    pairs: Sequence[tuple[TokenIds, TokenIds]], max_length: int, *, has_encoder: bool
) -> list[tuple[TokenIds, TokenIds]]:
    """Return pairs whose contexts lost from their left what a model cannot read; the last token it need not.

    Raises:
        InputError: a continuation leaves no room for one token before it.
    """
    refuse_long_continuations(pairs, max_length)
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
