"""What is kept of runs for the leaderboard: the same page with it, without it, and where it is damaged."""

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_up_family import Family
from made_up_leaderboard import LABEL, make_store, merged, references, scores

from manyshot.leaderboard import write_leaderboard
from reports.leaderboard import kept
from reports.leaderboard.model import shown_entries
from reports.leaderboard.page import render
from reports.leaderboard.shown import ShownEntry
from results import run_entries
from results.errors import InputError
from results.kept_table import FOLDER
from results.leaderboard import arrange, gather
from results.run_manifest import save_run
from results.store import Store
from results.submission import write_submission

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A store of which a leaderboard was made."""
    root = make_store(tmp_path_factory.mktemp("kept") / "store").root
    write_leaderboard([root], root.parent / "first")
    return root


@pytest.fixture
def store(made, tmp_path) -> Store:
    """The same, with the same times and inodes of its records' files: links to them."""
    shutil.copytree(made, tmp_path / "store", copy_function=lambda old, new: Path(new).hardlink_to(old))
    return Store(tmp_path / "store")


@pytest.fixture
def compared(monkeypatch) -> list[str]:
    """The names of runs that are compared from here on."""
    names = []
    read_run = run_entries.read_run

    def watched(store, name):
        names.append(name)
        return read_run(store, name)

    monkeypatch.setattr(run_entries, "read_run", watched)
    return names


@pytest.fixture
def ranked(monkeypatch) -> list[int]:
    """How many entries are ranked from here on, each time."""
    sizes = []
    ranks_of = kept.ranks_of

    def watched(measured):
        sizes.append(len(measured))
        return ranks_of(measured)

    monkeypatch.setattr(kept, "ranks_of", watched)
    return sizes


def page(store: Store, *runs: str) -> str:
    return write_leaderboard([store.root], store.root.parent / "page", runs).read_text()


def anew(store: Store) -> str:
    """The page of runs that are all compared, without what is kept."""
    return render(arrange(shown_run, [store.root]))


def shown_run(store: Store, name: str) -> kept.Run:
    key, entries = run_entries.read_run(store, name)
    return key, shown_entries(entries)


def replaced(path: Path, content: bytes) -> None:
    """Another file in place of one: the other stores have links to it."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def test_the_page_is_the_same_with_and_without_what_is_kept(store, compared, ranked):
    again = page(store)
    assert compared == [] and ranked == []
    assert again == anew(store)
    assert sorted(compared) == ["lab", "lab.math-safety"]
    shutil.rmtree(store.root / FOLDER)
    assert page(store) == page(store) == again


def test_what_is_read_back_is_what_was_kept(store):
    for name in ("lab", "lab.math-safety"):
        key, entries = kept.KeptRuns().read(store, name)
        expected_key, expected = shown_run(store, name)
        assert (key, key.league, list(entries)) == (expected_key, expected_key.league, expected)
        for one, other in zip(entries, expected, strict=True):
            assert one.numbers.keys() == other.numbers.keys()
            for statistic in one.numbers:
                mine, theirs = one.numbers[statistic], other.numbers[statistic]
                assert (mine.value, mine.seeds, mine.digest) == (theirs.value, theirs.seeds, theirs.digest)
                np.testing.assert_array_equal(mine.draws(), theirs.draws())


def test_a_record_that_was_replaced_changes_the_page_and_only_its_run_is_compared(store, compared):
    before = page(store)
    run = json.loads((store.root / "runs/lab.json").read_text())
    digest = next(one for one in run["entries"] if one["label"] == "task_arithmetic")["records"]["gsm8k"]
    record = store.get(digest)
    rows = store.documents(record)
    for file in store.path(digest).parent.glob(f"{digest}*"):
        file.unlink()
    with pytest.raises(InputError, match="no such record"):
        page(store)
    compared.clear()
    rows["score"] = 1.0 - rows["score"]
    store.write(record.but(value=1 - record.value), rows)
    after = page(store)
    assert compared == ["lab"]
    assert after != before and after == anew(store)


def test_a_manifest_that_was_changed_changes_the_page(store, compared):
    before = page(store)
    path = store.root / "runs/lab.json"
    replaced(path, path.read_bytes().replace(b'"title": "average"', b'"title": "mean"'))
    after = page(store)
    assert compared == ["lab"]
    assert after != before and "mean" in after


def test_other_code_and_other_libraries_make_it_again(store, compared, monkeypatch):
    before = page(store)
    monkeypatch.setattr(kept, "version", lambda name: f"another {name}")
    kept.code_digest.cache_clear()
    try:
        assert page(store) == before
    finally:
        kept.code_digest.cache_clear()
    assert sorted(compared) == ["lab", "lab.math-safety"]


def test_the_code_is_that_of_what_is_compared_and_drawn(monkeypatch):
    kept.code_digest.cache_clear()
    before, read = kept.code_digest(), Path.read_text
    for changed in ("minima.py", "rounds.py", "model.py", "marks.py"):
        monkeypatch.setattr(
            Path, "read_text", lambda self, n=changed, **more: read(self, **more) + "#" * (self.name == n)
        )
        kept.code_digest.cache_clear()
        assert kept.code_digest() != before
    monkeypatch.undo()
    kept.code_digest.cache_clear()


def test_a_damaged_file_is_made_again(store, compared):
    run = "lab.math-safety"
    before, ranks = page(store, run), store.root / FOLDER / ".ranks"
    for path in (store.root / FOLDER / f"{run}.board", ranks):
        whole = path.read_bytes()
        damaged = [
            whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :]
            for place in range(0, len(whole), len(whole) // 12)
        ]
        for content in (*damaged, whole[: len(whole) // 2], b""):
            ranks.unlink()  # so that resamples are read
            replaced(path, content)
            assert page(store, run) == before
            compared.clear()
            ranks.unlink()
            assert page(store, run) == before
            assert not compared


def test_ranks_are_made_again_where_another_run_joins_the_league(store, compared, ranked):
    page(store)
    family = Family(store, [])
    references(family)
    merged(family, "breadcrumbs", scores(33, 31, 28, 9, 26), "breadcrumbs")
    save_run(store, family.run(name="more"))
    after = page(store)
    assert compared == ["more"]
    assert ranked == [5, 5]  # by the average, and by the worst task: four, and the new one
    assert "breadcrumbs" in after and after == anew(store)


def test_several_processes_at_once_make_the_same_page(store):
    before = page(store)
    shutil.rmtree(store.root / FOLDER)
    command = [sys.executable, "-m", "manyshot", "report", "leaderboard", "--store", str(store.root), "--out"]

    def start(number: int) -> str:
        out = store.root.parent / f"page-{number}"
        subprocess.run([*command, str(out)], check=True, capture_output=True)
        return (out / "index.html").read_text()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(start, range(2))) == [before, before]
    assert page(store) == before
    names = {file.name for file in (store.root / FOLDER).iterdir()}
    assert names == {".ranks", "lab.board", "lab.math-safety.board"}


def test_resamples_that_are_gone_are_made_again_or_the_run_is_said_to_have_changed(store):
    file, manifest = store.root / FOLDER / "lab.board", store.root / "runs/lab.json"

    def ties() -> ShownEntry:
        return next(one for one in kept.KeptRuns().read(store, "lab")[1] if one.numbers)

    expected, first, second = ties().numbers["average"].draws(), ties(), ties()
    replaced(file, b"")
    np.testing.assert_array_equal(first.numbers["average"].draws(), expected)
    content = json.loads(manifest.read_text())
    content["entries"] = [one for one in content["entries"] if one["title"] != LABEL]
    replaced(manifest, json.dumps(content).encode())
    replaced(file, b"")
    with pytest.raises(InputError, match="has changed while the leaderboard was made"):
        second.numbers["average"].draws()
    assert file.read_bytes() == b""  # nothing of the changed run is kept under what it was


def test_in_a_store_that_cannot_be_written_and_a_submission_nothing_is_kept(store):
    before = page(store)
    shutil.rmtree(store.root / FOLDER)
    (store.root / FOLDER).write_text("a file, not a folder")
    assert page(store) == before
    (store.root / FOLDER).unlink()
    submitted = write_submission(store, ["lab.math-safety"], store.root.parent / "submitted")
    write_leaderboard([submitted], store.root.parent / "page")
    assert not (submitted / FOLDER).exists()


def test_made_again_it_imports_nothing_that_compares_or_draws(store):
    page(store)
    program = (
        "import sys; from manyshot.cli import main; main(sys.argv[1:]); "
        "print({'torch', 'matplotlib', 'scipy', 'pandas', 'transformers'} & {*sys.modules})"
    )
    arguments = ["report", "leaderboard", "--store", str(store.root), "--out", str(store.root.parent / "out")]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_ranks_are_those_of_the_entries_themselves(store):
    ranks = {one.id: one.ranks for one in gather([store.root]).standings}
    assert ranks == {one.id: one.ranks for one in arrange(kept.KeptRuns().read, [store.root]).standings}
