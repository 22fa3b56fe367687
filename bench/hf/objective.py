"""How far a model is from what experts say, input by input, with gradients of its weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from bench.continuations import ExpertContinuations
from bench.divergence import Distributions, apart, entropies
from bench.hf.forced import Forced
from bench.sharing import batches
from merging.signals import ObjectiveKind

_LOGITS_AT_ONCE = 2**23  # float32 entries; some copies of them are in memory while gradients are taken


class Matching:
    """The mean over an input's generated tokens of D(expert‖model), or of the model's entropy.

    Logits of all positions are never in memory together. It is a `merging.signals.LearningObjective`.

    Args:
        model: of transformers, whose weights may change between calls; it is read without dropout.
        experts: what each task's expert says.
        kind: `kl` or `js`; or `entropy`, for which experts only say where it is taken.
        pad: token that fills rows up.
        batch_tokens: most tokens in a forward pass, padding included (one input at least).
        held_out: how many inputs of each task, the last ones, nothing is learned from.
    """

    def __init__(
        self,
        model: Any,
        experts: Mapping[str, ExpertContinuations],
        kind: ObjectiveKind,
        *,
        pad: int,
        batch_tokens: int,
        held_out: int = 0,
    ) -> None:
        self.model = model
        self._forced = Forced(model.eval(), pad)
        self._continuations, self._kind, self._batch_tokens = experts, kind, batch_tokens
        self._held_out = {task: min(held_out, len(expert) - 1) for task, expert in experts.items()}

    def inputs(self) -> dict[str, int]:
        """How many inputs each task has."""
        return {task: len(expert) for task, expert in self._continuations.items()}

    def held_out(self) -> dict[str, int]:
        """How many of them, the last ones, nothing is learned from."""
        return dict(self._held_out)

    def values(
        self, inputs: Sequence[tuple[str, int]], weights: Sequence[float] | None = None
    ) -> list[float]:
        """Each input's number; with weights the gradients of their weighted sum join the parameters'."""
        pairs = [self._continuations[task].pairs[i] for task, i in inputs]
        lengths = {index: len(a) + len(b) for index, (a, b) in enumerate(pairs)}
        values = [0.0] * len(inputs)
        for batch in batches(lengths, self._batch_tokens):
            counts = torch.tensor([len(pairs[index][1]) for index in batch])
            chosen = [inputs[index] for index in batch]
            with torch.set_grad_enabled(weights is not None):
                rows = self._forced.rows([pairs[index] for index in batch])
                each = torch.tensor([1.0 if weights is None else weights[index] for index in batch])
                numbers = self._pointwise(rows, chosen, (each / counts).repeat_interleave(counts))
            for index, own in zip(batch, numbers.split(counts.tolist()), strict=True):
                values[index] = float(own.mean())
        return values

    def _pointwise(
        self, rows: torch.Tensor, inputs: Sequence[tuple[str, int]], weights: torch.Tensor
    ) -> torch.Tensor:
        """Numbers (positions,) in float64; gradients of their weighted sum join the parameters'."""
        leaf = rows.detach().requires_grad_(rows.requires_grad)
        weights = weights.to(rows.device)
        at_once = max(1, _LOGITS_AT_ONCE // self._forced.vocabulary)
        numbers = []
        for start in range(0, len(leaf), at_once):
            here = slice(start, start + at_once)
            log_q = self._forced.logits(leaf[here]).log_softmax(-1)
            if self._kind == "entropy":
                values = entropies(log_q)
            else:
                expert = self._experts(inputs, start, min(start + at_once, len(leaf)))
                tokens = None if expert.tokens is None else expert.tokens.to(rows.device)
                expert_distributions = Distributions(expert.logprobs.to(rows.device), tokens)
                values = apart(self._kind, expert_distributions, Distributions(log_q))
            if leaf.requires_grad:
                (weights[here] * values).sum().backward()
            numbers.append(values.detach().double().cpu())
        if leaf.requires_grad:
            rows.backward(leaf.grad)
        return torch.cat(numbers)

    def _experts(self, inputs: Sequence[tuple[str, int]], start: int, stop: int) -> Distributions:
        """What the experts say at some of the positions of inputs, one input after the other."""
        parts, position = [], 0
        for task, i in inputs:
            count = len(self._continuations[task].pairs[i][1])
            first, last = max(start - position, 0), min(stop - position, count)
            if first < last:
                parts.append(self._continuations[task].distributions(i, first, last))
            position += count
        tokens = [part.tokens for part in parts if part.tokens is not None]
        return Distributions(
            torch.cat([part.logprobs for part in parts]), torch.cat(tokens) if tokens else None
        )
