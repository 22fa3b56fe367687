"""The diagonal of a model's Fisher information, from one gradient for each text."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from merging.linear_layers import Advance
from merging.texts import Pair, drawn_log_likelihood, seed_of


def fisher_diagonal(
    model: Any,
    parameters: Mapping[str, torch.nn.Parameter],
    pairs: Sequence[Pair],
    advance: Advance,
    *,
    seed: int,
    task: str,
) -> dict[str, torch.Tensor]:
    """Return F = 1/n Σ_x (∂ log p(y|x) / ∂θ)² of some parameters, flat and in float32.

    y is drawn from the model at each place of the answer to x; the draws are the same whichever parameters
    are asked for. Texts without an answer are left out.

    Args:
        model: of transformers.
        parameters: of the model, by the name of the result.
        pairs: the texts.
        advance: called after each text.
        seed: of the draws, with the task's name and the text's number.
        task: whose texts they are.
    """
    model.requires_grad_(False)
    sums = {name: torch.zeros_like(parameter.data) for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_()
    said = 0
    for number, pair in enumerate(pairs):
        if pair[1]:
            model.zero_grad(set_to_none=True)
            drawn_log_likelihood(model, pair, seed_of(seed, task, number)).backward()
            for name, parameter in parameters.items():
                if parameter.grad is not None:
                    sums[name].addcmul_(parameter.grad, parameter.grad)
            said += 1
        advance()
    model.zero_grad(set_to_none=True)
    return {name: total.div_(max(said, 1)).reshape(-1) for name, total in sums.items()}
