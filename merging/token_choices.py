"""Which row a token of the merged model has, where a recipe says so token by token, as mergekit does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from results.errors import InputError
from results.validation import Settings, quoted

BASE = "base"
"""What the base is called among the experts' names."""


class RowOfModel(Settings):
    """The row of a model for any of its tokens."""

    kind: Literal["model_token"]
    model: str = Field(min_length=1)
    """`base`, or an expert's name."""
    token: str | None = None
    """The token."""
    token_id: int | None = Field(None, ge=0)
    """The token's id, in its place."""

    @model_validator(mode="after")
    def _has_one(self) -> "RowOfModel":
        if (self.token is None) == (self.token_id is None):
            raise ValueError("give either 'token' or 'token_id'")
        return self


class RowOfZeros(Settings):
    """A row of zeros."""

    kind: Literal["zero"]


def _source(value: object) -> object:
    kinds: dict[Any, type[Settings]] = {"model_token": RowOfModel, "zero": RowOfZeros}
    if isinstance(value, Mapping):
        kind = kinds.get(value.get("kind"))
        if kind is None:
            raise ValueError(f"'kind' is {quoted(value.get('kind'))}, where model_token or zero is expected")
        return kind.model_validate(value)
    if not isinstance(value, str | Settings) or value == "":
        raise ValueError("a model, {kind: model_token, model: …, token: …} or {kind: zero} is expected")
    return value


class TokenChoice(Settings):
    """The row of one token: of what, and in which models it stands."""

    source: Annotated[str | RowOfModel | RowOfZeros, BeforeValidator(_source)]
    """`base` or an expert's name, whose row of this token it is; or `{kind: model_token, model, token}` (or
    `token_id`), the row of another token; or `{kind: zero}`."""
    force: bool = False
    """Whether it replaces the rows of the models that have the token; else only those that lack it get it."""


@dataclass(frozen=True)
class ChosenRow:
    """A row of the merged tables that a recipe chooses.

    Attributes:
        model: whose row it is, `base` or an expert's name; None for zeros.
        place: the row there.
        force: whether it stands in all models.
    """

    model: str | None
    place: int = 0
    force: bool = False


def chosen_row(token: str, choice: TokenChoice, models: Mapping[str, Mapping[str, int] | None]) -> ChosenRow:
    """Return which row a recipe chooses for a token.

    Args:
        token: of the merged model.
        choice: what the recipe says of it.
        models: the tokens of the base, under `base`, and of the experts, by name; None where not known.

    Raises:
        InputError: names a model that is none of these, or a token that it lacks.
    """
    source = choice.source
    if isinstance(source, RowOfZeros):
        return ChosenRow(None, force=choice.force)
    name, wanted = (source, token) if isinstance(source, str) else (source.model, source.token)
    said = f"`tokenizer.tokens` gives {token!r} the row of {name!r}"
    if name not in models:
        experts = ", ".join(sorted(models.keys() - {BASE}))
        raise InputError(f"{said}, which is neither base nor an expert ({experts}).")
    if isinstance(source, RowOfModel) and source.token_id is not None:
        return ChosenRow(name, source.token_id, choice.force)
    tokens = models[name]
    if tokens is None:
        raise InputError(f"{said}, whose vocabulary cannot be read (tokenizer.json or vocab.json).")
    assert wanted is not None
    if wanted not in tokens:
        raise InputError(f"{said}, which lacks the token {wanted!r}.")
    return ChosenRow(name, tokens[wanted], choice.force)


def sentence_of(token: str, row: ChosenRow) -> str:
    """Return what a notice says of a choice."""
    whose = "of zeros" if row.model is None else "of the base" if row.model == BASE else f"of {row.model!r}"
    where = "in all models" if row.force else "in the models that lack it"
    at = "" if row.model is None else f" at {row.place}"
    return f"the token {token!r} has the row {whose}{at} {where}, as `tokenizer.tokens` says"
