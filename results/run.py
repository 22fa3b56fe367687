"""The manifest of a run: which checkpoints it compares, and which records hold their scores.

It lies in <store>/runs/<name>.json. It points at results and holds none, so running again may rewrite it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from results.errors import InputError
from results.files import write_atomically
from results.json_types import INTEGER, LIST, OBJECT, TEXT, JsonType, checked, mapping, one_of, parsed
from results.record import JSON, CheckpointIdentity
from results.store import Store
from results.suite import SuiteSpec

Role = Literal["base", "expert", "merged", "round"]
SUBSETS_OF = "subsets_of"
"""Setting of a run on some of an experiment's tasks: the name that the runs of all such subsets share."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Entry:
    """One checkpoint of a run.

    Attributes:
        label: how tables and figures call it; no two entries of a run share one.
        role: base, expert or merged; or round, for what a round on the way to a merged checkpoint gave.
        task: the task of an expert.
        method: the method of a merged checkpoint.
        settings: the method's.
        protocol: post-hoc or many-shot, for a merged checkpoint.
        seed: of the training or merging, where it has one.
        path: where the checkpoint lies.
        checkpoint: what it is.
        records: by benchmark, the digest of the record's key.
        title: how rows of all seeds, and of a merge's rounds, are called together.
        pair: what a merge in rounds and one of the same method done once have in common, and no others.
        of: label of the merged checkpoint that a round led to.
        turn: the round's number, from 1.
        measured: of a round or a merged checkpoint: weights, losses and gaps by task, mask density, seconds
            by phase, most bytes of memory, what was tried to choose settings, what was learned, the source
            of a method of the user's own, and what else the merge was told (`recipe`).
    """

    label: str
    role: Role
    task: str | None
    method: str | None
    settings: Mapping[str, JSON]
    protocol: str | None
    seed: int | None
    path: str
    checkpoint: CheckpointIdentity
    records: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    pair: str | None = None
    of: str | None = None
    turn: int | None = None
    measured: Mapping[str, JSON] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Any) -> "Entry":
        """The entry of these fields.

        Raises:
            ValueError: a field is missing, unknown or of another type.
        """
        given = checked(value, _ENTRY, _OPTIONAL)
        return cls(**{**given, "checkpoint": CheckpointIdentity.from_json(given["checkpoint"])})


_DIGEST = JsonType("a digest", lambda value: isinstance(value, str) and bool(_SHA256.fullmatch(value)))
_ENTRY = {
    "label": TEXT,
    "role": one_of(*get_args(Role)),
    "task": TEXT.or_null,
    "method": TEXT.or_null,
    "settings": OBJECT,
    "protocol": TEXT.or_null,
    "seed": INTEGER.or_null,
    "path": TEXT,
    "checkpoint": OBJECT,
    "records": mapping(_DIGEST),
    "title": TEXT.or_null,
    "pair": TEXT.or_null,
    "of": TEXT.or_null,
    "turn": INTEGER.or_null,
    "measured": OBJECT,
}
_OPTIONAL = ("records", "title", "pair", "of", "turn", "measured")
_RUN = {"name": TEXT, "suite": OBJECT, "settings": OBJECT, "entries": LIST}
# Those of a run's settings that are read again.
_SETTINGS = {"limit": INTEGER.or_null, "validation": mapping(INTEGER).or_null, SUBSETS_OF: TEXT.or_null}


@dataclass(frozen=True)
class Run:
    """What was compared: a suite, the settings it was scored with, and the checkpoints."""

    name: str
    suite: SuiteSpec
    settings: Mapping[str, JSON]
    entries: tuple[Entry, ...]

    def to_json(self) -> dict[str, Any]:
        """The run as a JSON value."""
        return {
            "name": self.name,
            "suite": self.suite.to_dict(),
            "settings": dict(self.settings),
            "entries": [asdict(entry) for entry in self.entries],
        }

    @classmethod
    def from_json(cls, value: Any) -> "Run":
        """The run that `to_json` described.

        Raises:
            ValueError: a field is missing, unknown or of another type.
            InputError: the suite lacks a task or a benchmark, or names one twice.
        """
        given = checked(value, _RUN)
        settings = given["settings"]
        checked({name: one for name, one in settings.items() if name in _SETTINGS}, _SETTINGS, _SETTINGS)
        return cls(
            name=given["name"],
            suite=SuiteSpec.from_dict(given["suite"]),
            settings=settings,
            entries=tuple(map(Entry.from_json, given["entries"])),
        )


def save_run(store: Store, run: Run) -> Path:
    """Write the manifest, over an older one of the same name.

    Returns:
        Its file.

    Raises:
        InputError: the name would not be a plain file name.
    """
    path = _path(store, run.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(run.to_json(), sort_keys=True, indent=2, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())
    return path


def set_aside(store: Store, run: Run) -> str | None:
    """Give a manifest of the run's name another name where it is of other tasks, base or experts.

    A run that was made again, or went on with more methods, replaces its own manifest; another is kept.

    Returns:
        The name that the other one has now; None where there is none.

    Raises:
        InputError: the manifest is broken.
    """
    path = _path(store, run.name)
    if not path.exists():
        return None
    there = load_run(store, run.name)
    if _made_of(there) == _made_of(run):
        return None
    name = f"{run.name}-{hashlib.sha256(path.read_bytes()).hexdigest()[:6]}"
    save_run(store, replace(there, name=name))
    return name


def _made_of(run: Run) -> list[Any]:
    entries = [entry for entry in run.entries if entry.role in {"base", "expert"}]
    known = [[entry.role, entry.task, entry.seed, entry.checkpoint.digest] for entry in entries]
    return [run.suite.name, list(run.suite.tasks), sorted(known, key=str)]


def run_names(store: Store) -> list[str]:
    """The names of a store's runs, in the order in which they were written last.

    Raises:
        InputError: there are none.
    """
    folder = store.root / "runs"
    paths = sorted(folder.glob("[!.]*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not paths:
        raise InputError(f"{folder}: no runs; make one with 'manyshot run', or give the store that has it")
    return [path.stem for path in paths]


def load_run(store: Store, name: str | None = None) -> Run:
    """Read a manifest.

    Args:
        store: where it lies.
        name: the run's; by default the run that was written last.

    Raises:
        InputError: there is no such run, or its file is broken.
    """
    names = run_names(store)
    path = store.root / "runs" / f"{names[-1]}.json" if name is None else _path(store, name)
    if path.stem not in names:
        raise InputError(f"{path.parent}: no run '{name}'; there are {', '.join(sorted(names))}")
    try:
        return Run.from_json(parsed(path.read_bytes()))
    except (ValueError, InputError) as error:
        raise InputError(f"{path}: not a run's manifest ({error}); remove it and run again") from None


def load_family(store: Store, names: Sequence[str] = ()) -> list[Run]:
    """Read the manifests of runs that belong together.

    Args:
        store: where they lie.
        names: of runs, or of experiments that were run on subsets of their tasks, which stand for all of
            these runs. None stands for the run that was written last, and those of the same experiment.

    Raises:
        InputError: there is no such run, or a file is broken.
    """
    if not names:
        last = load_run(store)
        names = [str(last.settings.get(SUBSETS_OF) or last.name)]
    runs = [load_run(store, one) for one in run_names(store)]
    found = []
    for name in names:
        family = [one for one in runs if name in {one.name, one.settings.get(SUBSETS_OF)}]
        found += family or [load_run(store, name)]
    return found


def _path(store: Store, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"run name '{name}': use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return store.root / "runs" / f"{name}.json"
