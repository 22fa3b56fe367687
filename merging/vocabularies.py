"""The tokens of a merged model, where they are not simply the base's, and its tables' rows by token."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.token_rows import vocabulary_size
from merging.checkpoints.tokenizer_files import tokenizer_files, vocabulary
from merging.joined_tokenizer import AddedTokens, added_tokens
from merging.token_choices import BASE, ChosenRow, TokenChoice, chosen_row, sentence_of
from results.errors import InputError, and_more
from results.words import counted

_NAMED = 10
"""Tokens that notices name, of many."""


@dataclass(frozen=True)
class MergedVocabulary:
    """The tokens that a merged model has.

    Attributes:
        folder: of the tokenizer's files.
        called: whose it is, in a sentence.
        tokens: token -> id.
        rows: of the tables.
        chosen: whether the recipe names a tokenizer that may be another than the base's.
        joins: whether it is a union.
        added: what is added to the files.
        choices: rows that the recipe chooses, by row.
        notices: a sentence each.
    """

    folder: Path
    called: str
    tokens: Mapping[str, int]
    rows: int
    chosen: bool = False
    joins: bool = False
    added: AddedTokens = field(default_factory=AddedTokens)
    choices: Mapping[int, ChosenRow] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def by_token(self) -> bool:
        """Whether the recipe says which token is which, so that ids may differ."""
        return self.chosen or self.joins or bool(self.choices)


def merged_vocabulary(
    base: Checkpoint,
    experts: Mapping[str, Checkpoint],
    tokenizer: str = "base",
    pad_to_multiple_of: int | None = None,
    tokens: Mapping[str, TokenChoice] = MappingProxyType({}),
) -> MergedVocabulary | None:
    """Return the tokens that a recipe asks for; None where nothing is to be matched by token.

    Under `base` that is where all have the same rows, or no tokens are known to match them by.

    Args:
        base: of the merge.
        experts: by name.
        tokenizer: as in a recipe.
        pad_to_multiple_of: as in a recipe.
        tokens: rows that the recipe chooses, by token; a token that the tokenizer lacks is added to it.

    Raises:
        InputError: the recipe names neither an expert nor a folder with a tokenizer, or tokens are unknown.
    """
    known = {name: tokens_of(expert, base) for name, expert in experts.items()}
    ours = vocabulary(base.home)
    rows = {vocabulary_size(one.config) for one in (base, *experts.values())}
    own_rows = vocabulary_size(base.config)
    if (
        tokenizer == "base"
        and pad_to_multiple_of is None
        and not tokens
        and (len(rows) == 1 or ours is None or any(one is None for one in known.values()))
    ):
        return None
    if ours is None or own_rows is None:
        raise InputError(
            f"The base ({base.home}) has no vocabulary that can be read (tokenizer.json or vocab.json) or no "
            "`vocab_size`, by which rows could be matched; save its tokenizer with transformers."
        )
    if tokenizer == "base":
        chosen = MergedVocabulary(base.home, "the base's", ours, own_rows)
    elif tokenizer == "union":
        chosen = _union(base, experts, ours, own_rows, known, wanted=list(tokens))
    else:
        chosen = _named(tokenizer, experts)
    if tokens:
        chosen = _with_choices(chosen, tokens, experts, {**known, BASE: ours})
    if pad_to_multiple_of is not None:
        needed = max(chosen.tokens.values()) + 1
        chosen = replace(chosen, rows=-(-needed // pad_to_multiple_of) * pad_to_multiple_of)
    alike = all(one is None or one.items() <= ours.items() for one in known.values())
    is_bases = chosen.folder == base.home and not chosen.added.tokens and rows == {chosen.rows}
    return None if is_bases and alike and not tokens else chosen


def _with_choices(
    merged: MergedVocabulary,
    tokens: Mapping[str, TokenChoice],
    experts: Mapping[str, Checkpoint],
    known: Mapping[str, Mapping[str, int] | None],
) -> MergedVocabulary:
    """Return a vocabulary with the rows that a recipe chooses, and the tokens of which it lacks some.

    Raises:
        InputError: an expert is called as the base is in the choices, or a choice is wrong.
    """
    if BASE in experts:
        raise InputError(
            f"An expert is called '{BASE}', which is the base in `tokenizer.tokens`; give it another name."
        )
    rows = {token: chosen_row(token, choice, known) for token, choice in tokens.items()}
    new = [token for token in tokens if token not in merged.tokens]
    if new:  # of a union they are there already
        owners = {token: next(_having(token, experts, known), None) for token in new}
        added = added_tokens(merged.folder, merged.tokens, owners)
        merged = replace(merged, tokens={**merged.tokens, **added.tokens}, added=added)
    # A base's tokenizer may have tokens behind the rows of its tables.
    merged = replace(merged, rows=max(merged.rows, *(merged.tokens[token] + 1 for token in tokens)))
    notices = [sentence_of(token, row) for token, row in list(rows.items())[:_NAMED]]
    if len(rows) > len(notices):
        notices.append(f"so {counted(len(rows) - len(notices), 'more token')}")
    choices = {merged.tokens[token]: row for token, row in rows.items()}
    return replace(merged, choices=choices, notices=(*merged.notices, *notices))


def _having(
    token: str, experts: Mapping[str, Checkpoint], known: Mapping[str, Mapping[str, int] | None]
) -> Iterator[Checkpoint]:
    """The experts that have a token."""
    return (expert for name, expert in experts.items() if token in (known[name] or ()))


def _union(
    base: Checkpoint,
    experts: Mapping[str, Checkpoint],
    ours: Mapping[str, int],
    rows: int,
    known: Mapping[str, Mapping[str, int] | None],
    *,
    wanted: Sequence[str],
) -> MergedVocabulary:
    """Return the base's tokens, behind them those that only experts have, and wanted ones that nobody has."""
    owners: dict[str, list[str]] = {}
    for name, tokens in known.items():
        for token in sorted(set(tokens or ()) - set(ours), key=lambda one: (tokens or {})[one]):
            owners.setdefault(token, []).append(name)
    new = {token: experts[names[0]] for token, names in owners.items()}
    nobodys = dict.fromkeys(token for token in wanted if token not in ours and token not in new)
    added = added_tokens(base.home, ours, {**new, **nobodys})
    notices = [
        f"the token {token!r} of {_experts(names)} is in the merged model at the id {added.tokens[token]}"
        for token, names in list(owners.items())[:_NAMED]
    ]
    if len(owners) > len(notices):
        notices.append(f"so {counted(len(owners) - len(notices), 'more token')} of experts")
    tokens = {**ours, **added.tokens}
    needed = max(tokens.values()) + 1
    return MergedVocabulary(
        base.home, "union", tokens, max(rows, needed), joins=True, added=added, notices=tuple(notices)
    )


def _named(wanted: str, experts: Mapping[str, Checkpoint]) -> MergedVocabulary:
    owner = experts.get(wanted)
    folder = Path(wanted) if owner is None else owner.tokenizer_folder
    if owner is None and (not folder.is_dir() or not tokenizer_files(folder)):
        raise InputError(
            f"`tokenizer` is {wanted!r}, which is neither base, union, an expert ({', '.join(experts)}) nor "
            "a folder with a tokenizer."
        )
    tokens = vocabulary(folder)
    if not tokens:
        raise InputError(
            f"{folder} has no vocabulary that can be read (tokenizer.json or vocab.json); save its tokenizer "
            "with transformers."
        )
    needed = max(tokens.values()) + 1
    rows = needed if owner is None else max(needed, vocabulary_size(owner.config) or 0)
    notice = f"the merged model has the tokenizer of {_experts([wanted]) if owner else folder.name}"
    return MergedVocabulary(folder, folder.name, tokens, rows, chosen=True, notices=(notice,))


def _experts(names: Iterable[str]) -> str:
    named = [repr(name) for name in names]
    return f"expert {named[0]}" + (f"{and_more(named)}" if len(named) > 1 else "")


def tokens_of(one: Checkpoint, base: Checkpoint) -> Mapping[str, int] | None:
    """Return a checkpoint's tokens: the base's where it has no tokenizer and as many rows; else None."""
    theirs, ours = vocabulary_size(one.config), vocabulary_size(base.config)
    if tokenizer_files(one.tokenizer_folder) or theirs != ours:
        return vocabulary(one.tokenizer_folder)
    return vocabulary(base.home)
