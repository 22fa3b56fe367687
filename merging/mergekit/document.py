"""What a file of mergekit may say: its keys, as they stand."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from results.errors import InputError
from results.validation import Settings, quoted


def is_document(content: object) -> bool:
    """Whether what a YAML file holds is one of mergekit's documents and no recipe of ours."""
    if not isinstance(content, Mapping):
        return False
    slices = content.get("slices")
    of_slices = isinstance(slices, list) and any(
        isinstance(one, Mapping) and "sources" in one for one in slices
    )
    return "merge_method" in content or of_slices


def location_of(value: object) -> object:
    """Return a reference to a model as one text: `path`, or `path+adapter`.

    Raises:
        ValueError: it names a revision or another architecture.
    """
    if not isinstance(value, Mapping):
        return value
    for key in value:
        if key not in {"model", "lora", "path", "revision"} and value[key] is not None:
            raise ValueError(f"the key '{key}' of a model is not supported; give its path alone")
    if value.get("revision"):
        raise ValueError("a model's revision is not supported; download it and give its folder")
    if "path" in value:
        return value["path"]
    model, adapter = location_of(value.get("model")), location_of(value.get("lora"))
    return model if adapter is None else f"{model}+{adapter}"


Reference = Annotated[str, BeforeValidator(location_of), Field(min_length=1)]
"""A model: its folder or hub name, `model+adapter` with an adapter."""
Parameters = dict[str, Any]
"""Settings of a method by name: numbers, lists over the depth, or lists of `{filter, value}`."""


class ModelIn(Settings):
    """A model that is merged."""

    model: Reference
    parameters: Parameters | None = None


class Source(Settings):
    """Some blocks of a model."""

    model: Reference
    layer_range: Annotated[list[int], Field(min_length=2, max_length=2)]
    """First block, and the one behind the last."""
    parameters: Parameters | None = None


class Slice(Settings):
    """Blocks of the merged model, and what they are merged from."""

    sources: list[Source] = Field(min_length=1)
    base_model: Reference | None = None
    parameters: Parameters | None = None


class TokenSpec(Settings):
    """The row of one token."""

    source: Any
    """A model, `{kind: model_token, model, token}` (or `token_id`), or `{kind: zero}`."""
    force: bool = False


class TokenizerSpec(Settings):
    """How the merged model's tokenizer is made."""

    source: Any = "union"
    tokens: dict[str, TokenSpec] | None = None
    pad_to_multiple_of: int | None = None


class Document(Settings):
    """One merge."""

    merge_method: str
    name: str | None = Field(None, min_length=1, pattern=r"^[^/\x00]+$")
    """By which later documents of the file refer to the merged model."""
    base_model: Reference | None = None
    models: list[ModelIn] | None = Field(None, min_length=1)
    slices: list[Slice] | None = Field(None, min_length=1)
    modules: None = None
    """Parts of models; what the only one says has become the document's own."""
    parameters: Parameters | None = None
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: Any = None
    tokenizer: TokenizerSpec | str | None = None
    chat_template: str | None = None
    random_seed: int | None = Field(None, ge=0, lt=2**63)


def output_dtype(document: Document, where: str) -> Any:
    """Return the dtype of the merged weights, None where the document leaves it to the models.

    Raises:
        InputError: it is none that models are written in.
    """
    for key in ("out_dtype", "dtype"):
        value = getattr(document, key)
        if value is not None:
            name = value.removeprefix("torch.")
            if name not in {"float32", "bfloat16", "float16"}:
                raise InputError(
                    f"{where}: '{key}' is {quoted(value)}, where float32, bfloat16 or float16 is expected."
                )
            return name
    return None
