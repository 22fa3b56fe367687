"""FW-Merging: go step by step towards the expert that the gradient of an objective points to."""

from typing import Literal, Self

import torch
from pydantic import Field, model_validator

from merging.known_methods import register
from merging.learned_method import LearnedMethod
from merging.signals import ObjectiveKind


@register("fw_merging", paper="https://arxiv.org/abs/2503.12649")
class FWMerging(LearnedMethod):
    """θ ← θ + η_k (s_k − θ) with η_k = 2γ/(k + 2), k = 0, 1, …, from θ = θ₀ + λ Σ_t τ_t on: Frank-Wolfe.

    s_k is the expert with the least ⟨∇L(θ), τ_t⟩, or the base where none is negative; at the level of layers
    each layer has its own. So θ stays a combination of the experts, whose coefficients are what is learned.
    Inner products are those of Frank-Wolfe; the authors' code has cosines of each tensor, and merges the step
    by TIES too for language models. L there is the cross-entropy of labelled rows, or the entropy; here it is
    KL(expert‖θ) on the expert's own answers, which is that cross-entropy less a constant with the expert's
    predictions in the labels' place. A batch has all inputs, so that an epoch is one step.
    """

    inputs: int | None = Field(100, ge=1)
    """Validation inputs of each task; null is 200 at the level of tasks and 400 at that of layers."""
    batch_per_task: int = Field(100, ge=1)
    """Inputs in a step for each task; a step mixes the tasks."""
    epochs: int = Field(10, ge=1)
    """Passes over the inputs: the authors' 10 steps."""
    initial: float | None = 0.3
    """λ, every coefficient's first value; null is 1/T."""
    step_size: float = Field(0.1, gt=0, le=1)
    """γ; the authors' code has 0.1 for images, and 1 for language models, where TIES follows."""
    source: Literal["validation"] = "validation"
    """Where the inputs are from; answers are never looked at."""
    loss: Literal["kl", "js", "entropy"] = "kl"
    """L: D(expert‖θ) of either kind, or θ's own entropy."""

    @model_validator(mode="after")
    def _refuse_what_is_adams(self) -> Self:
        if self.learning_rate != type(self).model_fields["learning_rate"].default:
            raise ValueError("'learning_rate' is Adam's, which makes no step here; give 'step_size'")
        return self

    @property
    def objective(self) -> ObjectiveKind:
        """What is made small."""
        return self.loss

    def stepped(self, coefficients: torch.Tensor, gradient: torch.Tensor, step: int) -> torch.Tensor:
        """Return the coefficients (tasks, layers) after a step, from 0, by their gradient."""
        best = gradient.argmin(0)
        vertex = torch.zeros_like(coefficients)
        layers = torch.arange(gradient.shape[1])
        vertex[best, layers] = (gradient[best, layers] < 0).to(vertex.dtype)
        return coefficients + 2 * self.step_size / (step + 2) * (vertex - coefficients)
