"""Where two tokenizers differ: by their files, else by what transformers makes of them.

One tokenizer has many forms: merges as "a b" or ["a", "b"], defaults written or left out, tokenizer.json or
the files from before. So where files differ they are read by `tokenizers`, which writes all in one form; and
where these still differ, or a key beside them decides how they are read, both are loaded and what encodes
texts in each is compared.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from merging.allowed_differences import allowed
from merging.checkpoints.tokenizer_files import (
    chat_template,
    read_mapping,
    same_file,
    tokenizer_files,
    tokens_of,
    vocabulary,
)
from merging.compared_settings import Pair, unequal, with_reasons
from results.errors import InputError

_TEXT_FILES = (
    *("merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"),
    *("vocab.json", "vocab.txt"),
)
_PROBE = "a"
"""A text that shows which tokens are put around any."""


class _Tokenizer:
    """A folder's tokenizer, loaded only where its files do not say enough."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fast = folder / "tokenizer.json"

    @cached_property
    def files(self) -> tuple[str, ...]:
        """The files that say how text is split."""
        if self.fast.is_file():
            return (self.fast.name,)
        return tuple(name for name in _TEXT_FILES if (self.folder / name).is_file())

    @cached_property
    def loaded(self) -> Any:
        """What transformers makes of it; None where it cannot."""
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False, local_files_only=True)
        except Exception:  # whatever stands in its way; the difference of the files stands then
            return None

    @cached_property
    def encoding(self) -> tuple[dict[str, Any], list[int]] | None:
        """What the loaded tokenizer encodes by, and the ids of `_PROBE`."""
        backend = getattr(self.loaded, "backend_tokenizer", None)
        if backend is None:
            return None
        try:
            return json.loads(backend.to_str()), self.loaded(_PROBE).input_ids
        except Exception:  # a tokenizer that cannot encode is one that cannot be loaded
            return None

    def written(self) -> dict[str, Any]:
        """The content of tokenizer.json in the form in which `tokenizers` writes it today, if it can."""
        from tokenizers import Tokenizer

        content = read_mapping(self.fast)
        if not isinstance(content.get("model"), dict):
            raise InputError(f"{self.fast} is not a tokenizer file (it has no model); copy it again.")
        try:
            return json.loads(Tokenizer.from_file(str(self.fast)).to_str())
        except Exception:  # of a kind that it does not know; compared as it is
            return content


def tokenizer_pairs(base: Path, expert: Path) -> dict[str, Pair]:
    """Return every key in which an expert's tokenizer differs from the base's.

    Raises:
        InputError: a file cannot be read, or the two are in forms that cannot be compared.
    """
    files = tokenizer_files(base), tokenizer_files(expert)
    if not files[0] or not files[1]:
        # An expert without a tokenizer says nothing about it.
        return with_reasons({"tokenizer.files": Pair(list(files[0]), list(files[1]))} if files[1] else {})
    ours, theirs = _Tokenizer(base), _Tokenizer(expert)
    written = unequal(_tokenizer_config(base), _tokenizer_config(expert), "tokenizer")
    encoded, same = _encoding_pairs(ours, theirs, all(allowed(key) for key in written))
    written = {key: pair for key, pair in written.items() if not _is_default(key, pair, ours, theirs)}
    templates = Pair(chat_template(base), chat_template(expert))
    if templates.ours != templates.theirs:
        written["tokenizer.chat_template"] = templates
    return with_reasons({**written, **encoded}, {"same": same})


def _encoding_pairs(ours: _Tokenizer, theirs: _Tokenizer, read_alike: bool) -> tuple[dict[str, Pair], bool]:
    """Return where the two differ in encoding texts, beside their tokens' ids, and whether they do not.

    Args:
        ours: the base's.
        theirs: the expert's.
        read_alike: whether nothing beside these files differs that can decide how they are read.
    """
    if not theirs.files or not ours.files:
        return (
            {"tokenizer.files": Pair(list(ours.files), list(theirs.files))} if theirs.files else {}
        ), False
    by_files = _by_files(ours, theirs)
    if by_files == {} and read_alike:
        return {}, True
    if ours.encoding is None or theirs.encoding is None:
        if by_files is None:
            failed = ours if ours.encoding is None else theirs
            raise InputError(
                f"The tokenizer in {failed.folder} cannot be loaded, and the base's and the expert's are in "
                f"different files ({', '.join(ours.files)} against {', '.join(theirs.files)}); save both in "
                "one form, with transformers' save_pretrained."
            )
        return by_files, False
    pairs = _content_pairs(
        ours.encoding[0], theirs.encoding[0], vocabulary(ours.folder) and vocabulary(theirs.folder)
    )
    return pairs, not pairs and ours.encoding[1] == theirs.encoding[1]


def _by_files(ours: _Tokenizer, theirs: _Tokenizer) -> dict[str, Pair] | None:
    """Return where the files differ; None where the two have different ones."""
    if ours.files != theirs.files:
        return None
    if ours.fast.is_file():
        if same_file(ours.fast, theirs.fast):
            return {}
        return _content_pairs(ours.written(), theirs.written(), True)
    return unequal(_hexadecimal(ours), _hexadecimal(theirs), "tokenizer")


def _hexadecimal(tokenizer: _Tokenizer) -> dict[str, str]:
    return {name: (tokenizer.folder / name).read_bytes().hex() for name in tokenizer.files}


def _content_pairs(ours: Mapping[str, Any], theirs: Mapping[str, Any], ids_compared: Any) -> dict[str, Pair]:
    pairs = unequal(_pipeline(ours), _pipeline(theirs), "tokenizer")
    our_ids, their_ids = _token_ids(ours), _token_ids(theirs)
    shared = our_ids.keys() & their_ids.keys()
    if not ids_compared and (moved := sorted(t for t in shared if our_ids[t] != their_ids[t])):
        pairs["tokenizer.ids"] = Pair(_selected(our_ids, moved), _selected(their_ids, moved))
    our_flags, their_flags = _flags(ours), _flags(theirs)
    # Tokens of both that only one sets apart, or sets apart in another way.
    flagged = shared & {*our_flags, *their_flags}
    if differ := sorted(t for t in flagged if our_flags.get(t) != their_flags.get(t)):
        pairs["tokenizer.token_flags"] = Pair(_selected(our_flags, differ), _selected(their_flags, differ))
    return pairs


def _selected(table: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {key: table.get(key) for key in keys}


def _pipeline(content: Mapping[str, Any]) -> dict[str, Any]:
    """What turns text into tokens beside the vocabulary."""
    model = {key: value for key, value in content["model"].items() if key != "vocab"}
    if isinstance(content["model"].get("vocab"), list):  # of a Unigram model: [token, score]
        model["scores"] = [pair[1] for pair in content["model"]["vocab"]]
    rest = {key: value for key, value in content.items() if key not in ("model", "added_tokens")}
    return {**rest, "model": model}


def _token_ids(content: Mapping[str, Any]) -> dict[str, int]:
    return tokens_of({**content, "model": {"vocab": {}, **content["model"]}})


def _flags(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        token["content"]: {key: value for key, value in token.items() if key not in ("id", "content")}
        for token in content.get("added_tokens") or ()
    }


def _tokenizer_config(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            content |= read_mapping(folder / name)
    content.pop("chat_template", None)
    # A token is written as its text, or with its flags, which are compared with what encodes.
    return {
        key: value["content"] if isinstance(value, dict) and "content" in value else value
        for key, value in content.items()
    }


def _is_default(key: str, pair: Pair, ours: _Tokenizer, theirs: _Tokenizer) -> bool:
    """Whether one tokenizer leaves a key out and its class takes the value that the other one says."""
    reason = allowed(key)
    if (reason and not reason.notify) or (pair.ours is not None and pair.theirs is not None):
        return False
    one, value = (ours, pair.theirs) if pair.ours is None else (theirs, pair.ours)
    return one.loaded is not None and getattr(one.loaded, key.partition(".")[2], None) == value
