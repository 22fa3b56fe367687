"""Submissions: whole ones are read as stores; what is missing, altered, added or not plausible is refused."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from made_up_family import Family, hits

from results.comparison import compare
from results.errors import InputError
from results.run import load_run, save_run
from results.store import Store
from results.submission import check_submission, write_submission


@pytest.fixture
def made(lab: Family, tmp_path):
    """A submission of a run with a method of the submitter's own."""
    lab.entries[-1] = replace(lab.entries[-1], measured={"source": "class Mine: ...\n"}, method="Mine")
    save_run(lab.store, lab.run())
    return write_submission(lab.store, ["first"], tmp_path / "sent" / "mine")


def again(folder):
    """Digests anew, as a forger would."""
    path = folder / "submission.json"
    content = json.loads(path.read_text())
    files = [one for one in folder.rglob("*") if one.is_file() and one != path]
    content["files"] = {
        str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest() for one in files
    }
    path.write_text(json.dumps(content))


def test_a_submission_gives_the_numbers_of_the_run_without_its_paths(made, lab):
    store = check_submission(made)
    there, here = compare(load_run(store), store), compare(lab.run(), lab.store)
    assert [row.to_json()["average"] for row in there.rows] == [row.to_json()["average"] for row in here.rows]
    assert all("/" not in row.checkpoint for row in there.rows)
    assert all("/" not in record.name for record in store.records())
    assert (made / "methods" / "Mine.py").read_text() == "class Mine: ...\n"
    assert not list(made.rglob("*.lock"))


def test_it_is_not_written_over_anything(made, lab):
    with pytest.raises(InputError, match="is there already"):
        write_submission(lab.store, ["first"], made)
    with pytest.raises(InputError, match="no run 'second'"):
        write_submission(lab.store, ["second"], made.parent / "other")
    assert [one.name for one in made.parent.iterdir()] == ["mine"]


def altered(folder):
    path = next(folder.glob("records/*/*.json"))
    path.write_text(path.read_text().replace('"n": 20', '"n": 21'))


def forged(folder):
    """A score that its documents do not give, with all digests made anew."""
    path = next(folder.glob("records/*/*.json"))
    content = json.loads(path.read_text())
    content["record"]["value"] = 0.99
    from results.record import digest_of

    del content["digest"]
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    again(folder)


def from_the_future(folder):
    path = next(folder.glob("records/*/*.json"))
    content = json.loads(path.read_text())
    content["record"]["created"] = "2999-01-01T00:00:00+00:00"
    from results.record import digest_of

    del content["digest"]
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    again(folder)


def added(folder):
    (folder / "notes.txt").write_text("hello")


def added_and_named(folder):
    (folder / "run.sh").write_text("rm -rf /")
    again(folder)


def taken_away(folder):
    next(folder.glob("records/*/*.parquet")).unlink()


def linked(folder):
    path = next(folder.glob("records/*/*.json"))
    target = folder.parent / "elsewhere.json"
    shutil.move(path, target)
    path.symlink_to(target)


def unused(folder):
    store = Store(folder)
    family = Family(store, [])
    family.add("stranger", "merged", {"gsm8k": hits(3)}, method="x")
    for lock in folder.rglob(".lock"):
        lock.unlink()
    again(folder)


def of_another_schema(folder):
    path = folder / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 99}))


def without_manifest(folder):
    (folder / "submission.json").unlink()


def not_json(folder):
    (folder / "submission.json").write_text("{")


@pytest.mark.parametrize(
    ("do", "said"),
    [
        (altered, "altered since the submission was made"),
        (forged, "is 0.99, but its documents give"),
        (from_the_future, "still to come"),
        (added, "notes.txt: not named in submission.json"),
        (added_and_named, "run.sh: no file that a submission has"),
        (taken_away, "missing, though submission.json names it"),
        (linked, "neither a plain file nor a folder"),
        (unused, "belongs to none of its runs"),
        (of_another_schema, "not a submission of this version"),
        (without_manifest, "no submission, because it has no submission.json"),
        (not_json, "not a submission of this version"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_not_as_it_was_made_or_cannot_be_is_refused(made, do, said):
    check_submission(made)
    do(made)
    with pytest.raises(InputError, match=said):
        check_submission(made)
