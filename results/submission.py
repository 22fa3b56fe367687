"""A submission: runs and their records in a folder of their own, to be sent to others and checked when read.

    <folder>/submission.json          what is in it, with digests of all files
    <folder>/runs/<name>.json         manifests
    <folder>/records/<xx>/…           records with their documents, as in a store
    <folder>/methods/<class>.py       the methods of the submitter's own, to be read; nothing of them is run

So a submission is a store, too. It is taken only whole: what is missing, altered, more than it says or not
plausible is refused.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
from pydantic import Field

from results.aggregation import MATTHEWS
from results.comparison import compare
from results.errors import InputError
from results.json_values import digest_of
from results.kept_table import SUBMISSION
from results.reading import read_json
from results.record import Name, Record
from results.run_manifest import Entry, Run, RunSettings, load_run, run_names, save_run
from results.shared_items import ITEM
from results.store import Store, problems
from results.validation import Settings, Several, quoted, validated

_FILE = re.compile(
    r"runs/[A-Za-z0-9][A-Za-z0-9._-]*\.json"
    r"|records/[0-9a-f]{2}/[0-9a-f]{64}\.(json|parquet)"
    r"|methods/[^\W\d]\w*\.py"
)
_LARGEST_METHOD = 1 << 20
_LONGEST_TEXT = 1 << 20
_ADVICE = "ask for the submission again"


class Contents(Settings):
    """What lies in a submission, as its `submission.json` says."""

    version: Literal[1] = 1
    """Version of the form of submissions."""
    created: str
    """UTC time, ISO 8601."""
    runs: Several[Name] = Field(min_length=1)
    """Names of the runs."""
    files: dict[Name, Name]
    """Digest of every file, by path."""


def write_submission(store: Store, names: Sequence[str], out: Path) -> Path:
    """Copy runs with their records into a folder of their own. Of absolute paths only the last part is kept.

    Args:
        store: that has them.
        names: of the runs.
        out: the folder; it must not exist, and exists only once it is complete.

    Returns:
        ``out``.

    Raises:
        InputError: the folder exists, or a run or record is missing, broken, or would be refused.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name another folder, or remove it")
    runs = [load_run(store, name) for name in dict.fromkeys(names)]
    methods = _methods(runs)
    out.parent.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        copy = Store(hidden)
        for run in runs:
            compare(run, store, resamples=2)  # which refuses what does not fit together
            save_run(copy, _without_folders(run))
            for digest in sorted({record for entry in run.entries for record in entry.records.values()}):
                record = store.get(digest)
                copy.write(record.but(name=Path(record.name).name), store.documents(record))
        for path, source in methods.items():
            (hidden / path).parent.mkdir(exist_ok=True)
            (hidden / path).write_bytes(source)
        contents = Contents(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            runs=tuple(run.name for run in runs),
            files={path: _digest(hidden / path) for path in _listed(hidden)},
        )
        (hidden / SUBMISSION).write_text(f"{contents.model_dump_json(indent=2)}\n", encoding="utf-8")
        check_submission(hidden)
        hidden.chmod(0o755)
        hidden.rename(out)
    except BaseException as error:
        shutil.rmtree(hidden, ignore_errors=True)
        if isinstance(error, InputError):
            raise InputError(str(error).replace(str(hidden), str(out))) from None
        raise
    return out


def check_submission(folder: Path) -> Store:
    """Check a submission, and return it as a store.

    Raises:
        InputError: the file and what is wrong with it.
    """
    contents = _contents(folder)
    listed = set(_listed(folder))
    for path in sorted(listed | set(contents.files)):
        where = folder / path
        if path not in contents.files:
            raise InputError(f"{where}: not named in {SUBMISSION}; a submission is taken only as it was made")
        if path not in listed:
            raise InputError(f"{where}: missing, though {SUBMISSION} names it; ask for the whole submission")
        if not _FILE.fullmatch(path):
            raise InputError(f"{where}: no file that a submission has; remove it")
        if _digest(where) != contents.files[path]:
            raise InputError(f"{where}: altered since the submission was made; ask for it again")
        if path.startswith("methods/") and where.stat().st_size > _LARGEST_METHOD:
            raise InputError(f"{where}: larger than a method's file can be ({_LARGEST_METHOD} bytes)")
    store = Store(folder)
    if sorted(run_names(store)) != sorted(contents.runs):
        raise InputError(f"{folder / SUBMISSION}: its runs are not those under runs/; ask for it again")
    runs = [load_run(store, name) for name in contents.runs]
    _check_methods(folder, runs, [path for path in listed if path.startswith("methods/")])
    used: set[str] = set()
    for name, run in zip(contents.runs, runs, strict=True):
        if run.name != name:
            raise InputError(f"{folder / 'runs' / name}.json: holds the run {run.name}; ask for it again")
        used |= {digest for entry in run.entries for digest in entry.records.values()}
        _check_run(folder, store, run)
    unused = {
        path.rpartition("/")[2].partition(".")[0] for path in listed if path.startswith("records/")
    } - used
    if unused:
        raise InputError(f"{folder}: the record {min(unused)} belongs to none of its runs; remove it")
    return store


def _methods(runs: Sequence[Run]) -> dict[str, bytes]:
    """By path in the submission, the source of methods from the submitter's own files."""
    sources: dict[str, bytes] = {}
    for run in runs:
        for entry in run.entries:
            source = entry.recipe and entry.recipe.source
            if not entry.method or not source:
                continue
            path = f"methods/{entry.method}.py"
            # The name is from a manifest, and says where a file is written.
            if not _FILE.fullmatch(path):
                raise InputError(
                    f"run {run.name}: '{entry.label}' has the method {entry.method!r}, which is no name of a "
                    "class; run it again"
                )
            if sources.setdefault(path, source.encode()) != source.encode():
                raise InputError(
                    f"run {run.name}: '{entry.label}' was merged by another {entry.method} than the runs "
                    "before; run all of them again, or submit them apart"
                )
    return sources


def _check_methods(folder: Path, runs: Sequence[Run], paths: Sequence[str]) -> None:
    """Refuse methods that the runs do not have, and runs whose methods are not there."""
    methods = _methods(runs)
    for path in sorted({*methods, *paths}):
        if path not in methods:
            raise InputError(f"{folder / path}: the method of none of its runs; remove it")
        if path not in paths or (folder / path).read_bytes() != methods[path]:
            raise InputError(f"{folder / path}: not the method that its run was merged by; ask for it again")


def _without_folders(run: Run) -> Run:
    """The run with only the last part of every absolute path, wherever the submitter's machine is named."""

    def entry_of(entry: Entry) -> Entry:
        paths = sorted(filter(_is_path, _texts(dict(entry.settings))), key=len, reverse=True)

        def called(name: str) -> str:
            """A name, which may be made of the method's settings."""
            for path in paths:
                name = name.replace(path, Path(path).name)
            return name

        content = entry.model_dump(mode="json")
        if entry.identity is not None:
            content["identity"]["settings"] = _told_apart(content["identity"]["settings"])
        changed = {
            "label": called(entry.label),
            "title": entry.title and called(entry.title),
            "leads_to": entry.leads_to and called(entry.leads_to),
            "path": Path(entry.path).name,
        }
        return Entry.model_validate(_last_parts(content) | changed)

    settings = RunSettings(**_last_parts(run.settings.model_dump()))
    return run.but(settings=settings, entries=tuple(map(entry_of, run.entries)))


def _last_parts(value: Any) -> Any:
    """A JSON value with only the last part of texts that are absolute paths."""
    if isinstance(value, dict):
        return {name: _last_parts(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_last_parts(item) for item in value]
    return Path(value).name if isinstance(value, str) and _is_path(value) else value


def _told_apart(value: Any) -> Any:
    """A JSON value with absolute paths as their last part and a digest, which tells folders apart."""
    if isinstance(value, dict):
        return {name: _told_apart(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_told_apart(item) for item in value]
    is_path = isinstance(value, str) and _is_path(value)
    return f"{Path(value).name}-{digest_of(value)[:12]}" if is_path else value


def _is_path(text: str) -> bool:
    """Whether a text names a folder of the machine: from its root, and not in the root itself."""
    return text.startswith("/") and len(Path(text).parts) > 2


def _texts(value: Any) -> list[str]:
    """All texts in a JSON value."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for item in inner for text in _texts(item)]


def _contents(folder: Path) -> Contents:
    path = folder / SUBMISSION
    if not path.is_file():
        raise InputError(f"{folder}: no submission, because it has no {SUBMISSION}")
    return validated(Contents, read_json(path, _ADVICE), str(path), _ADVICE)


def _check_run(folder: Path, store: Store, run: Run) -> None:
    """Refuse checkpoints and records that cannot be."""
    seen: dict[tuple[str, str, str | None, str], Entry] = {}
    for entry in run.entries:
        for name, digest in entry.records.items():
            record = store.get(digest)
            where = f"{folder}: run {run.name}, {name} of '{entry.label}'"
            for problem in _problems(record, store.documents(record)):
                raise InputError(f"{where}: {problem}")
        if entry.seed is not None and entry.role in {"merged", "expert"}:
            what = (
                entry.role,
                entry.title or entry.task or entry.label,
                entry.protocol,
                entry.checkpoint.digest,
            )
            other = seen.setdefault(what, entry)
            if other is not entry:
                raise InputError(
                    f"{folder}: run {run.name}: '{entry.label}' and '{other.label}' are one checkpoint under "
                    f"the seeds {entry.seed} and {other.seed}; keep one of them"
                )
    compare(run, store, resamples=2)


def _problems(record: Record, documents: pd.DataFrame) -> Iterator[str]:
    """What cannot be: scores that documents do not give, or out of their range, and times to come."""
    for name in ("lm_eval_task", ITEM, "prompt", "target", "output"):
        if name in documents:
            yield from _problems_of_texts(name, documents[name])
    yield from problems(record, documents)
    if not documents["score"].between(0, 1).all():
        yield "a document's score is not from 0 to 1"
    if record.metric == MATTHEWS and not documents[["gold", "predicted"]].isin([0, 1]).all(axis=None):
        yield "of a document, gold or predicted is neither 0 nor 1"
    lowest = -1 if record.metric == MATTHEWS else 0
    if not lowest - 1e-9 <= record.value <= 1 + 1e-9:
        yield f"{record.metric} is {record.value:.6g}; from {lowest} to 1 is expected"
    try:
        created = datetime.fromisoformat(record.created)
        late = created > datetime.now(UTC) + timedelta(days=1)
    except (ValueError, TypeError):
        yield f"its time is {quoted(record.created)}, which is none"
    else:
        if late:
            yield f"it was made at {quoted(record.created)}, which is still to come"
    if record.seconds < 0:
        yield f"it took {record.seconds} seconds"


def _problems_of_texts(name: str, column: "pd.Series[Any]") -> Iterator[str]:
    try:
        texts = column.dropna().tolist()
    except (pa.ArrowException, UnicodeError):
        texts = [b""]  # Arrow reads bytes that are no UTF-8, and stumbles when they are asked for.
    if not all(isinstance(text, str) for text in texts):
        yield f"of a document, {name} is no text"
    longest = max(map(len, texts), default=0)
    if longest > _LONGEST_TEXT:
        yield f"of a document, {name} has {longest:,} characters; at most {_LONGEST_TEXT:,} are taken"


def _listed(folder: Path) -> list[str]:
    """Every file below a folder but the manifest, by its path; links and odd files are refused."""
    paths = []
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(root) / name
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise InputError(f"{path}: neither a plain file nor a folder; remove it")
        paths += [str((Path(root) / name).relative_to(folder)) for name in names]
    return sorted(listed for listed in paths if listed != SUBMISSION)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
