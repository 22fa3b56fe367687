"""How a checkpoint or an adapter is trained."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from merging.chat import ChatSettings
from results.trackers import ReportSettings
from results.validation import Settings, Several

Schedule = Literal[
    "linear", "cosine", "cosine_with_restarts", "constant", "constant_with_warmup", "inverse_sqrt"
]
"""Those of transformers' schedules that need no settings of their own, nor a step after the warmup."""
_UNDECIDING = frozenset({"save_seconds", "report_to"})
"""Settings that what is trained does not depend on."""
Loss = Literal["completion", "text"]
Order = Literal["own", "trainer"]
Init = Literal["default", "gaussian", "orthogonal", "lori_d", "lori_s"]
_OF_LORI_S = {"density", "calibration_learning_rate"}


class AdapterSettings(Settings):
    """The LoRA adapter that is trained in place of all weights. The defaults are METIS's."""

    rank: int = Field(16, gt=0)
    """Rank r of a LoRA adapter that is trained in place of all weights."""
    alpha: float = Field(16.0, gt=0)
    """α of the adapter: the product of its factors is multiplied by α/r."""
    targets: Several[str] | Literal["all-linear"] = ("q_proj", "k_proj", "v_proj", "o_proj")
    """Names of the linear layers that get factors, or `all-linear`."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on what goes into the factors, while training."""
    init: Init = "default"
    """How the factors begin. `default`, `gaussian` and `orthogonal` (of an even rank) are peft's, of one seed
    the same for all tasks; inits of peft that want data, or change the base, are not taken. With `lori_d` A
    is drawn for each task's examples apart, and not trained, as in LoRI-D (arXiv 2504.07448). `lori_s` is
    LoRI-S: it trains so once to find the entries of B that move most, and then these alone from the start,
    so that it reads the examples twice."""
    density: float = Field(0.1, gt=0, le=1)
    """Of `lori_s`: the share of B's entries, over all layers together, that are trained in the end."""
    calibration_learning_rate: float | None = Field(None, gt=0)
    """Of `lori_s`: the highest learning rate of its first training, else that of both. The paper's scripts
    have mostly a tenth of the other there."""

    @field_validator("targets", mode="before")
    @classmethod
    def _all_linear_is_no_name(cls, value: object) -> object:
        return "all-linear" if value in (["all-linear"], ("all-linear",)) else value

    @model_validator(mode="after")
    def _orthogonal_factors_have_an_even_rank(self) -> Self:
        if self.init == "orthogonal" and self.rank % 2:
            raise ValueError(f"init is 'orthogonal', which takes an even rank, and the rank is {self.rank}")
        return self

    @model_validator(mode="after")
    def _masks_are_of_lori_s(self) -> Self:
        for name in _OF_LORI_S:
            if self.init != "lori_s" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} is of the init 'lori_s', and the init is '{self.init}'")
        return self

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that what is trained depends on."""
        values = self.model_dump(exclude=None if self.init == "lori_s" else _OF_LORI_S)
        if self.init == "default":
            del values["init"]  # trainings from before there was a choice stay what they are
        return values

    @property
    def trainings(self) -> int:
        """How often the examples are trained on, each time for all steps."""
        return 2 if self.init == "lori_s" else 1


class SharedTrainSettings(Settings):
    """What a training of one checkpoint and the trainings of an experiment have in common."""

    epochs: float = Field(1.0, gt=0)
    """Passes over the examples."""
    batch_size: int = Field(8, gt=0)
    """Examples in a step, over all devices."""
    accumulation: int = Field(1, gt=0)
    """Parts that a step's examples are computed in, one after the other."""
    learning_rate: float = Field(3e-4, gt=0)
    """The highest learning rate of AdamW."""
    warmup_ratio: float = Field(0.03, ge=0, le=1)
    """Share of the steps in which the learning rate rises."""
    schedule: Schedule = "cosine"
    """How the learning rate goes down: a schedule of transformers."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay."""
    loss: Loss = "completion"
    """Mean token loss over the `completion` only, or over the whole `text`."""
    max_length: int = Field(512, ge=2)
    """Tokens after which an example is cut."""
    end_token: bool = True
    """Whether the end-of-sequence token is added to an example, where its tokenizer does not."""
    order: Order = "own"
    """Order of the examples. In our `own` order each pass is drawn by the seed and the pass's number, and its
    last batch filled up. With `trainer` it is what transformers' Trainer draws: the first pass of every
    training by the seed alone, pass e by seed + e, and the last batch as it comes."""
    bf16: bool | None = None
    """Compute in bfloat16 where autocast does so, weights stay in float32; else on GPUs that have it."""
    group_by_length: bool = True
    """Put examples of similar length in one batch, which saves padding."""
    cpu: bool = False
    """Train on the CPU even where there is an accelerator."""
    adapter: AdapterSettings | None = None
    """The adapter to train; else all weights."""
    save_seconds: float = Field(300.0, ge=0)
    """A training saves its state so often, in seconds, and starts from there when it was killed."""

    @model_validator(mode="after")
    def _trainers_order_looks_at_no_lengths(self) -> Self:
        if self.order == "trainer" and self.group_by_length:
            raise ValueError(
                "order is 'trainer', which does not look at lengths: set group_by_length to false, or order "
                "to 'own'"
            )
        return self


class TrainSettings(SharedTrainSettings, ReportSettings):
    """How a checkpoint is trained."""

    max_steps: int | None = Field(None, gt=0)
    """Optimiser steps, in place of epochs."""
    first_epoch: int = Field(0, ge=0)
    """Number of the first pass, which decides its own order: round r of a training in rounds reads as the
    r-th pass of one training does. The Trainer starts every round from the same order."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Seed of the order of the examples, of dropout and of a new adapter."""
    chat: ChatSettings = ChatSettings()
    """How an example is written as a conversation, where it is."""

    @property
    def deciding(self) -> dict[str, Any]:
        """The settings that what is trained depends on; of a chat template its content."""
        values = {name: value for name, value in self.model_dump().items() if name not in _UNDECIDING}
        del values["chat"]
        if self.adapter is not None:
            values["adapter"] = self.adapter.deciding
        return values if self.chat.key is None else values | {"chat": self.chat.key}
