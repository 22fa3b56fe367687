"""Experiments that train their experts: each task's, and every method's merges, post hoc and in rounds."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.examples import load_shares
from bench.registry import Suite
from bench.scored_checkpoint import ScoredCheckpoint
from bench.signals import ValidationSignals
from manyshot.experiment import Experiment, MethodEntry, TrainOptions
from manyshot.terminal import logger
from merging.examples import Example
from merging.known_methods import find_method
from merging.method_file import source_of
from merging.recipe import MethodSpec
from merging.rounds import Plan, Round, run_rounds, trained
from merging.signals import Needs
from merging.tuning import Objective, check_settings, needs, worth
from results.errors import InputError
from results.merge_trace import RecipeRecord, RoundScore, RoundSelection
from results.run import Entry


@dataclass(frozen=True)
class Made:
    """A checkpoint of a run and what the run says of it."""

    entry: Entry
    candidate: ScoredCheckpoint


def make_checkpoints(
    experiment: Experiment, suite: Suite, signals: ValidationSignals, out: Path, data_root: Path | None
) -> Iterator[Made]:
    """Yield the base, the standalone experts and the merged checkpoints with their rounds, made or found.

    Standalone experts are trained from the base for all rounds' epochs at once. They are the post-hoc merges'
    inputs, and what every score is divided by.

    Raises:
        InputError: something that the experiment names is not there or does not fit; what was made is kept.
    """
    options = experiment.train
    assert options is not None
    out = out.resolve()
    check_methods(experiment, suite)
    examples = _examples(suite, options, data_root)
    plans = [
        [(method, _plan(experiment, method, examples, seed)) for method in experiment.methods]
        for seed in experiment.seeds
    ]
    for method in experiment.methods:
        signals.check(_needs(method, rounds_of(method, options)))
    base = ScoredCheckpoint.open(experiment.base)
    yield Made(_entry("base", "base", base), base)
    several = len(experiment.seeds) > 1
    for seed, of_one_seed in zip(experiment.seeds, plans, strict=True):
        of_seed = f", seed {seed}" if several else ""
        whole = options.settings.but(epochs=options.rounds * options.epochs, seed=seed)
        experts = {}
        for task, learned in examples.items():
            begin = partial(_begin, f"training the expert of {task}{of_seed}", signals)
            experts[task] = trained(base.path, task, learned, whole, out / "experts", begin=begin)
            candidate = _named(experts[task], f"{task} expert{of_seed}")
            yield Made(_entry(candidate.name, "expert", candidate, task=task, seed=seed), candidate)
        of_this_seed = signals.with_references(experts)
        for method, plan in of_one_seed:
            title = f"{method.title}{of_seed}"
            rounds = run_rounds(plan, out, of_this_seed, partial(logger.info, "%s, %s", title))
            dtype = experiment.output_dtype
            yield from _of_rounds(method, title, seed, rounds, of_this_seed, output_dtype=dtype)


def recipe_record(
    method: MethodEntry, output_dtype: str | None, seed: int, accept_differences: tuple[str, ...] = ()
) -> RecipeRecord:
    """What a merge is asked for besides the method's settings. Of a method's file only the name is kept."""
    return RecipeRecord(
        method=Path(method.name).name,
        source=source_of(find_method(method.name).kind),
        weighting=method.by.model_dump(mode="json"),
        anchor=method.anchor,
        keep=method.keep,
        space=method.space,
        output_dtype=output_dtype,
        seed=seed,
        accept_differences=accept_differences,
    )


def path_of(candidate: ScoredCheckpoint) -> str:
    """Where a checkpoint lies, from the root: a recipe with it can be merged from any folder."""
    return str(candidate.path.absolute())  # not resolved: a link's name is the checkpoint's


def _begin(what: str, signals: ValidationSignals) -> None:
    logger.info(what)
    signals.free()


def _plan(
    experiment: Experiment, method: MethodEntry, examples: Mapping[str, list[Example]], seed: int
) -> Plan:
    options = experiment.train
    assert options is not None
    many = method.protocol == "many-shot"
    training = options.settings
    if not many:
        training = training.but(epochs=options.rounds * options.epochs)
    return Plan(
        base=experiment.base,
        examples=examples,
        training=training,
        method=MethodSpec(name=method.name, **method.settings),
        rounds=rounds_of(method, options),
        weighting=method.by,
        objective=method.objective,
        anchor=method.anchor,
        space=method.space,
        output_dtype=experiment.output_dtype,
        seed=seed,
    )


def rounds_of(method: MethodEntry, options: TrainOptions | None) -> int:
    """How often a method merges: in the experiment's rounds, or once."""
    return options.rounds if options is not None and method.protocol == "many-shot" else 1


def _needs(method: MethodEntry, rounds: int) -> Needs:
    of_settings = needs(method.name, method.settings, rounds)
    return method.by.needs | of_settings | Needs(scores=method.keep != "last")


def _of_rounds(
    method: MethodEntry,
    title: str,
    seed: int,
    rounds: list[Round],
    signals: ValidationSignals,
    *,
    output_dtype: str | None,
) -> Iterator[Made]:
    """The merged checkpoint that counts, and where there are rounds the checkpoint of each."""
    chosen, curve = _kept(method, rounds, signals)
    merged = _named(chosen.merged, title)
    about: dict[str, Any] = {
        "method": method.method_name,
        "settings": method.settings,
        "protocol": method.protocol,
        "seed": seed,
        "title": method.plain_title,
        "identity": method.identity,
        "recipe": recipe_record(method, output_dtype, seed),
    }
    many = method.protocol == "many-shot"
    selection = RoundSelection(round_index=chosen.turn, scores=tuple(curve)) if many else None
    merged_entry = _entry(title, "merged", merged, **about, trace=chosen.trace, selection=selection)
    yield Made(merged_entry, merged)
    if method.protocol == "post-hoc":
        return
    for one in rounds:
        label = f"{title}, round {one.turn}"
        candidate = _named(one.merged, label)
        yield Made(
            _entry(label, "round", candidate, **about, leads_to=title, round_index=one.turn, trace=one.trace),
            candidate,
        )


def _kept(
    method: MethodEntry, rounds: list[Round], signals: ValidationSignals
) -> tuple[Round, list[RoundScore]]:
    """The round that counts, and each round's validation performance where that decides."""
    if method.keep == "last":
        return rounds[-1], []
    objective: Objective = "average" if method.keep == "best_average" else "worst_task"
    curve = []
    for one in rounds:
        reached = {task: signals.normalised(one.merged, task) for task in one.experts}
        value = worth(reached, objective, signals)
        curve.append(RoundScore(round_index=one.turn, tasks=reached, value=value))
    best = max(range(len(rounds)), key=lambda i: (curve[i].value, i))
    return rounds[best], curve


def _named(path: Path, name: str) -> ScoredCheckpoint:
    return replace(ScoredCheckpoint.open(str(path)), name=name)


def _entry(label: str, role: str, candidate: ScoredCheckpoint, **about: Any) -> Entry:
    return Entry(
        label=label,
        role=role,  # type: ignore[arg-type]
        path=path_of(candidate),
        checkpoint=candidate.identity,
        **about,
    )


def _examples(suite: Suite, options: TrainOptions, data_root: Path | None) -> dict[str, list[Example]]:
    found = {}
    for task, of in suite.tasks.items():
        if not of.training:
            raise InputError(f"The suite {suite.name} names no training data for the task '{task}'.")
        pairs = load_shares(of.training, data_root, options.examples)
        found[task] = [Example(*pair) for pair in pairs]
    return found


def check_methods(experiment: Experiment, suite: Suite) -> None:
    """Refuse methods, settings and names before anything is trained or merged."""
    titles = [method.title for method in experiment.methods]
    for method in experiment.methods:
        if titles.count(method.title) > 1:
            raise InputError(f"Two methods are called '{method.title}': give one of them a `label`.")
        rounds = rounds_of(method, experiment.train)
        method.by.check(rounds)
        check_settings(
            method.name,
            method.settings,
            list(suite.tasks),
            rounds=rounds,
            space=method.space,
            weighting=method.by.name,
        )
