"""What is scored: a checkpoint, or recorded outputs or a server's model in place of one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from bench.engine import Engine, EngineSettings, TensorEngine
from bench.engine_registry import open_engine
from bench.recorded import recorded_digest
from merging.checkpoints.adapted import AdaptedCheckpoint, open_checkpoint
from merging.checkpoints.folders import are_removed
from merging.checkpoints.removed import identity_of
from merging.checkpoints.stacked import StackedCheckpoint
from results.errors import InputError
from results.record import CheckpointIdentity

if TYPE_CHECKING:
    import torch

    from bench.api.served import Served


@dataclass(frozen=True)
class ScoredCheckpoint:
    """A checkpoint to be scored: what the user calls it, where it lies, its digests, and who serves it.

    Of one in memory `weights` are its weights, and its path is that of the model that has all else of it.
    """

    name: str
    path: Path
    identity: CheckpointIdentity
    served: "Served | None" = field(default=None, compare=False)
    weights: "Mapping[str, torch.Tensor] | None" = field(default=None, compare=False, repr=False)

    def put_into(self, engine: Engine) -> None:
        """Put it in place of the checkpoint that an engine has.

        Raises:
            InputError: it cannot be loaded.
        """
        if self.weights is None:
            engine.swap(self.path)
        else:
            cast(TensorEngine, engine).swap_tensors(self.path, self.weights)

    @classmethod
    def open(cls, name: str) -> "ScoredCheckpoint":
        """A checkpoint by path or hub name, which an engine runs by its folder.

        Raises:
            InputError: it is not there, or not whole; or its folder is of other weights, as a stack's is the
                first part's, and an adapter's runs on the base that it names itself.
        """
        try:
            checkpoint = open_checkpoint(name)
        except InputError:
            if not are_removed(Path(name)):
                raise
            return cls(name, Path(name), identity_of(name))  # what was scored already can be looked up
        if isinstance(checkpoint, StackedCheckpoint):
            raise InputError(
                f"{name} is stacked from blocks of checkpoints, which no engine runs: merge it into a folder "
                "first, and name that."
            )
        if isinstance(checkpoint, AdaptedCheckpoint):
            checkpoint.check_named_base()
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

    @classmethod
    def of_server(cls, settings: EngineSettings, name: str | None = None) -> "ScoredCheckpoint":
        """A server's model, which the server is asked about.

        Args:
            settings: of an engine that asks a server.
            name: the checkpoint that it runs, by path or hub name, where that is known.

        Raises:
            InputError: the server or the checkpoint is not there, or they do not go together.
        """
        from bench.api.served import Served, served_identity

        if settings.server is not None and name is not None and settings.server.model_digest is not None:
            raise InputError(f"{name} has its own digests: leave out --model-digest, or the checkpoint.")
        if settings.server is not None and name is not None and settings.server.tokenizer is not None:
            raise InputError(f"{name} has its own tokenizer: leave out --tokenizer, or the checkpoint.")
        own = cls.open(name) if name is not None else None
        engine = open_engine(own.path if own else Path(os.devnull), settings)
        served = Served(engine, own.name if own else None)
        if own is not None:
            return cls(own.name, own.path, own.identity, served)
        return cls(served.model, Path(os.devnull), served_identity(served.server), served)
