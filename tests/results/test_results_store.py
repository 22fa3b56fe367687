"""The store: what is written is found, once and for all, whoever writes and whenever they are stopped."""

import json
import math
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_family import identity, record, rows, write_many

from results import store as store_module
from results.errors import InputError
from results.json_values import digest_of
from results.record import Record, RecordKey
from results.store import Store, load_results, store_root

pytestmark = pytest.mark.slow

DOCUMENTS = rows([1, 0, 1, 1])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def files(store: Store, digest: str) -> tuple[Path, Path]:
    stem = store.root / "records" / digest[:2] / digest
    return stem.with_suffix(".json"), stem.with_suffix(".parquet")


def test_a_record_is_found_by_its_key_with_all_it_holds(store: Store) -> None:
    written = record("ties", "gsm8k", DOCUMENTS).but(
        metrics={"a/b,none": 0.1 + 0.2, "c/d,none": 1e-300},
        tokens={"prompt": 7, "generated": 3},
        notices=("cut off at 512 tokens",),
        versions={"lm_eval": "0.4.13"},
    )
    assert store.find(written.key) is None
    assert store.write(written, DOCUMENTS) == written
    assert store.find(written.key) == written
    assert store.get(written.key.digest) == written
    assert list(store.records()) == [written]
    pd.testing.assert_frame_equal(store.documents(written), DOCUMENTS, check_dtype=False)
    assert list(store.documents(written, ["score"]).columns) == ["score"]


@pytest.mark.parametrize("part", ["checkpoint", "benchmark", "definition", "data", "settings"])
def test_every_part_of_the_key_makes_another_record(part: str) -> None:
    key = record("ties", "gsm8k", DOCUMENTS).key
    other: dict[str, object] = {"checkpoint": identity("dare"), "settings": {**key.settings, "limit": 100}}
    assert key.but(**{part: other.get(part, "other")}).digest != key.digest
    assert key.but(settings=dict(reversed(key.settings.items()))).digest == key.digest


def test_the_layout_and_the_form_of_the_file(store: Store) -> None:
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path, table = files(store, written.key.digest)
    assert table.exists()
    text = path.read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=2) + "\n"


def test_the_first_writer_wins_and_nothing_is_rewritten(store: Store) -> None:
    first = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    paths = files(store, first.key.digest)
    before = [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths]
    worse = rows([0, 0, 0, 0])
    assert store.write(record("ties", "gsm8k", worse), worse) == first
    assert [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in paths] == before


def test_many_processes_write_the_same_and_different_records_at_once(store: Store) -> None:
    with multiprocessing.get_context("spawn").Pool(6) as pool:
        found = [
            pair
            for pairs in pool.map(write_many, [(store.root, worker) for worker in range(6)])
            for pair in pairs
        ]
    kept = {one.key.digest: one.value for one in store.records()}
    assert len(kept) == 12 + 6 * 12
    assert all(kept[digest] == value for digest, value in found), (
        "a writer was told of another record than was kept"
    )
    for one in store.records():
        assert math.isclose(store.documents(one)["score"].mean(), one.value)
    assert not list(store.root.rglob("*.part"))


def test_a_process_killed_between_the_files_leaves_no_record_and_the_next_write_succeeds(
    store: Store,
) -> None:
    script = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from pathlib import Path
from made_up_family import record, rows
from results import store
whole = store.write_once
def killed(path, content):
    if path.suffix == ".json":
        os.kill(os.getpid(), 9)
    return whole(path, content)
store.write_once = killed
documents = rows([0, 0, 0, 1])
store.Store(Path({str(store.root)!r})).write(record("ties", "gsm8k", documents), documents)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    written = record("ties", "gsm8k", DOCUMENTS)
    assert files(store, written.key.digest)[1].exists()
    assert store.find(written.key) is None
    assert list(store.records()) == []
    assert store.write(written, DOCUMENTS) == written
    assert store.documents(written)["score"].tolist() == [1, 0, 1, 1]


def test_a_write_that_fails_leaves_neither_record_nor_temporary_file(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space"):
        store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    assert [path.name for path in store.root.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"value": 0.75', '"value": 0.95'),
        lambda text: text.replace('"value": 0.75', '"value": NaN'),
        lambda text: text.replace("models/ties", "models/metis"),
        lambda text: "[]",
        lambda text: "",
    ],
)
def test_a_broken_or_edited_file_is_refused_by_name(store: Store, damage) -> None:  # type: ignore[no-untyped-def]
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path, _ = files(store, written.key.digest)
    assert damage(path.read_text()) != path.read_text()
    path.write_text(damage(path.read_text()))
    for read in (
        lambda: store.find(written.key),
        lambda: list(store.records()),
        lambda: store.documents(written),
        lambda: load_results(store.root),
    ):
        with pytest.raises(InputError, match=path.name):
            read()


def test_a_file_under_another_records_name_is_refused(store: Store) -> None:
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    path, _ = files(store, written.key.digest)
    other = path.with_name("0" * 64 + ".json")
    path.rename(other)
    with pytest.raises(InputError, match=written.key.digest):
        list(store.records())


@pytest.mark.parametrize("content", [None, b"", b"PAR1"])
def test_rows_that_are_missing_or_changed_are_refused_by_name(store: Store, content: bytes | None) -> None:
    written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    _, table = files(store, written.key.digest)
    table.unlink() if content is None else table.write_bytes(content)
    with pytest.raises(InputError, match=table.name):
        store.documents(written)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": math.nan}, "gsm8k of models/ties: exact_match is nan"),
        ({"metrics": {"task/f1,none": math.inf}}, "task/f1,none is inf"),
        ({"value": 0.9}, "exact_match is 0.9, but its documents give 0.75"),
        ({"n": 5}, "counts 5 documents and 4 were given"),
    ],
)
def test_a_record_that_its_documents_do_not_bear_out_is_refused(
    store: Store, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        store.write(record("ties", "gsm8k", DOCUMENTS, **changes), DOCUMENTS)
    assert list(store.records()) == []


def test_documents_that_cannot_be_told_apart_or_have_no_score_are_refused(store: Store) -> None:
    one = record("ties", "gsm8k", DOCUMENTS)
    with pytest.raises(InputError, match="no column doc_id"):
        store.write(one, DOCUMENTS.drop(columns="doc_id"))
    with pytest.raises(InputError, match="given twice"):
        store.write(one, DOCUMENTS.assign(doc_id=0))
    with pytest.raises(InputError, match="a document has no score"):
        store.write(one, DOCUMENTS.assign(score=[1, None, 1, 1]))
    with pytest.raises(InputError, match="no numbers in the column score"):
        store.write(one, DOCUMENTS.assign(score=["1", "0", "1", "1"]))


def test_a_setting_that_is_not_a_number_is_refused() -> None:
    key = record("ties", "gsm8k", DOCUMENTS).key
    with pytest.raises(InputError, match="cannot be kept as JSON"):
        _ = key.model_copy(update={"settings": {"temperature": math.nan}}).digest


def test_the_value_is_the_mean_over_lm_eval_tasks_not_over_documents(store: Store) -> None:
    documents = rows({"arc_de": [1, 1, 1, 1], "arc_fr": [0]})
    written = store.write(record("ties", "m_arc", documents), documents)
    assert written.value == 0.5
    with pytest.raises(InputError, match="documents give"):
        store.write(record("dare", "m_arc", documents, value=0.8), documents)


def test_columns_of_mixed_values_are_kept_as_text(store: Store) -> None:
    documents = DOCUMENTS.assign(target=["a", 1, None, ["b", 2]], strict=[[True], [False, True], [], [True]])
    written = store.write(record("ties", "gsm8k", documents), documents)
    back = store.documents(written)
    assert [json.loads(text) for text in back["target"]] == ["a", 1, None, ["b", 2]]
    assert [list(one) for one in back["strict"]] == [[True], [False, True], [], [True]]


def test_numbers_of_numpy_are_kept(store: Store) -> None:
    one = record(
        "ties", "gsm8k", DOCUMENTS, value=np.float32(0.75), n=np.int64(4), metrics={"m": np.float32(0.5)}
    )
    store.write(one, DOCUMENTS)
    found = store.find(one.key)
    assert found is not None
    assert (found.value, found.n, found.metrics) == (0.75, 4, {"m": 0.5})


def test_records_are_readable_by_whoever_the_umask_lets(store: Store) -> None:
    umask = os.umask(0o022)
    try:
        written = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    finally:
        os.umask(umask)
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in files(store, written.key.digest))


def test_the_store_is_the_argument_else_the_variable_else_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANYSHOT_STORE", "elsewhere")
    assert store_root(Path("given")) == Path("given")
    assert store_root() == Path("elsewhere")
    monkeypatch.delenv("MANYSHOT_STORE")
    assert store_root(None) == Path("manyshot-results")


def test_load_results_has_a_row_per_record_and_a_column_per_setting(store: Store) -> None:
    first = store.write(record("ties", "gsm8k", DOCUMENTS), DOCUMENTS)
    shot = record("metis", "gsm8k", DOCUMENTS)
    store.write(shot.but(key=shot.key.but(settings={**shot.key.settings, "extra": 3})), DOCUMENTS)
    table = load_results(store.root).set_index("checkpoint")
    assert len(table) == 2
    row = table.loc["models/ties"]
    assert row["digest"] == first.key.checkpoint.digest
    assert row["record"] == first.key.digest
    assert (row["benchmark"], row["value"], row["n"], row["engine"]) == ("gsm8k", 0.75, 4, "replay")
    assert row["metrics"] == {"task/exact_match,none": 0.75}
    assert (row["dtype"], table.loc["models/metis"]["extra"]) == ("float32", 3)


def test_load_results_has_every_record_of_many(store: Store) -> None:
    digests = set()
    for index in range(60):
        one = record(f"model {index}", "gsm8k", DOCUMENTS)
        content = {"record": one.model_dump(), "documents": digest_of(index)}
        path, _ = files(store, one.key.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**content, "digest": digest_of(content)}))
        digests.add(one.key.digest)
    table = load_results(store.root)
    assert list(table["record"]) == sorted(digests)
    assert set(table["checkpoint"]) == {f"models/model {index}" for index in range(60)}


def test_load_results_of_no_records_is_empty_and_of_no_folder_an_error(tmp_path: Path) -> None:
    assert list(load_results(tmp_path).columns)[:5] == [
        "checkpoint",
        "digest",
        "benchmark",
        "metric",
        "value",
    ]
    assert load_results(tmp_path).empty
    with pytest.raises(InputError, match="nowhere"):
        load_results(tmp_path / "nowhere")


def test_asking_for_a_record_that_is_not_there_names_its_file(store: Store) -> None:
    with pytest.raises(InputError, match=r"abcd\.json"):
        store.get("abcd")


def test_key_and_record_survive_json() -> None:
    one = record("ties", "gsm8k", DOCUMENTS)
    assert Record.model_validate_json(one.model_dump_json()) == one
    assert RecordKey.model_validate_json(one.key.model_dump_json()) == one.key


def test_results_need_no_torch() -> None:
    names = [path.stem for path in Path(store_module.__file__).parent.glob("*.py")]
    code = (
        f"import sys; [__import__('results.' + name) for name in {names!r}]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
