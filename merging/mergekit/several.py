"""Several documents in one file: each may take models from others by their names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merging.mergekit.document import Document, TokenizerSpec, is_document
from merging.recipe import TOKENIZERS
from results.errors import InputError
from results.validation import quoted, validated


@dataclass(frozen=True)
class Named:
    """A document.

    Attributes:
        content: as read.
        name: by which others refer to it; None for the one that the file is for.
        builds_on: names of others that it takes models from.
    """

    content: Mapping[str, Any]
    name: str | None
    builds_on: tuple[str, ...]


def in_order(contents: Sequence[Any], file: Path) -> list[Named]:
    """Return the documents of a file so that each stands behind those that it builds on.

    The last is the one without a name or, where all have one, the file's last.

    Raises:
        InputError: one is none of mergekit's, has another's name, or builds on itself.
    """
    for i, content in enumerate(contents):
        if not is_document(content):
            raise InputError(
                f"{file}: document {i + 1} of {len(contents)} is no merge of mergekit's; several are read of "
                "these alone."
            )
    parsed = [validated(Document, dict(content), str(file)) for content in contents]
    names = [document.name for document in parsed]
    for name in names:
        if names.count(name) > 1:
            what = "have no name" if name is None else f"are called {quoted(name)}"
            raise InputError(f"{file}: several documents {what}; name each but one, each otherwise.")
    waiting = [
        Named(content, document.name, tuple(sorted(_references(document).intersection(set(names) - {None}))))
        for content, document in zip(contents, parsed, strict=True)
    ]
    last = next((one for one in waiting if one.name is None), waiting[-1])
    ordered: list[Named] = []
    while waiting:
        done = {one.name for one in ordered}
        ready = [one for one in waiting if done.issuperset(one.builds_on)]
        if not ready:
            raise InputError(f"{file}: the documents build on each other in a circle.")
        chosen = next((one for one in ready if one is not last), ready[0])
        ordered.append(chosen)
        waiting.remove(chosen)
    if ordered[-1] is not last:
        raise InputError(
            f"{file}: a document builds on the last one, {quoted(last.name)}; put it last itself."
        )
    return ordered


def _references(document: Document) -> set[str]:
    models = [one.model for one in document.models or ()]
    sources = [source.model for one in document.slices or () for source in one.sources]
    bases = [one.base_model for one in document.slices or ()]
    # Rows of single tokens are of models that are merged.
    given = document.tokenizer.source if isinstance(document.tokenizer, TokenizerSpec) else document.tokenizer
    tokenizers = [one for one in (given, document.tokenizer_source) if one not in TOKENIZERS]
    every = (document.base_model, *models, *sources, *bases, *tokenizers)
    return {reference.partition("+")[0] for reference in every if isinstance(reference, str)}
