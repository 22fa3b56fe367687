"""Translations of one question are one item: intervals and tests hold whatever the languages share."""

from functools import cache

import numpy as np
import pandas as pd
import pytest
from made_up_family import Family, record, rows
from simulated_items import CORRELATIONS, Rates, rates

from results.bootstrap import DocumentScores, align_documents, resample_together
from results.comparison import compare
from results.errors import InputError
from results.paired import SWAPPED, benchmark_difference, mcnemar, swapping
from results.shared_items import connected, numbered
from results.store import Store
from results.suite import BenchmarkSpec, SuiteSpec

pytestmark = pytest.mark.slow

QUICK, MANY = 400, 2000
# A share of .95 in 400 replications has a standard error of .011.
SLACK = 0.022
SHARES = ("score", "difference", "average", "worst_task")


@cache
def quick(correlation: float, missing: float = 0.0) -> Rates:
    return rates(correlation, QUICK, missing=missing)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_intervals_hold_95_times_of_100_whatever_languages_share(correlation: float, share: str) -> None:
    assert 0.93 - SLACK <= getattr(quick(correlation), share) <= 0.97 + SLACK


@pytest.mark.parametrize("test", ["mcnemar", "swaps"])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_equals_are_told_apart_5_times_of_100_whatever_languages_share(correlation: float, test: str) -> None:
    assert getattr(quick(correlation), test) <= 0.06 + SLACK


def test_so_it_is_where_translations_are_missing() -> None:
    found = quick(0.7, missing=0.2)
    assert all(0.93 - SLACK <= getattr(found, share) <= 0.97 + SLACK for share in SHARES)
    assert max(found.mcnemar, found.swaps) <= 0.06 + SLACK


def test_documents_drawn_each_on_its_own_would_promise_too_much() -> None:
    found = rates(0.7, QUICK, by_item=False)
    assert max(getattr(found, share) for share in SHARES) < 0.85
    assert min(found.mcnemar, found.swaps) > 0.15


@pytest.mark.full
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_with_many_replications_no_slack_is_needed(correlation: float, missing: float) -> None:
    found = rates(correlation, MANY, missing=missing)
    assert all(0.93 <= getattr(found, share) <= 0.97 for share in SHARES)
    assert max(found.mcnemar, found.swaps) <= 0.06


def test_languages_that_agree_in_all_are_worth_one_of_them() -> None:
    one = np.random.default_rng(0).random(60)
    names = np.array([f"item {index}" for index in range(60)], dtype=object)
    alone = DocumentScores("m", "f1", {"de": {"model": one[None]}}, {"de": names})
    back = np.arange(60)[::-1]
    scores = {"de": {"model": one[None]}, "fr": {"model": one[None, back]}}
    both = DocumentScores("m", "f1", scores, {"de": names, "fr": names[back]})
    widths = [resample_together([each])["m"]["model"].std() for each in (alone, both)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_benchmarks_that_share_items_are_drawn_together() -> None:
    """As single languages of one benchmark do, named each on its own."""
    one = np.random.default_rng(0).random(60)[None]
    names = np.array([f"item {index}" for index in range(60)], dtype=object)
    benchmarks = [DocumentScores(name, "f1", {name: {"model": one}}, {name: names}) for name in ("ar", "zh")]
    found = resample_together(benchmarks)
    assert np.array_equal(found["ar"]["model"], found["zh"]["model"])
    others = DocumentScores("zh", "f1", {"zh": {"model": one}}, {"zh": np.char.add("x", names.astype(str))})
    apart = resample_together([benchmarks[0], others])
    assert abs(np.corrcoef(apart["ar"]["model"], apart["zh"]["model"])[0, 1]) < 0.1


def test_a_resample_without_a_document_of_a_task_has_no_score() -> None:
    names = np.array([f"item {index}" for index in range(30)], dtype=object)
    scores = {"de": {"model": np.ones((1, 30))}, "fr": {"model": np.ones((1, 1))}}
    found = resample_together([DocumentScores("m", "f1", scores, {"de": names, "fr": names[:1]})])
    drawn = found["m"]["model"]
    assert np.isnan(drawn).mean() == pytest.approx((29 / 30) ** 30, abs=0.05)
    assert np.all(drawn[~np.isnan(drawn)] == 1)


def test_what_shares_items_with_what_shares_items_is_one_group() -> None:
    items = {"a": ["1", "2"], "b": ["3"], "c": ["4", "5"], "d": ["2", "4"]}
    as_arrays = {node: np.array(names, dtype=object) for node, names in items.items()}
    assert connected(as_arrays) == [["a", "c", "d"], ["b"]]
    numbers, known = numbered({node: as_arrays[node] for node in "ad"})
    assert ({node: one.tolist() for node, one in numbers.items()}, known) == ({"a": [0, 1], "d": [1, 2]}, 3)


def test_mcnemar_counts_every_way_of_swapping_items() -> None:
    ahead = np.array([4, -1, 2, 0, 1, -2])
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(ahead))).reshape(len(ahead), -1)
    by_hand = np.mean(np.abs(np.abs(ahead) @ signs) >= abs(ahead.sum()))
    assert mcnemar(ahead) == pytest.approx(by_hand)
    assert mcnemar([0, 0]) == mcnemar([]) == 1
    # Four languages that agree on all are as sure as one of them.
    assert mcnemar([4] * 6 + [-4]) == pytest.approx(mcnemar([1] * 6 + [-1]))


def test_swaps_of_items_agree_with_counting_them() -> None:
    right = (
        {"de": [1] * 30 + [0] * 10, "fr": [1] * 28 + [0] * 12},
        {"de": [1] * 20 + [0] * 20, "fr": [1] * 22 + [0] * 18},
    )
    tables = {name: rows(one) for name, one in zip(("first", "second"), right, strict=True)}
    aligned = align_documents("m", "acc", tables)
    ahead = np.array(right[0]["de"]) + right[0]["fr"] - np.array(right[1]["de"]) - right[1]["fr"]
    assert swapping(aligned, swaps=50_000) == pytest.approx(mcnemar(ahead), abs=0.001)


def test_a_comparison_of_two_tells_documents_from_items() -> None:
    tables = rows({"de": [1] * 8, "fr": [1] * 8}), rows({"de": [0] * 8, "fr": [0] * 8})
    records = tuple(record(label, "m", one) for label, one in zip("ab", tables, strict=True))
    found = benchmark_difference(BenchmarkSpec(name="m", metric="acc"), records, tables)  # type: ignore[arg-type]
    assert (found.n, found.items, found.p_value) == (16, 8, pytest.approx(2 / 2**8))
    uneven = tables[0].drop(index=0), tables[1].drop(index=0)
    found = benchmark_difference(BenchmarkSpec(name="m", metric="acc"), records, uneven)  # type: ignore[arg-type]
    assert (found.n, found.items, found.test) == (15, 8, SWAPPED)
    assert found.p_value == pytest.approx(2 / 2**8, abs=0.003)


def test_several_languages_without_items_are_refused_and_one_is_not(store: Store) -> None:
    bare = rows({"de": [1, 0], "fr": [1, 0]}).drop(columns="item")
    with pytest.raises(InputError, match="m of models/a: its documents of several lm-eval tasks have no"):
        store.write(record("a", "m", bare), bare)
    with pytest.raises(InputError, match=r"benchmark m: the documents of 'a' do not say .* score it again"):
        align_documents("m", "acc", {"a": bare})
    assert align_documents("m", "acc", {"a": bare[:2]}).items == {}
    other = rows({"de": [1, 0], "fr": [1, 0]})
    other["item"] = other["item"].str.replace("item", "thing")
    with pytest.raises(InputError, match="documents of 'b' and 'a' name different items"):
        align_documents("m", "acc", {"a": rows({"de": [1, 0], "fr": [1, 0]}), "b": other})
    blank = other.assign(item=pd.Series([None] * 4, dtype="object"))
    with pytest.raises(InputError, match="of a document, item is no text"):
        store.write(record("a", "m", blank), blank)


def test_reports_take_the_items_from_the_records(family: Family) -> None:
    """Two languages with the same answers are as wide as one, not narrower by the root of two."""
    right = {"base": 20, "expert": 80, "merged": 50}
    for label, number in right.items():
        said = [1] * number + [0] * (100 - number)
        family.add(
            label,
            label,
            {"two": {"de": said, "fr": said}, "one": {"de": said}},
            task="math" if label == "expert" else None,
        )  # type: ignore[arg-type]
    suite = SuiteSpec(
        name="s",
        tasks={"math": (BenchmarkSpec(name="two", metric="acc"),)},
        forgetting=(BenchmarkSpec(name="one", metric="acc"),),
    )
    (row,) = [one for one in compare(family.run(suite), family.store).rows if one.label == "merged"]
    widths = {name: np.ptp(np.percentile(one, [2.5, 97.5])) for name, one in row.resampled.scores.items()}
    assert widths["two"] == pytest.approx(widths["one"], rel=0.1)


@pytest.fixture
def store(tmp_path) -> Store:  # type: ignore[no-untyped-def]
    return Store(tmp_path / "store")
