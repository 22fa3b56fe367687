"""Submissions: whole ones are read as stores; what is missing, altered, added or not plausible is refused."""

import hashlib
import io
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_family import Family, hits, rows

from results.aggregation import aggregate
from results.comparison import compare
from results.errors import InputError
from results.json_values import digest_of
from results.merge_trace import MergeOptions, MergeTrace, MethodIdentity, Trial
from results.run_manifest import load_run, save_run
from results.store import Store
from results.submission import check_submission, write_submission

pytestmark = pytest.mark.slow


@pytest.fixture
def made(lab: Family, tmp_path):
    """A submission of a run with a method of the submitter's own."""
    lab.entries[-1] = lab.entries[-1].model_copy(
        update={"recipe": MergeOptions(source="class Mine: ...\n"), "method": "Mine"}
    )
    save_run(lab.store, lab.run())
    return write_submission(lab.store, ["first"], tmp_path / "sent" / "mine")


def reported(folder, change):
    """The folder with one record changed, and all digests made anew."""
    path = next(folder.glob("records/*/*.json"))
    content = json.loads(path.read_text())
    change(content["record"])
    write(path, content)
    again(folder)


def write(path, content):
    digest = digest_of({name: one for name, one in content.items() if name != "digest"})
    path.write_text(json.dumps({**content, "digest": digest}))


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
    assert all("/" not in row.entry.path for row in there.rows)
    assert all("/" not in record.name for record in store.records())
    assert (made / "methods" / "Mine.py").read_text() == "class Mine: ...\n"


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
    """A score that its documents do not give."""
    reported(folder, lambda record: record.update(value=0.99))


def from_the_future(folder):
    reported(folder, lambda record: record.update(created="2999-01-01T00:00:00+00:00"))


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
    again(folder)


def with_documents(folder, table, benchmark="gsm8k", **changes):
    """Other documents of one benchmark's records, and all digests made anew."""
    content = table
    if not isinstance(table, bytes):
        buffer = io.BytesIO()
        table.to_parquet(buffer)
        content = buffer.getvalue()
    for path in folder.glob("records/*/*.json"):
        value = json.loads(path.read_text())
        if value["record"]["key"]["benchmark"] == benchmark:
            path.with_suffix(".parquet").write_bytes(content)
            value["record"].update(n=20, **changes)
            write(path, {**value, "documents": hashlib.sha256(content).hexdigest()})
    again(folder)


def table(**columns):
    return rows(hits(12), "gsm8k").assign(**columns)


def relabelled(folder):
    """Correlation has no range of its own when gold and predicted are no classes."""
    columns = {"gold": [5.0, 3.0] * 10, "predicted": [3.0, 5.0] * 10}
    found = table(**columns)
    with_documents(folder, found, metric="mcc", value=aggregate("mcc", found))


def of_another_metric(folder):
    found = table(gold=[0, 1] * 10, predicted=[0, 1] * 10)
    with_documents(folder, found, metric="mcc", value=1.0)


def out_of_range(folder):
    with_documents(folder, table(score=[1000.0, -998.0] * 10), value=1.0)


def not_parquet(folder):
    with_documents(folder, b"PAR1 and no more")


def without_scores(folder):
    with_documents(folder, table().drop(columns="score"))


def scored_in_words(folder):
    with_documents(folder, table(score=["good"] * 20))


def prompted_by_lists(folder):
    with_documents(folder, table(prompt=[[1, 2]] * 20), value=0.6)


def not_utf8(folder):
    offsets = b"".join(number.to_bytes(4, "little") for number in range(21))
    text = pa.StringArray.from_buffers(20, pa.py_buffer(offsets), pa.py_buffer(b"\xff" * 20))
    buffer = io.BytesIO()
    kept = pa.Table.from_pandas(table().drop(columns="prompt"))
    pq.write_table(kept.append_column("prompt", text), buffer)
    with_documents(folder, buffer.getvalue(), value=0.6)


def in_text(name):
    return lambda folder: reported(folder, lambda record: record.update({name: "20"}))


def evil(folder):
    (folder / "methods" / "Evil.py").write_text("class Evil: ...")
    again(folder)


def without_method(folder):
    shutil.rmtree(folder / "methods")
    again(folder)


def with_another_method(folder):
    (folder / "methods" / "Mine.py").write_text("class Mine: 1\n")
    again(folder)


def nested(path):
    def do(folder):
        next(folder.glob(path)).write_text("[" * 100_000)
        if path != "submission.json":
            again(folder)

    return do


def changed(*where, to):
    """A run with another value somewhere."""

    def do(folder):
        path = folder / "runs" / "first.json"
        run = json.loads(path.read_text())
        value = run
        for key in where[:-1]:
            value = value[key]
        value[where[-1]] = to
        path.write_text(json.dumps(run))
        again(folder)

    return do


def of_another_name(folder):
    changed("name", to="second")(folder)


def of_another_version(folder):
    path = folder / "submission.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))


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
        (of_another_version, "submission.json: 'version' is 99, where one of 1 is expected"),
        (without_manifest, "no submission, because it has no submission.json"),
        (not_json, "submission.json: not valid JSON"),
        (relabelled, "gold or predicted is neither 0 nor 1"),
        (of_another_metric, "holds mcc of gsm8k, of which the suite counts exact_match"),
        (out_of_range, "a document's score is not from 0 to 1"),
        (not_parquet, "no Parquet with its record's documents"),
        (without_scores, "no column score"),
        (scored_in_words, "no numbers in the column score"),
        (prompted_by_lists, "of a document, prompt is no text"),
        (not_utf8, "of a document, prompt is no text"),
        (in_text("n"), "json: 'n' is '20', where a whole number is expected; remove it and score again"),
        (in_text("value"), "json: 'value' is '20', where a number is expected"),
        (in_text("seconds"), "json: 'seconds' is '20', where a number is expected"),
        (
            lambda folder: reported(folder, lambda one: one.update(value=None)),
            "'value' is None, where a number",
        ),
        (
            lambda folder: reported(folder, lambda one: one.update(value=True)),
            "'value' is True, where a number",
        ),
        (lambda folder: reported(folder, lambda one: one.pop("n")), "the key 'n' is required and missing"),
        (evil, "methods/Evil.py: the method of none of its runs"),
        (without_method, "methods/Mine.py: not the method that its run was merged by"),
        (with_another_method, "methods/Mine.py: not the method that its run was merged by"),
        (nested("submission.json"), "submission.json: not valid JSON .it is nested too deep"),
        (
            nested("runs/*.json"),
            "first.json: not valid JSON .it is nested too deep.; remove it and run again",
        ),
        (
            nested("records/*/*.json"),
            "json: not valid JSON .it is nested too deep.; remove it and score again",
        ),
        (of_another_name, "first.json: holds the run second"),
        (changed("settings", to=None), "'settings' must be a mapping .* not None"),
        (changed("settings", to=[]), r"'settings' must be a mapping .* not \[\]"),
        (changed("settings", "limit", to="all"), "limit' is 'all', where a whole number"),
        (
            changed("suite", "name", to=["lab"]),
            "first.json: 'suite.name' is .'lab'., where text",
        ),
        (changed("suite", "tasks", "math", 0, "name", to=[]), "math.0.name' is .., where text is expected"),
        (changed("suite", "tasks", "math", 0, "chance", to="0"), "math.0.chance' is '0', where a number"),
        (changed("suite", "tasks", to={}), "first.json: suite lab: it has no tasks"),
        (changed("suite", "tasks", to=["math"]), "'suite.tasks' must be a mapping of keys to values"),
        (changed("entries", 4, "records", to=[]), "records' must be a mapping"),
        (changed("entries", 4, "records", "gsm8k", to=7), "records.gsm8k' is 7, where text"),
        (
            changed("entries", 4, "records", "gsm8k", to="../../secret"),
            "secret', where a text of another",
        ),
        (changed("entries", 4, "label", to=["ties"]), "label' is .'ties'., where text is expected"),
        (changed("entries", 4, "label", to=4), "label' is 4, where text is expected"),
        (changed("entries", 4, "label", to="\ud800"), "not valid JSON .the text '.ud800' has half of"),
        (changed("entries", 4, "role", to="judge"), "role' is 'judge', where one of base"),
        (changed("entries", 4, "settings", to=[]), "settings' must be a mapping"),
        (changed("entries", 4, "checkpoint", "weights", to=1), "weights' is 1, where text is expected"),
        (changed("entries", 4, "colour", to="red"), "colour' is unknown"),
        (changed("entries", 5, "method", to="../../up"), "'../../up', which is no name of a class"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_what_is_not_as_it_was_made_or_cannot_be_is_refused(made, do, said):
    check_submission(made)
    do(made)
    with pytest.raises(InputError, match=said) as refused:
        check_submission(made)
    assert "\n" not in str(refused.value)


def test_a_methods_name_is_no_path_to_write_to(lab, tmp_path):
    lab.entries[-1] = lab.entries[-1].model_copy(
        update={"recipe": MergeOptions(source="1\n"), "method": "../../up"}
    )
    save_run(lab.store, lab.run())
    with pytest.raises(
        InputError, match=r"'metis' has the method '\.\./\.\./up', which is no name of a class"
    ):
        write_submission(lab.store, ["first"], tmp_path / "sent" / "mine")
    assert not list(tmp_path.rglob("up.py")) and not (tmp_path / "sent").exists()


def test_a_method_may_be_named_in_any_letters(lab, tmp_path):
    lab.entries[-1] = lab.entries[-1].model_copy(
        update={"recipe": MergeOptions(source="class Größe: ...\n"), "method": "Größe"}
    )
    save_run(lab.store, lab.run())
    made = write_submission(lab.store, ["first"], tmp_path / "mine")
    assert (made / "methods" / "Größe.py").read_text() == "class Größe: ...\n"


def test_a_run_that_is_named_twice_is_sent_once(lab, tmp_path):
    save_run(lab.store, lab.run())
    made = write_submission(lab.store, ["first", "first"], tmp_path / "mine")
    assert json.loads((made / "submission.json").read_text())["runs"] == ["first"]


def test_no_folder_of_the_submitter_is_in_a_submission(lab, tmp_path):
    home = str(tmp_path)
    file = f"{home}/methods/mine.py:Mine"
    lab.entries[-1] = lab.entries[-1].but(
        label=f"Mine (statistics={home}/a.npz)",
        title=f"Mine (statistics={home}/a.npz)",
        path=f"{home}/merged/mine",
        settings={"statistics": f"{home}/a.npz", "of": [{"math": f"{home}/b.npz"}], "separator": "/"},
        identity=MethodIdentity(method=file, settings={"statistics": f"{home}/a.npz"}),
        trace=MergeTrace(trials=(Trial(settings={"statistics": f"{home}/a.npz"}, value=1),)),
    )
    run = lab.run()
    save_run(lab.store, run.model_copy(update={"settings": run.settings.but(judge=f"{home}/wildguard")}))
    made = write_submission(lab.store, ["first"], tmp_path / "mine")
    for one in made.rglob("*"):
        assert one.is_dir() or home.encode() not in one.read_bytes()
    sent = load_run(Store(made))
    assert sent.settings.judge == "wildguard"
    assert sent.entries[-1].label == "Mine (statistics=a.npz)"
    assert sent.entries[-1].settings == {
        "statistics": "a.npz",
        "of": [{"math": "b.npz"}],
        "separator": "/",
    }


def test_labels_that_begin_as_paths_stay_and_methods_of_two_folders_stay_two(lab, tmp_path):
    for place, folder in ((-2, "a"), (-1, "b")):
        title = f"/{folder} / scaled/0.5"
        identity = MethodIdentity(method="both", settings={"statistics": f"/{folder}/x.npz"})
        lab.entries[place] = lab.entries[place].but(label=title, title=title, identity=identity)
    save_run(lab.store, lab.run())
    *_, one, two = load_run(Store(write_submission(lab.store, ["first"], tmp_path / "mine"))).entries
    assert [(entry.label, entry.title) for entry in (one, two)] == [(f"/{x} / scaled/0.5",) * 2 for x in "ab"]
    assert one.identity != two.identity
    assert one.identity.settings["statistics"].startswith("x.npz-")


def test_what_was_merged_once_and_in_rounds_still_belongs_together(lab, tmp_path):
    lab.entries[-2:] = [
        one.model_copy(update={"identity": MethodIdentity(method="both")}) for one in lab.entries[-2:]
    ]
    lab.entries[0] = lab.entries[0].model_copy(update={"identity": MethodIdentity(method="other")})
    save_run(lab.store, lab.run())
    base, *_, one, two = load_run(Store(write_submission(lab.store, ["first"], tmp_path / "mine"))).entries
    assert one.identity == two.identity != base.identity


def test_one_checkpoint_is_not_several_seeds(lab, tmp_path):
    metis = lab.entries[-1].model_copy(update={"title": "metis"})
    lab.entries[-1:] = [
        metis.model_copy(update={"label": f"metis, seed {seed}", "seed": seed}) for seed in range(5)
    ]
    save_run(lab.store, lab.run())
    with pytest.raises(
        InputError, match="are one checkpoint under the seeds 1 and 0; keep one of them"
    ) as refused:
        write_submission(lab.store, ["first"], tmp_path / "mine")
    assert str(refused.value).startswith(f"{tmp_path / 'mine'}: run first: ")
