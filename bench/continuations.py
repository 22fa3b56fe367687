"""Experts' greedy continuations of inputs, and the distributions that they came from.

They are made once for each expert and lie in a folder: `inputs.json` has the tokens, `logprobs.npy` the
natural logarithms, (positions, vocabulary) or (positions, k), of the tokens in `tokens.npy`.
Four bytes a number: 200 inputs of 4 tokens over a vocabulary of 151,936 are 486 MB, and 320 kB where the 50
likeliest of each are kept.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from bench.divergence import DIVERGENCES, Distributions, divergences
from bench.engine import Engine, GenerationRequest, Progress, TokenIds
from merging.chat import encode
from merging.signals import Divergence
from results.errors import InputError
from results.writing import locked

CONTINUATIONS_VERSION = 1
"""Part of the key of continuations that are kept. To be raised by whatever changes what an expert says."""
MOST_BYTES = 8 * 2**30
"""Room that one expert's distributions may take, unless said otherwise."""
_INPUTS, _LOGPROBS, _TOKENS = "inputs.json", "logprobs.npy", "tokens.npy"


@dataclass(frozen=True)
class ExpertContinuations:
    """An expert's continuations of some inputs, with its distributions at every token of each.

    Attributes:
        pairs: input and continuation; the end token belongs to a continuation that was ended.
        folder: of the distributions, which are read when they are needed.
    """

    pairs: tuple[tuple[TokenIds, TokenIds], ...]
    folder: Path

    def __post_init__(self) -> None:
        tokens = self.folder / _TOKENS
        logprobs = np.load(self.folder / _LOGPROBS, mmap_mode="r", allow_pickle=False)
        ids = np.load(tokens, mmap_mode="r", allow_pickle=False) if tokens.is_file() else None
        object.__setattr__(self, "_stored", (logprobs, ids))
        starts = [0, *accumulate(len(continuation) for _, continuation in self.pairs)]
        object.__setattr__(self, "_starts", starts)
        if any(len(array) != starts[-1] for array in (logprobs, ids) if array is not None):
            raise ValueError(f"{self.folder}: not as many distributions as tokens")

    @classmethod
    def open(cls, folder: Path) -> "ExpertContinuations":
        """The continuations that lie in a folder.

        Raises:
            InputError: a file of them is missing or damaged.
        """
        try:
            content = json.loads((folder / _INPUTS).read_text(encoding="utf-8"))
            return cls(tuple((tuple(a), tuple(b)) for a, b in content), folder)
        except (ValueError, TypeError, EOFError, FileNotFoundError) as error:
            raise InputError(f"{folder} is damaged; remove it, and it is measured again") from error

    def __len__(self) -> int:
        return len(self.pairs)

    def distributions(self, index: int, start: int = 0, stop: int | None = None) -> Distributions:
        """The expert's distributions at every token of a continuation, or from one to another."""
        starts, (logprobs, tokens) = self._starts, self._stored  # type: ignore[attr-defined]
        first, last = starts[index], starts[index + 1]
        here = slice(first + start, last if stop is None else min(first + stop, last))
        ids = None if tokens is None else torch.from_numpy(tokens[here].astype(np.int64))
        return Distributions(torch.from_numpy(logprobs[here].copy()), ids)


def input_ids(engine: Engine, text: str, room: int) -> list[int]:
    """Tokens of an input with as much room behind them, as they are before a completion in training."""
    ids = encode(engine.tokenizer, text)
    if engine.is_encoder_decoder:
        return ids[: engine.max_length]
    if ids and ids[-1] == engine.tokenizer.eos_token_id:
        ids = ids[:-1]
    return ids[-(engine.max_length - room) :] or [engine.tokenizer.bos_token_id or 0]


def continue_inputs(
    engine: Engine,
    inputs: Sequence[TokenIds],
    folder: Path,
    *,
    expert: str,
    max_new_tokens: int,
    top_k: int | None = None,
    end: int | None = None,
    most_bytes: int = MOST_BYTES,
    progress: Progress | None = None,
) -> ExpertContinuations:
    """Have an expert continue inputs, and keep its continuations with their distributions.

    Args:
        engine: with the expert in it.
        inputs: tokens, not empty; they fit into the model with `max_new_tokens` more.
        folder: where to keep it; it appears when it is complete.
        expert: the expert's name, for messages.
        max_new_tokens: most tokens of a continuation.
        top_k: likeliest tokens of each place that are kept; None keeps all of the vocabulary.
        end: the token that ends an answer, where it is not the tokenizer's end of a sequence.
        most_bytes: room that the distributions may take.
        progress: called with the numbers of inputs done and in all.

    Raises:
        InputError: there are no inputs, the expert generates nothing, or there is too little room.
    """
    if not inputs:
        raise InputError(f"There are no inputs for the expert of '{expert}' to continue.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = folder.with_name(f".{folder.name}.partial")
    with locked(folder.with_name(f".{folder.name}.lock")):
        if folder.is_dir():  # another process has made the same meanwhile
            return ExpertContinuations.open(folder)
        ends = () if end is None else (end,)
        requests = [GenerationRequest(tuple(ids), max_new_tokens, ends=ends) for ids in inputs]
        answers = engine.generate(requests, progress)
        if not any(answer.ids for answer in answers):
            raise InputError(
                f"The expert of '{expert}' generates nothing after any of its {len(inputs)} inputs, so there "
                "is nothing to compare: train it longer, or look at its prompts."
            )
        end = engine.tokenizer.eos_token_id if end is None else end
        pairs = [
            (tuple(ids), (*answer.ids, end) if answer.ended else answer.ids)
            for ids, answer in zip(inputs, answers, strict=True)
        ]
        starts = [0, *accumulate(len(continuation) for _, continuation in pairs)]
        shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
        scratch.mkdir()
        stored: tuple[np.ndarray, np.ndarray | None] | None = None
        for index, found in engine.distributions(pairs, top_k, progress):
            if stored is None:
                stored = _files(scratch, starts[-1], found, expert, most_bytes)
            here = slice(starts[index], starts[index + 1])
            stored[0][here] = found.logprobs.numpy()
            if stored[1] is not None and found.tokens is not None:
                stored[1][here] = found.tokens.numpy()
        del stored
        (scratch / _INPUTS).write_text(json.dumps(pairs), encoding="utf-8")
        scratch.replace(folder)
    return ExpertContinuations.open(folder)


def _files(
    folder: Path, positions: int, like: Distributions, expert: str, most_bytes: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Empty arrays in files, for all positions."""
    width = like.logprobs.shape[-1]
    needed = positions * width * (4 if like.tokens is None else 8)
    if needed > most_bytes:
        raise InputError(
            f"What the expert of '{expert}' says at {positions} places takes {needed / 2**30:.1f} GiB for "
            f"{width} tokens each, more than {most_bytes / 2**30:.1f}: take fewer inputs or new tokens, or "
            "keep the likeliest tokens only (top_k)."
        )
    if shutil.disk_usage(folder).free < needed:
        raise InputError(f"{folder.parent} has no room for {needed / 2**30:.1f} GiB of what experts say.")
    make = np.lib.format.open_memmap
    logprobs = make(folder / _LOGPROBS, mode="w+", dtype=np.float32, shape=(positions, width))
    if like.tokens is None:
        return logprobs, None
    return logprobs, make(folder / _TOKENS, mode="w+", dtype=np.int32, shape=(positions, width))


def mean_divergences(
    engine: Engine, expert: ExpertContinuations, *, top_k: int | None = None, progress: Progress | None = None
) -> dict[Divergence, float]:
    """Return D(expert‖model) of every kind: the mean over inputs of the mean over what the expert said.

    Args:
        engine: with the model in it.
        expert: its continuations.
        top_k: how many tokens the engine gives; None asks for all. Then, and where the expert's are of the
            likeliest tokens only, the values are bounds from below.
        progress: called with the numbers of inputs done and in all.

    Raises:
        InputError: the model has another vocabulary than the expert.
    """
    values: dict[Divergence, list[float]] = {kind: [] for kind in DIVERGENCES}
    for index, found in engine.distributions(expert.pairs, top_k, progress):
        own = expert.distributions(index)
        for kind, of_kind in values.items():
            of_kind.append(float(divergences(kind, own, found).mean()))
    return {kind: float(np.mean(of_kind)) for kind, of_kind in values.items()}
