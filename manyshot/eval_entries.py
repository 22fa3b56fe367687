"""Entries of a checkpoint's scores for the hub's leaderboards: the files of `.eval_results`.

A file may hold entries of others. Ours end their notes with the record that they are of, and by that mark
they are replaced or removed; the rest of a file stays.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

from bench.hub_benchmarks import HubBenchmark
from manyshot.published_scores import PublishedScore
from results.errors import InputError
from results.words import counted
from results.writing import write_atomically

ENTRIES = ".eval_results"
logger = logging.getLogger("manyshot")
_MARK = re.compile(r"(?:.*, )?manyshot record ([0-9a-f]{64})", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """Reads dates as the text that they are, so that they are written again as they were."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def without_ours(text: str | bytes, name: str) -> tuple[list[Any], bool]:
    """Return the entries of a file that are not ours, and whether any was.

    Args:
        text: the file's content.
        name: what it is called in a refusal.

    Raises:
        InputError: it holds no list of entries.
    """
    entries = read_entries(text, name)
    others = [entry for entry in entries if own_record(entry) is None]
    return others, len(others) < len(entries)


def read_entries(text: str | bytes, name: str) -> list[Any]:
    """Return the entries of a file.

    Args:
        text: the file's content.
        name: what it is called in a refusal.

    Raises:
        InputError: it holds no list of entries.
    """
    try:
        entries = _Loader(text).get_single_data()
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"{name} cannot be read as YAML ({reason}); mend or remove it.") from error
    if not isinstance(entries, list | None):
        raise InputError(f"{name} holds no list of results, as the hub expects; mend or remove it.")
    return entries or []


def own_record(entry: object) -> str | None:
    """Return the digest of the record that an entry of ours is of; None for an entry of others."""
    found = _MARK.fullmatch(str(entry.get("notes"))) if isinstance(entry, dict) else None
    return found[1] if found else None


def written_entries(entries: Sequence[Any]) -> bytes:
    """Return the content of a file of entries."""
    return yaml.safe_dump(entries, sort_keys=False, allow_unicode=True).encode()


def merged_entries(folder: Path, scores: Iterable[PublishedScore]) -> dict[Path, bytes | None]:
    """Return what the files of a checkpoint's entries are to hold: those of others, and of these scores ours.

    Only whole scores of the hub's benchmarks are entries, in percent; of several of a benchmark the newest.

    Args:
        folder: of the checkpoint.
        scores: of it.

    Returns:
        Content by file, of those files only that change; None for one that goes, as it held nothing but
        entries of ours that no longer hold.

    Raises:
        InputError: a file that is there holds no list of entries.
    """
    files: dict[Path, bytes | None] = {}
    others: dict[Path, list[Any]] = {}
    for path in sorted((folder / ENTRIES).glob("*.yaml")):
        others[path], had_ours = without_ours(path.read_bytes(), str(path))
        if had_ours:
            files[path] = written_entries(others[path]) if others[path] else None
    for hub, score in _newest(scores).items():
        path = folder / ENTRIES / f"{hub.task}.yaml"
        ours = eval_result_entries_to_yaml([_entry(hub, score)])
        files[path] = written_entries([*others.get(path, []), *ours])
    return files


def write_entries(files: dict[Path, bytes | None]) -> list[Path]:
    """Write and remove files as `merged_entries` says, and return those that were written."""
    for path, content in files.items():
        if content is None:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path, content)
    return [path for path, content in files.items() if content is not None]


def _newest(scores: Iterable[PublishedScore]) -> dict[HubBenchmark, PublishedScore]:
    of_hub: dict[HubBenchmark, list[PublishedScore]] = {}
    for score in sorted(scores, key=lambda score: (score.record.created, score.record.key.digest)):
        if score.hub is not None:
            of_hub.setdefault(score.hub, []).append(score)
    for hub, several in of_hub.items():
        if len(several) > 1:
            logger.warning(
                "%s has %d scores; the entry for the hub's leaderboard is the newest: %.2f %% (%s, %s)",
                hub.task, len(several), 100 * several[-1].record.value, several[-1].name, several[-1].setup,
            )  # fmt: skip
    return {hub: several[-1] for hub, several in of_hub.items()}


def _entry(hub: HubBenchmark, score: PublishedScore) -> EvalResultEntry:
    error = score.uncertainty.standard_error
    notes = [
        score.setup,
        score.metric,
        *([f"standard error {100 * error:.2f}"] if error is not None else []),
        counted(score.record.n, "document"),
        f"manyshot record {score.record.key.digest}",
    ]
    return EvalResultEntry(
        dataset_id=hub.dataset,
        task_id=hub.task,
        value=round(100 * score.record.value, 4),
        date=score.record.created,
        notes=", ".join(filter(None, notes)),
    )
