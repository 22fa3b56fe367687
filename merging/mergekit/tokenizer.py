"""The tokenizer of a document of mergekit as a recipe of ours says it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from merging.mergekit.document import Document, TokenizerSpec, location_of
from merging.mergekit.slices import Sliced
from merging.recipe import TOKENIZERS
from merging.token_choices import BASE, TokenChoice
from results.errors import InputError
from results.validation import quoted, validated


class ReadTokenizer(NamedTuple):
    """As in a recipe of ours: whose tokens, what rows are filled up to, and rows of single tokens."""

    source: str
    pad_to_multiple_of: int | None
    tokens: dict[str, TokenChoice]


def read_tokenizer(
    document: Document, merge: Sliced, place_of: Callable[[str], str], where: str
) -> ReadTokenizer:
    """Return the tokenizer of a document.

    Args:
        document: of mergekit.
        merge: its base and experts, as locations.
        place_of: gives the location of a model that the document names.
        where: what an error calls the document.

    Raises:
        InputError: the document has both keys, or names as a source what is none.
    """
    given = document.tokenizer
    if given is not None and document.tokenizer_source is not None:
        raise InputError(f"{where}: give either 'tokenizer_source' or 'tokenizer'.")
    spec = given if isinstance(given, TokenizerSpec) else TokenizerSpec(source=given)
    models = {merge.base: BASE} | {location: name for name, location in merge.experts.items()}
    tokens = {
        token: validated(
            TokenChoice,
            {"source": _row(choice.source, models, place_of), "force": choice.force},
            f"{where}: 'tokenizer.tokens.{token}'",
        )
        for token, choice in (spec.tokens or {}).items()
    }
    wanted = document.tokenizer_source if given is None else spec.source
    if wanted is None:
        return ReadTokenizer(BASE, spec.pad_to_multiple_of, tokens)
    if not isinstance(wanted, str):
        raise InputError(
            f"{where}: the tokenizer source {quoted(wanted)} is not supported; say 'base', 'union' or a "
            "model."
        )
    if wanted in TOKENIZERS:
        return ReadTokenizer(wanted, spec.pad_to_multiple_of, tokens)
    place = place_of(wanted)
    name = next((name for name, location in merge.experts.items() if location == place), place)
    return ReadTokenizer(name, spec.pad_to_multiple_of, tokens)


def _row(source: Any, models: Mapping[str, str], place_of: Callable[[str], str]) -> Any:
    """Return the source of a row with its model as the recipe calls it, where it is one of the merge."""

    def name(reference: Any) -> Any:
        try:
            location = location_of(reference)
        except ValueError:
            return reference
        return models.get(place_of(location), location) if isinstance(location, str) else location

    if isinstance(source, Mapping) and "kind" in source:
        return {**source, "model": name(source["model"])} if "model" in source else source
    return name(source)
