"""Training and validation examples of a task: rows from a file, the hub or a function, made into texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Literal

import numpy as np
from pydantic import Field

from bench.data import Row, generated_rows, read_jsonl
from bench.definition import FunctionReference
from bench.hub import NoDataError, hub_rows
from results.errors import InputError
from results.validation import Settings
from results.words import counted


class ExampleSource(Settings):
    """Where a task's examples come from and how a row becomes an example.

    In a suite's file the key `benchmark` names one whose rows, prompts and answers stand for missing keys.
    """

    split: str
    """Split of the rows."""
    prompt: str
    """Jinja template of the prompt over a row's columns."""
    completion: str
    """Jinja template of the completion."""
    generate: FunctionReference | None = None
    """Function that makes the rows."""
    files: dict[str, str] | None = None
    """Split to JSONL file under the data root."""
    hub: str | None = None
    """Data set on the hub."""
    hub_config: str | None = None
    """Its configuration."""
    hub_options: Mapping[str, Any] = {}
    """What else `datasets.load_dataset` is given."""
    keep: str | None = None
    """Jinja expression over a row's columns; rows for which it is false are left out."""
    shuffle_seed: int | None = Field(None, ge=0)
    """The rows that are kept are put into an order drawn with this seed; null leaves them."""
    shuffle: Literal["python", "datasets"] = "python"
    """Whose order the seed draws: that of Python's `random`, or that of `Dataset.shuffle` in `datasets`."""
    start: int = Field(0, ge=0)
    """How many of them are passed over: they are another's, such as validation's."""
    size: int | None = Field(None, gt=0)
    """Most examples that are taken then; null takes all."""
    group_by: str | None = None
    """Column whose equal values stay together, as several answers to one prompt; `start` and `size` then
    count groups."""


def load_examples(sources: Sequence[ExampleSource], root: Path | None) -> list[tuple[str, str]]:
    """Examples of all sources, one source after the other, as (prompt, completion) pairs.

    Args:
        sources: where they come from.
        root: local data root, or None for the hub.

    Raises:
        NoDataError: a source names no rows that can be had.
        InputError: a template names a column that the rows lack.
    """
    return [example for source in sources for example in _examples(source, root)]


def load_shares(
    sources: Sequence[ExampleSource], root: Path | None, most: int | None
) -> list[tuple[str, str]]:
    """As `load_examples`, but at most so many in all, as evenly of each source as can be."""
    if most is None:
        return load_examples(sources, root)
    each = [_examples(source, root) for source in sources]
    shares = [0] * len(each)
    for _ in range(most):
        left = [number for number, examples in enumerate(each) if shares[number] < len(examples)]
        if not left:
            break
        shares[min(left, key=shares.__getitem__)] += 1
    return [example for examples, share in zip(each, shares, strict=True) for example in examples[:share]]


def at_hand(source: ExampleSource, root: Path | None) -> bool:
    """Whether a source's rows are made here, or lie under a local data root."""
    file = _local_file(source, root)
    return source.generate is not None or (file is not None and file.is_file())


def _examples(source: ExampleSource, root: Path | None) -> list[tuple[str, str]]:
    import jinja2
    import jinja2.sandbox

    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    try:
        prompt, completion = map(environment.from_string, (source.prompt, source.completion))
        rows = list(_rows(source, root))
        if source.keep is not None:
            keep = environment.compile_expression(source.keep, undefined_to_none=False)
            rows = [row for row in rows if keep(**row)]
        groups = _grouped(rows, source.group_by)
        if source.shuffle_seed is not None:
            groups = _shuffled(groups, source)
        end = None if source.size is None else source.start + source.size
        taken = [row for group in groups[source.start : end] for row in group]
        if not taken:
            raise NoDataError(
                f"{_place(source, root)} has {counted(len(groups), 'usable row')}, and the examples start "
                f"behind row {source.start}"
            )
        return [(prompt.render(**row), completion.render(**row)) for row in taken]
    except jinja2.UndefinedError as error:
        raise InputError(f"A training template asks for a column that the rows lack: {error}.") from error
    except jinja2.TemplateError as error:
        raise InputError(f"A training template is not valid: {error}.") from error
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(
            f"A row of {_place(source, root)} is not as its training template expects: {error}."
        ) from error


def _grouped(rows: Sequence[Row], column: str | None) -> list[list[Row]]:
    """Rows that have one value in a column together, in the order of their first; each alone without it."""
    if column is None:
        return [[row] for row in rows]
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[column], []).append(row)
    return list(groups.values())


def _shuffled(groups: list[list[Row]], source: ExampleSource) -> list[list[Row]]:
    if source.shuffle == "datasets":
        return [groups[i] for i in np.random.default_rng(source.shuffle_seed).permutation(len(groups))]
    groups = list(groups)
    Random(source.shuffle_seed).shuffle(groups)
    return groups


def _rows(source: ExampleSource, root: Path | None) -> Sequence[Row]:
    if source.generate is not None:
        return generated_rows(source.generate, source.split)
    path = _local_file(source, root)
    if path is not None:
        if not path.is_file():
            raise NoDataError(f"{path} does not exist; on the hub: {source.hub}")
        return read_jsonl(path)
    if root is None and source.hub:
        return hub_rows(source.hub, source.hub_config, source.split, **source.hub_options)
    raise NoDataError(f"The training data ({source.hub or 'no hub name'}) is not under the data root {root}.")


def _local_file(source: ExampleSource, root: Path | None) -> Path | None:
    file = (source.files or {}).get(source.split)
    return None if root is None or file is None else root / file


def _place(source: ExampleSource, root: Path | None) -> str:
    if source.generate is not None:
        return f"{source.generate.module}.{source.generate.name}"
    if root is not None and source.files:
        return str(root / source.files[source.split])
    return str(source.hub)
