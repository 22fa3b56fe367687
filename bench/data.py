"""The one place that resolves rows: made here, read from a local data root, or fetched from the hub.

With a data root (`--data`, else `MANYSHOT_DATA`) only local files are used and nothing is ever fetched.
"""

import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.benchmark import EvalTask
from bench.definition import FunctionReference
from bench.registry import ExampleSource
from results.errors import InputError

Row = dict[str, Any]


class NoDataError(InputError):
    """A benchmark has no rows where they were looked for."""


@dataclass(frozen=True)
class Rows:
    """The rows of the splits that a task needs, where they came from, and what is to be said of them."""

    splits: Mapping[str, Sequence[Row]]
    source: str
    notice: str | None = None

    @property
    def digest(self) -> str:
        """Digest of the rows, whatever file they lay in."""
        content = json.dumps(self.splits, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def data_root(argument: Path | None) -> Path | None:
    """The local data root: the argument, else `MANYSHOT_DATA`, else None (rows come from the hub)."""
    root = argument or (Path(os.environ["MANYSHOT_DATA"]) if os.environ.get("MANYSHOT_DATA") else None)
    if root is not None and not root.is_dir():
        raise InputError(f"The data root {root} is not a folder.")
    return root


def load_rows(task: EvalTask, root: Path | None) -> Rows:
    """Rows of the scored split, and of the few-shot split where the task takes examples from one.

    Args:
        task: the lm-eval task.
        root: local data root, or None for the hub.

    Raises:
        NoDataError: there are none.
        InputError: a file holds something else than one JSON object a line.
    """
    splits = (task.scored_split, *_fewshot_splits(task.config))
    if task.generate is not None:
        return Rows({split: _generated_rows(task.generate, split) for split in splits}, "generated")
    if root is None:
        path, name = task.config.get("dataset_path"), task.config.get("dataset_name")
        if not path:
            raise NoDataError(f"{task.name} is not on the hub")
        options = task.config.get("dataset_kwargs") or {}
        read = {split: _hub_rows(path, name, split, **options) for split in splits}
        return Rows(read, f"hub: {task.hub}")
    read = {split: _local_rows(task, split, root) for split in splits}
    return Rows(read, ", ".join(task.files[split] for split in splits), task.local_notice)


def load_examples(source: ExampleSource, root: Path | None) -> list[tuple[str, str]]:
    """Training or validation examples as (prompt, completion) pairs.

    Raises:
        NoDataError: the source names no rows that can be had.
        InputError: a template names a column that the rows lack.
    """
    import jinja2
    import jinja2.sandbox

    environment = jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    try:
        prompt, completion = (
            environment.from_string(source.prompt),
            environment.from_string(source.completion),
        )
        return [(prompt.render(**row), completion.render(**row)) for row in _source_rows(source, root)]
    except jinja2.UndefinedError as error:
        raise InputError(f"A training template asks for a column that the rows lack: {error}.") from error
    except jinja2.TemplateError as error:
        raise InputError(f"A training template is not valid: {error}.") from error


def read_jsonl(path: Path) -> list[Row]:
    """Rows of a JSONL file, one object a line.

    Raises:
        InputError: the file cannot be read, is empty, or a line is broken.
    """
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise InputError(f"{path}, line {number}: expected a JSON object.")
                    rows.append(row)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}: not valid JSON ({error.msg}).") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not rows:
        raise InputError(f"{path} holds no rows.")
    return rows


def _source_rows(source: ExampleSource, root: Path | None) -> Sequence[Row]:
    if source.generate is not None:
        return _generated_rows(source.generate, source.split)
    if root is not None and source.files and source.split in source.files:
        return read_jsonl(root / source.files[source.split])
    if root is None and source.hub:
        return _hub_rows(source.hub, None, source.split)
    raise NoDataError(f"The training data ({source.hub or 'no hub name'}) is not under the data root {root}.")


def _fewshot_splits(config: Mapping[str, Any]) -> tuple[str, ...]:
    if not config.get("num_fewshot"):
        return ()
    own = config.get("fewshot_config") or {}
    if own.get("samples"):
        return ()
    split = own.get("split") or config.get("fewshot_split") or config.get("training_split")
    return (split,) if split else ()


def _local_rows(task: EvalTask, split: str, root: Path) -> list[Row]:
    file = task.files.get(split)
    if file is None:
        raise NoDataError(
            f"no local file is named for the split '{split}' of {task.name}; on the hub: {task.hub}"
        )
    path = root / file
    if not path.is_file():
        raise NoDataError(f"{path} does not exist; on the hub: {task.hub}")
    rows = read_jsonl(path)
    if task.columns is None:
        return rows
    convert = task.columns.resolve()
    try:
        return [convert(row) for row in rows]
    except KeyError as error:
        raise InputError(f"{path} lacks the column {error}.") from error
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path} holds a row that is not as {task.name} expects ({error}).") from error


def _generated_rows(reference: FunctionReference, split: str) -> Sequence[Row]:
    made = _generate(reference)
    if not made.get(split):
        raise NoDataError(f"{reference.module}.{reference.name} makes no rows of the split '{split}'")
    return made[split]


@functools.cache
def _generate(reference: FunctionReference) -> Mapping[str, Sequence[Row]]:
    return reference.resolve()()


def _hub_rows(path: str, name: str | None, split: str, **options: Any) -> list[Row]:
    import datasets

    try:
        return datasets.load_dataset(path, name, split=split, **options).to_list()
    except Exception as error:  # the library raises many kinds; each means that the rows cannot be had
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoDataError(f"{path} cannot be loaded from the hub: {reason}") from error
