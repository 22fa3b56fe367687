"""Merging in rounds: every expert is trained from the merged model, then all are merged again."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import locate
from merging.examples import Example, examples_digest
from merging.known_methods import find_method
from merging.learned import note_of, what_was_learned, with_coefficients
from merging.learning import LEARNING_VERSION
from merging.merge import merge
from merging.provenance import MERGING_VERSION, code_of
from merging.recipe import ExpertSpec, MethodSpec, Recipe
from merging.signals import Signals
from merging.train_settings import UNDECIDING, TrainSettings
from merging.training import TRAINING_VERSION, made_from, train, versions
from merging.tuning import Objective, choose, needs, number_of_candidates, of_round
from merging.weighting import Weighting, recipe_weights
from results.errors import InputError
from results.files import write_atomically
from results.merge_trace import MergeTrace, Trial

Protocol = Literal["post-hoc", "many-shot"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is trained and merged, and how.

    Attributes:
        base: θ₀.
        examples: what each task's expert learns.
        training: of one round, or of the whole post-hoc training.
        method: name and settings of the merge method; a setting may have one value a round, or values to
            choose among on validation data, as `merging.tuning` has it.
        rounds: R; 1 is post-hoc merging.
        weighting: of the tasks.
        objective: what is best on validation data, where settings of the method are chosen.
        anchor: what task vectors are relative to: the `base`, or the `previous` merged model.
        space: where adapters are merged.
        output_dtype: of whole merged models; None keeps the base's.
        seed: of the training and of methods that draw random numbers.
    """

    base: str
    examples: Mapping[str, Sequence[Example]]
    training: TrainSettings
    method: MethodSpec
    rounds: int
    weighting: Weighting = field(default_factory=lambda: Weighting(name="uniform"))
    objective: Objective = "average"
    anchor: Literal["base", "previous"] = "base"
    space: Literal["delta", "factors"] = "delta"
    output_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"The number of rounds is {self.rounds}; 1 or more are expected.")
        if self.space == "factors" and self.training.adapter is None:
            raise InputError("The space 'factors' is for adapters: say which to train, or take 'delta'.")
        self.weighting.check(self.rounds)
        of_round(self.method.settings, 1, self.rounds)


@dataclass(frozen=True)
class Round:
    """What a round made and measured.

    Attributes:
        turn: its number, from 1.
        merged: the merged checkpoint or adapter.
        experts: by task.
        trace: what was measured.
    """

    turn: int
    merged: Path
    experts: Mapping[str, Path]
    trace: MergeTrace

    def to_json(self, folder: Path) -> dict[str, Any]:
        """The round as a JSON value, with its paths relative to the folder of all rounds and experts."""
        return {
            "turn": self.turn,
            "merged": str(self.merged.relative_to(folder)),
            "experts": {task: str(path.relative_to(folder)) for task, path in self.experts.items()},
            "trace": self.trace.model_dump(mode="json"),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], folder: Path) -> "Round":
        """The round that `to_json` described."""
        return cls(
            content["turn"],
            folder / content["merged"],
            {task: folder / path for task, path in content["experts"].items()},
            MergeTrace.model_validate(content["trace"]),
        )


def run_rounds(plan: Plan, folder: Path, signals: Signals, say: Say = lambda _: None) -> list[Round]:
    """Train and merge, round after round, from where an earlier call was stopped.

    Args:
        plan: what to do.
        folder: where experts (`experts/`) and rounds are kept. What is there already is of the same plan and
            is taken, down to the last save of a training and the last block of a merge.
        signals: of checkpoints on validation data.
        say: told what begins.

    Returns:
        The rounds in order.

    Raises:
        InputError: something of the plan is wrong, or a training's loss is no number; what was done is kept.
    """
    folder = folder.resolve()
    place = folder / f"rounds-{_digest(plan, signals)}"
    before, rounds = plan.base, []
    for turn in range(1, plan.rounds + 1):
        note = place / f"round-{turn}" / "round.json"
        if note.is_file():
            rounds.append(Round.from_json(json.loads(note.read_text(encoding="utf-8")), folder))
        else:
            rounds.append(_run_round(plan, turn, before, folder, note.parent, signals=signals, say=say))
            content = rounds[-1].to_json(folder)
            write_atomically(note, (json.dumps(content, indent=1) + "\n").encode())
        before = str(rounds[-1].merged)
    return rounds


def _run_round(
    plan: Plan, turn: int, before: str, folder: Path, place: Path, *, signals: Signals, say: Say
) -> Round:
    clock = {}
    passed = (turn - 1) * math.ceil(plan.training.epochs)
    training = plan.training.but(seed=plan.seed, first_epoch=passed)
    experts = {}
    started = time.monotonic()
    of = f"round {turn} of {plan.rounds}"

    def begin(task: str) -> None:
        say(f"{of}: training {task}")
        signals.free()

    for task, examples in plan.examples.items():
        start = partial(begin, task)
        experts[task] = trained(locate(before), task, examples, training, folder / "experts", begin=start)
    # What was trained for another method, or before a stop, took its seconds then.
    clock["train"] = sum(map(_seconds_of_training, experts.values()))
    clock["rest"] = max(0.0, time.monotonic() - started - clock["train"])
    if plan.weighting.needs:
        say(f"{of}: signals")
    started = time.monotonic()
    measured = plan.weighting.measure(signals, locate(before), experts, turn)
    clock["signals"] = time.monotonic() - started
    say(f"{of}: merging")
    started = time.monotonic()
    anchor = plan.base if plan.anchor == "base" else before
    merged = place / "merged"

    def merge_to(settings: Mapping[str, Any], out: Path) -> Path:
        return merge_experts(plan, settings, anchor, experts, measured.weights, signals=signals, out=out)

    settings, tried = choose(
        of_round(plan.method.settings, turn, plan.rounds),
        merge_to,
        signals,
        tasks=list(experts),
        objective=plan.objective,
        place=place,
    )
    clock["choose"] = time.monotonic() - started
    started = time.monotonic()
    merge_to(settings, merged)
    clock["merge"] = time.monotonic() - started
    report = json.loads((merged / "merge.json").read_text(encoding="utf-8"))
    for notice in report["notices"]:
        say(f"{of}: {notice}")
    return Round(
        turn=turn,
        merged=merged,
        experts=experts,
        trace=MergeTrace(
            weights=dict(measured.weights),
            signal=measured.signal,
            losses=dict(measured.losses),
            settings=json.loads(json.dumps(settings)),
            candidates=number_of_candidates(plan.method.settings),
            trials=tuple(Trial.model_validate(trial) for trial in tried),
            learned=what_was_learned(note_of(place, settings)),
            mask_density=report["model"]["mask_density"],
            mask_norm=report["model"]["mask_norm"],
            mask_thresholds=(report["mask_reach"] or {}).get("thresholds", {}),
            seconds={name: round(seconds, 3) for name, seconds in clock.items()},
            memory=report["memory"],
        ),
    )


def merge_experts(
    plan: Plan,
    settings: Mapping[str, Any],
    anchor: str,
    experts: Mapping[str, Path],
    weights: Mapping[str, float],
    *,
    signals: Signals,
    out: Path,
) -> Path:
    """Merge experts by a plan's method with some settings into a folder, or find it merged.

    Coefficients that the method learns are learned first; what is learned is kept beside the folder.
    """
    by = recipe_weights(weights)
    if not out.exists():
        note = note_of(out.parent, settings)
        settings = with_coefficients(
            plan.method.name, settings, signals, locate(anchor), experts, seed=plan.seed, note=note
        )
    recipe = Recipe(
        base=anchor,
        experts={task: ExpertSpec(path=str(path), weight=by[task]) for task, path in experts.items()},
        method=MethodSpec(name=plan.method.name, **settings),
        space=plan.space,
        output_dtype=plan.output_dtype,
        seed=plan.seed,
    )
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            merge(recipe, out, progress=False)
        except InputError:
            if not out.exists():  # otherwise another process has just merged the same
                raise
    return out


def trained(
    start: Path,
    task: str,
    examples: Sequence[Example],
    settings: TrainSettings,
    folder: Path,
    *,
    begin: Callable[[], None] = lambda: None,
) -> Path:
    """Return an expert from a folder of them, trained where none was made in this way.

    Args:
        start: the model, or the adapter, that is trained.
        task: what the expert is called.
        examples: what it learns.
        settings: how.
        folder: of experts, each by all that it was made from.
        begin: called before a training, as to give it the device; not where the expert is found.

    Raises:
        InputError: it cannot be trained.
    """
    made_by = [made_from(start, examples, settings), versions()]
    content = json.dumps(made_by, sort_keys=True)
    out = folder / f"{task}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    if out.exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    begin()
    try:
        # A whole merged model carries a new adapter; a merged adapter is trained on.
        return train(start, examples, settings, out)
    except InputError:
        if not out.exists():  # otherwise another process has just trained the same
            raise
    return out


def _seconds_of_training(expert: Path) -> float:
    return float(json.loads((expert / "training.json").read_text(encoding="utf-8"))["seconds"])


def _digest(plan: Plan, signals: Signals) -> str:
    """Digest of all that decides what a plan's rounds hold, whatever their number."""
    needed = plan.weighting.needs | needs(plan.method.name, plan.method.settings, plan.rounds)
    content = [
        open_checkpoint(plan.base).identity().digest,
        {task: examples_digest(examples) for task, examples in plan.examples.items()},
        signals.key(needed) if needed else None,
        {name: value for name, value in plan.training.model_dump().items() if name not in UNDECIDING},
        plan.method.model_dump(mode="json"),
        [plan.weighting.model_dump(), plan.objective],
        [plan.anchor, plan.space, plan.output_dtype, plan.seed],
        [TRAINING_VERSION, MERGING_VERSION, LEARNING_VERSION, code_of(find_method(plan.method.name).kind)],
    ]
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
