"""The tokenizer beside a checkpoint's weights: its files, and its vocabulary without loading it."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merging.checkpoints.folders import read_mapping
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

_MORE_TEMPLATES = "additional_chat_templates"


def tokenizer_files(folder: Path) -> tuple[str, ...]:
    """Return the tokenizer's files that are in a folder, by their paths in it."""
    more = sorted(f"{_MORE_TEMPLATES}/{file.name}" for file in (folder / _MORE_TEMPLATES).glob("*.jinja"))
    return tuple(name for name in (*TOKENIZER_FILES, *more) if (folder / name).is_file())


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a folder's tokenizer files, with all chat templates, into another."""
    for name in tokenizer_files(source):
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(source / name, target / name)


def vocabulary(folder: Path) -> dict[str, int] | None:
    """Return token -> id as tokenizer.json, else vocab.json, says; None where neither is there.

    A vocabulary that only a binary sentencepiece file holds is not read.
    """
    if (folder / "tokenizer.json").is_file():
        return _fast_vocabulary(folder / "tokenizer.json")
    if (folder / "vocab.json").is_file():
        tokens = read_mapping(folder / "vocab.json")
        if (folder / "added_tokens.json").is_file():
            tokens = tokens | read_mapping(folder / "added_tokens.json")
        return tokens | _listed_tokens(folder / "tokenizer_config.json")
    return None


def both_vocabularies(first: Path, second: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Return the vocabularies of two folders, empty where they need not or cannot be compared.

    They need not where both have the same tokenizer.json; they cannot where one has no vocabulary.
    """
    if not same_file(first / "tokenizer.json", second / "tokenizer.json"):
        ours, theirs = vocabulary(first), vocabulary(second)
        if ours is not None and theirs is not None:
            return ours, theirs
    return {}, {}


def _listed_tokens(path: Path) -> dict[str, int]:
    """Return the tokens that tokenizer_config.json of transformers 4 lists by their ids."""
    if not path.is_file():
        return {}
    try:
        listed = read_mapping(path).get("added_tokens_decoder") or {}
        return {token["content"]: int(place) for place, token in listed.items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} lists no tokens in added_tokens_decoder ({type(error).__name__}: {error}); "
            "copy or download it again."
        ) from error


def _fast_vocabulary(path: Path) -> dict[str, int]:
    try:
        return tokens_of(read_mapping(path))
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise InputError(f"{path} is not a tokenizer file ({type(error).__name__}: {error}).") from error


def tokens_of(content: Mapping[str, Any]) -> dict[str, int]:
    """Return token -> id of the content of a tokenizer.json."""
    stored = content["model"]["vocab"]
    # A Unigram model lists [token, score] pairs in the order of the ids.
    tokens = dict(stored) if isinstance(stored, dict) else {pair[0]: i for i, pair in enumerate(stored)}
    return tokens | {added["content"]: added["id"] for added in content.get("added_tokens") or ()}


def chat_template(folder: Path) -> Any:
    """Return the template of conversations: text, or several by name; None where there is none."""
    template = _main_template(folder)
    more = {
        Path(name).stem: (folder / name).read_text(encoding="utf-8")
        for name in tokenizer_files(folder)
        if name.startswith(_MORE_TEMPLATES)
    }
    if not more:
        return template
    return {**(template if isinstance(template, dict) else {"default": template}), **more}


def write_chat_template(template: Any, folder: Path) -> None:
    """Write a template beside a tokenizer, in place of all that are there.

    Args:
        template: as `chat_template` returns it.
        folder: the tokenizer's.
    """
    for path in (folder / "chat_template.jinja", folder / "chat_template.json"):
        path.unlink(missing_ok=True)
    shutil.rmtree(folder / _MORE_TEMPLATES, ignore_errors=True)
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and "chat_template" in (content := read_mapping(settings)):
        del content["chat_template"]
        settings.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    named = template if isinstance(template, dict) else {"default": template}
    for name, text in named.items():
        path = folder / ("chat_template.jinja" if name == "default" else f"{_MORE_TEMPLATES}/{name}.jinja")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _main_template(folder: Path) -> Any:
    if (folder / "chat_template.jinja").is_file():
        return (folder / "chat_template.jinja").read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file() and (template := read_mapping(folder / name).get("chat_template")):
            if isinstance(template, list):  # as transformers 4 lists several
                return {entry["name"]: entry["template"] for entry in template}
            return template
    return None


def same_file(first: Path, second: Path) -> bool:
    """Return whether two files are there and have the same bytes."""
    return first.is_file() and second.is_file() and first.read_bytes() == second.read_bytes()
