"""What a merge will read, write and need, before it is begun."""

from dataclasses import dataclass
from pathlib import Path

from merging.prepare import Prepared

_FLOAT = 4


@dataclass(frozen=True)
class InputFiles:
    """A checkpoint that is read: what it is called, its folder, and the number and bytes of its files."""

    name: str
    folder: Path
    files: int
    nbytes: int


@dataclass(frozen=True)
class MergeRequirements:
    """What a merge reads, writes and needs.

    Attributes:
        method: name and settings.
        inputs: what is read, the base first.
        passes: what each reading of the inputs is for, in order; the last is the merge.
        outputs: the files of weights, by name, in bytes.
        dtypes: codes of what is written.
        device: where the arithmetic is done.
        threads: how many blocks are worked on at once.
        block_entries: entries in the largest block.
        memory: bytes that blocks take at most, about; beside them are the program itself, and the mapped
            files, whose pages the system takes back where it needs them.
    """

    method: str
    inputs: tuple[InputFiles, ...]
    passes: tuple[str, ...]
    outputs: dict[str, int]
    dtypes: tuple[str, ...]
    device: str
    threads: int
    block_entries: int
    memory: int


def requirements(prepared: Prepared) -> MergeRequirements:
    """Return what a prepared merge will read, write and need."""
    names = ("base", *prepared.vectors.experts)
    inputs = tuple(
        InputFiles(
            name, one.folder, len(one.files), sum((one.folder / file).stat().st_size for file in one.files)
        )
        for name, one in zip(names, prepared.checkpoints, strict=True)
    )
    settings = prepared.method.model_dump()
    tensors = [tensor for shard in prepared.shards for tensor in shard.tensors]
    largest = max((block.stop - block.start for _, block in prepared.output_blocks()), default=0)
    n_tasks = len(prepared.vectors.experts)
    # The base, the task vectors, as much again for what the method makes of them, and a few sums.
    floats = 2 * n_tasks + 8
    return MergeRequirements(
        method=f"{prepared.recipe.method.name}({', '.join(f'{k}={v}' for k, v in settings.items())})",
        inputs=inputs,
        passes=(*(["digests"] if prepared.method.random else []), *prepared.passes, "merge"),
        outputs={shard.name: shard.nbytes for shard in prepared.shards},
        dtypes=tuple(sorted({tensor.dtype for tensor in tensors})),
        device=str(prepared.vectors.device),
        threads=prepared.threads,
        block_entries=largest,
        memory=prepared.threads * largest * floats * _FLOAT,
    )
