"""Whatever lies in a store or a submission is read or refused by name: nothing hangs, nothing breaks."""

import json
import os
import signal
from pathlib import Path

import pytest
from made_up_family import Family, record, rows

from results.errors import InputError
from results.head_to_head import head_to_head
from results.json_values import digest_of
from results.reading import read_json
from results.run_manifest import load_run, save_run
from results.store import Store, load_results
from results.submission import check_submission, write_submission
from results.writing import locked, write_atomically

DOCUMENTS = rows([1, 0, 1, 1])


@pytest.fixture(autouse=True)
def _nothing_hangs():
    signal.alarm(60)
    yield
    signal.alarm(0)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def file_of(store: Store, digest: str) -> Path:
    return store.root / "records" / digest[:2] / f"{digest}.json"


def test_a_pipe_in_place_of_a_record_is_refused_by_name(store):
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path = file_of(store, written.key.digest)
    path.unlink()
    os.mkfifo(path)
    for read in (lambda: load_results(store.root), lambda: store.find(written.key)):
        with pytest.raises(InputError, match=f"{path.name} is no regular file; remove it and score again"):
            read()


def test_a_pipe_in_place_of_rows_is_refused_by_name_and_not_written_into(store):
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path = file_of(store, written.key.digest)
    table = path.with_suffix(".parquet")
    table.unlink()
    os.mkfifo(table)
    with pytest.raises(InputError, match=table.name):
        store.documents(written)
    path.unlink()
    store.write(written, DOCUMENTS)
    assert store.documents(written)["score"].tolist() == DOCUMENTS["score"].tolist()


def test_a_pipe_in_place_of_a_lock_is_refused_by_name(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock is no regular file; remove it"), locked(tmp_path / ".lock"):
        pass


def test_a_pipe_in_place_of_a_run_is_refused_by_name(lab: Family):
    save_run(lab.store, lab.run())
    os.mkfifo(lab.store.root / "runs" / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json is no regular file; remove it and run again"):
        load_run(lab.store, "pipe")


@pytest.mark.parametrize("name", ["pipe", "runs/pipe.json", "submission.json"])
def test_a_pipe_in_a_submission_is_refused_by_name(lab: Family, tmp_path, name):
    save_run(lab.store, lab.run())
    made = write_submission(lab.store, ["first"], tmp_path / "mine")
    (made / name).unlink(missing_ok=True)
    os.mkfifo(made / name)
    with pytest.raises(InputError, match=r"pipe: neither a plain|pipe\.json: neither|no submission, because"):
        check_submission(made)


def rewritten(store: Store, **changes) -> None:
    """A record with other fields, and its digest anew as a forger would."""
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path = file_of(store, written.key.digest)
    content = json.loads(path.read_text())
    content["record"] |= changes
    content["digest"] = digest_of({name: content[name] for name in ("record", "documents")})
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"n": 2**64}, r"not valid JSON \(a whole number has 65 bits; 64 are read at most"),
        ({"name": "a\0b"}, r"'name' is 'a\\x00b', where a text of another form is expected; remove it"),
        ({"name": "x" * 10_000}, r"'name' is 'x{59}…, where a text of at most 4096 characters is expected"),
        ({"created": 5}, r"'created' is 5, where text is expected; remove it and score again\.$"),
    ],
)
def test_a_field_that_no_record_has_is_refused_by_name(store, changes, sentence):
    rewritten(store, **changes)
    with pytest.raises(InputError, match=rf"\.json: {sentence}") as refused:
        load_results(store.root)
    assert len(str(refused.value)) < 500 and "\0" not in str(refused.value)


@pytest.mark.parametrize(
    "content, sentence",
    [
        (b'{"a": ' + b"9" * 5000 + b"}", r"not valid JSON \(Exceeds the limit"),
        (b'{"a": "\\ud800"}', r"not valid JSON \(the text '\\ud800' has half of a surrogate pair\)"),
        (b'{"a": "\xed\xa0\x80"}', "not valid JSON"),
        (b'{"a": NaN}', r"not valid JSON \(nan is not a finite number\)"),
        (b'{"a": -1e999}', r"not valid JSON \(-inf is not a finite number\)"),
        (b"[" * 101 + b"]" * 101, r"not valid JSON \(it is nested too deep\)"),
        (b"[" * 100_000, r"not valid JSON \(it is nested too deep\)"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, r"not valid JSON \(it is nested too deep\)"),
        (b"", "not valid JSON"),
    ],
)
def test_json_that_could_not_be_written_again_is_refused(tmp_path, content, sentence):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.json: {sentence}") as refused:
        read_json(path, "remove it")
    assert str(refused.value).endswith("; remove it.") and len(str(refused.value)) < 300


def test_json_of_many_lists_side_by_side_and_with_whole_characters_is_read(tmp_path):
    path = tmp_path / "a.json"
    value = [{"a": [1], "b": "😀", "c": 2**63 - 1}] * 200
    path.write_text(json.dumps(value))
    assert read_json(path) == value


def test_a_file_that_is_too_large_a_folder_or_not_there_is_refused_by_name(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**27)
    with pytest.raises(InputError, match=r"a\.json has 134217728 bytes, and at most 67108864 are read"):
        read_json(path)
    with pytest.raises(InputError, match=f"{tmp_path} is no regular file"):
        read_json(tmp_path)
    with pytest.raises(InputError, match=r"b\.json cannot be read \(No such file or directory\)"):
        read_json(tmp_path / "b.json")


def test_a_text_of_many_megabytes_is_in_no_submission(lab: Family, tmp_path):
    lab.add("huge", "merged", {"gsm8k": [1, 0] * 10}, says=lambda *_: "x" * 2**21, method="ties")
    save_run(lab.store, lab.run())
    with pytest.raises(InputError, match="of a document, output has 2,097,152 characters; at most 1,048,576"):
        write_submission(lab.store, ["first"], tmp_path / "mine")


def test_names_in_errors_are_short(lab: Family):
    save_run(lab.store, lab.run())
    for read in (
        lambda: load_run(lab.store, "x" * 10_000),
        lambda: load_run(lab.store, "/" * 10_000),
        lambda: head_to_head(("x" * 10_000, "y"), lab.store, None, lambda name: True),
    ):
        with pytest.raises(InputError) as refused:
            read()
        assert len(str(refused.value)) < 500


def test_what_a_killed_writer_left_is_removed_by_a_later_one_and_a_new_part_is_not(store):
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    folder = file_of(store, written.key.digest).parent
    left, in_work = folder / ".a.json.12345678.part", folder / ".b.json.12345678.part"
    for part in (left, in_work):
        part.write_text("half")
    os.utime(left, (1_000_000, 1_000_000))
    write_atomically(folder / "c", b"whole")
    assert not left.exists() and in_work.exists()


def test_a_full_disk_names_the_file_and_leaves_no_half_record(store, monkeypatch):
    made = record("ties", "gsm8k", DOCUMENTS)
    whole = os.link

    def full(source: Path, target: Path) -> None:
        if target.suffix == ".json":
            raise OSError(28, "No space left on device")
        whole(source, target)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left on device") as refused:
        store.write(made, DOCUMENTS)
    assert refused.value.filename == str(file_of(store, made.key.digest))
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == []
    monkeypatch.undo()
    assert store.write(made, DOCUMENTS) == made
