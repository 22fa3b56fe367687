"""Which models a document merges, and what they are called as experts of ours."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from merging.mergekit.document import Parameters
from merging.mergekit.methods import TheirMethod
from merging.recipe import AUTO, TOKENIZERS
from results.errors import InputError
from results.validation import quoted


@dataclass(frozen=True)
class Merged:
    """A model that is merged, with its own parameters."""

    location: str
    parameters: Parameters | None


def with_base(
    theirs: TheirMethod, method: str, base: str | None, models: Sequence[Merged], where: str
) -> list[Merged]:
    """Return the models that are merged: with the base or without it, as the method wants it.

    Args:
        theirs: the method.
        method: its name.
        base: the base model, None where none is named.
        models: those that the document lists, with the base or without it.
        where: what an error calls the place.

    Raises:
        InputError: the base is missing, a model is listed twice, or there are too few or too many.
    """
    if base is None and theirs.base in {"required", "first"}:
        raise InputError(f"{where}: merge_method {method!r} needs a 'base_model'.")
    twice = [model for model, times in Counter(one.location for one in models).items() if times > 1]
    if twice:
        raise InputError(f"{where}: the model {quoted(twice[0])} is listed twice; list each once.")
    listed = list(models)
    if base is not None and all(one.location != base for one in listed):
        listed.append(Merged(base, None))
    if theirs.base in {"required", "optional"}:
        listed = [one for one in listed if one.location != base]
    if theirs.base == "first":
        listed.sort(key=lambda one: one.location != base)
    least, most = theirs.models
    if not least <= len(listed) <= (most or len(listed)):
        wanted = f"{least}" if least == most else f"at least {least}"
        of_base = "" if theirs.base in {"merged", "first"} else " beside the base"
        raise InputError(
            f"{where}: merge_method {method!r} merges {wanted} model{'s' if wanted != '1' else ''}{of_base}, "
            f"and {len(listed)} {'is' if len(listed) == 1 else 'are'} listed."
        )
    return listed


def named(locations: Sequence[str]) -> list[str]:
    """Return a name for each model: the last part of its path, numbered where several have the same.

    So are folders called `base`, `union` and `auto`, which say something else where a recipe names a
    tokenizer or a chat template.
    """
    names: list[str] = []
    for location in locations:
        name = Path(location).name or location
        number, free = 1, name
        while free in names or free in {*TOKENIZERS, AUTO}:
            number += 1
            free = f"{name}-{number}"
        names.append(free)
    return names
