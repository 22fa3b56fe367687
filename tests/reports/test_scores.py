"""The table that `manyshot score` prints."""

from reports.tables.scores import score_table
from results.record import CheckpointIdentity, Record, RecordKey


def record(benchmark, answers):
    identity = CheckpointIdentity(weights="a", config="b", tokenizer="c")
    key = RecordKey(checkpoint=identity, benchmark=benchmark, definition="d", data="e", settings={})
    return Record(key=key, name="m", metric="acc", value=0.5, metrics={}, n=4, seconds=1.0, answers=answers)


def test_a_checkpoint_with_cut_or_empty_answers_has_a_column_of_them():
    records = {
        "base": {"ifeval": record("ifeval", {"all": 4, "cut": 3, "empty": 1}), "arc": record("arc", {})},
        "expert": {"ifeval": record("ifeval", {"all": 4, "cut": 0, "empty": 0})},
    }
    heads, _, ifeval, arc = score_table(records, None).splitlines()
    assert heads.split("  ")[-1].strip() == "expert" and heads.count("cut, empty") == 1
    assert ifeval.split()[1:] == ["acc", "4", "0.500", "3,", "1", "0.500"]
    assert arc.split()[1:] == ["acc", "4", "0.500", "no", "data"]
