"""The manifest of a run: which checkpoints it compares, and which records hold their scores.

It lies in <store>/runs/<name>.json. It points at results and holds none, so running again may rewrite it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from results.errors import InputError
from results.files import write_atomically
from results.record import JSON, CheckpointIdentity
from results.store import Store
from results.suite import SuiteSpec

Role = Literal["base", "expert", "merged", "round"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


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
            by phase, most bytes of memory, what was tried to choose settings, and what was learned.
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
    def from_json(cls, value: Mapping[str, Any]) -> "Run":
        """The run that `to_json` described."""
        return cls(
            name=value["name"],
            suite=SuiteSpec.from_dict(value["suite"]),
            settings=value["settings"],
            entries=tuple(
                Entry(**{**entry, "checkpoint": CheckpointIdentity(**entry["checkpoint"])})
                for entry in value["entries"]
            ),
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


def load_run(store: Store, name: str | None = None) -> Run:
    """Read a manifest.

    Args:
        store: where it lies.
        name: the run's; by default the run that was written last.

    Raises:
        InputError: there is no such run, or its file is broken.
    """
    folder = store.root / "runs"
    paths = sorted(folder.glob("[!.]*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    if not paths:
        raise InputError(f"{folder}: no runs; make one with 'manyshot run', or give the store that has it")
    path = paths[-1] if name is None else _path(store, name)
    if path not in paths:
        known = ", ".join(sorted(one.stem for one in paths))
        raise InputError(f"{folder}: no run '{name}'; there are {known}")
    try:
        return Run.from_json(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{path}: not a run's manifest; remove it and run again") from None


def load_family(store: Store, names: Sequence[str] = ()) -> list[Run]:
    """Read the manifests of runs that belong together.

    Args:
        store: where they lie.
        names: of the runs; one that is no run's stands for all that are called `<name>.<more>`, as those over
            subsets of an experiment's tasks are. None stands for those beside the run that was written last.

    Raises:
        InputError: there is no such run, or a file is broken.
    """
    known = sorted(path.stem for path in (store.root / "runs").glob("[!.]*.json"))
    if not names:
        last = load_run(store).name
        names = [last.rpartition(".")[0] or last]
    found = []
    for name in names:
        family = [name] if name in known else [one for one in known if one.startswith(f"{name}.")]
        found += [load_run(store, one) for one in family or [name]]
    return found


def _path(store: Store, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"run name '{name}': use letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return store.root / "runs" / f"{name}.json"
