"""A recipe: which experts of which base are merged by which method, as a YAML file says."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from merging.method_file import absolute
from results.validation import validated
from results.yaml_file import beside, read_yaml

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|[KMGT]I?B)?", re.IGNORECASE)
_KEY = r"^(config|generation|tokenizer)\."
_POWERS = {"B": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def size_in_bytes(size: object) -> int:
    """Return a size such as `5GB` (10⁹ bytes each), `500MiB` (2²⁰ bytes each) or 1000 in bytes.

    Raises:
        ValueError: it is not such a size, or is less than one byte.
    """
    match = _SIZE.fullmatch(str(size).strip()) if isinstance(size, int | str) and size is not True else None
    if not match:
        raise ValueError("a number of bytes or a size like 5GB or 500MB is expected")
    unit = (match[2] or "B").upper()
    total = int(float(match[1]) * (1024 if "I" in unit else 1000) ** _POWERS[unit[0]])
    if total < 1:
        raise ValueError("at least one byte is expected")
    return total


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _as_expert(value: object) -> object:
    return {"path": value} if isinstance(value, str | Path) else value


Location = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
"""A checkpoint's folder or hub name."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExpertSpec(_Strict):
    """One expert: where it is, and its weight in the merge."""

    path: Location
    weight: float = Field(1.0, allow_inf_nan=False)


class MethodSpec(BaseModel):
    """A method's name and, as further keys, its settings."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """The further keys."""
        return dict(self.model_extra or {})


class Recipe(_Strict):
    """What to merge and how.

    Attributes:
        base: θ₀.
        experts: θ_t by name; their order in the file changes nothing.
        method: name and settings.
        compute_dtype: dtype of the arithmetic.
        output_dtype: dtype of the merged floats; None keeps each tensor's dtype in the base.
        max_shard_size: bytes in one file of weights.
        seed: for methods that draw random numbers.
        space: where adapters are merged: `delta`, as what each makes of its base, into a whole model; or
            `factors`, A and B of every matrix apart, into an adapter, as METIS's released code does.
        trust_remote_code: accept checkpoints whose configuration asks for code of its own. Merging runs none;
            the files of code that lie beside the base's weights are copied beside the merged ones.
        accept_differences: keys of configuration, generation settings and tokenizer in which experts may
            differ from the base, whose values are kept: `config.rope_theta`, `tokenizer.added_tokens`.
    """

    base: Location
    experts: dict[str, Annotated[ExpertSpec, BeforeValidator(_as_expert)]] = Field(min_length=1)
    method: MethodSpec
    compute_dtype: Literal["float32"] = "float32"
    output_dtype: Literal["float32", "bfloat16", "float16"] | None = None
    max_shard_size: Annotated[int, BeforeValidator(size_in_bytes)] = 5 * 10**9
    seed: int = Field(0, ge=0)
    space: Literal["delta", "factors"] = "delta"
    trust_remote_code: bool = False
    accept_differences: list[Annotated[str, Field(pattern=_KEY)]] = Field(default_factory=list)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file. A relative path in it is looked for in the file's folder first.

    Raises:
        InputError: names the file and the key that is wrong.
    """
    recipe = validated(Recipe, read_yaml(path), str(path))
    experts = {
        name: expert.model_copy(update={"path": beside(path, expert.path)})
        for name, expert in recipe.experts.items()
    }
    method = recipe.method.model_copy(update={"name": absolute(recipe.method.name, path.parent)})
    return recipe.model_copy(update={"base": beside(path, recipe.base), "experts": experts, "method": method})
