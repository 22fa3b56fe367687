"""The tokenizer beside a checkpoint's weights: its files, and its vocabulary without loading it."""

import json
from pathlib import Path
from typing import Any

from results.errors import InputError

TOKENIZER_FILES = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)


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


def vocabulary(folder: Path) -> dict[str, int] | None:
    """Return token -> id as tokenizer.json, else vocab.json, says; None where neither is there.

    A vocabulary that only a binary sentencepiece file holds is not read.
    """
    if (folder / "tokenizer.json").is_file():
        return _fast_vocabulary(folder / "tokenizer.json")
    if (folder / "vocab.json").is_file():
        tokens = read_json(folder / "vocab.json")
        if (folder / "added_tokens.json").is_file():
            tokens = tokens | read_json(folder / "added_tokens.json")
        return tokens
    return None


def _fast_vocabulary(path: Path) -> dict[str, int]:
    content = read_json(path)
    try:
        stored = content["model"]["vocab"]
        # A Unigram model lists [token, score] pairs in the order of the ids.
        tokens = dict(stored) if isinstance(stored, dict) else {pair[0]: i for i, pair in enumerate(stored)}
        return tokens | {added["content"]: added["id"] for added in content.get("added_tokens") or ()}
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is not a tokenizer file ({type(error).__name__}: {error}).") from error


def added_tokens(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the flags (special, stripped, …) of the tokens that tokenizer.json sets apart, by the token."""
    if not (folder / "tokenizer.json").is_file():
        return {}
    listed = read_json(folder / "tokenizer.json").get("added_tokens") or ()
    return {
        one["content"]: {key: value for key, value in one.items() if key not in ("id", "content")}
        for one in listed
    }


def chat_template(folder: Path) -> Any:
    """Return the template of conversations: text, or several by name; None where there is none."""
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file() and (template := read_json(folder / name).get("chat_template")):
            return template
    return None


def same_file(one: Path, other: Path) -> bool:
    """Return whether two files are there and have the same bytes."""
    return one.is_file() and other.is_file() and one.read_bytes() == other.read_bytes()
