"""The tokenizer of a union: the base's files with the tokens that only experts have behind its own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.folders import read_mapping
from results.errors import InputError

_FAST, _SETTINGS, _OLD = "tokenizer.json", "tokenizer_config.json", "added_tokens.json"
_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}


@dataclass(frozen=True)
class AddedTokens:
    """Tokens with their ids, and the files of the base's tokenizer that change, by name."""

    tokens: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the files over those of the base in a folder."""
        for name, content in self.files.items():
            text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
            (folder / name).write_text(text, encoding="utf-8")


def added_tokens(home: Path, ours: Mapping[str, int], owners: Mapping[str, Checkpoint | None]) -> AddedTokens:
    """Return what a merge adds to a tokenizer.

    Tokens that an expert's tokenizer sets apart are set apart in the same way. Those of its model join the
    base's model where that knows whole words (WordLevel, WordPiece, BPE that ignores merges for them), and
    are set apart otherwise.

    Args:
        home: the tokenizer's folder.
        ours: its tokens.
        owners: an expert for each new token, in the order of the new ids; None where no expert has it, and
            it is set apart.

    Raises:
        InputError: the base's tokenizer has no tokenizer.json, or cannot take the tokens at these ids.
    """
    if not owners:
        return AddedTokens()
    file = home / _FAST
    if not file.is_file():
        raise InputError(
            f"{home} has no {_FAST}, to which the recipe adds the token {next(iter(owners))!r}; save "
            "its tokenizer with transformers' save_pretrained."
        )
    content = read_mapping(file)
    model = dict(content["model"])
    whole_words = model.get("type") in ("WordLevel", "WordPiece") or bool(model.get("ignore_merges"))
    apart: list[dict[str, Any]] = []
    words: dict[str, int] = {}
    tokens: dict[str, int] = {}
    for place, (token, owner) in enumerate(owners.items(), start=max(ours.values()) + 1):
        tokens[token] = place
        flags = _FLAGS if owner is None else _flags(owner, token)
        if flags is None and whole_words:
            words[token] = place
        else:
            apart.append({"id": place, "content": token, **(flags or _FLAGS)})
    if words:
        model["vocab"] = {**model["vocab"], **words}
    content = {**content, "model": model, "added_tokens": [*(content.get("added_tokens") or ()), *apart]}
    _refuse_other_ids(home, content, tokens)
    return AddedTokens(tokens, {_FAST: content, **_beside(home, apart)})


def _flags(owner: Checkpoint, token: str) -> dict[str, Any] | None:
    """Return how an expert's tokenizer sets a token apart; None where its model has it."""
    file = owner.tokenizer_folder / _FAST
    for added in (read_mapping(file).get("added_tokens") or ()) if file.is_file() else ():
        if added["content"] == token:
            return {key: value for key, value in added.items() if key not in ("id", "content")}
    return None


def _refuse_other_ids(home: Path, content: Mapping[str, Any], tokens: Mapping[str, int]) -> None:
    from tokenizers import Tokenizer

    try:
        loaded = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # whatever its form makes the library stumble over
        raise InputError(
            f"The tokenizer in {home} cannot take an expert's tokens ({' '.join(str(error).split())}); name "
            "one tokenizer in place of `union`."
        ) from error
    for token, place in tokens.items():
        if loaded.token_to_id(token) != place:
            raise InputError(
                f"The tokenizer in {home} has gaps between its ids, so that the token {token!r} would not "
                f"stand at {place}; name one tokenizer in place of `union`."
            )


def _beside(home: Path, apart: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the files beside tokenizer.json that list tokens by their ids, with those set apart."""
    files: dict[str, Any] = {}
    if (home / _SETTINGS).is_file():
        settings = read_mapping(home / _SETTINGS)
        if "added_tokens_decoder" in settings:
            listed = {str(one["id"]): {k: v for k, v in one.items() if k != "id"} for one in apart}
            files[_SETTINGS] = {
                **settings,
                "added_tokens_decoder": {**settings["added_tokens_decoder"], **listed},
            }
    if (home / _OLD).is_file():
        files[_OLD] = {**read_mapping(home / _OLD), **{one["content"]: one["id"] for one in apart}}
    return files
