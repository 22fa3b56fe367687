"""What is scored: a checkpoint, or recorded outputs in place of one."""

from dataclasses import dataclass
from pathlib import Path

from bench.recorded import recorded_digest
from merging.checkpoints.adapted import open_checkpoint
from results.record import CheckpointIdentity


@dataclass(frozen=True)
class ScoredCheckpoint:
    """A checkpoint to be scored: what the user calls it, where it lies, and its digests."""

    name: str
    path: Path
    identity: CheckpointIdentity

    @classmethod
    def open(cls, name: str) -> "ScoredCheckpoint":
        """A checkpoint by path or hub name.

        Raises:
            InputError: it is not there, or not whole.
        """
        checkpoint = open_checkpoint(name)
        return cls(name, checkpoint.folder, checkpoint.identity())

    @classmethod
    def recorded(cls, name: str) -> "ScoredCheckpoint":
        """Recorded outputs by path.

        Raises:
            InputError: there are none.
        """
        digest = recorded_digest(Path(name))
        return cls(
            name, Path(name), CheckpointIdentity(weights=digest, config="recorded", tokenizer="recorded")
        )
