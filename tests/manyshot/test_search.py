"""`manyshot search` on tiny models: candidates, validation data only, the winner's test, and bad input."""

import json
import sqlite3
import sys

import pytest
import yaml
from command_line import manyshot
from searched_family import BENCHMARKS, METHODS, USUAL, made, written

from bench import scoring
from manyshot.search.file import load_search
from manyshot.search.space import Known
from merging.checkpoints.adapted import open_checkpoint
from merging.merge import merge
from merging.recipe_file import load_recipe
from results.comparison import compare
from results.errors import InputError
from results.run_manifest import load_run
from results.search_report import read_search
from results.store import Store

pytestmark = pytest.mark.slow
NUMBERS = {"name": "ties", "density": {"low": 0.1, "high": 0.9}, "scaling": {"low": 0.1, "high": 3}}
BY_MAP = {"objective": list(BENCHMARKS), "sampler": "map", "space": {"methods": [NUMBERS]}}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return made(tmp_path_factory.mktemp("search"))


def search(folder, *more, name="search"):
    return manyshot("search", f"{name}.yaml", "--out", name, "--store", "store", *more, cwd=folder)


@pytest.fixture(scope="module")
def done(family):
    """A finished search, and which splits were read before and after its winner was known."""
    written(family)
    read, load_rows = [], scoring.load_rows

    def watched(task, root):
        read.append((task.scored_split, (family / "search/winner.yaml").exists()))
        return load_rows(task, root)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "load_rows", watched)
        ran = search(family)
    assert ran.returncode == 0, ran.stderr
    return family, ran, read


def test_test_documents_are_read_when_the_winner_is_known_and_not_before(done):
    _, _, read = done
    assert {split for split, known in read if not known} == {"validation"}
    assert "test" in {split for split, known in read if known}


def test_candidates_have_records_of_validation_documents_alone(done):
    folder, _, _ = done
    store = Store(folder / "store")
    of_run = {digest for entry in load_run(store).entries for digest in entry.records.values()}
    others = [record for record in store.records() if record.key.digest not in of_run]
    assert others and all(record.key.benchmark.endswith("@validation") for record in others)
    tests = [record for record in store.records() if "@" not in record.key.benchmark]
    assert len(tests) == len(of_run) == (1 + 2 + 1) * 2  # the base, the experts, and the winner alone


def test_the_winner_is_the_best_of_all_candidates(done):
    folder, _, _ = done
    report = read_search(folder / "search/search.json")
    assert [trial.number for trial in report.trials] == list(range(6))
    (best,) = report.front
    assert best.values[0] == max(trial.values[0] for trial in report.trials)
    tasks = best.tasks
    assert best.values[0] == pytest.approx(0.5 * sum(tasks.values()) / 2 + 0.5 * min(tasks.values()))
    assert {trial.method for trial in report.trials} == {"task_arithmetic", "ties"}


def test_the_winners_recipe_makes_the_checkpoint_that_was_tested(done, tmp_path, monkeypatch):
    folder, _, _ = done
    monkeypatch.chdir(tmp_path)
    merge(load_recipe(folder / "search/winner.yaml"), tmp_path / "again", progress=False)
    (tested,) = [entry for entry in load_run(Store(folder / "store")).entries if entry.role == "merged"]
    assert open_checkpoint("again").identity() == tested.checkpoint


def test_the_table_has_validation_test_and_the_difference(done):
    folder, ran, _ = done
    (tested,) = read_search(folder / "search/search.json").tested
    store = Store(folder / "store")
    row = compare(load_run(store), store).row(tested.label)
    (objective,) = tested.objectives
    assert objective.test == pytest.approx(0.5 * row.average.value + 0.5 * row.worst_task.value)
    assert objective.low <= objective.test <= objective.high
    others = {statistic.name: statistic for statistic in tested.others}
    assert others["average"].test == row.average.value
    assert others["answers"].optimism == pytest.approx(
        others["answers"].validation - row.tasks["answers"].value
    )
    assert "optimism" in ran.stdout and "6 candidates" in ran.stdout
    assert f"{6 * 48} validation documents" in ran.stdout  # 12 of each language, of which one has three
    assert row.entry.trace.candidates == 6


def test_a_finished_search_makes_nothing_again(done):
    folder, _, _ = done
    before = {path: path.stat().st_mtime_ns for path in (folder / "store/records").rglob("*.json")}
    trials = read_search(folder / "search/search.json").trials
    again = search(folder)
    assert again.returncode == 0 and "6 candidates were tried before" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in (folder / "store/records").rglob("*.json")} == before
    assert read_search(folder / "search/search.json").trials == trials


def test_a_larger_budget_goes_on_with_the_same_candidates(done):
    folder, _, _ = done
    before = read_search(folder / "search/search.json").trials
    content = yaml.safe_load((folder / "search.yaml").read_text()) | {"budget": {"evaluations": 7}}
    (folder / "search.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    assert search(folder).returncode == 0
    after = read_search(folder / "search/search.json").trials
    assert len(after) == 7
    assert [(one.params, one.values) for one in after[:6]] == [(one.params, one.values) for one in before]


def test_the_folder_of_another_search_is_refused(done):
    folder, _, _ = done
    written(folder, "other", seed=4)
    refused = manyshot("search", "other.yaml", "--out", "search", "--store", "store", cwd=folder)
    assert refused.returncode == 2
    assert "holds a search with another seed: name another folder" in refused.stderr


def test_trials_that_optuna_would_not_suggest_are_refused(done, tmp_path):
    folder, _, _ = done
    (folder / "edited").mkdir()
    (folder / "edited/search.db").write_bytes((folder / "search/search.db").read_bytes())
    with sqlite3.connect(folder / "edited/search.db") as database:
        database.execute("UPDATE trial_params SET param_value = 0.0 WHERE trial_id = 2")
    refused = manyshot("search", "search.yaml", "--out", "edited", "--store", "store", cwd=folder)
    assert refused.returncode == 2 and "does not suggest trial 1 as it is kept" in refused.stderr


def test_a_candidate_that_overflows_fails_and_the_search_goes_on(family):
    scaling = {"low": 1e-3, "high": 3e38, "log": True}
    space = {"methods": [{"name": "task_arithmetic", "scaling": scaling}]}
    written(family, "wide", space=space, sampler="random", objective="answers")
    ran = search(family, name="wide")
    assert ran.returncode == 0, ran.stderr
    trials = read_search(family / "wide/search.json").trials
    failed = [trial for trial in trials if trial.failed]
    assert failed and len(failed) < len(trials)
    assert all(not trial.values for trial in failed) and "failed: " in ran.stderr


def test_a_budget_of_hours_ends_the_candidate_that_is_begun(family):
    written(family, "hours", budget={"hours": 1e-6}, sampler="random")
    assert search(family, name="hours").returncode == 0
    assert len(read_search(family / "hours/search.json").trials) == 1


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"space": {"methods": ["tiles"]}}, "Method 'tiles' is not known"),
        ({"space": {"methods": []}}, "space.methods"),
        ({"space": {"methods": ["average"]}}, "The space has one point"),
        (
            {"space": {"methods": [{"name": "ties", "thickness": {"low": 0, "high": 1}}]}},
            "'thickness' is unknown",
        ),
        ({"space": {"methods": [{"name": "ties", "density": {"low": 0.5, "high": 2}}]}}, "density"),
        ({"space": {"methods": [{"name": "ties", "density": {"low": 0.5, "high": 0.5}}]}}, "is empty"),
        ({"space": {"methods": [{"name": "ties", "density": {"low": 0.5}}]}}, "'high' is required"),
        (
            {"space": {"methods": [{"name": "ties", "density": {"low": 0, "high": 1, "log": True}}]}},
            "begins above 0",
        ),
        ({"space": {"methods": [{"name": "ties", "scaling": {"choose": []}}]}}, "list of values to choose"),
        ({"space": {"methods": ["ties", "ties"]}}, "Two methods of the space are called 'ties'"),
        ({"space": {"methods": ["divmerge", "ties"]}}, "learns its coefficients"),
        (
            {"space": {"methods": [{"name": "ties", "density": {"low": 0.1, "high": 0.9, "points": 2}}]}},
            "decides over the whole model",
        ),
        ({"space": {"methods": METHODS, "weights": {"answers": 1.0}}}, "the tasks are answers, languages"),
        ({"space": {"methods": METHODS, "weights": {"low": -1, "high": 1}}}, "may be below 0"),
        ({"objective": "best"}, "no objective 'best'; there are average, worst_task, answers, languages"),
        ({"objective": {"average": 0}}, "weight of 0"),
        ({"objective": []}, "objective"),
        ({"sampler": "grid"}, "one of tpe, cmaes, nsgaii, nsgaiii, map, random"),
        ({"sampler": "cmaes"}, "cmaes needs a space of two numbers"),
        ({"objective": ["answers", "languages"], "sampler": "cmaes"}, "several objectives need a sampler"),
        ({"population": 4}, "has no 'population'"),
        ({"samples": 4}, "has no 'samples'"),
        ({"sampler": "map"}, "front of several objectives, and there is one"),
        ({"objective": ["answers", "languages"], "sampler": "map"}, "map needs a space of numbers"),
        ({**BY_MAP, "halving": True}, "leave out 'halving'"),
        ({**BY_MAP, "samples": 6}, "has 6 numbers for an objective, which 6 samples do not say"),
        (BY_MAP, "12 candidates at random before its surrogate suggests one, and the budget has 6"),
        ({"budget": {}}, "either 'evaluations' or 'hours'"),
        ({"budget": {"evaluations": 0}}, "budget.evaluations"),
        ({"budget": None}, "'budget' is required"),
        ({"halving": {"first": 2}}, "halving.first"),
        ({"halving": {"first": 0.01}}, "too few for 8 parts"),
        ({"halving": True, "estimate": True}, "either 'halving' or 'estimate'"),
        ({"estimate": {"share": 1}}, "estimate.share"),
        ({"estimate": {"estimator": "irt"}}, "gmp-irt"),
        ({"estimate": {"share": 0.01}}, "too few for 2 parts"),
        ({"methods": ["ties"]}, "'methods' is unknown"),
        ({"experiment": "lab"}, "'base' is what the experiment says"),
        ({"experts": {"answers": "models/answers"}}, "names no expert for it"),
        ({"engine": {"name": "api"}}, "one model"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence_and_nothing_is_searched(family, change, complaint):
    written(family, "wrong", **change)
    refused = search(family, name="wrong")
    assert refused.returncode == 2 and complaint in refused.stderr, refused.stderr
    assert refused.stderr.startswith("manyshot: ") and refused.stderr.count("\n") == 1
    assert not (family / "wrong/search.db").exists()


def test_without_optuna_the_extra_is_named(family, monkeypatch):
    written(family, "missing")
    monkeypatch.setitem(sys.modules, "optuna", None)
    refused = search(family, name="missing")
    assert refused.returncode == 2 and "pip install 'manyshot[search]'" in refused.stderr


def test_weights_are_divided_by_their_mean(family):
    space = load_search(written(family, "weights")).settings.space
    params = {"method": "ties", "ties.density": 0.5, "ties.scaling": 2.0}
    candidate = space.candidate(
        Known({**params, "weights.answers": 0.5, "weights.languages": 1.5}), list(BENCHMARKS)
    )
    assert candidate.weights == {"answers": 0.5, "languages": 1.5}
    assert candidate.settings == {"density": 0.5, "scaling": 2.0}
    candidate = space.candidate(
        Known({**params, "weights.answers": 0.1, "weights.languages": 0.3}), list(BENCHMARKS)
    )
    assert candidate.weights == pytest.approx({"answers": 0.5, "languages": 1.5})


def test_an_experiments_experts_are_taken_with_what_is_said_beside(family):
    content = {
        "experiment": "lab",
        "limit": 7,
        "seeds": [3],
        **{key: USUAL[key] for key in ("space", "budget")},
    }
    (family / "of-lab.yaml").write_text(yaml.safe_dump(content))
    found = load_search(family / "of-lab.yaml").experiment
    assert (found.suite, found.base, found.limit, found.seeds) == ("lab", "lab", 7, (3,))
    assert found.train.rounds == 5 and [method.name for method in found.methods] == ["average"]
    (family / "of-lab.yaml").write_text(yaml.safe_dump(content | {"rounds": 2}))
    with pytest.raises(InputError, match="'rounds' is unknown"):
        load_search(family / "of-lab.yaml")


def test_the_report_is_printed_as_json(done):
    folder, _, _ = done
    printed = search(folder, "--json")
    assert json.loads(printed.stdout) == json.loads((folder / "search/search.json").read_text())


@pytest.fixture(scope="module")
def two(family):
    """A search by two objectives, which are the two tasks."""
    objective = list(BENCHMARKS)
    written(family, "two", objective=objective, population=4, budget={"evaluations": 8}, limit=16)
    ran = search(family, name="two")
    assert ran.returncode == 0, ran.stderr
    return family, read_search(family / "two/search.json")


def test_no_candidate_is_better_than_a_point_of_the_front_in_every_objective(two):
    folder, report = two
    assert report.sampler == "nsgaii" and report.objectives == tuple(BENCHMARKS)
    for trial in report.trials:
        better = [
            other
            for other in report.trials
            if other.values != trial.values
            and all(one >= two for one, two in zip(other.values, trial.values, strict=True))
        ]
        first = all(other.values != trial.values for other in report.trials[: trial.number])
        assert trial.front is (not better and first)
    assert {of.number for of in report.tested} == {trial.number for trial in report.front}
    merged = {
        entry.label for entry in load_run(Store(folder / "store"), "two").entries if entry.role == "merged"
    }
    assert merged == {of.label for of in report.tested}
    assert all((folder / "two" / of.recipe).is_file() for of in report.tested)
    assert (folder / "two/pareto.png").is_file()


def test_the_users_weights_choose_a_point_by_validation_data(two):
    folder, report = two
    assert report.chosen is None and len(report.front) > 1
    assert "(chosen)" not in (folder / "two/table.md").read_text()
    chosen = search(folder, "--choose", "0.2,0.8", name="two")
    assert chosen.returncode == 0, chosen.stderr
    best = max(report.front, key=lambda trial: 0.2 * trial.values[0] + 0.8 * trial.values[1])
    assert f"trial {best.number} has the largest weighted sum" in chosen.stderr
    of_front = load_recipe(folder / f"two/front/trial-{best.number}.yaml")
    assert load_recipe(folder / "two/chosen.yaml") == of_front
    wrote = [line for line in chosen.stdout.splitlines() if line.startswith("wrote")]
    assert sum("two/front/trial-" in line for line in wrote) == len(report.front)
    assert sum("two/chosen.yaml" in line for line in wrote) == 1
    (label,) = [of.label for of in report.tested if of.number == best.number]
    table = (folder / "two/table.md").read_text()
    assert read_search(folder / "two/search.json").chosen == best.number
    assert f"{label} (chosen)" in table.replace("\\", "") and table.count("(chosen)") == 1
    assert "0 records made" in chosen.stderr


@pytest.mark.parametrize(
    ("name", "weights", "complaint"),
    [
        ("two", "1", "has 1 weights, and there are 2"),
        ("two", "0,0", "weights from 0 on"),
        ("two", "1,x", "is no number"),
        ("search", "1,1", "is for several objectives"),
    ],
)
def test_weights_that_choose_nothing_are_refused(two, name, weights, complaint):
    folder, _ = two
    if name == "search":
        written(folder, "search")
    refused = search(folder, "--choose", weights, name=name)
    assert refused.returncode == 2 and complaint in refused.stderr


def test_figures_of_a_search_are_drawn_by_name(two):
    folder, _ = two
    given = ("--search", "two/search.json")
    drawn = manyshot("report", "figure", "front.svg", "--show", "pareto", *given, cwd=folder)
    assert drawn.returncode == 0 and ">answers</text>" in (folder / "front.svg").read_text()
    missing = manyshot("report", "figure", "front.svg", "--show", "importance", cwd=folder)
    assert missing.returncode == 2 and "give --search" in missing.stderr
