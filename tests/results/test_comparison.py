"""A comparison of a base, three experts and two merged checkpoints, checked by hand."""

import json

import made_up_family
import pytest
from made_up_family import SUITE, Family, hits, identity, record, rows

from results.comparison import compare, paired_difference
from results.errors import InputError
from results.metrics import mapped
from results.run_manifest import RunSettings
from results.suite import BenchmarkSpec


def test_rows_come_as_base_experts_merged(lab: Family) -> None:
    run = lab.run()
    comparison = compare(run.model_copy(update={"entries": run.entries[::-1]}), lab.store, resamples=50)
    assert [row.role for row in comparison.rows] == ["base", "expert", "expert", "expert", "merged", "merged"]
    assert comparison.row("metis").protocol == "many-shot"
    with pytest.raises(InputError, match="no 'dare'; there are base"):
        comparison.row("dare")


def test_the_numbers_of_a_merged_checkpoint(lab: Family) -> None:
    row = compare(lab.run(), lab.store).row("ties")
    math, mmlu, arc, safety = 12 / 16, 12 / 16, 10 / 10, (1 - 0.6) / (1 - 0.2)
    assert row.performance == pytest.approx({"gsm8k": math, "m_mmlu": mmlu, "m_arc": arc, "xstest": safety})
    assert {task: one.value for task, one in row.tasks.items()} == pytest.approx(
        {"math": math, "multilingual": (mmlu + arc) / 2, "safety": safety}
    )
    assert row.average.value == pytest.approx((math + mmlu + arc + safety) / 4)
    assert row.worst_task.value == pytest.approx(safety)
    assert row.gap.value == pytest.approx(safety - (math + mmlu + arc + safety) / 4)
    assert row.forgetting == pytest.approx({"coqa": 13 / 20 - 14 / 20})
    assert row.scores["xstest"] == pytest.approx(0.6)
    assert row.complete == (4, 4)
    assert row.notes == ()


def test_a_row_knows_how_many_documents_its_numbers_rest_on(lab: Family) -> None:
    lab.add("young", "merged", {"gsm8k": hits(8)}, method="dare")
    run = lab.run().but(settings=RunSettings(validation={"math": 50}))
    comparison = compare(run, lab.store, resamples=50)
    everything = dict.fromkeys(("gsm8k", "m_mmlu", "m_arc", "xstest", "coqa"), 20)
    assert comparison.row("ties").n == comparison.row("ties").to_json()["n"] == everything
    assert comparison.row("young").n == {"gsm8k": 20}
    assert comparison.validation == {"math": 50}
    assert compare(lab.run(), lab.store, resamples=50).validation == {}


def test_an_expert_is_1_on_its_own_task_with_no_uncertainty(lab: Family) -> None:
    comparison = compare(lab.run(), lab.store, resamples=200)
    own = comparison.row("math expert").tasks["math"]
    assert (own.value, own.low, own.high) == (1, 1, 1)
    assert comparison.row("math expert").tasks["multilingual"].value == pytest.approx((8 / 16 + 8 / 10) / 2)
    assert comparison.row("base").tasks["math"].value == pytest.approx(4 / 16)
    assert comparison.row("base").forgetting == {"coqa": 0}


def test_intervals_hold_the_values_and_are_the_same_each_time(lab: Family) -> None:
    comparison = compare(lab.run(), lab.store)
    row = comparison.row("ties")
    for estimate in (row.average, row.worst_task, row.gap, *row.tasks.values()):
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high
    assert compare(lab.run(), lab.store).to_json() == comparison.to_json()


def test_the_paired_difference_of_identical_checkpoints_is_exactly_zero(lab: Family) -> None:
    twin = lab.entries[-1]
    lab.entries.append(twin.model_copy(update={"label": "twin"}))
    comparison = compare(lab.run(), lab.store)
    for statistic in ("average", "worst_task", "gap", "math"):
        found = paired_difference(comparison, "metis", "twin", statistic)
        assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_paired_difference_is_signed_and_narrower_than_the_intervals(lab: Family) -> None:
    comparison = compare(lab.run(), lab.store)
    metis, ties = comparison.row("metis"), comparison.row("ties")
    found = paired_difference(comparison, "metis", "ties")
    assert found.value == pytest.approx(metis.average.value - ties.average.value)  # type: ignore[operator]
    assert found.low < found.value < found.high
    back = paired_difference(comparison, "ties", "metis")
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))
    assert paired_difference(comparison, "metis", "ties", "safety").value == pytest.approx(
        0.8 / 0.8 - 0.4 / 0.8
    )
    with pytest.raises(InputError, match="no statistic 'speed'"):
        paired_difference(comparison, "metis", "ties", "speed")


def test_an_incomplete_suite_shows_what_is_complete(lab: Family) -> None:
    lab.add("young", "merged", {"gsm8k": hits(8), "m_mmlu": hits(8)}, method="dare")
    comparison = compare(lab.run(), lab.store, resamples=50)
    row = comparison.row("young")
    assert row.complete == (2, 4)
    assert not row.is_complete
    assert (row.average.value, row.average.low, row.worst_task.value, row.gap.value) == (
        None,
        None,
        None,
        None,
    )
    assert row.tasks["math"].value == pytest.approx(0.5)
    assert row.tasks["math"].low is not None
    assert row.tasks["multilingual"].value is None
    assert row.forgetting == {"coqa": None}
    assert row.notes == ("not scored: m_arc, xstest",)
    with pytest.raises(InputError, match="'young' has no average to compare; not scored"):
        paired_difference(comparison, "young", "ties")


def test_a_benchmark_without_its_experts_score_is_not_complete(lab: Family) -> None:
    math = lab.entries[1]
    kept = {name: digest for name, digest in math.records.items() if name != "gsm8k"}
    lab.entries[1] = math.but(records=kept)
    row = compare(lab.run(), lab.store, resamples=50).row("ties")
    assert row.complete == (3, 4)
    assert row.notes == ("not scored by the expert 'math expert': gsm8k",)


def test_a_reference_of_zero_is_told_and_not_divided_by(family: Family, lab: Family) -> None:
    family.entries[1] = family.entries[1].model_copy(update={"label": "old", "task": "elsewhere"})
    family.add("zero", "expert", {"gsm8k": hits(0)}, task="math")
    row = compare(family.run(), family.store, resamples=50).row("ties")
    assert row.complete == (4, 4)
    assert (row.tasks["math"].value, row.average.value) == (None, None)
    assert row.tasks["safety"].value is not None
    assert any("gsm8k" in note and "expert scores 0" in note for note in row.notes)


def test_a_reference_at_chance_and_resamples_without_reference_are_told(family: Family, lab: Family) -> None:
    family.entries[1] = family.entries[1].model_copy(update={"label": "old", "task": "elsewhere"})
    family.entries[2] = family.entries[2].model_copy(update={"label": "older", "task": "elsewhere"})
    family.add("weak", "expert", {"gsm8k": hits(1)}, task="math")
    family.add("guess", "expert", {"m_mmlu": hits(5), "m_arc": hits(10)}, task="multilingual")
    row = compare(family.run(), family.store).row("ties")
    assert row.average.value is not None
    assert any(note == "m_mmlu: the expert scores 0.25, chance is 0.25" for note in row.notes)
    (dropped,) = [note for note in row.notes if note.startswith("gsm8k") and "resamples" in note]
    count = int(dropped.split(" in ")[1].split(" of ")[0])
    # Twenty draws miss the one right document with probability 0.95^20.
    assert count / 2000 == pytest.approx(0.95**20, abs=0.04)


def test_a_benchmark_on_which_the_expert_guesses_is_left_out_where_the_suite_says_so(lab: Family) -> None:
    tasks = {
        task: tuple(one.but(chance=0.6) if one.name == "gsm8k" else one for one in benchmarks)
        for task, benchmarks in SUITE.tasks.items()
    }
    suite = SUITE.but(tasks=tasks)
    assert compare(lab.run(suite), lab.store).left_out == {}
    comparison = compare(lab.run(suite.but(leave_out_at_chance=True)), lab.store)
    row = comparison.row("ties")
    mmlu, arc, safety = 12 / 16, 10 / 10, (1 - 0.6) / (1 - 0.2)
    # The math expert has 16 of 20 right, which 0.6 may be as well; the others do better than their chance.
    assert list(comparison.left_out) == ["gsm8k"]
    assert "the expert is at chance (0.800 [0.600," in comparison.left_out["gsm8k"]
    assert comparison.counted_tasks == ("multilingual", "safety")
    assert row.tasks["math"].value is None
    assert row.average.value == pytest.approx((mmlu + arc + safety) / 3)
    assert row.anp.value == pytest.approx(((mmlu + arc) / 2 + safety) / 2)
    assert row.worst_task.value == pytest.approx(safety)
    assert row.scores["gsm8k"] == pytest.approx(12 / 20)
    assert row.is_complete


def test_a_benchmark_on_which_the_expert_is_not_told_apart_from_its_base_is_left_out_where_the_suite_says_so(
    lab: Family,
) -> None:
    # Of m_arc's 20 documents the expert has ten right and the base eight; of the others at least eight more.
    assert compare(lab.run(), lab.store).left_out == {}
    comparison = compare(lab.run(SUITE.but(leave_out_at_base=True)), lab.store)
    assert comparison.left_out == {
        "m_arc": "m_arc: left out of averages, because the expert is not told apart from its base "
        "(0.500 and 0.400; a gain of 0.000 to 0.250)"
    }
    row = comparison.row("ties")
    assert row.performance["m_arc"] == pytest.approx(1)
    assert row.average.value == pytest.approx((12 / 16 + 12 / 16 + (1 - 0.6) / (1 - 0.2)) / 3)


def test_where_every_expert_guesses_nothing_is_averaged(lab: Family) -> None:
    tasks = {
        task: tuple(one.but(chance=1.0) for one in benchmarks) for task, benchmarks in SUITE.tasks.items()
    }
    row = compare(lab.run(SUITE.but(tasks=tasks, leave_out_at_chance=True)), lab.store).row("ties")
    assert (row.average.value, row.worst_task.value, row.gap.value, row.anp.value) == (None,) * 4


def test_a_missing_expert_is_named_by_its_task(lab: Family) -> None:
    run = lab.run()
    without = run.model_copy(
        update={"entries": tuple(entry for entry in run.entries if entry.task != "safety")}
    )
    with pytest.raises(InputError, match="no expert for task safety"):
        compare(without, lab.store)


def test_the_reference_is_the_expert_of_the_same_seed(lab: Family) -> None:
    lab.entries[1] = lab.entries[1].model_copy(update={"seed": 0})
    lab.add("math expert 1", "expert", {"gsm8k": hits(20)}, task="math", seed=1)
    comparison = compare(lab.run(), lab.store, resamples=50)
    assert comparison.row("metis").tasks["math"].value == pytest.approx(14 / 20)
    assert comparison.row("ties").tasks["math"].value == pytest.approx(12 / 16)
    assert comparison.row("math expert").tasks["math"].value == 1
    assert comparison.row("math expert 1").tasks["math"].value == 1
    lab.entries[-1] = lab.entries[-1].model_copy(update={"seed": 0})
    with pytest.raises(InputError, match="two experts for task math"):
        compare(lab.run(), lab.store)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"engine": "vllm"}}, r"gsm8k: 'ties' and 'math expert' .* engine \(vllm and replay\)"),
        ({"definition": "other"}, "definitions of the benchmark"),
        ({"data": "other"}, "different data"),
    ],
)
def test_scores_made_in_different_ways_are_not_divided(
    lab: Family, changes: dict[str, object], message: str
) -> None:
    documents = rows(hits(12), "gsm8k")
    one = record("ties", "gsm8k", documents)
    if "settings" in changes:
        changes = {"settings": {**one.key.settings, "engine": "vllm"}}
    other = one.but(key=one.key.but(**changes))
    lab.store.write(other, documents)
    index = next(index for index, entry in enumerate(lab.entries) if entry.label == "ties")
    entry = lab.entries[index]
    lab.entries[index] = entry.model_copy(update={"records": {**entry.records, "gsm8k": other.key.digest}})
    with pytest.raises(InputError, match=message):
        compare(lab.run(), lab.store)


def test_seeds_that_were_scored_in_another_way_are_refused_though_their_own_experts_were_too(
    lab: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(made_up_family.SETTINGS, "num_fewshot", 5)
    lab.add("math expert 1", "expert", {"gsm8k": hits(16)}, task="math", seed=1)
    lab.add("metis 1", "merged", {"gsm8k": hits(14)}, method="metis", seed=1)
    with pytest.raises(
        InputError, match=r"'math expert 1' and 'base' were scored with different num_fewshot"
    ):
        compare(lab.run(), lab.store)


def test_a_record_of_another_metric_than_the_suites_is_refused(lab: Family) -> None:
    suite = SUITE.but(forgetting=(BenchmarkSpec(name="coqa", metric="em"),))
    with pytest.raises(InputError, match=r"holds f1 of coqa, of which the suite counts em"):
        compare(lab.run(suite), lab.store)


def test_scores_on_different_documents_are_not_divided(lab: Family) -> None:
    lab.add("short", "merged", {"gsm8k": hits(5, of=10)})
    with pytest.raises(InputError, match=r"gsm8k.*'short'.*10 are not shared"):
        compare(lab.run(), lab.store)


def test_a_record_of_another_checkpoint_is_refused(lab: Family) -> None:
    lab.entries[-1] = lab.entries[-1].model_copy(update={"checkpoint": identity("another")})
    with pytest.raises(InputError, match=r"'metis': record .* not gsm8k of this checkpoint"):
        compare(lab.run(), lab.store)


def test_two_entries_of_one_label_and_two_bases_are_refused(lab: Family) -> None:
    run = lab.run()
    with pytest.raises(InputError, match="two entries are labelled 'metis'"):
        compare(run.model_copy(update={"entries": (*run.entries, run.entries[-1])}), lab.store)
    with pytest.raises(InputError, match="two bases"):
        compare(
            run.model_copy(
                update={"entries": (*run.entries, run.entries[0].model_copy(update={"label": "again"}))}
            ),
            lab.store,
        )


def test_json_has_every_number_and_none_where_one_is_not_known(lab: Family) -> None:
    lab.add("young", "merged", {"gsm8k": hits(8)}, method="dare")
    objects = json.loads(json.dumps(compare(lab.run(), lab.store, resamples=50).to_json(), allow_nan=False))
    young = objects[-1]
    assert young["checkpoint"] == "models/young"
    assert young["average"] == {"value": None, "low": None, "high": None}
    assert young["complete"] == [1, 4]
    assert set(young["tasks"]) == set(SUITE.tasks)
    assert objects[-2]["method"] == "metis"
    assert objects[-2]["seed"] == 1


def test_mapping_is_the_same_for_arrays_and_numbers() -> None:
    benchmark = SUITE.tasks["safety"][0]
    assert mapped(benchmark, 0.25) == 0.75
