"""The search study: `manyshot search` beside tuned grids on the lab, at equal evaluations, over seeds.

    python -m manyshot.lab.search_study --out manyshot-runs/search-study --seed 0 --seed 1

Each method's grid of eight candidates (`lab-tuned.yaml`, merged once) stands beside a search of the same
method with eight, and all grids together beside one search over all methods: by all documents, with halving,
and by estimates. Fronts of two tasks are searched too, that of task arithmetic by two samplers. All is chosen
on validation data; the numbers are of test data.
"""

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from bench.data import data_root
from manyshot.console import answer, logger, set_up_logging
from manyshot.experiment import SHIPPED, Experiment
from manyshot.flags import whole_number
from manyshot.lab.base import make_base
from manyshot.run import FinishedRun, RunContext, run_experiment
from manyshot.search.file import Search, SearchSettings
from manyshot.search.run import run_search
from merging.tuning import number_of_candidates
from results.comparison import ComparisonRow
from results.intervals import student_interval
from results.search_report import SearchReport
from results.store import Store
from results.validation import validated

RANGES: dict[str, dict[str, Any]] = {
    "task_arithmetic": {"scaling": {"low": 0.1, "high": 1.0}},
    "dare": {"drop_rate": {"low": 0.3, "high": 0.9}, "scaling": {"low": 0.2, "high": 0.7}},
    "ties": {"density": {"low": 0.1, "high": 0.9}, "scaling": {"low": 0.5, "high": 2.0}},
    "consensus_ta": {"mask_threshold": {"low": 0.2, "high": 0.4}, "scaling": {"low": 0.2, "high": 1.0}},
}
"""What is searched of each method: between the ends of its grid."""
WEIGHTS = {"low": 0.5, "high": 1.5}
FRONT = ("math", "safety")
FRONT_METHOD = ("task_arithmetic",)
FRONT_EVALUATIONS = 32
SAMPLERS: dict[str, dict[str, Any]] = {"nsgaii": {"population": 8}, "map": {"samples": 20}}
"""Samplers of a front, with their settings; MAP fits fifteen numbers to its samples of four coefficients."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description="Search beside tuned grids on the lab.")
    parser.add_argument("--out", type=Path, default=Path("manyshot-runs/search-study"))
    parser.add_argument("--seed", type=whole_number, action="append", help="(0 to 4)")
    parser.add_argument(
        "--halving",
        type=yaml.safe_load,
        default=True,
        metavar="YAML",
        help="of the halved search (%(default)s)",
    )
    options = parser.parse_args(arguments)
    set_up_logging(debug=False)
    by_seed = [_of_seed(seed, options.out, options.halving) for seed in options.seed or range(5)]
    text = tables(by_seed)
    (options.out / "study.md").write_text(text, encoding="utf-8")
    answer(text)


def _of_seed(seed: int, out: Path, halving: object) -> dict[str, float]:
    """Run the grids and the searches of one seed, and return what each gives on test data, by name."""
    store = Store(out / "results")
    grids = _grids(seed, out)
    context = RunContext(store, out, data_root(None))
    run = run_experiment(grids, f"grids-{seed}", context)
    assert isinstance(run, FinishedRun)
    rows = {row.entry.method: row for row in run.comparison.rows if row.role == "merged"}
    paths = {str(row.entry.task): row.entry.path for row in run.comparison.rows if row.role == "expert"}
    given = grids.model_copy(update={"train": None, "experts": paths})
    found = {f"{name}, grid": float(row.average.value or 0.0) for name, row in rows.items() if name}

    def search(name: str, methods: Sequence[str], evaluations: int, **more: Any) -> SearchReport:
        entries = [{"name": method, **RANGES[method]} for method in methods]
        content = {
            "space": {"methods": entries, **more.pop("space", {})},
            "budget": {"evaluations": evaluations},
            "seed": seed,
            **more,
        }
        settings = validated(SearchSettings, content, name)
        folder = RunContext(store, out / "searches" / f"{name}-{seed}", data_root(None))
        logger.info("seed %d: %s", seed, name)
        return run_search(Search(settings, given), f"{name}-{seed}", folder).report

    tried = 0
    for method in RANGES:
        (entry,) = (entry for entry in grids.methods if entry.name == method)
        candidates = number_of_candidates(entry.settings)
        tried += candidates
        found[f"{method}, search"] = _average(search(method, [method], candidates))
    best = max(rows.values(), key=_on_validation)
    found["all, grid"] = float(best.average.value or 0.0)
    whole = search("together", list(RANGES), tried, space={"weights": WEIGHTS})
    halved = search("halved", list(RANGES), tried, space={"weights": WEIGHTS}, halving=halving)
    found |= {"all, search": _average(whole), "all, halved": _average(halved)}
    found["saved"] = len(halved.trials) * halved.documents / halved.read
    estimated = search("estimated", list(RANGES), tried, space={"weights": WEIGHTS}, estimate=True)
    found |= {"all, estimated": _average(estimated)} | _of_estimates(estimated)
    wanted: dict[str, Any] = {"space": {"weights": WEIGHTS}, "objective": list(FRONT)}
    front = search("front", list(RANGES), FRONT_EVALUATIONS, **wanted, population=8)
    found |= {"front": len(front.tested), "front on test": len(front.front_on_test)}
    for sampler, more in SAMPLERS.items():
        by_sampler = search(
            f"front-{sampler}", FRONT_METHOD, FRONT_EVALUATIONS, **wanted, sampler=sampler, **more
        )
        found[f"{sampler}, area"] = area(
            [[one.test or 0.0 for one in tested.objectives] for tested in by_sampler.tested]
        )
    return found


def _of_estimates(report: SearchReport) -> dict[str, float]:
    """How many times fewer documents were read, with the base's and the experts', and how far off it is."""
    errors = report.estimates
    assert errors is not None
    read = report.read + errors.endpoint_documents
    off = {f"{name} is off": value for name, value in errors.of_drawn.items() if value is not None}
    return {"saved by estimates": len(report.trials) * report.documents / read} | off


def area(points: Iterable[Sequence[float]]) -> float:
    """Return the area between (0, 0) and the front of points of two objectives."""
    total = height = 0.0
    for first, second in sorted(map(tuple, points), reverse=True):
        total += first * max(second - height, 0.0)
        height = max(height, second)
    return total


def _on_validation(row: ComparisonRow) -> float:
    """The best value that a grid reached."""
    assert row.entry.trace is not None
    return max(trial.value for trial in row.entry.trace.trials)


def _grids(seed: int, out: Path) -> Experiment:
    """The tuned grids of the methods, merged once, on one seed's experts."""
    content = yaml.safe_load((SHIPPED / "lab-tuned.yaml").read_text(encoding="utf-8"))
    methods = [
        method for method in content["methods"] if "protocol" not in method and method["name"] in RANGES
    ]
    base = make_base(out / "models" / "lab")
    return validated(Experiment, {**content, "base": str(base), "methods": methods, "seeds": [seed]}, "grids")


def _average(report: SearchReport) -> float:
    """The winner's average on test data."""
    return float(report.tested[0].objectives[0].test or 0.0)


def tables(by_seed: Sequence[Mapping[str, float]]) -> str:
    """The study's tables in Markdown: means over seeds, and differences with 95 % intervals over seeds.

    Args:
        by_seed: what each seed gave, by name.
    """
    lines = [
        "| methods | candidates of a grid | search | search − grid |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name in (*RANGES, "all"):
        lines.append(_row(by_seed, name, f"{name}, grid", f"{name}, search"))
    lines.append(_row(by_seed, "all, halved (beside not halved)", "all, search", "all, halved"))
    lines.append(_row(by_seed, "all, estimated (beside all documents)", "all, search", "all, estimated"))
    lines.append(_row(by_seed, "area of the front, map (beside nsgaii)", "nsgaii, area", "map, area"))
    saved = fmean(seed["saved"] for seed in by_seed)
    by_estimates = fmean(seed["saved by estimates"] for seed in by_seed)
    known = [
        name for name in by_seed[0] if name.endswith(" is off") and all(name in seed for seed in by_seed)
    ]
    off = {name: fmean(seed[name] for seed in by_seed) for name in known}
    points, stayed = (sum(seed[key] for seed in by_seed) for key in ("front", "front on test"))
    return "\n".join(
        [
            *lines,
            "",
            f"Average normalised performance on test data, {len(by_seed)} seeds; [ ]: 95 % over seeds.",
            "",
            f"Halving read 1/{saved:.1f} of the documents, estimates 1/{by_estimates:.1f}; how far these are "
            f"off in the mean: {', '.join(f'{name.split()[0]} {value:.3f}' for name, value in off.items())}.",
            "",
            f"Of {points:.0f} points of the fronts of "
            f"{' and '.join(FRONT)}, {stayed:.0f} are of the front on test data too.",
            "",
        ]
    )


def _row(by_seed: Sequence[Mapping[str, float]], label: str, first: str, second: str) -> str:
    before, after = ([seed[key] for seed in by_seed] for key in (first, second))
    differences = [two - one for one, two in zip(before, after, strict=True)]
    interval = student_interval(differences)
    bounds = f" [{interval.low:+.3f}, {interval.high:+.3f}]" if interval else ""
    return f"| {label} | {fmean(before):.3f} | {fmean(after):.3f} | {fmean(differences):+.3f}{bounds} |"


if __name__ == "__main__":
    main()
