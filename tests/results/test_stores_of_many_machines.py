"""Stores that many machines write: joined, checked, indexed, and without locks or links."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
from command_line import manyshot
from made_up_family import Family, hits, record, rows

from results import kept_table, record_index
from results.errors import InputError
from results.run_manifest import load_run, run_names, save_run
from results.store import Store, load_results
from results.store_check import damages, join_stores
from results.writing import write_atomically, write_once

DOCUMENTS, OTHERS = rows([1, 0, 1, 1]), rows([1, 1, 0, 1])


def family(root: Path, labels: str, scores: int = 5, name: str = "first") -> Store:
    made = Family(Store(root), [])
    for label in labels:
        made.add(label, "base" if label == "a" else "merged", {"gsm8k": hits(scores)}, method=label)
    save_run(made.store, made.run(name=name))
    return made.store


@pytest.mark.parametrize("write", [write_once, write_atomically])
def test_content_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch, write):
    """Else a machine that loses its power could leave an empty file under it."""
    path, synced = tmp_path / "a", []

    def sync(file):
        assert not path.exists()
        synced.append(os.pread(file, 9, 0))

    monkeypatch.setattr(os, "fsync", sync)
    write(path, b"content")
    assert synced == [b"content"] and path.read_bytes() == b"content"


def test_the_first_of_two_writers_wins_and_leaves_no_other_file(tmp_path):
    assert write_once(tmp_path / "a", b"first") and not write_once(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_whose_answer_was_lost_counts_as_made(tmp_path, monkeypatch):
    link = os.link

    def repeated(source, target):
        link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", repeated)
    assert write_once(tmp_path / "a", b"ours")


def test_without_links_files_are_renamed_and_the_first_still_wins(tmp_path, monkeypatch):
    def none(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    store = Store(tmp_path)
    first = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    assert store.write(record("ties", "gsm8k", OTHERS), OTHERS) == first
    assert store.documents(first)["score"].tolist() == [1, 0, 1, 1]


@pytest.mark.parametrize("rows_first", [True, False])
def test_of_two_writers_in_step_one_record_stays_with_its_own_rows(tmp_path, monkeypatch, rows_first):
    """The second writer comes between the first one's rows and its record, or before both."""
    from results import store as module

    store, whole, second = Store(tmp_path), module.write_once, []
    ours, theirs = record("ties", "gsm8k", DOCUMENTS), record("ties", "gsm8k", OTHERS, seconds=2.0)

    def in_step(path, content):
        if not second and (path.suffix == ".json") == rows_first:
            second.append(path)
            store.write(theirs, OTHERS)
        return whole(path, content)

    monkeypatch.setattr(module, "write_once", in_step)
    assert store.write(ours, DOCUMENTS) == theirs
    assert store.documents(theirs)["score"].tolist() == OTHERS["score"].tolist()
    assert len(list(tmp_path.rglob("*.json"))) == 1 and not list(damages(store))


def test_joined_stores_have_the_records_and_runs_of_both(tmp_path):
    one, other = family(tmp_path / "one", "ab"), family(tmp_path / "other", "abc", name="second")
    before = {path: path.read_bytes() for path in one.root.rglob("*.json")}
    joined = join_stores(one, [other])
    assert (joined.records, joined.known, joined.runs) == (1, 2, ("second",))
    assert all(path.read_bytes() == content for path, content in before.items())
    assert sorted(run_names(one)) == ["first", "second"] and not list(damages(one))
    assert join_stores(one, [other]).records == 0


def test_a_run_of_the_same_name_and_other_content_is_kept_under_another(tmp_path):
    one, other = family(tmp_path / "one", "ab"), family(tmp_path / "other", "abc")
    assert join_stores(one, [other]).runs == ("first-2",)
    assert join_stores(one, [other]).runs == ()
    assert len(load_run(one, "first").entries) == 2 and len(load_run(one, "first-2").entries) == 3


def test_what_is_no_store_or_the_same_store_is_refused(tmp_path):
    store = family(tmp_path / "one", "a")
    with pytest.raises(InputError, match="no folder records"):
        join_stores(store, [Store(tmp_path / "nothing")])
    with pytest.raises(InputError, match="name it once"):
        join_stores(store, [Store(tmp_path / "one" / ".." / "one")])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [("records/*/*.json", r"\.json: not valid JSON"), ("records/*/*.parquet", "not the rows its record")],
)
def test_a_damaged_record_is_found_by_name_and_so_is_the_run_that_lacks_it(tmp_path, pattern, sentence):
    store = family(tmp_path, "ab")
    damaged = next(store.root.glob(pattern))
    cut(damaged)
    first, of_run = damages(store)
    assert damaged.stem in first and "remove" in first
    assert "1 of its 2 records missing or damaged" in of_run and damaged.stem in of_run
    done = manyshot("store", "check", "--store", store.root, cwd=tmp_path)
    assert done.returncode == 2 and "2 damages" in done.stderr and damaged.stem in done.stdout


def test_a_score_that_its_rows_do_not_give_and_rows_of_no_record_are_found(tmp_path):
    store = family(tmp_path, "a")
    path = next(store.root.glob("records/*/*.json"))
    content = json.loads(path.read_text())
    content.pop("digest")
    content["record"]["value"] = 0.9
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    path.write_text(json.dumps({**content, "digest": hashlib.sha256(text.encode()).hexdigest()}))
    orphan = path.with_name("0" * 64 + ".parquet")
    orphan.write_bytes(b"")
    found = list(damages(store))
    assert len(found) == 2
    assert "exact_match is 0.9, but its documents give 0.25" in found[0] and str(orphan) in found[1]


def test_the_command_joins_and_checks(tmp_path):
    for name, labels in (("one", "a"), ("two", "ab")):
        family(tmp_path / name, labels)
    done = manyshot("store", "merge", "one", "two", cwd=tmp_path)
    assert done.stdout == "1 record and 1 run brought into one; 1 record were there\n"
    done = manyshot("store", "check", "--store", "one", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "one: nothing is damaged\n")
    assert manyshot("store", "check", "--store", "none", cwd=tmp_path).returncode == 2


def test_an_indexed_store_gives_the_same_and_reads_only_files_that_changed(tmp_path, monkeypatch):
    from results import store as module

    monkeypatch.setattr(record_index, "LEAST_NEW", 1)
    store = family(tmp_path, "abc")
    before = load_results(tmp_path)
    assert (tmp_path / record_index.FILE).is_file()
    read, paths = module._read, []
    monkeypatch.setattr(module, "_read", lambda path: paths.append(path) or read(path))
    assert load_results(tmp_path).equals(before) and paths == []
    written = store.write(record("d", "gsm8k", DOCUMENTS), DOCUMENTS)
    assert len(load_results(tmp_path)) == 4
    assert {path.stem for path in paths} == {written.key.digest}
    next(path for path in store.root.glob("records/*/*.json") if path.stem == written.key.digest).unlink()
    assert load_results(tmp_path).equals(before)
    damaged = next(store.root.glob("records/*/*.json"))
    cut(damaged)
    with pytest.raises(InputError, match=damaged.name):
        load_results(tmp_path)


def test_a_broken_index_or_one_of_another_form_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(record_index, "LEAST_NEW", 1)
    family(tmp_path, "ab")
    before = load_results(tmp_path)
    (tmp_path / record_index.FILE).write_bytes(b"PAR1")
    assert load_results(tmp_path).equals(before)
    monkeypatch.setattr(kept_table, "_form", lambda *_: b"another")
    assert load_results(tmp_path).equals(before)
