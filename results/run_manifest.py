"""The manifest of a run: which checkpoints it compares, and which records hold their scores.

It lies in <store>/runs/<name>.json. It points at results and holds none, so running again may rewrite it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from results.errors import InputError
from results.merge_trace import MergeOptions, MergeTrace, MethodIdentity, RoundSelection
from results.reading import read_json
from results.record import CheckpointIdentity, Name
from results.store import Store
from results.suite import SuiteSpec
from results.validation import Settings, Several, quoted, validated
from results.writing import write_atomically

Role = Literal["base", "expert", "merged", "round"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class RunSettings(Settings):
    """What the checkpoints of a run were scored with."""

    engine: Name | None = None
    preset: Name | None = None
    """Name of the suite's settings of scoring."""
    limit: int | None = None
    """Most documents of each lm-eval task; None for all."""
    limits: dict[Name, int | None] = {}
    """The same by benchmark."""
    seed: int | None = None
    judge: Name | None = None
    """Path or hub name of the model that judges answers."""
    validation: dict[Name, int] = {}
    """By task, how many validation examples weights and choices rest on, where that is known."""
    subsets_of: Name | None = None
    """The name that runs on subsets of one experiment's tasks share."""


class Entry(Settings):
    """One checkpoint of a run: the base, an expert, a merged checkpoint, or a round on the way to one."""

    label: Name
    """How tables and figures call it; no two entries of a run share one."""
    role: Role
    path: Name
    """Where the checkpoint lies."""
    checkpoint: CheckpointIdentity
    records: dict[Name, Digest] = {}
    """By benchmark, the digest of the record's key."""
    task: Name | None = None
    """The task of an expert."""
    seed: int | None = None
    """The seed of its training or merging, where it has one."""
    method: Name | None = None
    """The method of a merged checkpoint; all further fields are a merged checkpoint's, too."""
    settings: dict[str, JsonValue] = {}
    """The method's, as the experiment gives them."""
    protocol: Name | None = None
    """Merged once (post-hoc) or in rounds (many-shot)."""
    title: Name | None = None
    """How rows of all seeds, and of a merge's rounds, are called together."""
    identity: MethodIdentity | None = None
    """What a merge in rounds and one of the same method done once have in common, and no others."""
    leads_to: Name | None = None
    """Label of the merged checkpoint that a round led to."""
    round_index: int | None = Field(None, ge=1)
    """The round's number, from 1."""
    trace: MergeTrace | None = None
    """What was measured, chosen and learned."""
    recipe: MergeOptions | None = None
    """What else the merge was asked for."""
    selection: RoundSelection | None = None
    """Which of several rounds the merged checkpoint is of."""


class Run(Settings):
    """What was compared: a suite, the settings it was scored with, and the checkpoints."""

    name: Name
    suite: SuiteSpec
    settings: RunSettings
    entries: Several[Entry]

    @property
    def base(self) -> Entry | None:
        """The entry of the base, where there is one."""
        return next((entry for entry in self.entries if entry.role == "base"), None)


def save_run(store: Store, run: Run) -> Path:
    """Write the manifest, over an older one of the same name.

    Returns:
        Its file.

    Raises:
        InputError: the name would not be a plain file name.
    """
    path = _path(store, run.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(run.model_dump(mode="json"), indent=2, allow_nan=False)
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
    save_run(store, there.model_copy(update={"name": name}))
    return name


def set_aside_unreadable(store: Store, name: str) -> Path | None:
    """Give a manifest of this name that cannot be read another name, before a run would replace it.

    Returns:
        Its file now; None where there is none, or it can be read.
    """
    path = _path(store, name)
    if not path.exists():
        return None
    try:
        load_run(store, name)
    except InputError:
        number = 1
        while (moved := path.with_name(f"{name}.unreadable-{number}")).exists():
            number += 1
        return path.rename(moved)
    return None


def _made_of(run: Run) -> list[Any]:
    entries = [entry for entry in run.entries if entry.role in {"base", "expert"}]
    made_of = [[entry.role, entry.task, entry.seed, entry.checkpoint.digest] for entry in entries]
    return [run.suite.name, list(run.suite.tasks), sorted(made_of, key=str)]


def run_names(store: Store) -> list[str]:
    """The names of a store's runs, in the order in which they were written last.

    Raises:
        InputError: there are none.
    """
    folder = store.root / "runs"
    files = filter(Path.exists, folder.glob("[!.]*.json"))
    paths = sorted(files, key=lambda path: (path.stat().st_mtime_ns, path.name))
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
        raise InputError(f"{path.parent}: no run {quoted(name)}; there are {', '.join(sorted(names))}")
    advice = "remove it and run again"
    return validated(Run, read_json(path, advice), str(path), advice)


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
        names = [last.settings.subsets_of or last.name]
    runs, chosen = [load_run(store, name) for name in run_names(store)], []
    for name in names:
        family = [run for run in runs if name in {run.name, run.settings.subsets_of}]
        chosen += family or [load_run(store, name)]
    return chosen


def check_name(name: str) -> None:
    """Refuse the name of a run that would not be a plain file name.

    Raises:
        InputError: it is not.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"run name {quoted(name)}: use letters, digits, '.', '_' and '-', a letter or digit first"
        )


def _path(store: Store, name: str) -> Path:
    check_name(name)
    return store.root / "runs" / f"{name}.json"
