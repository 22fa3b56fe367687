"""The file of what comparing a run reads: the same numbers with it, without it, and where it is damaged."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from made_up_leaderboard import make_store

from results import kept_rows
from results.comparison import compare
from results.errors import InputError
from results.run_manifest import load_run
from results.store import Store
from results.store_check import damages


@pytest.fixture(autouse=True)
def _always_kept(monkeypatch):
    monkeypatch.setattr(kept_rows, "LEAST_NEW", 1)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return make_store(tmp_path_factory.mktemp("kept") / "store").root


@pytest.fixture
def store(made, tmp_path) -> Store:
    return Store(shutil.copytree(made, tmp_path / "store"))


def told(store: Store, name: str = "lab") -> tuple:
    comparison = compare(load_run(store, name), store, resamples=200)
    draws = [row.resampled.average.tolist() for row in comparison.rows if row.is_complete]
    return comparison.to_json(), draws


def kept_file(store: Store) -> Path:
    return store.root / kept_rows.FOLDER / "lab.parquet"


def reading_fails(store: Store, monkeypatch) -> None:
    def fail(*_):
        raise AssertionError("read from its own file")

    monkeypatch.setattr(Store, "read", fail)
    monkeypatch.setattr(Store, "rows", fail)


def test_a_second_comparison_reads_one_file_and_finds_the_same(store, monkeypatch):
    first = told(store)
    assert kept_file(store).is_file() and not list(damages(store))
    reading_fails(store, monkeypatch)
    assert told(store) == first
    kept_file(store).unlink()
    with pytest.raises(AssertionError, match="its own file"):
        told(store)


def test_a_damaged_file_changes_no_number(store):
    first = told(store)
    whole = kept_file(store).read_bytes()
    for place in range(0, len(whole), len(whole) // 15):
        kept_file(store).write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        assert told(store) == first
    for content in (b"PAR1", whole[: len(whole) // 2]):
        kept_file(store).write_bytes(content)
        assert told(store) == first
    assert kept_file(store).stat().st_size == len(whole)


def test_a_record_that_was_replaced_is_read_again(store, tmp_path):
    """As where it was removed, scored anew on another machine and copied here: its key is the same."""
    first = told(store)
    run = load_run(store, "lab")
    digest = next(entry for entry in run.entries if entry.label == "average").records["gsm8k"]
    record = store.get(digest)
    rows = store.documents(record)
    for file in store.path(digest).parent.glob(f"{digest}*"):
        file.unlink()
    with pytest.raises(InputError, match="no such record"):
        told(store)
    rows["score"] = 1.0 - rows["score"]
    store.write(record.but(value=1 - record.value), rows)
    second = told(store)
    kept_file(store).unlink()
    assert told(store) == second != first


def test_many_that_compare_at_once_find_the_same(store):
    first = told(store)
    kept_file(store).unlink()
    with ThreadPoolExecutor(4) as pool:
        assert all(found == first for found in pool.map(lambda _: told(store), range(4)))
    assert [file.name for file in kept_file(store).parent.iterdir()] == ["lab.parquet"]


def test_a_store_that_cannot_be_written_and_a_submission_stay_as_they_are(store):
    (store.root / kept_rows.FOLDER).write_text("a file, not a folder")
    first = told(store)
    (store.root / kept_rows.FOLDER).unlink()
    (store.root / "submission.json").write_text("{}")
    assert told(store) == first and not (store.root / kept_rows.FOLDER).exists()
