"""A checkpoint's folder: a local one or a repository of the Hugging Face hub, and the JSON files in it."""

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

from results.errors import InputError
from results.validation import legible

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_LONGEST_REPOSITORY = 200
_WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt", "README.md"]
_BIN = ["pytorch_model*.bin"]
_UNWANTED = ["*/*"]
REMOVED = "removed_weights.json"
"""A file that a folder has in place of weights that were removed: their digests."""


def exists(path: str | Path) -> bool:
    """Whether something is at a path; not where no file can have such a name."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def is_repository(name: str) -> bool:
    """Whether a text has the form of a name on the hub, `owner/name`."""
    return len(name) <= _LONGEST_REPOSITORY and bool(_REPOSITORY.fullmatch(name))


def convert_advice(file: Path) -> str:
    """What to do with a GGUF file."""
    return f"make a checkpoint of it first: manyshot convert {shlex.quote(str(file))} OUT"


def locate(path: str | Path) -> Path:
    """Return the local folder of a checkpoint, downloading a hub repository where that is what is named.

    A folder that exists wins; else a name of the form `org/name` is fetched from the hub: weights as
    safetensors or, where there are none, as .bin; configuration, tokenizer and model card; nothing else.
    `HF_HUB_OFFLINE=1` limits it to what is cached.

    Raises:
        InputError: neither a folder nor a repository that can be downloaded.
    """
    folder, name = Path(path), str(path)
    try:
        if folder.is_dir():
            return folder
        if folder.exists():
            if folder.suffix == ".gguf":
                raise InputError(f"{name} is a GGUF file; {convert_advice(folder)}.")
            raise InputError(
                f"{name} is a file; a checkpoint is a folder with config.json and *.safetensors."
            )
    except OSError as error:
        raise InputError(f"{legible(name)} cannot be looked for ({error.strerror}).") from None
    if not is_repository(name):
        raise InputError(
            f"{legible(name)}: no such folder; give a checkpoint's folder or a hub name (org/name)."
        )
    return _download(name)


def are_removed(folder: Path) -> bool:
    """Whether a checkpoint's weights were removed."""
    return (folder / REMOVED).is_file()


def refuse_removed(folder: Path) -> None:
    """Refuse a checkpoint whose weights were removed.

    Raises:
        InputError: they were.
    """
    if are_removed(folder):
        raise InputError(
            f"The weights of {folder} were removed when it had been scored (`--keep-merged no`); a run "
            "that wants more of it merges it again."
        )


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, HFValidationError

    def fetch(patterns: list[str]) -> Path:
        return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=_UNWANTED))

    try:
        folder = fetch(_WANTED)
        return folder if any(folder.glob("*.safetensors")) else fetch([*_WANTED, *_BIN])
    except (OSError, EntryNotFoundError, HFValidationError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        raise InputError(
            f"{name} is no local folder, and could not be fetched from the hub{offline}; give a folder, or "
            "see with --debug what the hub said."
        ) from error


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.") from None
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}).") from error


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file that must be a mapping.

    Raises:
        InputError: the file is missing, is not JSON, or holds something else.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no mapping from keys to values; copy or download it again.")
    return content
