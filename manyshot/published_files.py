"""Files of a checkpoint as they are published: without the paths of the machine that made it.

Fields that are known to hold paths are dropped or hold a name, and in all other texts of a report the paths
that these fields had are replaced, wherever they stand. Nothing is guessed from how a text looks.
"""

from pathlib import Path
from typing import Any

from merging.checkpoints.adapter import CONFIG
from merging.checkpoints.folders import exists
from merging.merged_template import is_text
from merging.model_card import published_recipe
from merging.sources import folders_of, hub_name, published, reported_names, without_paths
from results.errors import InputError

REPORTS = ("merge.json", "training.json", "extract.json")
CONFIGS = (
    "config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json",
    "tokenizer_config.json", CONFIG,
)  # fmt: skip
LEFT_OUT = ("mergekit_config.yml",)
"""What names the folders that were merged, and says nothing that loading needs."""
_ORIGINS = ("_name_or_path", "name_or_path")
_FILES = ("tokenizer_file", "special_tokens_map_file", "vocab_file", "merges_file")


def published_content(name: str, content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the content of a JSON file as it is published.

    Args:
        name: of the file, one of `REPORTS` or `CONFIGS`.
        content: what it holds.
        path: what it is called in a refusal.

    Raises:
        InputError: it is no report of ours.
    """
    if name in REPORTS:
        try:
            return _report(content)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is no report of manyshot's; move it out of the folder.") from error
    shown = {key: value for key, value in content.items() if key not in _ORIGINS}
    if name == CONFIG:
        shown["base_model_name_or_path"] = hub_name(str(content["base_model_name_or_path"]))
    return {key: _without_paths(value) for key, value in shown.items() if not _is_file(key, value)}


def _without_paths(value: Any) -> Any:
    """Return a part of a configuration without the folders that it came from; names on the hub stay."""
    if isinstance(value, list):
        return [_without_paths(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _without_paths(one)
        for key, one in value.items()
        if not (key in _ORIGINS and isinstance(one, str) and hub_name(one) is None)
    }


def _is_file(key: str, value: object) -> bool:
    return key in _FILES and isinstance(value, str) and len(Path(value).parts) > 1


def _report(content: dict[str, Any]) -> dict[str, Any]:
    """Return a report with its sources as the model card names them."""
    if "recipe" not in content:
        return content
    recipe, base, experts = content["recipe"], content["inputs"]["base"], content["inputs"]["experts"]
    named = [
        recipe["base"], recipe["tokenizer"], base["folder"],
        *(expert["path"] for expert in recipe["experts"].values()),
        *(expert["folder"] for expert in experts.values()),
    ]  # fmt: skip
    paths = {one for location in named for one in (location, *folders_of(location))}
    names = reported_names(content)
    shown = {path: published(path, names) for path in paths}
    if recipe["chat_template"] and not is_text(recipe["chat_template"]):
        shown[recipe["chat_template"]] = Path(recipe["chat_template"]).name
    method_file, _, method_class = recipe["method"]["name"].rpartition(":")
    if method_file and method_class:
        shown[method_file] = Path(method_file).name
    if measured := recipe["method"].get("measured"):
        shown[measured] = Path(measured).name
    shown |= {str(Path(path).resolve()): name for path, name in shown.items() if exists(path)}

    def source(one: dict[str, Any]) -> dict[str, Any]:
        return {**one, "folder": published(one["folder"], names)}

    inputs = {"base": source(base), "experts": {name: source(one) for name, one in experts.items()}}
    own = {"recipe": published_recipe(recipe, names), "hub_names": {name: name for name in names.values()}}
    return _replaced({**content, **own, "inputs": inputs}, shown)


def _replaced(value: Any, shown: dict[str, str]) -> Any:
    """Return a JSON value in whose texts paths are what they are published as."""
    if isinstance(value, dict):
        return {key: _replaced(one, shown) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, shown) for one in value]
    return without_paths(value, shown) if isinstance(value, str) else value
