"""Samples that are kept are those that would be chosen again."""

import pytest
from made_up_leaderboard import make_store

from results import kept_rows, kept_samples, leaderboard_entries
from results.leaderboard import gather


def test_samples_are_chosen_once_and_are_the_same(tmp_path, monkeypatch):
    store = make_store(tmp_path)
    for module in (kept_rows, kept_samples):
        monkeypatch.setattr(module, "LEAST_NEW", 1)
    choose = leaderboard_entries.differing_samples

    def fail(*_):
        raise AssertionError("chosen again")

    def samples():
        return [standing.entry.samples for standing in gather([store.root]).standings]

    first = samples()
    assert any(first)
    monkeypatch.setattr(leaderboard_entries, "differing_samples", fail)
    assert samples() == first
    for file in (tmp_path / kept_rows.FOLDER).glob("*.samples.parquet"):
        file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(AssertionError, match="chosen again"):
        samples()
    monkeypatch.setattr(leaderboard_entries, "differing_samples", choose)
    assert samples() == first
