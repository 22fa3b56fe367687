"""Checkpoints whose weights were removed when they had been scored. Their digests are kept, and all else."""

import json
from pathlib import Path

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import REMOVED
from results.reading import read_json
from results.record import CheckpointIdentity
from results.validation import validated
from results.writing import write_atomically

_ADVICE = "remove the folder, and merge again"


def remove_weights(folder: Path) -> None:
    """Remove a checkpoint's weights, and keep its digests; not again where that was done."""
    if are_removed(folder):
        return
    identity = open_checkpoint(folder).identity()
    write_atomically(folder / REMOVED, (json.dumps(identity.model_dump(), indent=1) + "\n").encode())
    for pattern in ("*.safetensors", "*.safetensors.index.json"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def are_removed(folder: Path) -> bool:
    """Whether a checkpoint's weights were removed."""
    return (folder / REMOVED).is_file()


def identity_of(path: str | Path) -> CheckpointIdentity:
    """Return the digests of a checkpoint by folder or hub name, though its weights may have been removed.

    Raises:
        InputError: it is not there, or not whole.
    """
    folder = Path(path)
    if not are_removed(folder):
        return open_checkpoint(path).identity()
    return validated(CheckpointIdentity, read_json(folder / REMOVED, _ADVICE), str(folder / REMOVED), _ADVICE)
