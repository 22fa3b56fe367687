"""What trackers are told of a checkpoint: what it was merged from and by."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import read_mapping
from results.record import CheckpointIdentity
from results.trackers import TrackedRun, Tracker, flat, report


def report_merge(trackers: Collection[Tracker], folder: Path) -> None:
    """Report a merged checkpoint: its recipe, digests and seconds, and its merge.json."""
    if trackers:
        report(trackers, tracked_checkpoint(folder.name, folder, open_checkpoint(folder).identity()))


def tracked_checkpoint(name: str, path: Path, identity: CheckpointIdentity) -> TrackedRun:
    """Return what trackers are told of a checkpoint before it is scored."""
    about: dict[str, Any] = {"checkpoint": {"path": str(path), **identity.model_dump()}}
    metrics: dict[str, float] = {}
    files: dict[str, str] = {}
    if (path / "merge.json").is_file():
        merge = read_mapping(path / "merge.json")
        about |= {key: merge[key] for key in ("recipe", "inputs", "versions", "device") if key in merge}
        if not merge.get("resumed"):
            metrics["merge/seconds"] = sum(merge.get("seconds", {}).values())
        files["merge.json"] = (path / "merge.json").read_text(encoding="utf-8")
    return TrackedRun(name, identity.digest, flat(about), metrics=metrics, files=files)
