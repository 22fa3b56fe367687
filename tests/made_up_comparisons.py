"""Comparisons with all that figures can show, made up: few and many methods, long names, seeds, holes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from results import pareto
from results.comparison import Comparison, ComparisonRow, Estimate
from results.merge_trace import LearnedCoefficients, MergeTrace, MethodIdentity, SignalTrace, Trial
from results.metrics import Performance
from results.record import CheckpointIdentity
from results.run_manifest import Entry, Role
from results.search_report import SearchReport, SearchTrial, Statistic, TestedTrial
from results.signal_report import SignalReport
from results.suite import BenchmarkSpec, SuiteSpec

METHODS = ["average", "task_arithmetic", "ties", "dare", "della", "breadcrumbs", "consensus_ta", "slerp"]
METHODS += ["model_stock", "tsv_m", "iso_c", "metis"]
TASKS = ["instructions", "math", "multilingual", "safety", "code", "law", "summaries", "dialogue"]
_LONG = (
    "consensus_ta (mask_threshold={{'math': 0.4, 'safety': 0.{}}}, scaling=0.7) $x_{}$ <&> \t“é–ß” for once"
)
_LONG_TASK = "_multi-step word problems & proofs {} \\frac{{1}}"


def suite_with(benchmarks: Mapping[str, Sequence[str]]) -> SuiteSpec:
    """Tasks with benchmarks of these names; two others watch forgetting."""
    return SuiteSpec(
        name="lab",
        tasks={
            task: tuple(BenchmarkSpec(name=name, metric="acc") for name in names)
            for task, names in benchmarks.items()
        },
        forgetting=(BenchmarkSpec(name="coqa", metric="f1"), BenchmarkSpec(name="pubmedqa", metric="acc")),
    )


def suite_of(tasks: list[str]) -> SuiteSpec:
    """Tasks of one benchmark each, the third of two."""
    return suite_with(
        {task: ["m_mmlu", "m_arc"] if i == 2 else [f"{task}_test"] for i, task in enumerate(tasks)}
    )


def changed(row: ComparisonRow, **changes: object) -> ComparisonRow:
    """A row with other values of fields, its own and its entry's."""
    of_entry = {name: value for name, value in changes.items() if name in Entry.model_fields}
    own = {name: value for name, value in changes.items() if name not in of_entry}
    return replace(row, entry=row.entry.model_copy(update=of_entry), **own)  # type: ignore[arg-type]


def plain_row(label: str, role: Role, tasks: dict[str, Estimate], **about: object) -> ComparisonRow:
    """A row of these tasks, of which only what is given is known."""
    entry = Entry(
        label=label,
        role=role,
        path=f"models/{label}",
        checkpoint=CheckpointIdentity(weights=label, config="", tokenizer=""),
        method=label if role == "merged" else None,
        protocol="post-hoc" if role == "merged" else None,
    )
    row = ComparisonRow(
        entry=entry,
        scores={},
        performance={},
        tasks=tasks,
        **dict.fromkeys(("average", "worst_task", "gap", "anp"), Estimate(None)),
        forgetting={},
        complete=(len(tasks), len(tasks)),
        notes=(),
        resampled=Performance(np.array([])),
    )
    return changed(row, **about)


def row_of(label: str, role: Role, values: dict[str, float | None], **about: object) -> ComparisonRow:
    """A row with these performances, draws around them, and 100, 200, … documents of each benchmark."""
    suite = suite_of(list(values))
    generator = np.random.default_rng(len(label))
    draws = {task: (value or 0.0) + generator.normal(0, 0.03, 200) for task, value in values.items()}
    known = [value for value in values.values() if value is not None]
    whole = len(known) == len(values)
    average = float(np.mean(known)) if whole else None
    worst = min(known) if whole else None
    everything = np.stack(list(draws.values()))
    numbers = {
        "average": _estimate(average, everything.mean(axis=0)),
        "worst_task": _estimate(worst, everything.min(axis=0)),
        "gap": Estimate(None if average is None or worst is None else worst - average),
        "anp": _estimate(average, everything.mean(axis=0)),
        "forgetting": {"coqa": None if average is None else 0.2 * (average - 1), "pubmedqa": 0.019},
        "complete": (len(known), len(values)),
        "resampled": Performance(everything.mean(axis=0), draws),
        "n": {one.name: 100 * (i + 1) for i, one in enumerate(suite.benchmarks)},
    }
    tasks = {task: _estimate(value, draws[task]) for task, value in values.items()}
    return plain_row(label, role, tasks, **numbers, **about)


def _estimate(value: float | None, draws: np.ndarray) -> Estimate:
    if value is None:
        return Estimate(None)
    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(value, min(low, value), max(high, value))


def learned_of(tasks: list[str], layers: int, steps: int = 30) -> LearnedCoefficients:
    """What a method learned: coefficients that go from 0.5 to a place of their own."""
    generator = np.random.default_rng([layers, *map(ord, "".join(tasks))])
    goal = generator.uniform(0.1, 1.1, (len(tasks), layers))
    path = [(0.5 + (goal - 0.5) * step / (steps - 1)).tolist() for step in range(steps)]
    names = [
        "model.embed_tokens.weight",
        *(f"model.layers.{i}" for i in range(layers - 2)),
        "model.norm.weight",
    ]
    return LearnedCoefficients(
        tasks=tuple(tasks),
        layers=tuple(names) if layers > 1 else ("model",),
        coefficients=path[-1],
        curve=[1 / (step + 1) for step in range(steps - 1)],
        path=path,
        path_steps=list(range(steps)),
        seconds=12.5,
        inputs=dict.fromkeys(tasks, 100),
    )


def comparison_of(
    methods: int = 3, tasks: int = 4, *, seeds: int = 1, long: bool = False, rounds: int = 3
) -> Comparison:
    """Methods merged once and, where there are rounds, in rounds; every kind of number that figures show."""
    names = [_LONG_TASK.format(i) for i in range(tasks)] if long else TASKS[:tasks]
    generator = np.random.default_rng(7)
    base = row_of("base", "base", dict(zip(names, generator.uniform(0.1, 0.7, tasks), strict=True)))
    rows, of_rounds = [base], []
    for index, method in enumerate(METHODS[:methods]):
        title = _LONG.format(index, index) if long else method
        layers = (1, 8)[index % 2]
        for seed in range(seeds):
            suffix = f", seed {seed}" if seeds > 1 else ""
            level = 0.3 + 0.6 * index / max(1, methods - 1) + 0.02 * seed
            values = np.clip(level + generator.normal(0, 0.15, tasks), -0.2, 1.2)
            known = dict(zip(names, map(float, values), strict=True))
            about = {
                "method": method, "title": title, "identity": MethodIdentity(method=title),
                "settings": {"scaling": 0.5},
                "seed": seed if seeds > 1 else None,
            }  # fmt: skip
            trace = MergeTrace(
                weights=dict.fromkeys(names, 1 / tasks),
                seconds={"train": 40.0 * (index + 1), "merge": 2.0},
                memory=300_000_000 + 50_000_000 * index,
                learned=learned_of(names, layers),
            )
            rows.append(row_of(f"{title}{suffix}", "merged", known, **about, trace=trace))
            if rounds:
                label = f"{title}, many-shot{suffix}"
                gained = {task: min(1.1, value + 0.1) for task, value in known.items()}
                about |= {"protocol": "many-shot"}
                rows.append(row_of(label, "merged", gained, **about, trace=trace))
            for turn in range(1, rounds + 1):
                share = turn / rounds
                reached = {
                    task: (base.tasks[task].value or 0) * (1 - share) + gained[task] * share for task in names
                }
                weights = {
                    task: (i + turn) / sum(j + turn for j in range(tasks)) for i, task in enumerate(names)
                }
                gaps = {task: 0.4 / turn - 0.05 * i for i, task in enumerate(names)}
                signal = SignalTrace(label="loss gap", values=gaps, reference=0, reference_label="no gap")
                seen = trace.model_copy(update={"weights": weights, "signal": signal})
                of_rounds.append(
                    row_of(
                        f"{label}, round {turn}",
                        "round",
                        reached,
                        **about,
                        leads_to=label,
                        round_index=turn,
                        trace=seen,
                    )
                )
    return Comparison("made-up", suite_of(names), tuple(rows), None, tuple(of_rounds))


def with_holes(comparison: Comparison) -> Comparison:
    """The same, with a merged checkpoint that was not scored on the first task, nor for forgetting."""
    first = next(row for row in comparison.rows if row.role == "merged")
    values = {task: None if i == 0 else one.value for i, (task, one) in enumerate(first.tasks.items())}
    gone = replace(
        row_of(
            first.label,
            "merged",
            values,
            title=first.title,
            method=first.entry.method,
            settings=first.entry.settings,
            seed=first.seed,
        ),
        forgetting={"coqa": None, "pubmedqa": None},
    )
    return replace(comparison, rows=tuple(gone if row is first else row for row in comparison.rows))


def pairs_of(tasks: int = 4, methods: int = 2, *, long: bool = False) -> list[Comparison]:
    """A run for every pair of tasks, and one of all, by methods that learn coefficients."""
    whole = comparison_of(methods, tasks, long=long, rounds=0)
    found = []
    names = list(whole.suite.tasks)
    for subset in [*combinations(names, 2), tuple(names)]:
        rows = [
            row_of(
                row.label, row.role, {task: row.tasks[task].value for task in subset},
                method=row.entry.method, title=row.title, seed=row.seed, protocol=row.protocol,
                trace=(row.entry.trace or MergeTrace()).model_copy(
                    update={"learned": learned_of(list(subset), 3 + len(subset[0]) % 3)}
                ),
            )
            for row in whole.rows
        ]  # fmt: skip
        found.append(replace(whole, suite=suite_of(list(subset)), rows=tuple(rows), name="-".join(subset)))
    return found


def sweep_of(methods: int = 2, *, long: bool = False, seeds: int = 1) -> Comparison:
    """Methods with five values of one setting each, and one whose scale was chosen on validation data."""
    whole = comparison_of(methods, long=long, rounds=0)
    base, merged = whole.rows[0], [row for row in whole.rows if row.role == "merged"]
    rows = [base]
    for index, row in enumerate(merged):
        for step, scaling in enumerate([0.1, 0.3, 0.5, 0.7, 1.0]):
            for seed in range(seeds):
                values = {
                    task: (one.value or 0) - 0.1 * abs(step - 2) + 0.02 * seed
                    for task, one in row.tasks.items()
                }
                title = f"{row.title} (scaling={scaling})"
                settings = {"scaling": scaling, "density": 0.2 + 0.1 * index}
                rows.append(
                    row_of(
                        f"{title}, seed {seed}", "merged", values, method=row.entry.method, title=title,
                        seed=seed, settings=settings,
                    )
                )  # fmt: skip
    tried = [
        Trial(settings={"scaling": one}, tasks=dict.fromkeys(whole.suite.tasks, one), value=one)
        for one in (0.2, 0.4, 0.6)
    ]
    tuned = row_of(
        "ties (scaling tuned)", "merged", dict.fromkeys(whole.suite.tasks, 0.6), method="ties",
        settings={"scaling": {"choose": [0.2, 0.4, 0.6]}},
        trace=MergeTrace(trials=tuple(tried), candidates=3, settings={"scaling": 0.6}),
    )  # fmt: skip
    return replace(whole, rows=(*rows, tuned), validation=dict.fromkeys(whole.suite.tasks, 50))


def word_sweep_of(methods: int = 2, *, long: bool = False) -> Comparison:
    """Methods with words as values of a setting, and one that is not given it."""
    whole = comparison_of(methods, rounds=0)
    words = ["layer", "task", *(f"{_LONG_TASK.format(i)}, by name and by module" for i in range(4 * long))]
    merged = [row for row in whole.rows if row.role == "merged"]
    rows = [
        changed(
            row, label=f"{row.title} {place}", title=f"{row.title} {place}",
            settings={} if word is None else {"level": word},
        )
        for row in merged
        for place, word in enumerate([*words, None])
    ]  # fmt: skip
    return replace(whole, rows=(whole.rows[0], *rows))


def search_of(objectives: int = 2, *, candidates: int = 30, long: bool = False) -> SearchReport:
    """A search whose objectives are at odds, with the first of the front in front on test data too."""
    names = [_LONG_TASK.format(i) for i in range(objectives)] if long else list(TASKS[:objectives])
    generator = np.random.default_rng(2)
    values = [tuple(float(one) for one in generator.uniform(0.4, 1.0, objectives)) for _ in range(candidates)]
    places = pareto.front(values)
    settings = [f"ties.{'a_setting_of_a_long_name_' * long}{i}" for i in range(6)]
    return SearchReport(
        name="made-up",
        objectives=tuple(names),
        sampler="nsgaii",
        seed=0,
        documents=400,
        trials=tuple(
            SearchTrial(
                number=number,
                method="ties",
                params={"ties.0": 0.5},
                values=of_trial,
                tasks=dict(zip(names, of_trial, strict=True)),
                documents=400,
                seconds=1.5,
                front=number in places,
            )
            for number, of_trial in enumerate(values)
        ),
        tested=tuple(
            TestedTrial(
                number=number,
                label=f"ties, trial {number}",
                recipe=f"front/trial-{number}.yaml",
                objectives=tuple(
                    Statistic(
                        name=name,
                        validation=value,
                        test=value - 0.1 - 0.05 * place,
                        low=value - 0.2 - 0.05 * place,
                        high=value - 0.05 * place,
                    )
                    for name, value in zip(names, values[number], strict=True)
                ),
            )
            for place, number in enumerate(places)
        ),
        importances={name: {one: 1 / len(settings) for one in settings} for name in names},
    )


def signals_of(tasks: int = 4, *, long: bool = False) -> SignalReport:
    """Signals of experts: the further from a task's expert, the lower the score on it, but for one."""
    names = [_LONG_TASK.format(i) for i in range(tasks)] if long else TASKS[:tasks]
    models = ["base", *names]
    generator = np.random.default_rng(1)
    apart = {
        kind: {
            one: {two: 0.0 if one == two else float(scale * generator.uniform(0.1, 1)) for two in models}
            for one in names
        }
        for kind, scale in (("kl", 8.0), ("js", 0.6))
    }
    return SignalReport(
        tasks=names,
        models=models,
        losses={model: dict.fromkeys(names, 1.0) for model in models},
        divergences=apart,
        cosines={one: {two: 1.0 if one == two else 0.12 for two in names} for one in names},
        scores={model: {task: 0.9 - apart["js"][task][model] for task in names} for model in models},
        inputs=dict.fromkeys(names, 100),
        bounds=False,
        documents=dict.fromkeys(names, 500),
    )
