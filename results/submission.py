"""A submission: runs and their records in a folder of their own, to be sent to others and checked when read.

    <folder>/submission.json          what is in it, with digests of all files
    <folder>/runs/<name>.json         manifests
    <folder>/records/<xx>/…           records with their documents, as in a store
    <folder>/methods/<class>.py       the methods of the submitter's own, to be read; nothing of them is run

So a submission is a store, too. It is taken only whole: what is missing, altered, more than it says or not
plausible is refused.
"""

import hashlib
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from results.aggregation import aggregate, document_columns
from results.comparison import compare
from results.errors import InputError
from results.record import Record
from results.run import Run, load_run, run_names, save_run
from results.store import DOCUMENT_KEY, Store

SCHEMA = 1
MANIFEST = "submission.json"
_FILE = re.compile(
    r"runs/[A-Za-z0-9][A-Za-z0-9._-]*\.json"
    r"|records/[0-9a-f]{2}/[0-9a-f]{64}\.(json|parquet)"
    r"|methods/[A-Za-z_][A-Za-z0-9_]*\.py"
)
_LARGEST_METHOD = 1 << 20


def write_submission(store: Store, names: Sequence[str], out: Path) -> Path:
    """Copy runs with their records into a folder of their own. Of paths only the last part is kept.

    Args:
        store: that has them.
        names: of the runs.
        out: the folder; it must not exist, and exists only once it is complete.

    Returns:
        ``out``.

    Raises:
        InputError: the folder exists, or a run or record is missing or broken.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name another folder, or remove it")
    runs = [load_run(store, name) for name in names]
    out.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        copy = Store(hidden)
        for run in runs:
            compare(run, store, resamples=2)  # which refuses what does not fit together
            entries = tuple(replace(entry, path=Path(entry.path).name) for entry in run.entries)
            save_run(copy, replace(run, entries=entries))
            for digest in sorted({one for entry in run.entries for one in entry.records.values()}):
                record = store.get(digest)
                copy.write(replace(record, name=Path(record.name).name), store.documents(record))
        for name, source in _methods(runs).items():
            (hidden / "methods").mkdir(exist_ok=True)
            (hidden / "methods" / f"{name}.py").write_text(source, encoding="utf-8")
        for lock in hidden.rglob(".lock"):
            lock.unlink()
        content = {
            "schema": SCHEMA,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "runs": list(names),
            "files": {path: _digest(hidden / path) for path in _listed(hidden)},
        }
        text = json.dumps(content, sort_keys=True, indent=2)
        (hidden / MANIFEST).write_text(f"{text}\n", encoding="utf-8")
        check_submission(hidden)
        hidden.chmod(0o755)
        hidden.rename(out)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return out


def check_submission(folder: Path) -> Store:
    """Check a submission, and return it as a store.

    Raises:
        InputError: the file and what is wrong with it.
    """
    content = _manifest(folder)
    listed = set(_listed(folder))
    for path in sorted(listed | set(content["files"])):
        where = folder / path
        if path not in content["files"]:
            raise InputError(f"{where}: not named in {MANIFEST}; a submission is taken only as it was made")
        if path not in listed:
            raise InputError(f"{where}: missing, though {MANIFEST} names it; ask for the whole submission")
        if not _FILE.fullmatch(path):
            raise InputError(f"{where}: no file that a submission has; remove it")
        if _digest(where) != content["files"][path]:
            raise InputError(f"{where}: altered since the submission was made; ask for it again")
        if path.startswith("methods/") and where.stat().st_size > _LARGEST_METHOD:
            raise InputError(f"{where}: larger than a method's file can be ({_LARGEST_METHOD} bytes)")
    store = Store(folder)
    if sorted(run_names(store)) != sorted(content["runs"]):
        raise InputError(f"{folder / MANIFEST}: its runs are not those under runs/; ask for it again")
    used: set[str] = set()
    for name in content["runs"]:
        run = load_run(store, name)
        used |= {digest for entry in run.entries for digest in entry.records.values()}
        _check_run(folder, store, run)
    unused = {
        path.rpartition("/")[2].partition(".")[0] for path in listed if path.startswith("records/")
    } - used
    if unused:
        raise InputError(f"{folder}: the record {min(unused)} belongs to none of its runs; remove it")
    return store


def _methods(runs: Sequence[Run]) -> dict[str, str]:
    """By class, the source of methods from the submitter's own files."""
    found: dict[str, str] = {}
    for run in runs:
        for entry in run.entries:
            source = entry.measured.get("source")
            if not entry.method or not isinstance(source, str):
                continue
            if found.setdefault(entry.method, source) != source:
                raise InputError(
                    f"run {run.name}: '{entry.label}' was merged by another {entry.method} than the runs "
                    "before; run all of them again, or submit them apart"
                )
    return found


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: no submission, because it has no {MANIFEST}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        known = (
            content["schema"] == SCHEMA
            and all(isinstance(name, str) for name in content["runs"])
            and content["runs"]
            and all(isinstance(one, str) for pair in content["files"].items() for one in pair)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        raise InputError(f"{path}: not a submission of this version (schema {SCHEMA})")
    found: dict[str, Any] = content
    return found


def _check_run(folder: Path, store: Store, run: Run) -> None:
    """Refuse records that cannot be: of scores outside of their range, other documents, or the future."""
    for entry in run.entries:
        for name, digest in entry.records.items():
            record = store.get(digest)
            where = f"{folder}: run {run.name}, {name} of '{entry.label}'"
            for problem in _problems(record, store):
                raise InputError(f"{where}: {problem}")
    compare(run, store, resamples=2)


def _problems(record: Record, store: Store) -> Iterator[str]:
    columns = dict.fromkeys([*DOCUMENT_KEY, "score", *document_columns(record.metric)])
    documents = store.documents(record, list(columns))
    if not math.isfinite(record.value):
        yield f"{record.metric} is {record.value}, which is no number"
    if len(documents) != record.n or not record.n:
        yield f"the record counts {record.n} documents, and has {len(documents)}"
    if documents.duplicated(list(DOCUMENT_KEY)).any():
        yield "a document is scored twice"
    if documents["score"].isna().any():
        yield "a document's score is no number"
    score = aggregate(record.metric, documents)
    if not math.isclose(score, record.value, rel_tol=1e-6, abs_tol=1e-6):
        yield f"{record.metric} is {record.value}, but its documents give {score:.6g}"
    if not -1e-9 <= record.value <= 1 + 1e-9 and record.metric != "mcc":
        yield f"{record.metric} is {record.value:.6g}; from 0 to 1 is expected"
    try:
        created = datetime.fromisoformat(record.created)
        late = created > datetime.now(UTC) + timedelta(days=1)
    except (ValueError, TypeError):
        yield f"its time is {record.created!r}, which is none"
    else:
        if late:
            yield f"it was made at {record.created}, which is still to come"
    if record.seconds < 0:
        yield f"it took {record.seconds} seconds"


def _listed(folder: Path) -> list[str]:
    """Every file below a folder but the manifest, by its path; links and odd files are refused."""
    found = []
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise InputError(f"{path}: neither a plain file nor a folder; remove it")
        found += [str((Path(root) / name).relative_to(folder)) for name in names]
    return sorted(one for one in found if one != MANIFEST)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
