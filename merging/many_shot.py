"""Merging in rounds: experts, weights by a signal, settings chosen, coefficients learned, a merge, a trace.

In every round each expert is trained from the merged model before it. Merging once, post hoc, is one round
with given experts. A run that was stopped is continued from its last finished step.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Strict

from merging.checkpoints.folders import locate
from merging.experts import Expert, GivenExperts, TrainedExperts, training_seconds
from merging.known_methods import find_method, make_method
from merging.learned_method import LearnedMethod, coefficients_by_task
from merging.learning import LEARNING_VERSION, learn_coefficients, learned_coefficients, learning_file
from merging.measured_method import MeasuredMethod
from merging.measuring import MEASURING_VERSION, measure, measuring_seconds
from merging.merge import merge
from merging.merge_report import Clock, measurements
from merging.provenance import MERGING_VERSION, code_of
from merging.recipe import Anchor, ExpertSpec, Keep, MethodSpec, OutputDtype, Recipe, Space
from merging.signals import Signals
from merging.tuning import (
    Objective,
    aggregate,
    choose_settings,
    number_of_candidates,
    round_settings,
    settings_needs,
)
from merging.weighting import Weighting, recipe_weights
from results.errors import InputError
from results.json_values import cache_key, json_value
from results.merge_trace import MergeTrace, RoundScore, RoundSelection
from results.reading import read_json
from results.validation import Settings, validated
from results.writing import write_atomically

_LONGEST_TITLE = 80
_Folder = Annotated[Path, Strict(False)]


@dataclass(frozen=True)
class MergePlan:
    """What is merged in one or several rounds, and how.

    Attributes:
        base: θ₀.
        base_digest: its digest.
        experts: given, or trained in every round.
        method: name and settings of the merge method; a setting may have one value a round, or values to
            choose among on validation data, as in `merging.tuning`.
        rounds: R; 1 is post-hoc merging.
        weighting: of the tasks.
        objective: what is best on validation data, where settings of the method are chosen.
        anchor: what task vectors are relative to: the `base`, or the `previous` merged model.
        space: where adapters are merged.
        output_dtype: of whole merged models; None keeps the base's.
        seed: of the training and of methods that draw random numbers.
        accept_differences: keys in which given experts may differ from the base.
    """

    base: str
    base_digest: str
    experts: GivenExperts | TrainedExperts
    method: MethodSpec
    weighting: Weighting
    rounds: int = 1
    objective: Objective = "average"
    anchor: Anchor = "base"
    space: Space = "delta"
    output_dtype: OutputDtype | None = None
    seed: int = 0
    accept_differences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"The number of rounds is {self.rounds}; 1 or more are expected.")
        if self.rounds > 1 and isinstance(self.experts, GivenExperts):
            raise InputError("Given experts are merged in one round; say how to train them to have more.")
        self.weighting.check(self.rounds)
        round_settings(self.method.settings, 1, self.rounds)

    def digest(self, signals: Signals) -> str:
        """Return the digest of all that decides what the rounds hold, whatever their number."""
        method_class = find_method(self.method.name).method_class
        needed = self.weighting.needs | settings_needs(self.method.name, self.method.settings, self.rounds)
        content = [
            self.base_digest,
            self.experts.key(),
            signals.key(needed) if needed else None,
            self.method.model_dump(mode="json"),
            [self.weighting.model_dump(), self.objective, self.anchor, self.space, self.output_dtype],
            [self.seed, self.accept_differences],
            [MERGING_VERSION, LEARNING_VERSION, code_of(method_class)],
        ]
        if issubclass(method_class, MeasuredMethod):
            content.append(MEASURING_VERSION)
        return cache_key(content)[:12]


class MergeRound(Settings):
    """What a round made and measured."""

    round_index: int
    """Its number, from 1."""
    merged: _Folder
    """The merged checkpoint or adapter."""
    experts: dict[str, _Folder]
    """By task."""
    trace: MergeTrace
    """What was measured."""

    def write(self, file: Path, out: Path) -> None:
        """Write the round to a file, with paths relative to the folder of all checkpoints."""
        content = self._with_folders(lambda path: _relative(path, out)).model_dump(mode="json")
        write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def read(cls, file: Path, out: Path) -> "MergeRound":
        """Return the round that `write` wrote.

        Raises:
            InputError: the file is damaged.
        """
        advice = "remove it, and the round is made again"
        content = validated(cls, read_json(file, advice), str(file), advice)
        return content._with_folders(lambda path: out / path)

    def _with_folders(self, moved: Callable[[Path], Path]) -> "MergeRound":
        experts = {task: moved(path) for task, path in self.experts.items()}
        return self.but(merged=moved(self.merged), experts=experts)


def run_rounds(
    plan: MergePlan,
    out: Path,
    signals: Signals,
    *,
    title: str = "rounds",
    last: int | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> list[MergeRound]:
    """Merge in rounds, from where an earlier call was stopped.

    Args:
        plan: what to do.
        out: folder of all checkpoints. Trained experts are kept in `experts/`, merged checkpoints in
            `merged/<title>-<digest of the plan>/round-<number>/`, each round's trace beside its checkpoint.
        signals: of checkpoints on validation data.
        title: how the folder of the rounds is called, so that it can be recognised.
        last: the round to end with; those after it are left to another call.
        announce: called with what begins.

    Returns:
        The rounds in order.

    Raises:
        InputError: something of the plan is wrong, or a training's loss is no number; what was done is kept.
    """
    out = out.resolve()
    folder = _folder_of_rounds(plan, out, signals, title)
    start = plan.base
    rounds: list[MergeRound] = []
    for round_index in range(1, (last or plan.rounds) + 1):
        file = folder / f"round-{round_index}.json"
        merge_round = _found_round(file, out)
        if merge_round is None:
            merge_round = _run_round(
                plan, round_index, start, out, folder, signals=signals, announce=announce
            )
            merge_round.write(file, out)
        rounds.append(merge_round)
        start = str(merge_round.merged)
    return rounds


def found_rounds(plan: MergePlan, out: Path, signals: Signals, title: str) -> list[MergeRound]:
    """Return the rounds that `run_rounds`, called with the same, would find made."""
    out = out.resolve()
    folder = _folder_of_rounds(plan, out, signals, title)
    rounds: list[MergeRound] = []
    while found := _found_round(folder / f"round-{len(rounds) + 1}.json", out):
        rounds.append(found)
    return rounds


def _folder_of_rounds(plan: MergePlan, out: Path, signals: Signals, title: str) -> Path:
    digest = plan.digest(signals)
    earlier = sorted((out / "merged").glob(f"*-{digest}"))  # under another title, too
    return earlier[0] if earlier else out / "merged" / f"{_plain(title)}-{digest}"


def _found_round(file: Path, out: Path) -> MergeRound | None:
    """The round that a file is of, unless somebody has removed its checkpoint."""
    merge_round = MergeRound.read(file, out) if file.is_file() else None
    return merge_round if merge_round is not None and merge_round.merged.is_dir() else None


def _run_round(
    plan: MergePlan,
    round_index: int,
    start: str,
    out: Path,
    folder: Path,
    *,
    signals: Signals,
    announce: Callable[[str], None],
) -> MergeRound:
    """Train or open the experts, weigh them, choose settings, learn coefficients and merge."""
    clock = Clock()
    prefix = f"round {round_index} of {plan.rounds}: " if plan.rounds > 1 else ""

    def begin_training(task: str) -> None:
        announce(f"{prefix}training {task}")
        signals.free()

    with clock.phase("rest"):
        experts = plan.experts.round_experts(round_index, start, plan.seed, out, begin_training)
    if plan.weighting.needs:
        announce(f"{prefix}signals")
    folders = {task: expert.folder for task, expert in experts.items()}
    with clock.phase("signals"):
        weighed = plan.weighting.measure(signals, locate(start), folders, round_index)
    announce(f"{prefix}merging")
    work_folder = folder / f"round-{round_index}.work"
    anchor = plan.base if plan.anchor == "base" else start
    merging = _Merging(plan, anchor, experts, weighed.weights, work_folder, out / "measured", signals)
    with clock.phase("choose"):
        settings, trials = choose_settings(
            round_settings(plan.method.settings, round_index, plan.rounds),
            merging.merge_to,
            signals,
            tasks=list(experts),
            objective=plan.objective,
            folder=work_folder,
        )
    merged = folder / f"round-{round_index}"
    merging.merge_to(settings, merged, progress=True)
    measured = measurements(merged)
    learned = learned_coefficients(learning_file(work_folder, settings))
    seconds = _seconds(clock, folders) | measured.seconds
    if learned is not None:
        seconds["learn"] = learned.seconds
    if (measuring := measuring_seconds(merged)) is not None:
        seconds["measure"] = measuring
    return MergeRound(
        round_index=round_index,
        merged=merged,
        experts=folders,
        trace=measured.but(
            weights=weighed.weights,
            signal=weighed.signal,
            losses=weighed.losses,
            settings=json_value(settings),
            candidates=number_of_candidates(plan.method.settings),
            trials=trials,
            learned=learned,
            seconds={phase: round(number, 3) for phase, number in seconds.items()},
        ),
    )


@dataclass(frozen=True)
class _Merging:
    """A round's merges: all but the method's settings and the folder.

    Attributes:
        plan: of all rounds.
        anchor: what task vectors are relative to.
        experts: by task.
        weights: α by task.
        work_folder: folder for what is learned.
        measured: folder for what is measured of experts.
        signals: that coefficients are learned from, and which give the texts to measure on.
    """

    plan: MergePlan
    anchor: str
    experts: Mapping[str, Expert]
    weights: Mapping[str, float]
    work_folder: Path
    measured: Path
    signals: Signals

    def merge_to(self, settings: Mapping[str, Any], out: Path, *, progress: bool = False) -> None:
        """Merge into a folder, unless it is there, with coefficients learned where the method has some."""
        if out.exists():
            return
        plan, shares = self.plan, recipe_weights(self.weights)
        method = make_method(plan.method.name, settings)
        if isinstance(method, LearnedMethod) and method.coefficients is None:
            learned = learn_coefficients(
                method,
                self.signals,
                locate(self.anchor),
                {task: expert.folder for task, expert in self.experts.items()},
                seed=plan.seed,
                file=learning_file(self.work_folder, settings),
            )
            settings = {**settings, "coefficients": coefficients_by_task(learned)}
        elif isinstance(method, MeasuredMethod) and method.measured is None:
            folder = measure(
                method,
                self.signals,
                locate(self.anchor),
                {task: expert.folder for task, expert in self.experts.items()},
                weights=shares,
                seed=plan.seed,
                folder=self.measured,
            )
            settings = {**settings, "measured": str(folder)}
        recipe = Recipe(
            base=self.anchor,
            experts={
                task: ExpertSpec(path=expert.name, weight=shares[task])
                for task, expert in self.experts.items()
            },
            method=MethodSpec(name=plan.method.name, **settings),
            space=plan.space,
            output_dtype=plan.output_dtype,
            seed=plan.seed,
            accept_differences=list(plan.accept_differences),
        )
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            merge(recipe, out, progress)
        except InputError:
            if not out.exists():  # otherwise another process has just merged the same
                raise


def select_round(rounds: Sequence[MergeRound], keep: Keep, signals: Signals) -> RoundSelection:
    """Return which round's merged checkpoint counts, by validation performance unless it is the last."""
    if keep == "last":
        return RoundSelection(round_index=rounds[-1].round_index)
    objective: Objective = "average" if keep == "best_average" else "worst_task"
    scores = []
    for merge_round in rounds:
        tasks = {task: signals.normalised(merge_round.merged, task) for task in merge_round.experts}
        value = aggregate(tasks, objective, signals)
        scores.append(RoundScore(round_index=merge_round.round_index, tasks=tasks, value=value))
    best = max(scores, key=lambda score: (score.value, score.round_index))
    return RoundSelection(round_index=best.round_index, scores=tuple(scores))


def _seconds(clock: Clock, experts: Mapping[str, Path]) -> dict[str, float]:
    """Seconds by phase; what was trained for another method, or before a stop, took its seconds then."""
    trained = [seconds for seconds in map(training_seconds, experts.values()) if seconds is not None]
    seconds = {"train": sum(trained)} if trained else {}
    seconds["rest"] = max(0.0, clock.seconds["rest"] - sum(trained))
    return seconds | {phase: clock.seconds[phase] for phase in ("signals", "choose")}


def _relative(path: Path, out: Path) -> Path:
    absolute = path.absolute()
    return absolute.relative_to(out) if absolute.is_relative_to(out) else absolute


def _plain(title: str) -> str:
    """A title as a part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.=-]+", "_", title).strip("_.")[:_LONGEST_TITLE] or "merged"
