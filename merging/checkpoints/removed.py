"""Checkpoints whose weights were removed when they had been scored. Their digests are kept, and all else."""

import json
import shutil
from pathlib import Path
from uuid import uuid4

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import REMOVED, are_removed
from results.errors import InputError
from results.reading import read_json
from results.record import CheckpointIdentity
from results.validation import validated
from results.writing import write_atomically

_ADVICE = "remove the folder, and merge again"


def remove_weights(folder: Path) -> None:
    """Remove a checkpoint's weights, and keep its digests, though another process does it too."""
    identity = identity_of(folder)
    write_atomically(folder / REMOVED, (json.dumps(identity.model_dump(), indent=1) + "\n").encode())
    for pattern in ("*.safetensors", "*.safetensors.index.json"):
        for file in folder.glob(pattern):
            file.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove what is left of a checkpoint whose weights were removed, at once for whoever looks for it."""
    moved = folder.with_name(f".{folder.name}.{uuid4().hex}")
    try:
        folder.rename(moved)
    except FileNotFoundError:  # another process has done it
        return
    shutil.rmtree(moved)


def identity_of(path: str | Path) -> CheckpointIdentity:
    """Return the digests of a checkpoint by folder or hub name, though its weights may have been removed.

    Raises:
        InputError: it is not there, or not whole.
    """
    folder = Path(path)
    if not are_removed(folder):
        try:
            return open_checkpoint(path).identity()
        except InputError:
            if not are_removed(folder):  # otherwise another process has just done it
                raise
    return validated(CheckpointIdentity, read_json(folder / REMOVED, _ADVICE), str(folder / REMOVED), _ADVICE)
