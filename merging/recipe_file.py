"""Recipe files: ours, and mergekit's, of which one may hold several merges that build on each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from merging.mergekit.document import is_document
from merging.mergekit.reader import read_document
from merging.mergekit.several import Named, in_order
from merging.prepare import prepare
from merging.recipe import Recipe, absolute_recipe, recipe_of
from merging.staging import refuse_existing
from results.errors import InputError
from results.reading import read_json, read_yaml_documents

_NO_METHOD = (
    "has no 'merge_method', by which a file of mergekit is known; a recipe of manyshot has 'base', 'experts' "
    "and 'method'"
)
_NOT_READ = {
    "gate_mode": "is a file of mergekit-moe, and no mixture of experts is made here",
    "genome": "is a file of mergekit-evolve; `manyshot search` searches, by files of its own",
    "base_model": _NO_METHOD,
    "models": _NO_METHOD,
}
"""What is wrong with files of mergekit's that are no merges, by a key that each has."""


@dataclass(frozen=True)
class Step:
    """One merge of a file.

    Attributes:
        recipe: what is merged.
        out: where to; None for the last, where none was named.
        builds_on: names of the file's other merges that it takes models from.
        is_last: whether it is what the file is for.
    """

    recipe: Recipe
    out: Path | None
    builds_on: tuple[str, ...] = ()
    is_last: bool = True

    def is_made(self) -> bool:
        """Whether an earlier run of the same file has made this step of the same inputs.

        Its inputs are read at most once, however often this is asked.

        Raises:
            InputError: there is one of other inputs, or it cannot be told of which. It is left as it is, for
                files of somebody's own may lie in it.
        """
        return self._is_made

    @cached_property
    def _is_made(self) -> bool:
        report = self._earlier()
        if report is None:
            return False
        if "made_from" not in report:
            raise InputError(
                f"{self.out} is of an earlier manyshot, which did not write what it was made from: remove it "
                "to have it made again, or name another folder for the result."
            )
        if report["made_from"] != prepare(self.recipe).made_from():
            raise InputError(
                f"{self.out} was made of what its inputs held before, or by other rules of merging: remove "
                "it to have it made again, or name another folder for the result."
            )
        return True

    def check(self) -> None:
        """Refuse what stands where an intermediate goes and cannot be used, as far as that is known by now.

        Raises:
            InputError: says what stands there.
        """
        if self.is_last or self.out is None:
            return
        if self._earlier() is None:
            refuse_existing(self.out)
        elif not self.builds_on:
            self.is_made()

    def _earlier(self) -> Mapping[str, Any] | None:
        """Return the report of an earlier run of the same recipe; None where there is none."""
        if self.is_last or self.out is None or not (self.out / "merge.json").is_file():
            return None
        report = read_json(self.out / "merge.json")
        if not isinstance(report, dict) or not isinstance(report.get("recipe"), dict):
            return None
        made = dict(report["recipe"])
        own = made.pop("method", None)
        # Earlier versions wrote paths as the file has them.
        for recipe in (absolute_recipe(self.recipe), self.recipe):
            asked = recipe.model_dump(mode="json")
            method = asked.pop("method")
            if made == asked and isinstance(own, dict):
                return report if all(own.get(key) == value for key, value in method.items()) else None
        return None


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file of one merge, ours or mergekit's. A relative path is looked for beside it first.

    Raises:
        InputError: names the file and the key that is wrong.
    """
    steps = load_steps(path, None)
    if len(steps) > 1:
        raise InputError(
            f"{path} holds {len(steps)} merges, and one is expected here; merge them with `manyshot merge`."
        )
    return steps[0].recipe


def load_steps(path: Path, out: Path | None) -> list[Step]:
    """Read a recipe file: its merges in the order in which they can be made.

    Args:
        path: the file.
        out: where the last merge goes; the others, which have names, go to `out-name` beside it.

    Raises:
        InputError: names the file and the key that is wrong.
    """
    contents = read_yaml_documents(path)
    if len(contents) == 1:
        return [Step(_recipe(contents[0], path, {}), out)]
    documents = in_order(contents, path)
    folders = {
        one.name: _beside(out or Path("merged"), one.name) for one in documents[:-1] if one.name is not None
    }
    return [
        _step(
            one, path, folders, out if one is documents[-1] else folders[str(one.name)], one is documents[-1]
        )
        for one in documents
    ]


def _step(document: Named, path: Path, folders: Mapping[str, Path], out: Path | None, is_last: bool) -> Step:
    return Step(_recipe(document.content, path, folders), out, document.builds_on, is_last)


def _beside(out: Path, name: str) -> Path:
    return out.absolute().parent / f"{out.name}-{name}"


def _recipe(content: Any, path: Path, named: Mapping[str, Path]) -> Recipe:
    if is_document(content):
        return read_document(content, path, named)
    if isinstance(content, Mapping) and "base" not in content:
        for key, reason in _NOT_READ.items():
            if key in content:
                raise InputError(f"{path} {reason}.")
    return recipe_of(content, path)
