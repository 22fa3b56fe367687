"""Checkpoints as a merged model's tokens have them: its rows in their tables, its ids in their settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.patched import Part, PatchedCheckpoint
from merging.checkpoints.token_rows import (
    ChosenRows,
    FilledRows,
    TokenRows,
    mean_row,
    token_tables,
    with_vocabulary_size,
)
from merging.checkpoints.tokenizer_files import vocabulary
from merging.checkpoints.when_used import torch
from merging.token_choices import BASE
from merging.vocabularies import MergedVocabulary, tokens_of
from results.errors import InputError

_ID = "_token_id"


def in_vocabulary(
    merged: MergedVocabulary, base: Checkpoint, experts: Mapping[str, Checkpoint]
) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    """Return checkpoints whose tables have a row for each token of the merged model, and their ids.

    A token that the base lacks has the mean of the rows of those experts that have it, in all checkpoints. So
    its task vectors are 0, and a method of task vectors keeps it; one of the weights themselves, such as
    `slerp` or `weighted_sum`, merges it like any row. An expert that lacks a token has the base's row.
    So have rows without a token, which are the base's own where its ids are kept, else the mean of its rows.
    A row that the recipe chooses is that of all that lack the token, the base among them, or of all.

    Raises:
        InputError: the tables of the base are not known, or lack a row that the recipe chooses.
    """
    tables = token_tables(base)
    if not tables:
        raise InputError(
            f"The base {base.folder} is of a kind whose tables of tokens are not known "
            f"(`model_type: {base.config.get('model_type')}`); resize all to one tokenizer first."
        )
    parts: dict[str, Part] = {}
    tables_of: dict[str, dict[str, Part]] = {name: {} for name in experts}
    for table in tables:
        ours = _base_places(merged, base, base.info(table).shape[0])
        # An expert without the table is refused by what compares the tensors.
        having = {name: one for name, one in experts.items() if table in one.names}
        theirs = {
            name: _places(merged, tokens_of(one, base), one, one.info(table).shape[0])
            for name, one in having.items()
        }
        chosen = _chosen(merged, {**experts, BASE: base}, table)
        forced = [row for row, choice in merged.choices.items() if choice.force]
        kept_rows = ours >= 0
        kept_rows[list(chosen)] = True
        ours[forced] = -1
        donors = {
            row: [(having[name], table, int(rows[row])) for name, rows in theirs.items() if rows[row] >= 0]
            for row in (~kept_rows).nonzero()[:, 0].tolist()
        }
        shape = (merged.rows, *base.info(table).shape[1:])
        filled: Part = FilledRows(shape, donors, _mean_once(base, table))
        filled = ChosenRows(filled, chosen) if chosen else filled
        dtype = base.info(table).dtype
        parts[table] = seen = TokenRows(base, table, ours, filled, dtype)
        # Where the base keeps its own row; elsewhere it has the chosen one, in its own dtype.
        others = {row: where for row, where in chosen.items() if ours[row] >= 0}
        lacked = ChosenRows(seen, others) if others else seen
        for name, one in having.items():
            own = torch.where(kept_rows, theirs[name], -1)
            own[forced] = -1
            # The base's rows exactly as they are, so that their task vectors are 0.
            kept = dtype if one.info(table).dtype == dtype else "F32"
            tables_of[name][table] = TokenRows(one, table, own, lacked, kept)
    return PatchedCheckpoint(base, parts, *_settings(merged, base, experts)), {
        name: PatchedCheckpoint(one, tables_of[name], *_by_token(merged, one, base))
        for name, one in experts.items()
    }


def _chosen(
    merged: MergedVocabulary, models: Mapping[str, Checkpoint], table: str
) -> dict[int, tuple[Checkpoint, str, int] | None]:
    """Return where the rows of a table lie that the recipe chooses; None for zeros."""
    found: dict[int, tuple[Checkpoint, str, int] | None] = {}
    for row, choice in merged.choices.items():
        if choice.model is None:
            found[row] = None
            continue
        owner = models[choice.model]
        # One without the table is refused by what compares the tensors.
        if table in owner.names and choice.place >= (rows := owner.info(table).shape[0]):
            raise InputError(
                f"`tokenizer.tokens` takes the row {choice.place} of {owner.folder}, whose table {table} has "
                f"{rows} rows, counted from 0."
            )
        found[row] = (owner, table, choice.place)
    return found


def _base_places(merged: MergedVocabulary, base: Checkpoint, rows: int) -> torch.Tensor:
    ours = _places(merged, vocabulary(base.home), base, rows)
    if merged.chosen:
        return ours
    # The base's ids are kept, and its rows without a token with them.
    place, unnamed = torch.arange(merged.rows), torch.ones(merged.rows, dtype=torch.bool)
    unnamed[[place for place in merged.tokens.values() if place < merged.rows]] = False
    return torch.where(unnamed & (place < rows), place, ours)


def settings_in_vocabulary(
    merged: MergedVocabulary, base: Checkpoint, experts: Mapping[str, Checkpoint]
) -> tuple[Checkpoint, dict[str, Checkpoint]]:
    """Return checkpoints with their own tensors and the merged model's ids and rows in their settings."""
    return (
        PatchedCheckpoint(base, {}, *_settings(merged, base, experts)),
        {name: PatchedCheckpoint(one, {}, *_by_token(merged, one, base)) for name, one in experts.items()},
    )


def _by_token(
    merged: MergedVocabulary, one: Checkpoint, base: Checkpoint
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return a checkpoint's configuration and generation settings with the merged model's ids and rows.

    The id of a token that the merged model lacks becomes the token.
    """
    tokens = tokens_of(one, base)
    if tokens is None:
        return with_vocabulary_size(one.config, merged.rows), one.generation_settings()
    texts = {place: token for token, place in tokens.items()}

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(each) for each in value]
        token = texts.get(value) if isinstance(value, int) and not isinstance(value, bool) else None
        return value if token is None else merged.tokens.get(token, token)

    generation = one.generation_settings()
    config = with_vocabulary_size(_each_id(one.config, moved), merged.rows)
    return config, None if generation is None else _each_id(generation, moved)


def _each_id(content: Mapping[str, Any], moved: Any) -> dict[str, Any]:
    return {
        key: _each_id(value, moved)
        if isinstance(value, Mapping)
        else moved(value)
        if key.endswith(_ID)
        else value
        for key, value in content.items()
    }


def _with_ids(content: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the ids of others, in those mappings within that both have."""
    changed = dict(content)
    for key, value in theirs.items():
        if isinstance(value, Mapping):
            if isinstance(ours := content.get(key), Mapping):
                changed[key] = _with_ids(ours, value)
        elif key.endswith(_ID):
            changed[key] = value
    return changed


def _ids(content: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every id in settings with its key, dotted where it lies in a mapping within."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _ids(value, f"{within}{key}.")
        elif key.endswith(_ID):
            yield f"{within}{key}", value


def _settings(
    merged: MergedVocabulary, base: Checkpoint, experts: Mapping[str, Checkpoint]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the merged model's configuration and generation settings: the base's, by the tokenizer's ids."""
    config, generation = _by_token(merged, base, base)
    owner = next((one for one in experts.values() if one.tokenizer_folder == merged.folder), None)
    if merged.chosen and owner is not None:
        theirs, said = _by_token(merged, owner, base)
        config = _with_ids(config, theirs)
        generation = None if generation is None else _with_ids(generation, theirs if said is None else said)
    for key, value in (*_ids(config), *_ids(generation or {})):
        lost = [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]
        if lost:
            raise InputError(
                f"The tokenizer {merged.called} lacks the token {lost[0]!r}, which `{key}` of the merged "
                "model means; name a tokenizer that has it."
            )
    return config, generation


def _places(
    merged: MergedVocabulary, tokens: Mapping[str, int] | None, one: Checkpoint, rows: int
) -> torch.Tensor:
    """Return a checkpoint's row for each row of the merged tables, −1 where it has none."""
    places = torch.full((merged.rows,), -1, dtype=torch.int64)
    if tokens is None:
        raise InputError(
            f"{one.folder} has no vocabulary that can be read (tokenizer.json or vocab.json), by which its "
            "tokens could be matched; put its tokenizer beside it."
        )
    for token, place in merged.tokens.items():
        if place < merged.rows and (own := tokens.get(token, rows)) < rows:
            places[place] = own
    return places


def _mean_once(base: Checkpoint, table: str) -> Any:
    kept: list[torch.Tensor] = []

    def mean() -> torch.Tensor:
        if not kept:
            kept.append(mean_row(base, table))
        return kept[0]

    return mean
