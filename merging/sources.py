"""What a merge was made of, as a reader elsewhere knows it: names on the hub, licence and languages."""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.folders import exists, is_repository
from merging.checkpoints.stacked import StackedCheckpoint, stack_parts, with_paths

_CACHED = re.compile(r"models--(.+)")
"""Folder of a repository in the hub library's cache; `--` stands for the slash."""
_HEADER = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(\r?\n|\Z)", re.DOTALL)
_LICENCE = ("license", "license_name", "license_link")


def hub_name(folder: str) -> str | None:
    """Return the name on the hub of a folder or name: None for a path that is no download from there.

    To be asked where what it names is or was just opened: where nothing is at the path, it is a name if it
    has the form of one, `owner/name`, as a relative path has that is looked for in another folder.
    """
    if not exists(folder):
        return folder if is_repository(folder) else None
    return _cached_name(folder)


def _cached_name(folder: str) -> str | None:
    """Return the name on the hub of a folder in the hub library's cache, whether it is still there or not."""
    resolved = Path(folder).resolve()
    cached = _CACHED.fullmatch(resolved.parent.parent.name)
    return cached[1].replace("--", "/") if cached and resolved.parent.name == "snapshots" else None


def hub_names(locations: Iterable[str]) -> dict[str, str]:
    """Return the names on the hub of the folders and names in locations that were opened, by these."""
    named = {one: hub_name(one) for location in locations for one in folders_of(location)}
    return {one: name for one, name in named.items() if name is not None}


def reported_names(report: Mapping[str, Any]) -> dict[str, str]:
    """Return the names on the hub of the folders and names in merge.json, by these.

    Reports of earlier versions have relative paths and names on the hub alike; of these a name counts where
    the folder that was read is the hub library's of that name.
    """
    if "hub_names" in report:
        return {str(one): str(name) for one, name in report["hub_names"].items()}
    recipe, inputs = report["recipe"], report["inputs"]
    found = {}
    for location, folder in (
        (recipe["base"], inputs["base"]["folder"]),
        *((expert["path"], inputs["experts"][task]["folder"]) for task, expert in recipe["experts"].items()),
    ):
        name = _cached_name(folder)
        for one in (folder, *folders_of(location)):
            if known := name if one == name else _cached_name(one):
                found[one] = known
    return found


def absolute_location(location: str) -> str:
    """Return a location with the paths to its folders from the root; names on the hub stay."""
    return _with_folders(location, lambda one: str(Path(one).absolute()) if exists(one) else one)


def published(location: str, names: Mapping[str, str]) -> str:
    """Return a location without the paths to local folders: their names, or those on the hub.

    Args:
        location: of a checkpoint.
        names: on the hub, by the folders and names in locations.
    """
    return _with_folders(location, lambda one: names.get(one) or Path(one).resolve().name)


def without_paths(text: str, shown: Mapping[str, str]) -> str:
    """Return a text in which paths are what they are shown as, the longest first; single names stay."""
    for path in sorted(shown, key=len, reverse=True):
        if path != shown[path] and len(Path(path).parts) > 1:
            text = text.replace(path, shown[path])
    return text


def _with_folders(location: str, change: Callable[[str], str]) -> str:
    """Return a location with each of its folders and names changed."""
    if exists(location):
        return change(location)
    return with_paths(location, lambda path: "+".join(map(change, _adapter_parts(path))))


def folders_of(location: str) -> list[str]:
    """Return the folders or names in a location: of a stack's parts, and of a base and its adapter."""
    if exists(location):
        return [location]
    paths = [part.path for part in stack_parts(location)] or [location]
    return [one for path in paths for one in _adapter_parts(path)]


def _adapter_parts(path: str) -> list[str]:
    """Return the base and the adapter of `base+adapter`, else the path alone."""
    base, plus, adapter = path.rpartition("+")
    return [base, adapter] if plus and base and not exists(path) else [path]


def agreed_metadata(checkpoints: Iterable[Checkpoint]) -> dict[str, Any]:
    """Return the licence and the languages that the model cards of all checkpoints name, where they agree.

    Of a card's own header: `license`, with its name and link where it is `other`, and `language`. A source
    without a card, or whose card says nothing of it, agrees with none; neither does a licence whose text is a
    file beside the card.
    """
    folders = dict.fromkeys(
        folder
        for checkpoint in checkpoints
        for one in (
            checkpoint.sources.values() if isinstance(checkpoint, StackedCheckpoint) else [checkpoint]
        )
        for folder in (one.folder, one.home)
    )
    headers = [card_header(folder / "README.md") for folder in folders]
    licences = [{key: header[key] for key in _LICENCE if header.get(key)} for header in headers]
    languages = [_listed(header.get("language")) for header in headers]
    agreed: dict[str, Any] = {}
    if _is_one(licences) and _has_text(licences[0]):
        agreed |= licences[0]
    if _is_one(languages):
        agreed["language"] = languages[0]
    return agreed


def card_header(path: Path) -> dict[str, Any]:
    """Return the YAML header of a model card; empty where there is no card, or none that can be read."""
    try:
        found = _HEADER.match(path.read_text(encoding="utf-8"))
        header = yaml.safe_load(found[1]) if found else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return header if isinstance(header, dict) else {}


def _listed(language: object) -> list[str]:
    listed = language if isinstance(language, list) else [language]
    return sorted({one for one in listed if isinstance(one, str) and one})


def _is_one(values: list[Any]) -> bool:
    return bool(values) and bool(values[0]) and all(value == values[0] for value in values)


def _has_text(licence: dict[str, Any]) -> bool:
    """Whether a licence says what it is without a file beside the card, which the merged model lacks."""
    link = licence.get("license_link", "https://")
    return (
        all(isinstance(value, str) for value in licence.values()) and "://" in link and "license" in licence
    )
