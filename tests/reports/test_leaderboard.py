"""The leaderboard's entries, leagues and ranks, and what its page holds."""

import base64
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import made_up_family
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from made_up_family import SUITE, Family, hits, record, rows
from made_up_leaderboard import DOCUMENTS, LABEL, SCRIPT, make_store, merged, references, scores, shown

from manyshot.cli import main
from merging.recipe import Recipe
from reports.leaderboard.model import details_of
from reports.leaderboard.page import render, write_page
from reports.leaderboard.table import table_of
from results.errors import InputError
from results.leaderboard import Leaderboard, Standing, gather
from results.merge_trace import LearnedCoefficients, MergeOptions, MergeTrace, MethodIdentity
from results.run_manifest import run_names, save_run
from results.samples import LONGEST, DifferingDocument, differing_samples, shortened
from results.store import Store
from results.submission import write_submission
from results.validation import validated

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("leaderboard") / "store").root


@pytest.fixture(scope="module")
def board(store) -> Leaderboard:
    return gather([store])


def standing(board: Leaderboard, title: str, label: str = "lab, 3 tasks") -> Standing:
    (league,) = [league.id for league in board.leagues if league.label == label]
    (found,) = [one for one in board.standings if one.entry.title == title and one.league == league]
    return found


def save(root: Path, name: str, *methods: str, limit: int = 20, suite=SUITE) -> Store:
    """A run with the references and these methods."""
    family = Family(Store(root), [])
    references(family)
    for place, method in enumerate(methods):
        merged(family, method, scores(limit + place, 24, 18, 22, 27), method)
    save_run(family.store, family.run(suite, name=name))
    return family.store


def test_an_entry_is_a_method_over_its_seeds(board):
    metis = standing(board, "metis").entry
    assert [one.seed for one in metis.checkpoints] == [0, 1]
    values = [row.average.value for row in metis.rows]
    assert metis.average.value == pytest.approx(sum(values) / 2)
    assert metis.average.documents.low < metis.average.value < metis.average.documents.high
    assert metis.average.seeds.low < min(values) and metis.average.seeds.high > max(values)
    assert metis.n == 160
    # A round on the way is none.
    assert sum(one.entry.checkpoints[0].method == "metis" for one in board.standings) == 1


def test_scores_have_what_they_are_divided_by_and_intervals(board):
    gsm8k, *_, xstest, coqa = standing(board, "average").entry.benchmarks
    assert (gsm8k.score.value, gsm8k.expert, gsm8k.base, gsm8k.n) == (15 / 40, 36 / 40, 8 / 40, 40)
    assert gsm8k.performance.value == pytest.approx(15 / 36)
    assert gsm8k.performance.documents.low < 15 / 36 < gsm8k.performance.documents.high
    # Lower is better: the score is as reported, the performance as it counts.
    safe = standing(board, "safety expert").entry.benchmarks[3]
    assert safe.score.value == pytest.approx(6 / 40)
    assert safe.score.documents.low < 6 / 40 < safe.score.documents.high
    assert xstest.performance.value == pytest.approx(18 / 34)
    assert (coqa.task, coqa.performance) == (None, None)
    assert coqa.forgetting.value == pytest.approx(-1 / 40)
    assert coqa.forgetting.documents.low < -1 / 40 < coqa.forgetting.documents.high


def test_the_interval_of_an_aggregate_is_the_comparisons(board):
    entry = standing(board, "average").entry
    (row,) = entry.rows
    assert (entry.average.documents.low, entry.average.documents.high) == (row.average.low, row.average.high)
    only = entry.benchmarks[0].performance.documents
    assert (only.low, only.high) == (row.tasks["math"].low, row.tasks["math"].high)


def test_what_cannot_be_told_apart_shares_a_rank(board):
    ranks = {
        title: standing(board, title).ranks["average"] for title in ("metis", "task_arithmetic", "average")
    }
    assert ranks == {"metis": 1, "task_arithmetic": 2, "average": 2}
    assert standing(board, LABEL).ranks == {"average": 1, "worst_task": 1}


def test_what_seeds_disagree_on_shares_a_rank_though_documents_tell_it_apart(tmp_path):
    """On these documents the first is better, by 0.13; but with one of its three seeds it is worse."""
    store = Store(tmp_path / "store")

    def ranks(name, *levels):
        family = Family(store, [])
        references(family)
        for method, of_seeds in {"first": levels, "second": (24, 24, 24)}.items():
            for seed, level in enumerate(of_seeds):
                right = scores(*[level] * 3, DOCUMENTS - level, 20)
                about = {"seed": seed, "title": method, "identity": MethodIdentity(method=method)}
                merged(family, f"{name} {method}, seed {seed}", right, method, **about)
        save_run(store, family.run(name=name))
        board = gather([store.root], [name])
        ranked = [standing for standing in board.standings if standing.entry.role == "merged"]
        return {standing.entry.title: standing.ranks["average"] for standing in ranked}

    assert ranks("steady", 28, 30, 29) == {"first": 1, "second": 2}
    assert ranks("unsteady", 37, 18, 32) == {"first": 1, "second": 1}


def test_references_and_incomplete_entries_have_no_rank(board):
    none = {"average": None, "worst_task": None}
    assert standing(board, "base").ranks == none
    assert standing(board, "math expert").ranks == none
    dare = standing(board, "dare")
    assert (dare.ranks, dare.entry.scored, dare.entry.average.value) == (none, (2, 4), None)


def test_a_subset_of_the_tasks_is_a_league_of_its_own(board):
    assert [league.label for league in board.leagues] == ["lab, 3 tasks", "lab, 2 tasks"]
    alone = standing(board, "average", "lab, 2 tasks")
    assert alone.ranks["average"] == 1
    assert alone.entry.id != standing(board, "average").entry.id


def test_other_settings_of_the_scores_are_another_league(tmp_path, monkeypatch):
    save(tmp_path, "one", "ties")
    monkeypatch.setitem(made_up_family.SETTINGS, "limit", 20)
    save(tmp_path, "two", "ties")
    leagues = gather([tmp_path]).leagues
    assert [league.label for league in leagues] == [
        "lab: math, multilingual, safety; all documents",
        "lab: math, multilingual, safety; limit 20",
    ]


def test_fewer_documents_under_the_same_settings_are_another_league(tmp_path, monkeypatch):
    save(tmp_path / "mine", "one", "ties")
    monkeypatch.setattr("made_up_leaderboard.DOCUMENTS", 36)
    save(tmp_path / "yours", "two", "dare")
    board = gather([tmp_path / "mine", tmp_path / "yours"])
    assert len(board.leagues) == 2
    assert [one.ranks["average"] for one in board.standings if one.entry.role == "merged"] == [1, 1]


def test_another_base_of_the_same_name_is_another_league(tmp_path):
    save(tmp_path, "one", "ties")
    family = Family(Store(tmp_path), [])
    references(family)
    family.entries = family.entries[1:]
    family.add("newer/base", "base", scores(9, 20, 16, 30, 28))
    merged(family, "ties", scores(20, 24, 18, 22, 27), "ties")
    save_run(family.store, family.run(name="two"))
    backbones = [league.backbone for league in gather([tmp_path]).leagues]
    assert all(re.fullmatch(r"base \([0-9a-f]{6}\)", one) for one in backbones)
    assert len(set(backbones)) == 2


def test_runs_of_several_stores_are_ranked_together(tmp_path):
    save(tmp_path / "mine", "one", "ties", "average")
    save(tmp_path / "yours", "two", "average", "dare")
    board = gather([tmp_path / "mine", tmp_path / "yours"])
    assert len(board.leagues) == 1
    by_title = {one.entry.title: one for one in board.standings if one.entry.role == "merged"}
    assert list(by_title) == ["ties", "average", "dare"]
    assert {one.ranks["average"] for one in by_title.values()} == {1}
    assert [(source.store, source.run) for source in by_title["dare"].sources] == [
        (str(tmp_path / "yours"), "two")
    ]


def test_the_same_records_in_two_runs_are_one_entry(tmp_path):
    save(tmp_path, "one", "ties")
    save(tmp_path, "two", "ties")
    (ties,) = [one for one in gather([tmp_path]).standings if one.entry.role == "merged"]
    assert [source.run for source in ties.sources] == ["one", "two"]
    assert len(gather([tmp_path]).standings) == 5


def test_the_same_records_in_two_leagues_are_two_rows_of_the_page(tmp_path):
    save(tmp_path, "one", "ties")
    save(tmp_path, "two", "ties", suite=SUITE.but(name="other"))
    board = gather([tmp_path])
    ties = [one for one in board.standings if one.entry.role == "merged"]
    assert len(board.leagues) == 2 and len({one.entry.id for one in ties}) == 1
    write_page(shown(board), tmp_path / "page")
    page = (tmp_path / "page/index.html").read_text()
    told = blocks(page)
    assert len(told) == 1 + len(board.standings)
    ids = [one["id"] for one in told["data"]["entries"]]
    assert {*ids, "data"} == set(told)
    with pytest.raises(AssertionError):
        render(shown(replace(board, standings=board.standings * 2)))


def test_without_a_base_runs_of_one_name_are_leagues_of_their_own(tmp_path):
    for store in ("mine", "yours", "copy"):
        family = Family(Store(tmp_path / store), [])
        references(family)
        family.entries = family.entries[1:]
        merged(family, "dare" if store == "yours" else "ties", scores(20, 24, 18, 22, 27), "ties")
        save_run(family.store, family.run(name="one"))
    board = gather([tmp_path / "mine", tmp_path / "yours"])
    assert len({league.id for league in board.leagues}) == 2
    assert len({league.backbone for league in board.leagues}) == 2
    assert len([one for one in board.standings if one.entry.role == "merged"]) == 2
    # The very same run is one, wherever it lies.
    board = gather([tmp_path / "mine", tmp_path / "copy"])
    (ties,) = [one for one in board.standings if one.entry.role == "merged"]
    assert [source.store for source in ties.sources] == [str(tmp_path / "mine"), str(tmp_path / "copy")]
    assert board.leagues[0].backbone == "unknown"


def test_a_store_that_is_named_in_two_ways_is_read_once(tmp_path, monkeypatch):
    save(tmp_path / "mine", "one", "ties")
    monkeypatch.chdir(tmp_path)
    (ties,) = [
        one for one in gather([Path("mine"), tmp_path / "mine"]).standings if one.entry.role == "merged"
    ]
    assert [source.store for source in ties.sources] == ["mine"]


def without(family: Family, benchmark: str) -> None:
    """Take a benchmark's records from all entries of a family."""
    family.entries = [
        one.model_copy(
            update={"records": {name: digest for name, digest in one.records.items() if name != benchmark}}
        )
        for one in family.entries
    ]


def test_a_run_that_lacks_a_benchmark_joins_one_league_that_it_would_be_in(tmp_path, monkeypatch):
    family = Family(Store(tmp_path), [])
    references(family)
    merged(family, "dare", scores(20, 24, 18, 22, 27), "dare")
    whole = [one.records for one in family.entries]
    without(family, "xstest")
    save_run(family.store, family.run(name="part"))
    save(tmp_path, "whole", "ties")
    monkeypatch.setitem(made_up_family.SETTINGS, "seed", 2)
    other = Family(Store(tmp_path), [])
    references(other)
    merged(other, "dare", scores(20, 24, 18, 22, 27), "dare")
    other.entries = [
        one.model_copy(update={"records": {**records, "xstest": one.records["xstest"]}})
        for one, records in zip(other.entries, whole, strict=True)
    ]
    save_run(other.store, other.run(name="other"))
    board = gather([tmp_path])
    assert len(board.leagues) == 2
    joined = [one for one in board.standings if one.entry.scored == (3, 4) and one.entry.role == "merged"]
    assert [(one.entry.title, one.ranks["average"]) for one in joined] == [("dare", None)]


def test_without_a_benchmark_that_counts_nowhere_an_entry_is_complete(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    family.entries[2:3] = []
    family.add("guessing", "expert", scores(8, 10, 30, 30, 24), task="multilingual")
    merged(family, "ties", scores(20, 24, 18, 22, 27), "ties")
    family.entries[-1] = family.entries[-1].but(
        records={name: one for name, one in family.entries[-1].records.items() if name != "m_mmlu"},
    )
    save_run(family.store, family.run(SUITE.but(leave_out_at_chance=True)))
    board = gather([tmp_path])
    (ties,) = [one for one in board.standings if one.entry.role == "merged"]
    assert list(board.leagues[0].key.left_out) == ["m_mmlu"]
    assert (ties.entry.scored, ties.ranks["average"]) == ((3, 3), 1)
    # What is said of the league and of n is of the others alone.
    assert ties.entry.n == 3 * 40
    (league,) = table_of(shown(board))["leagues"]
    assert league["without"] == "m_mmlu left out: its expert is at chance"


def test_a_task_of_which_nothing_counts_is_named_as_left_out(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    family.entries[2:3] = []
    family.add("guessing", "expert", scores(8, 10, 0, 30, 24), task="multilingual")
    merged(family, "ties", scores(20, 24, 18, 22, 27), "ties")
    save_run(family.store, family.run(SUITE.but(leave_out_at_chance=True)))
    (league,) = table_of(shown(gather([tmp_path])))["leagues"]
    assert league["without"] == "multilingual left out: its expert is at chance"


def test_the_worst_task_is_named_where_all_seeds_agree(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    for title, worst in {"alike": (10, 12), "apart": (10, 34)}.items():
        for seed, gsm8k in enumerate(worst):
            right = scores(gsm8k, 24, 18, 22, 27)
            merged(family, f"{title}, seed {seed}", right, "ties", title=title, seed=seed)
    save_run(family.store, family.run())
    board = gather([tmp_path])
    entries = {one.entry.title: one.entry for one in board.standings if one.entry.role == "merged"}
    assert (entries["alike"].weakest, entries["apart"].weakest) == ("math", None)
    assert entries["apart"].worst_task.value is not None


def test_entries_that_are_divided_by_other_experts_are_told_apart(tmp_path):
    save(tmp_path, "one", "ties", "average")
    letters = {one["title"]: one["experts"] for one in table_of(shown(gather([tmp_path])))["entries"]}
    assert set(letters.values()) == {None}
    family = Family(Store(tmp_path), [])
    references(family)
    family.entries[1:2] = []
    family.add("better math", "expert", scores(38, 16, 16, 30, 24), task="math")
    merged(family, "dare", scores(20, 24, 18, 22, 27), "dare")
    save_run(family.store, family.run(name="two"))
    board = gather([tmp_path])
    assert len(board.leagues) == 1
    entries = [one for one in table_of(shown(board))["entries"] if one["role"] == "merged"]
    assert [(one["title"], one["experts"]) for one in entries] == [
        ("ties", "A"),
        ("average", "A"),
        ("dare", "B"),
    ]


def test_what_cannot_be_gathered_is_said(tmp_path, store):
    with pytest.raises(InputError, match=r"nowhere/runs: no runs; make one with 'manyshot run'"):
        gather([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"no run 'third'; there are lab, lab\.math-safety"):
        gather([store], ["lab", "third"])
    bare = save(tmp_path / "bare", "only").root
    with pytest.raises(InputError, match="no run has a merged checkpoint"):
        gather([bare])


def test_runs_can_be_chosen(store):
    assert run_names(Store(store)) == ["lab", "lab.math-safety"]
    assert [one.label for one in gather([store], ["lab.math-safety"]).leagues] == ["lab"]


def samples_of(*said: pd.DataFrame) -> list[DifferingDocument]:
    return differing_samples(*(pa.Table.from_pandas(one, preserve_index=False) for one in said))


def test_samples_are_where_the_two_differ_first():
    merged_said = rows([1, 0, 1, 0.5, 1, 1], "gsm8k", lambda _, document: f"mine {document % 4}")
    expert_said = rows([1, 1, 1, 1.0, 1, 1], "gsm8k", lambda _, document: f"mine {document}")
    chosen = samples_of(merged_said, expert_said.sample(frac=1, random_state=1))
    assert [one.doc_id for one in chosen] == [1, 3, 4, 5, 0]
    assert (chosen[0].scores, chosen[0].outputs[0]) == ((0, 1), "mine 1")
    # Of a prompt the end is kept, where the question is.
    merged_said["prompt"] = "shot " * 1000 + merged_said["prompt"]
    assert samples_of(merged_said, expert_said)[0].prompt.endswith("question 1")


def test_a_long_text_says_how_much_of_it_is_left_out():
    assert shortened("a" * LONGEST) == "a" * LONGEST
    assert shortened("a" * (LONGEST + 1234)) == "a" * LONGEST + "… [1,234 more characters]"
    asked = shortened("shots " * 300 + "the question?", keep_end=True)
    assert asked.startswith("[313 more characters] …") and asked.endswith("the question?")


def test_log_likelihoods_of_choices_are_read_by_number():
    table = rows([1], "m_arc", lambda *_: "[(-12.3456, False), (-1.5e-2, True)]")
    (sample,) = samples_of(table, table.drop(columns="output"))
    assert sample.outputs == ("choice 1: -12.35\nchoice 2: -0.01", None)
    (sample,) = samples_of(*[rows([1], "m_arc", lambda *_: "[(1, False), text]")] * 2)
    assert sample.outputs[0] == "[(1, False), text]"


def test_documents_without_a_target_have_none():
    table = rows([1, 0], "gsm8k", lambda *_: "said")
    table["target"] = pd.Series([None, float("nan")], dtype=object)
    assert [one.target for one in samples_of(table, table)] == [None, None]


def test_the_recipe_of_a_checkpoint_merged_once_can_be_merged_again(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    shares = {"math": 0.5, "multilingual": 0.25, "safety": 0.25}
    trace = MergeTrace(weights=shares, settings={"scaling": 0.5})
    merged(
        family, "tuned", scores(20, 24, 18, 22, 27), "task_arithmetic",
        settings={"scaling": {"choose": [0.3, 0.5]}}, trace=trace,
    )  # fmt: skip
    save_run(family.store, family.run())
    (tuned,) = [one for one in gather([tmp_path]).standings if one.entry.title == "tuned"]
    recipe = validated(Recipe, yaml.safe_load(details_of(tuned.entry)["recipe"]), "the page")
    assert recipe.base == "models/base"
    assert {task: (one.path, one.weight) for task, one in recipe.experts.items()} == {
        "math": ("models/math expert", 1.5),
        "multilingual": ("models/multilingual expert", 0.75),
        "safety": ("models/safety expert", 0.75),
    }
    assert (recipe.method.name, recipe.method.settings) == ("task_arithmetic", {"scaling": 0.5})


def recipe_of(root: Path, title: str, **about: object) -> dict[str, object]:
    """What the page says of how a made-up checkpoint was merged."""
    family = Family(Store(root), [])
    references(family)
    merged(family, title, scores(20, 24, 18, 22, 27), "ties", **about)
    save_run(family.store, family.run())
    (found,) = [one for one in gather([root]).standings if one.entry.title == title]
    return yaml.safe_load(details_of(found.entry)["recipe"])


TOLD = {
    "weighting": {"name": "loss_gap"},
    "anchor": "previous",
    "keep": "last",
    "space": "factors",
    "seed": 3,
}


def test_all_that_a_merge_was_told_is_in_the_recipe(tmp_path):
    told = MergeOptions(**TOLD, output_dtype="bfloat16", method="ties")
    found = validated(Recipe, recipe_of(tmp_path, "told", recipe=told), "the page")
    assert (found.space, found.output_dtype, found.seed) == ("factors", "bfloat16", 3)
    assert found.method.name == "ties"


def test_of_rounds_is_said_how_they_were_made(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    about = {"protocol": "many-shot", "seed": 3, "recipe": MergeOptions(**TOLD)}
    merged(family, "metis", scores(20, 24, 18, 22, 27), "metis", **about)
    merged(family, "round", scores(20, 24, 18, 22, 27), "metis", leads_to="metis", round_index=1, **about)
    family.entries[-1] = family.entries[-1].model_copy(update={"role": "round"})
    save_run(family.store, family.run())
    (metis,) = [one.entry for one in gather([tmp_path]).standings if one.entry.role == "merged"]
    expected = {"base": "models/base", "protocol": "many-shot", "rounds": 1, "method": {"name": "metis"}}
    assert metis.recipe == expected | TOLD


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ({"method": "own.py:Own"}, "./own.py:Own"),
        ({"method": "../../etc/x.py:Own"}, "./x.py:Own"),
        ({}, None),
    ],
)
def test_a_method_of_the_users_own_is_named_by_a_file_beside_the_recipe(told, name, tmp_path):
    found = recipe_of(tmp_path, "mine", recipe=MergeOptions(source="class ties: ...", **told))
    assert found["method"] == {"name": name or "./ties.py:ties"}
    (mine,) = [one for one in gather([tmp_path]).standings if one.entry.title == "mine"]
    assert details_of(mine.entry)["recipe"].startswith("# The method's source is below")


def test_learned_coefficients_are_in_the_recipe(tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    learned = LearnedCoefficients(tasks=("math", "safety"), layers=("model",), coefficients=[[0.7], [0.4]])
    merged(family, "learned", scores(20, 24, 18, 22, 27), "divmerge", trace=MergeTrace(learned=learned))
    save_run(family.store, family.run())
    (entry,) = [one.entry for one in gather([tmp_path]).standings if one.entry.title == "learned"]
    assert entry.recipe["method"] == {"name": "divmerge", "coefficients": {"math": 0.7, "safety": 0.4}}


@pytest.mark.parametrize(
    "merge",
    [
        {"trace": MergeTrace(weights={"math": 0.1, "safety": 0.9})},
        {"trace": MergeTrace(learned=LearnedCoefficients(tasks=("a",), layers=("b",), coefficients=[]))},
    ],
)
def test_a_recipe_that_cannot_be_read_is_said(merge, tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    merged(family, "odd", scores(20, 24, 18, 22, 27), "ties", **merge)
    save_run(family.store, family.run())
    with pytest.raises(InputError, match="'odd': what its run says of the merge cannot be read"):
        gather([tmp_path])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"trace": {"weights": [1, 2]}}, "trace.weights' must be a mapping"),
        ({"trace": {"settings": "scaling"}}, "trace.settings' must be a mapping"),
        ({"recipe": ["ties"]}, "recipe' must be a mapping"),
        ({"recipe": {"source": "class Own: ...", "method": 5}}, "recipe.method' is 5, where text"),
    ],
)
def test_what_a_run_says_of_a_merge_is_of_its_type(wrong, said, tmp_path):
    family = Family(Store(tmp_path), [])
    references(family)
    merged(family, "odd", scores(20, 24, 18, 22, 27), "ties")
    path = save_run(family.store, family.run())
    content = json.loads(path.read_text())
    content["entries"][-1] |= wrong
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"first\.json: .*{said}"):
        gather([tmp_path])


def test_submissions_stand_beside_own_runs_and_are_checked(tmp_path):
    save(tmp_path / "mine", "one", "ties")
    family = Family(Store(tmp_path / "yours"), [])
    references(family)
    code = f"class Own(Method):\n    scaling = '{SCRIPT}'\n"
    merged(family, "own", scores(20, 24, 18, 22, 27), "own", recipe=MergeOptions(source=code))
    save_run(family.store, family.run(name="two"))
    folder = write_submission(family.store, ["two"], tmp_path / "submitted")
    board = gather([tmp_path / "mine", folder])
    assert len(board.leagues) == 1
    own = next(one for one in board.standings if one.entry.title == "own")
    assert own.sources[0].store == str(folder)
    assert details_of(own.entry)["code"] == code and SCRIPT not in render(shown(board))
    next(folder.glob("methods/*.py")).write_text("other")
    with pytest.raises(InputError, match="altered since the submission was made"):
        gather([tmp_path / "mine", folder])


def blocks(page: str) -> dict[str, object]:
    """What the page's script is told: its table, and by id what the panels show, which is compressed."""
    found = re.findall(r'<script type="application/json" id="([^"]*)">(.*?)</script>', page, re.DOTALL)
    told = {name: json.loads(content) for name, content in found}
    runs = [json.loads(zlib.decompress(base64.b64decode(run))) for run in told.pop("details")]
    of_entries = {one["id"]: runs[one["details"][0]][one["details"][1]] for one in told["data"]["entries"]}
    return {"data": told.pop("data"), **of_entries, **told}


def test_what_models_and_users_say_is_in_the_page_as_data_only(board):
    page = render(shown(board))
    assert SCRIPT not in page and LABEL not in page and "<b>bold" not in page and "<i>label" not in page
    # One script of the page's own, one block of data for the table, and one for the panels.
    assert page.count("<script") == page.count("</script>") == 3
    told = blocks(page)
    (titled,) = [one for one in told["data"]["entries"] if one["title"] == LABEL]
    documents = told[titled["id"]]["samples"][0]["documents"]
    assert documents[0]["outputs"][0].startswith(SCRIPT)


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", "<!--<script>", "a\u2028b\u2029c", "&lt;"]
)
def test_no_text_ends_a_block_of_data(board, text):
    entry = replace(board.standings[-1].entry, title=text, notes=(text,))
    page = render(shown(replace(board, standings=(replace(board.standings[-1], entry=entry),))))
    assert page.count("<script") == page.count("</script>") == 3
    assert "\u2028" not in page and "<!--" not in page and "&lt;" not in page
    title = blocks(page)["data"]["entries"][0]["title"]
    assert title == text.replace("\u2028", " ").replace("\u2029", " ")


def test_the_page_names_no_other_machine(board):
    page = render(shown(board))
    assert "http:" not in page and "https:" not in page and "//cdn" not in page
    assert "default-src &#39;none&#39;" in page


def test_the_page_is_the_same_each_time(board, store):
    assert render(shown(board)) == render(shown(gather([store])))


def test_an_entry_of_rounds_has_a_picture_of_them(board):
    metis, average = (details_of(standing(board, title).entry) for title in ("metis", "average"))
    assert metis["rounds"].startswith("<?xml") and "</svg>" in metis["rounds"]
    assert average["rounds"] is None


def test_nothing_foreign_is_touched(board, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    page = write_page(shown(board), tmp_path)
    assert write_page(shown(board), tmp_path) == page
    assert (tmp_path / "notes.txt").read_text() == "mine"
    other = tmp_path / "site"
    other.mkdir()
    (other / "index.html").write_text("<p>my site</p>")
    with pytest.raises(InputError, match=r"index\.html: not a leaderboard, and is not replaced"):
        write_page(shown(board), other)
    assert [one.name for one in other.iterdir()] == ["index.html"]
    for out in ("notes.txt", "notes.txt/board"):
        with pytest.raises(InputError, match=r"notes\.txt: a file, not a folder"):
            write_page(shown(board), tmp_path / out)
    (tmp_path / "odd/index.html").mkdir(parents=True)
    with pytest.raises(InputError, match=r"index\.html: not a leaderboard"):
        write_page(shown(board), tmp_path / "odd")


def test_the_command_writes_the_page_and_says_where(store, tmp_path, capsys):
    main(["report", "leaderboard", "--store", str(store), "--run", "lab", "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.strip() == str(tmp_path / "out/index.html")
    assert "lab" in (tmp_path / "out/index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--store", "missing"], "missing/runs: no runs; make one with 'manyshot run'"),
        (["--store", "{store}", "--run", "other"], "no run 'other'; there are lab, lab.math-safety"),
    ],
)
def test_the_command_refuses_in_one_sentence(arguments, sentence, store, tmp_path, capsys):
    given = [one.format(store=store) for one in arguments]
    with pytest.raises(SystemExit) as stopped:
        main(["report", "leaderboard", "--out", str(tmp_path / "out"), *given])
    assert stopped.value.code == 2
    said = capsys.readouterr()
    assert sentence in said.err and said.err.count("\n") == 1 and said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_record_that_is_not_there_is_named(tmp_path):
    store = save(tmp_path, "one", "ties")
    key = record("ties", "gsm8k", rows(hits(20, 40), "gsm8k")).key.digest
    next(tmp_path.glob(f"records/*/{key}.json")).unlink()
    with pytest.raises(InputError, match="there is no such record; score again"):
        gather([store.root])
