"""The one place that resolves rows: made here, read from a local data root, or fetched from the hub.

With a data root (`--data`, else `MANYSHOT_DATA`) only local files are used and nothing is ever fetched.
"""

import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.benchmark import EvalTask
from bench.definition import FunctionReference
from bench.hub import NoDataError, hub_rows
from results.errors import InputError
from results.reading import refuse_unwritable
from tasks.errors import WrongColumnError

Row = dict[str, Any]
Origin = Literal["hub", "local", "files", "generated"]
_LONG_LINE = 10**7
_UNWRITABLE = re.compile(r"\\ud|\d{19}", re.IGNORECASE)
"""What a line has that holds half of a surrogate pair, or a whole number beyond 64 bits."""
FORMATS = ("json", "csv", "parquet", "arrow", "text", "xml")
"""Names by which `datasets` reads files."""
logger = logging.getLogger("manyshot.bench")


@dataclass(frozen=True)
class Rows:
    """The rows of the splits that a task needs, their source, and a notice for the reader of scores.

    Attributes:
        splits: the rows by split.
        source: where they came from, for people.
        notice: what is unusual about them.
        origin: the kind of source; rows from the hub were read from it as they are, without local files.
    """

    splits: Mapping[str, Sequence[Row]]
    source: str
    notice: str | None = None
    origin: Origin = "local"

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
        InputError: a file holds something else than one JSON object a line, or a row is not as the task
            reads it.
    """
    splits = (task.scored_split, *fewshot_splits(task.config))
    if task.generate is not None:
        return Rows(
            {split: generated_rows(task.generate, split) for split in splits}, "generated", origin="generated"
        )
    if root is None or _has_own_files(task):
        of_split = _made_rows if task.config.get("custom_dataset") else _hub_rows
        read = {split: _checked_hub_rows(task, of_split(task, split)) for split in splits}
        made: Origin = "generated" if task.config.get("custom_dataset") else "hub"
        names_files = _has_own_files(task) or task.config.get("dataset_path") in FORMATS
        origin: Origin = "files" if names_files else made
        return Rows(read, f"{'files' if _has_own_files(task) else 'hub'}: {_set_name(task)}", origin=origin)
    read = {split: _local_rows(task, split, root) for split in splits}
    scored, notice = len(read[task.scored_split]), None
    if task.size is not None and scored != task.size:
        notice = f"{scored} rows from {_file_of(task, task.scored_split)}; the hub's split has {task.size}"
    return Rows(read, ", ".join(_file_of(task, split) for split in splits), notice)


def count_rows(task: EvalTask, root: Path | None) -> int:
    """Number of rows of the scored split, unread but for their lines.

    Raises:
        NoDataError: there are none, or they are on the hub.
    """
    if task.generate is not None:
        return len(generated_rows(task.generate, task.scored_split))
    if root is None or _has_own_files(task):
        where = "in its own files" if _has_own_files(task) else f"on the hub: {_set_name(task)}"
        raise NoDataError(f"the rows of {task.name} are {where}")
    with _local_file(task, task.scored_split, root).open("rb") as file:
        return sum(1 for line in file if line.strip())


def read_jsonl(path: Path) -> list[Row]:
    """Rows of a JSONL file, one object a line; empty lines are left out.

    Raises:
        InputError: the file cannot be read, is empty, or a line is broken.
    """
    return [row for _, row in numbered_rows(path)]


def numbered_rows(path: Path) -> list[tuple[int, Row]]:
    """The same rows, each with the number of its line, from 1."""
    rows = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if len(line) > _LONG_LINE:
                    logger.warning("%s, line %d has %d million letters", path, number, len(line) // 10**6)
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"{path}, line {number}: expected a JSON object.")
                if _UNWRITABLE.search(line):
                    try:
                        refuse_unwritable(row)
                    except ValueError as error:
                        raise InputError(f"{path}, line {number}: {error}.") from None
                rows.append((number, row))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {number}, character {error.pos + 1}: not valid JSON ({error.msg})."
        ) from error
    except RecursionError:
        raise InputError(f"{path}, line {number}: nested too deeply.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    except ValueError:
        raise InputError(f"{path}, line {number}: a whole number has too many digits to be read.") from None
    if not rows:
        raise InputError(f"{path} holds no rows.")
    return rows


def generated_rows(reference: FunctionReference, split: str) -> Sequence[Row]:
    """Rows that a function of the benchmark makes.

    Raises:
        NoDataError: it makes none of this split.
    """
    made = _generate(reference)
    if not made.get(split):
        raise NoDataError(f"{reference.module}.{reference.name} makes no rows of the split '{split}'")
    return made[split]


def fewshot_splits(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The split that lm-eval takes a task's worked examples from, where it takes any from one.

    Args:
        config: the task's lm-eval configuration.
    """
    if not config.get("num_fewshot"):
        return ()
    own = config.get("fewshot_config") or {}
    split = own.get("split") or config.get("fewshot_split")
    if not split and not own.get("samples"):
        split = config.get("training_split") or config.get("validation_split")
    return (split,) if split else ()


def _has_own_files(task: EvalTask) -> bool:
    """Whether a task's definition itself says where its rows lie on this machine."""
    path, files = str(task.config.get("dataset_path") or ""), _data_files(task)
    if path in FORMATS:
        return bool(files) and not any("://" in file for file in files)
    return os.sep in path and Path(path).is_dir()


def _data_files(task: EvalTask) -> tuple[str, ...]:
    """The files that a task's definition names, of all splits."""
    given = (task.config.get("dataset_kwargs") or {}).get("data_files") or ()
    of_splits = given.values() if isinstance(given, Mapping) else [given]
    files = (str(file) for of in of_splits for file in (of if isinstance(of, list | tuple) else [of]))
    return tuple(dict.fromkeys(files))


def _set_name(task: EvalTask) -> str | None:
    """The data set on the hub, or the files that a task names in place of one."""
    read_as = task.config.get("dataset_path")
    return ", ".join(_data_files(task)) if read_as in FORMATS and _data_files(task) else task.hub


def _hub_rows(task: EvalTask, split: str) -> list[Row]:
    path, name = task.config.get("dataset_path"), task.config.get("dataset_name")
    if not path:
        raise NoDataError(f"{task.name} is not on the hub")
    return hub_rows(
        path, name, split, local=_has_own_files(task), **(task.config.get("dataset_kwargs") or {})
    )


def _made_rows(task: EvalTask, split: str) -> list[Row]:
    """Rows of a task whose definition names a function that fetches or makes them."""
    made = task.config["custom_dataset"]
    options = {**(task.config.get("metadata") or {}), **(task.config.get("dataset_kwargs") or {})}
    try:
        return [dict(row) for row in made.resolve()(**options)[split]]
    except Exception as error:  # whatever the function raises where it does not get what it needs
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise NoDataError(f"the function that makes the rows of {task.name} fails ({reason})") from error


def _file_of(task: EvalTask, split: str) -> str:
    """Where a split's rows lie below a data root: in the file that is named, else by lm-eval's name."""
    return task.files.get(split) or f"lm_eval/{task.name}/{split}.jsonl"


def _local_file(task: EvalTask, split: str, root: Path) -> Path:
    path = root / _file_of(task, split)
    if not path.is_file():
        raise NoDataError(f"{path} does not exist; on the hub: {_set_name(task)}")
    return path


def _local_rows(task: EvalTask, split: str, root: Path) -> list[Row]:
    path = _local_file(task, split, root)
    return _checked(task, ((f"{path}, line {number}", row) for number, row in numbered_rows(path)))


def _checked_hub_rows(task: EvalTask, rows: Sequence[Row]) -> list[Row]:
    name = _set_name(task)
    if not rows:
        raise NoDataError(f"{name} has no rows")
    return _checked(task, ((f"{name}, row {index}", row) for index, row in enumerate(rows)))


def _checked(task: EvalTask, rows: Iterable[tuple[str, Row]]) -> list[Row]:
    """Rows with the hub's columns, each as the task reads it."""
    convert = task.convert.resolve() if task.convert else None
    checked = []
    for source, row in rows:
        try:
            converted = convert(row) if convert else row
            for rule in task.columns:
                rule.check(converted)
            optional = {rule.name: None for rule in task.columns if not rule.required}
        except WrongColumnError as error:
            raise InputError(f"{source}: {error} ({task.name}).") from error
        except KeyError as error:
            raise InputError(f"{source}: the column {error} is missing ({task.name}).") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise InputError(f"{source} is not as {task.name} expects ({error}).") from error
        # A column that no row has would be missing in the data set too.
        checked.append({**optional, **converted})
    return checked


@functools.cache
def _generate(reference: FunctionReference) -> Mapping[str, Sequence[Row]]:
    return reference.resolve()()
