"""What is known of a merge: what it measured and made, how it was made, and which round of several counts.

A `MergeTrace` is written beside every merged checkpoint of an experiment, and into the entry of its run.
"""

from typing import Annotated

from pydantic import Field, JsonValue, Strict

from results.validation import Settings, Several

Pair = Annotated[tuple[float, float], Strict(False)]
StepValue = Annotated[tuple[int, float], Strict(False)]


class SignalTrace(Settings):
    """The numbers, one for each task, that the weights of the tasks came from."""

    label: str
    """What the signal is called on an axis."""
    values: dict[str, float]
    """The signal by task."""
    reference: float
    """The value that says that a task lacks nothing."""
    reference_label: str
    """What that value is called."""


class Trial(Settings):
    """Settings of a method that were tried, and what they gave on validation data."""

    settings: dict[str, JsonValue]
    tasks: dict[str, float] = {}
    """Normalised performance of the tasks that decide."""
    value: float
    """The objective over the tasks: their average, or the least of them."""


class LearnedCoefficients(Settings):
    """Coefficients that a method learned, and how it went."""

    tasks: Several[str]
    layers: Several[str]
    coefficients: list[list[float]]
    """Those that count, (tasks, layers)."""
    curve: list[float] = []
    """The objective at every step, on its inputs: Σ over tasks of the mean over inputs."""
    path: list[list[list[float]]] = []
    """The coefficients before every step, or some of the steps, and at the end; each (tasks, layers)."""
    path_steps: list[int] = []
    """The numbers of these steps; empty where they are all."""
    validation: list[StepValue] = []
    """Step and value on held-out inputs, Σ over tasks of the mean over inputs."""
    best_step: int | None = None
    """The step with the least value on held-out inputs."""
    seconds: float = 0.0
    inputs: dict[str, int] = {}
    """How many inputs of each task were learned from."""


class MergeTrace(Settings):
    """What one merge measured, chose, learned and cost."""

    weights: dict[str, float] = {}
    """The share of each task; they add up to 1."""
    signal: SignalTrace | None = None
    """What the weights came from; None where they are equal."""
    losses: dict[str, Pair] = {}
    """By task, of the model before the round and of the expert, where they were measured."""
    settings: dict[str, JsonValue] = {}
    """The method's, those of this round, with what was chosen on validation data."""
    candidates: int = Field(0, ge=0)
    """How often all tasks' validation data were scored to choose settings."""
    trials: Several[Trial] = ()
    """All that was tried to choose settings, in order."""
    learned: LearnedCoefficients | None = None
    mask_density: float | None = None
    """Share of the entries that moved which a consensus keeps; None without one."""
    mask_norm: float | None = None
    """Share of the norm of the weighted sum that it keeps."""
    mask_thresholds: dict[str, float] = {}
    """The least weight of each task with which its mask keeps an entry that all tasks agree on."""
    seconds: dict[str, float] = {}
    """By phase: train, signals, choose, learn, merge, and the rest, such as digests."""
    memory: int | None = None
    """Most bytes that the merge took beside mapped files."""


class RoundScore(Settings):
    """Validation performance of a round's merged checkpoint."""

    round_index: int
    tasks: dict[str, float] = {}
    value: float


class RoundSelection(Settings):
    """Which round's merged checkpoint counts, and by which scores, where it is not the last."""

    round_index: int
    scores: Several[RoundScore] = ()


class MethodIdentity(Settings):
    """What a method merged in rounds has in common with the same method merged once, and with no other."""

    method: str
    code: str | None = None
    """Digest of the source of a method from the user's own file."""
    settings: dict[str, JsonValue] = {}
    weighting: dict[str, JsonValue] = {}
    space: str = "delta"
    objective: str = "average"


class MergeOptions(Settings):
    """What a merge was asked for besides the method's settings, and the source of a method of the user's own.

    Of a method's file only the name is kept.
    """

    method: str | None = None
    source: str | None = None
    weighting: dict[str, JsonValue] | None = None
    anchor: str | None = None
    keep: str | None = None
    space: str | None = None
    output_dtype: str | None = None
    seed: int | None = None
    accept_differences: Several[str] = ()
