"""A recipe: which experts of which base are merged by which method, as a YAML file says."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from merging.checkpoints.stacked import with_paths
from merging.method_file import absolute
from merging.sources import absolute_location
from merging.token_choices import BASE, TokenChoice
from merging.varying import VaryingNumber
from results.reading import beside
from results.suite import TaskName
from results.validation import Settings, sentence_of, validated

TOKENIZERS = (BASE, "union")
"""What `tokenizer` may say beside an expert's name and a folder."""
AUTO = "auto"
"""What `chat_template` says for the commonest."""
_SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)\s*(B|[KMGT]I?B)?", re.IGNORECASE)
MergeProtocol = Literal["post-hoc", "many-shot"]
Anchor = Literal["base", "previous"]
Keep = Literal["last", "best_average", "best_worst_task"]
Space = Literal["delta", "factors"]
Missing = Literal["refuse", "base", "skip"]
OutputDtype = Literal["float32", "bfloat16", "float16"]
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LARGEST = 2**63 - 1


def _with_its_file(key: str) -> str:
    if not key.startswith(("config.", "generation.", "tokenizer.")):
        raise ValueError("a key that begins with `config.`, `generation.` or `tokenizer.` is expected")
    return key


DifferenceKey = Annotated[str, AfterValidator(_with_its_file)]
"""A key in which experts may differ from the base."""


def size_in_bytes(size: object) -> int:
    """Return a size such as `5GB` (10⁹ bytes each), `500MiB` (2²⁰ bytes each) or 1000 in bytes.

    Raises:
        ValueError: it is not such a size, or is less than one byte or more than 2⁶³.
    """
    if isinstance(size, int) and not isinstance(size, bool):
        total = size
    elif isinstance(size, str) and (match := _SIZE.fullmatch(size.strip())):
        unit = (match[2] or "B").upper()
        total = int(float(match[1]) * (1024 if "I" in unit else 1000) ** _POWERS[unit[0]])
    else:
        raise ValueError("a number of bytes or a size like 5GB or 500MB is expected")
    if not 1 <= total <= _LARGEST:
        raise ValueError("a size from one byte to 2**63 bytes is expected")
    return total


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _as_expert(value: object) -> object:
    return {"path": value} if isinstance(value, str | Path) else value


Location = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
"""A checkpoint's folder or hub name."""


def _choice(token: object, value: object) -> object:
    try:
        return TokenChoice.model_validate(value)
    except ValidationError as error:
        reason = sentence_of(error, TokenChoice, value)
        raise ValueError(f"'tokenizer.tokens.{token}': {reason}") from None


class ExpertSpec(Settings):
    """One expert: where it is, and its weight in the merge."""

    path: Location
    """Its folder, or its name on the hub; `base+adapter` for an adapter on a base that it does not name;
    `a[0:8] | b[4:12]` for blocks of several, stacked."""
    weight: VaryingNumber = 1.0
    """w_t; like a method's settings it may be a list over the depth, or of `{filter, value}`."""


class MethodSpec(Settings):
    """A method's name and, as further keys, its settings."""

    model_config = ConfigDict(extra="allow")

    name: str
    """Of a known method, or `path/to/file.py:Class`."""

    @property
    def settings(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})


class Recipe(Settings):
    """What to merge and how."""

    base: Location
    """θ₀."""
    experts: dict[
        TaskName,
        Annotated[ExpertSpec, BeforeValidator(_as_expert)],
    ] = Field(min_length=1)
    """θ_t by name; their order in the file changes nothing."""
    method: MethodSpec
    """Name and settings."""
    normalize_weights: bool = False
    """Divide the experts' weights by their sum, of every tensor, before the method has them."""
    output_dtype: OutputDtype | None = None
    """Dtype of the merged floats; null keeps each tensor's dtype in the base."""
    max_shard_size: Annotated[int, BeforeValidator(size_in_bytes)] = 5 * 10**9
    """Bytes in one file of weights."""
    seed: int = Field(0, ge=0, lt=2**63)
    """For methods that draw random numbers."""
    space: Space = "delta"
    """Where adapters are merged: `delta`, as what each makes of its base, into a whole model; or `factors`, A
    and B of every matrix apart, into an adapter, as METIS's released code does."""
    chat_template: str | None = None
    """Whose chat template the merged model has: an expert's by its name; `auto`, that which most of the base
    and the experts have; a common form (`alpaca`, `chatml`, `exaone`, `llama3`, `mistral`); that of a jinja
    file; or the template itself, which has a `{`; null for the tokenizer's."""
    trust_remote_code: bool = False
    """Accept checkpoints whose configuration asks for code of its own. Merging runs none; the files of code
    that lie beside the base's weights are copied beside the merged ones."""
    tokenizer: str = "base"
    """Whose tokens the merged model has: `base`; `union`, the base's with those that only experts have behind
    them; an expert by its name; or a folder with a tokenizer. Rows of tables are matched by token."""
    pad_to_multiple_of: int | None = Field(None, ge=1, le=2**20)
    """Rows of the tables are filled up to a multiple of this; null keeps the base's, where they suffice."""
    tokens: dict[Annotated[str, Field(min_length=1)], TokenChoice] = Field(default_factory=dict)
    """Rows of single tokens, by token. This and the two before may stand in `tokenizer` together, as in
    mergekit's files: `{source: union, tokens: {…}, pad_to_multiple_of: 64}`."""
    missing: Missing = "refuse"
    """What becomes of tensors that only the base or only an expert has: `refuse`; `base` takes the base's in
    an expert that lacks one, and leaves out what the base lacks; `skip` merges no expert's where one lacks
    it."""
    accept_differences: list[DifferenceKey] = Field(default_factory=list)
    """Keys of configuration, generation settings and tokenizer in which experts may differ from the base,
    whose values are kept: `config.rope_theta`, `tokenizer.added_tokens`."""
    notices: list[str] = Field(default_factory=list)
    """Sentences that the merge's report and the model card shall have beside their own."""

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, content: Any) -> Any:
        """Take the keys of a mapping under `tokenizer` apart."""
        if not isinstance(content, Mapping) or not isinstance(content.get("tokenizer"), Mapping):
            return content
        given = {key: value for key, value in content["tokenizer"].items() if value is not None}
        if unknown := sorted(str(key) for key in given.keys() - {"source", "tokens", "pad_to_multiple_of"}):
            raise ValueError(
                f"the key 'tokenizer.{unknown[0]}' is unknown; known are source, tokens, pad_to_multiple_of"
            )
        if isinstance(given.get("tokens"), Mapping):
            given["tokens"] = {token: _choice(token, value) for token, value in given["tokens"].items()}
        given = {"tokenizer": given.pop("source", "union"), **given}
        if twice := sorted((given.keys() & content.keys()) - {"tokenizer"}):
            raise ValueError(f"'{twice[0]}' stands in the recipe and under 'tokenizer'; give it once")
        return {**content, **given}


def location_beside(path: Path, location: str) -> str:
    """Return where a checkpoint lies that a file names, each part of a stack by itself."""
    return with_paths(location, lambda one: beside(path, one))


def absolute_recipe(recipe: Recipe) -> Recipe:
    """Return a recipe that names the same checkpoints from any folder: paths from the root, or hub names."""
    tokenizer, experts = recipe.tokenizer, recipe.experts
    return recipe.model_copy(
        update={
            "base": absolute_location(recipe.base),
            "experts": {
                name: expert.model_copy(update={"path": absolute_location(expert.path)})
                for name, expert in experts.items()
            },
            "tokenizer": (
                tokenizer if tokenizer in {*TOKENIZERS, *experts} else absolute_location(tokenizer)
            ),
        }
    )


def recipe_of(content: object, path: Path) -> Recipe:
    """Return what a recipe file of ours holds. A relative path is looked for in the file's folder first.

    Args:
        content: of the file, as read.
        path: of the file.

    Raises:
        InputError: names the file and the key that is wrong.
    """
    recipe = validated(Recipe, content, str(path))
    experts = {
        name: expert.model_copy(update={"path": location_beside(path, expert.path)})
        for name, expert in recipe.experts.items()
    }
    method = recipe.method.model_copy(update={"name": absolute(recipe.method.name, path.parent)})
    template = recipe.chat_template
    return recipe.model_copy(
        update={
            "base": location_beside(path, recipe.base),
            "experts": experts,
            "method": method,
            "chat_template": (
                template if template in {None, AUTO, *experts} else beside(path, str(template))
            ),
            "tokenizer": (
                recipe.tokenizer
                if recipe.tokenizer in {*TOKENIZERS, *experts}
                else beside(path, recipe.tokenizer)
            ),
        }
    )
