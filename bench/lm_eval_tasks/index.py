"""The names of lm-eval's tasks, groups and tags: read once by lm-eval itself, then kept in the user's cache.

lm-eval parses 14,000 files for it, which takes a quarter of a minute. What is kept is good as long as the
version of lm-eval and the names, times and sizes of the files are the same.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.definition import packaged_tasks
from results.caches import cache_folder
from results.errors import InputError
from results.json_values import cache_key
from results.writing import write_atomically

_FORMAT = 1
_SKIPPED = {"__pycache__", ".ipynb_checkpoints", ".git"}
logger = logging.getLogger("manyshot.bench")


@dataclass(frozen=True)
class IndexEntry:
    """What a name stands for.

    Attributes:
        kind: `task`, `group`, `tag`, or `class` for a task that is written in Python.
        file: the YAML that defines it; None for a tag.
        members: names of a tag's tasks.
        include: the user's folder that it is from; None where lm-eval ships it.
    """

    kind: str
    file: Path | None = None
    members: tuple[str, ...] = ()
    include: Path | None = None


Index = Mapping[str, IndexEntry]


def task_index(include: Sequence[Path] = ()) -> Index:
    """Every name that lm-eval knows, and those of further folders, of which the last goes first.

    Raises:
        InputError: a folder is not there, or has no tasks.
    """
    index = dict(_names_of(packaged_tasks(), None))
    for folder in include:
        if not folder.is_dir():
            raise InputError(f"--include-path: {folder} is not a folder.")
        names = _names_of(folder.resolve(), folder.resolve())
        if not names:
            raise InputError(f"--include-path: {folder} holds no task in lm-eval's format (*.yaml).")
        index |= names
    return index


def _names_of(root: Path, include: Path | None) -> dict[str, IndexEntry]:
    """The names of a folder, from the cache or by lm-eval."""
    kept = cache_folder() / "lm-eval-tasks" / f"{hashlib.sha256(str(root).encode()).hexdigest()[:16]}.json"
    key = cache_key([_FORMAT, version("lm_eval"), _fingerprint(root)])
    content = _kept(kept, key)
    if content is None:
        if include is None:
            logger.info("reading the names of lm-eval's tasks, which takes a quarter of a minute once")
        content = {"key": key, "names": _read_names(root, include)}
        with suppress(OSError):  # a folder that cannot be written costs time only
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, json.dumps(content).encode())
    return {
        name: IndexEntry(kind, root / file if file else None, tuple(members), include)
        for name, (kind, file, members) in content["names"].items()
    }


def _read_names(root: Path, include: Path | None) -> dict[str, list[Any]]:
    from lm_eval.tasks import TaskManager

    of_lm_eval = logging.getLogger("lm_eval")
    level = of_lm_eval.level
    of_lm_eval.setLevel(logging.ERROR)
    try:
        manager = TaskManager(include_defaults=False, include_path=str(root)) if include else TaskManager()
    finally:
        of_lm_eval.setLevel(level)
    kinds = {"TASK": "task", "PY_TASK": "class", "GROUP": "group", "TAG": "tag"}
    return {
        name: [
            kinds[entry.kind.name],
            os.path.relpath(entry.yaml_path, root) if entry.yaml_path else None,
            sorted(entry.tags) if entry.kind.name == "TAG" else [],
        ]
        for name, entry in manager.task_index.items()
        if isinstance(name, str)
    }


def _fingerprint(root: Path) -> str:
    """Digest of the names, times and sizes of a folder's files, Python's apart."""
    seen = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        for name in sorted(files):
            path = Path(folder, name)
            if not name.endswith((".py", ".md")) and path.is_file():  # which a link to nothing is not
                status = path.stat()
                seen.append((folder, name, status.st_mtime_ns, status.st_size))
    return cache_key(seen)


def _kept(path: Path, key: str) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
        return content if content["key"] == key and isinstance(content["names"], dict) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
