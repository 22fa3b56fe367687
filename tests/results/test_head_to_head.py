"""Two checkpoints are found by what users call them, and compared where they were scored alike."""

import json
from pathlib import Path

import pytest
from made_up_family import Family, hits, identity, record, rows

from results.comparison import compare, paired_difference
from results.errors import InputError
from results.head_to_head import HeadToHead, head_to_head
from results.store import Store


def pair(lab: Family, first: str, second: str, *, of_run: bool = True, most: int = 0) -> HeadToHead:
    run = lab.run() if of_run else None
    return head_to_head((first, second), lab.store, run, lambda name: name != "xstest", most=most)


def score(store: Store, label: str, benchmark: str, right: int, of: int = 20, **settings: object) -> None:
    documents = rows(hits(right, of), benchmark)
    one = record(label, benchmark, documents)
    key = one.key.but(settings={**one.key.settings, **settings})
    store.write(one.but(key=key), documents)


def test_two_rows_of_a_run_are_compared_on_all_benchmarks_in_the_order_of_the_suite(lab: Family) -> None:
    found = pair(lab, "metis", "ties")
    assert [one.benchmark for one in found.benchmarks] == ["gsm8k", "m_mmlu", "m_arc", "xstest", "coqa"]
    math, safety = found.benchmarks[0], found.benchmarks[3]
    assert (math.scores, math.difference) == ((14 / 20, 12 / 20), pytest.approx(0.1))
    assert (safety.scores, safety.difference) == ((4 / 20, 12 / 20), pytest.approx(0.4))
    assert found.digests == (identity("metis").digest, identity("ties").digest)
    assert found.notes == ()


def test_p_values_are_corrected_for_the_number_of_benchmarks(lab: Family) -> None:
    found = pair(lab, "base", "metis")
    least = min(found.benchmarks, key=lambda one: one.p_value)
    assert least.p_value < 0.05
    assert found.corrected[least.benchmark] == pytest.approx(5 * least.p_value)


def test_rows_of_one_run_have_the_differences_of_its_comparison(lab: Family) -> None:
    found, comparison = pair(lab, "metis", "ties"), compare(lab.run(), lab.store)
    for name in ("average", "worst_task"):
        assert found.aggregates[name].difference == paired_difference(comparison, "metis", "ties", name)
        values = [getattr(comparison.row(label), name).value for label in ("metis", "ties")]
        assert list(found.aggregates[name].values) == values


def test_an_incomplete_row_has_benchmarks_but_no_aggregates_and_that_is_said(lab: Family) -> None:
    lab.add("young", "merged", {"gsm8k": hits(8)}, method="dare")
    found = pair(lab, "young", "ties")
    assert [one.benchmark for one in found.benchmarks] == ["gsm8k"]
    assert found.aggregates == {}
    assert "scored for 'ties' alone: m_mmlu, m_arc, xstest, coqa" in found.notes
    assert any(note.startswith("'young' has no average: not scored") for note in found.notes)


@pytest.mark.parametrize("name", ["models/ties", "./models/../models/ties/", identity("ties").digest[:8]])
def test_checkpoints_are_found_in_the_store_by_name_path_and_digest(lab: Family, name: str) -> None:
    for of_run in (True, False):
        found = pair(lab, "models/metis", name, of_run=of_run)
        assert found.digests == (identity("metis").digest, identity("ties").digest)
        assert len(found.benchmarks) == 5
        assert found.aggregates == {}
    # A label of the run and a checkpoint of the store.
    assert len(pair(lab, "metis", name).benchmarks) == 5


def test_a_merge_that_was_scored_under_its_title_is_found_by_its_path(lab: Family, tmp_path: Path) -> None:
    lab.entries[-1] = lab.entries[-1].but(path=str(tmp_path / "merged"))
    found = pair(lab, str(tmp_path / "other" / ".." / "merged"), "ties")
    assert found.digests == (identity("metis").digest, identity("ties").digest)
    assert found.aggregates == pair(lab, "metis", "ties").aggregates != {}


def test_which_scores_are_better_is_asked_for_what_no_run_names(lab: Family) -> None:
    by_run, by_store = pair(lab, "metis", "ties"), pair(lab, "models/metis", "models/ties", of_run=False)
    alike = {one.benchmark: one.difference for one in by_run.benchmarks}
    assert {one.benchmark: one.difference for one in by_store.benchmarks} == alike


def test_of_several_records_those_made_alike_of_the_most_documents_are_compared(family: Family) -> None:
    score(family.store, "a", "gsm8k", 3, of=5, limit=5)
    score(family.store, "a", "gsm8k", 12)
    score(family.store, "b", "gsm8k", 2, of=5, limit=5)
    score(family.store, "b", "gsm8k", 14)
    score(family.store, "b", "gsm8k", 9, dtype="bfloat16")
    (found,) = pair(family, "models/a", "models/b", of_run=False).benchmarks
    assert (found.n, found.scores) == (20, (0.6, 0.7))


def test_records_of_servers_are_compared_where_there_are_no_others_and_it_is_said(family: Family) -> None:
    for label in ("first", "second"):
        server = {"url": "http://localhost", "model": label}
        score(family.store, label, "gsm8k", 10, engine="api", device="the server's", server=server)
    found = head_to_head(("first", "second"), family.store, None, lambda _: True)
    assert found.benchmarks[0].scores == (0.5, 0.5)
    assert found.notes == ("gsm8k: scores of a server, whose weights could not be verified",)
    for label, right in (("first", 4), ("second", 6)):
        score(family.store, label, "gsm8k", right)
    for label in ("first", "second"):  # the latest
        score(family.store, label, "gsm8k", 10, engine="api", device="the server's", server={"url": "other"})
    found = head_to_head(("first", "second"), family.store, None, lambda _: True)
    assert found.benchmarks[0].scores == (0.2, 0.3)
    assert found.notes == ()


def test_what_was_scored_differently_is_not_compared(family: Family) -> None:
    score(family.store, "a", "gsm8k", 12)
    score(family.store, "b", "gsm8k", 12, dtype="bfloat16")
    with pytest.raises(
        InputError, match=r"gsm8k: 'models/a' .* different dtype \(float32 and bfloat16\); score"
    ):
        pair(family, "models/a", "models/b", of_run=False)
    for label in ("a", "b"):
        score(family.store, label, "m_arc", 12)
    found = pair(family, "models/a", "models/b", of_run=False)
    assert [one.benchmark for one in found.benchmarks] == ["m_arc"]
    assert found.notes == (
        "gsm8k: 'models/a' and 'models/b' were scored with different dtype (float32 and bfloat16)",
    )


def test_validation_splits_are_not_compared(family: Family) -> None:
    for label in ("a", "b"):
        score(family.store, label, "gsm8k@validation", 12)
    with pytest.raises(InputError, match="no benchmark was scored for both 'models/a' and 'models/b'"):
        pair(family, "models/a", "models/b", of_run=False)


def test_an_unknown_name_lists_the_known_ones(lab: Family) -> None:
    with pytest.raises(
        InputError, match=r"no checkpoint 'tees' among \d+; the nearest are 'ties', 'metis', "
    ):
        pair(lab, "tees", "ties")
    with pytest.raises(InputError, match=r"no checkpoint 'tees' among \d+; the nearest are "):
        pair(lab, "tees", "metis", of_run=False)


def test_a_checkpoint_is_called_by_its_folder_where_no_other_is(lab: Family) -> None:
    by_folder = pair(lab, "ties", "metis", of_run=False)
    assert by_folder.digests == pair(lab, "models/ties", "models/metis", of_run=False).digests


def test_a_name_of_two_checkpoints_asks_for_a_digest(lab: Family) -> None:
    documents = rows(hits(3), "gsm8k")
    lab.store.write(record("later", "gsm8k", documents, name="models/ties"), documents)
    digests = sorted([identity("ties").digest, identity("later").digest])
    with pytest.raises(
        InputError, match=f"'models/ties' stands for 2 .* {digests[0][:12]}, {digests[1][:12]}"
    ):
        pair(lab, "models/ties", "metis")
    assert pair(lab, identity("later").digest[:12], "metis").benchmarks[0].scores[0] == 3 / 20


def test_json_has_everything(lab: Family) -> None:
    content = json.loads(json.dumps(pair(lab, "metis", "ties", most=2).to_json(), allow_nan=False))
    assert content["checkpoints"] == ["metis", "ties"]
    math = content["benchmarks"][0]
    assert math["p_corrected"] >= math["p_value"]
    assert {len(side) for side in math["documents"]} <= {0, 1, 2}
    assert set(content["aggregates"]["worst_task"]) == {"values", "value", "low", "high"}
