"""The search study's files say what they should: the grids' own bounds, and paired differences over seeds."""

import pytest
import yaml
from searched_family import BENCHMARKS, USUAL, made

from bench.suite import load_suite
from manyshot.experiment import SHIPPED, load_experiment
from manyshot.lab import search_study
from manyshot.lab.search_study import FRONT, RANGES, WEIGHTS, area, tables
from manyshot.search.objective import objective_of
from manyshot.search.space import Space
from merging.tuning import values_to_choose
from results.intervals import student_interval
from results.run_manifest import run_names
from results.store import Store
from results.validation import validated

TASKS = tuple(load_suite("lab").tasks)


def test_methods_are_searched_between_the_ends_of_their_grids():
    entries = yaml.safe_load((SHIPPED / "lab-tuned.yaml").read_text())["methods"]
    for method, ranges in RANGES.items():
        (grid,) = (one for one in entries if one["name"] == method and "protocol" not in one)
        settings = {name: values for name, value in grid.items() if (values := values_to_choose(value))}
        assert settings.keys() == ranges.keys()
        for name, listed in settings.items():
            ends = [ranges[name]["low"], ranges[name]["high"]]
            assert ends[0] <= min(listed) and max(listed) <= ends[1]


def test_the_space_of_all_methods_fits_the_lab():
    methods = [{"name": name, **ranges} for name, ranges in RANGES.items()]
    validated(Space, {"methods": methods, "weights": WEIGHTS}, "the study").check(TASKS)
    assert [objective_of(task, TASKS).title for task in FRONT] == list(FRONT)


def test_differences_are_of_the_same_seed():
    names = [f"{name}, {how}" for name in (*RANGES, "all") for how in ("grid", "search")]
    names += ["all, halved", "all, estimated", "nsgaii, area", "map, area"]
    usual = dict.fromkeys(names, 0.5) | {"saved": 3.0, "front": 5, "front on test": 2}
    usual |= {"saved by estimates": 2.5, "part is off": 0.04}
    by_seed = [usual | {"ties, grid": 0.4 + seed, "ties, search": 0.5 + seed * 1.1} for seed in (0, 1)]
    text = tables(by_seed)
    interval = student_interval([0.1, 0.2])
    line = f"| ties | 0.900 | 1.050 | +0.150 [{interval.low:+.3f}, {interval.high:+.3f}] |"
    assert line in text.splitlines()
    assert "read 1/3.0 of the documents, estimates 1/2.5;" in text and "part 0.040." in text
    assert "Of 10 points" in text and "4 are of the front" in text


def test_the_area_is_of_the_points_that_none_is_better_than():
    assert area([(0.5, 0.5), (1.0, 0.2), (0.4, 0.4), (0.2, 1.0)]) == pytest.approx(
        0.2 + 0.3 * 0.5 + 0.5 * 0.2
    )
    assert area([]) == 0


@pytest.mark.full
def test_a_seed_has_grids_searches_and_a_front(tmp_path, monkeypatch):
    """On tiny models, with one method and a grid of two."""
    folder = made(tmp_path)
    content = {key: USUAL[key] for key in ("suite", "base", "experts", "engine")} | {"limit": 32}
    method = {"name": "task_arithmetic", "scaling": {"choose": [0.3, 0.9]}}
    (folder / "grids.yaml").write_text(yaml.safe_dump(content | {"methods": [method]}))
    monkeypatch.setattr(search_study, "RANGES", {"task_arithmetic": RANGES["task_arithmetic"]})
    monkeypatch.setattr(search_study, "FRONT", tuple(BENCHMARKS))
    monkeypatch.setattr(search_study, "SAMPLERS", {"nsgaii": {"population": 2}, "map": {"samples": 7}})
    monkeypatch.setattr(search_study, "FRONT_EVALUATIONS", 8)
    monkeypatch.setattr(search_study, "_grids", lambda *_: load_experiment(folder / "grids.yaml"))
    (found,) = [search_study._of_seed(0, folder / "out", {"confidence": 0.9})]
    assert found["all, grid"] == found["task_arithmetic, grid"] > 0
    assert found["all, search"] > 0 and found["saved"] >= 1 and found["front"] >= 1
    store = Store(folder / "out/results")
    assert set(run_names(store)) == {
        "grids-0", "task_arithmetic-0", "together-0", "halved-0", "estimated-0", "front-0",
        "front-nsgaii-0", "front-map-0",
    }  # fmt: skip
    assert "| task_arithmetic |" in tables([found])


@pytest.mark.parametrize("name", RANGES)
def test_every_method_has_as_many_candidates_as_its_grid(name):
    from merging.tuning import number_of_candidates

    entries = yaml.safe_load((SHIPPED / "lab-tuned.yaml").read_text())["methods"]
    grids = [one for one in entries if one["name"] == name]
    assert {number_of_candidates({k: v for k, v in grid.items() if k != "protocol"}) for grid in grids} == {8}
