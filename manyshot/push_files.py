"""Which files of a folder are a checkpoint's, to be published; what else lies there is refused by name."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from manyshot.completed_card import completed_card
from manyshot.console import logger
from manyshot.published_files import CONFIGS, LEFT_OUT, REPORTS, published_content
from merging.checkpoints.adapter import CONFIG, WEIGHTS, Adapter, is_adapter
from merging.checkpoints.checkpoint import BIN_FILE, INDEX_FILE, SINGLE_FILE, Checkpoint
from merging.checkpoints.folders import exists, read_mapping
from merging.checkpoints.tokenizer_files import TOKENIZER_FILES
from merging.journal import JOURNAL
from merging.sources import hub_name
from merging.staging import SAVES
from results.errors import InputError, and_more

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib"}
_PASSED_OVER = {".git", ".cache", "__pycache__", ".DS_Store"}
"""What version control, the hub's library, Python and macOS leave in folders."""
_NAMES = {
    *(name for name in CONFIGS if name != CONFIG), ".gitattributes", *TOKENIZER_FILES, *REPORTS, *LEFT_OUT,
}  # fmt: skip
ENTRY_FILES = r"\.eval_results/[^/]+\.yaml"
TEMPLATE_FILES = r"additional_chat_templates/[^/]+\.jinja"
_PATTERNS = (
    r"(LICEN[CS]E|NOTICE|COPYING)[^/]*", r"[^/]+\.(md|png|jpe?g|gif|svg|webp|tiktoken|model)",
    ENTRY_FILES, TEMPLATE_FILES,
)  # fmt: skip


@dataclass(frozen=True)
class PushedFile:
    """A file as it is published.

    Attributes:
        name: its path in the repository.
        content: where it lies, or its bytes where these are not the file's own.
        size: in bytes.
    """

    name: str
    content: Path | bytes
    size: int


def pushed_files(folder: Path) -> list[PushedFile]:
    """Return the files of a checkpoint's folder in the order of their names.

    Reports and configurations are published without paths of this machine (`manyshot.published_files`);
    mergekit's file of a merge, which is made of such, is left out.

    Raises:
        InputError: it holds no whole checkpoint in safetensors, or something that is no part of one.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; what is pushed is a checkpoint's folder.")
    _refuse_unfinished(folder)
    names = sorted(_names(folder))
    pickles = [name for name in names if PurePosixPath(name).suffix in _PICKLES]
    if pickles:
        advice = (
            "save the weights as safetensors"
            if pickles[0].startswith((BIN_FILE.removesuffix(".bin"), "adapter_model"))
            else "move it out of the folder"
        )
        raise InputError(
            f"{folder / pickles[0]}{and_more(pickles)} is a pickle, which runs code when it is opened, and "
            f"is not pushed: {advice}."
        )
    known = _NAMES | _weights(folder)
    odd = [
        name for name in names if name not in known and not any(re.fullmatch(one, name) for one in _PATTERNS)
    ]
    if odd:
        raise InputError(
            f"{folder / odd[0]}{and_more(odd)} is no file of the checkpoint, and is not pushed: move it out "
            "of the folder."
        )
    left_out = [name for name in names if name in LEFT_OUT]
    if left_out:
        logger.info("leaving out %s, which names folders of this machine", ", ".join(left_out))
    return [_pushed(folder, name) for name in names if name not in left_out]


def _refuse_unfinished(folder: Path) -> None:
    resolved = folder.resolve()
    if resolved.name.endswith(".partial") or (folder / JOURNAL).exists() or (folder / SAVES).exists():
        raise InputError(
            f"{folder} is of a merge or a training that was stopped, and is not whole: start it again, which "
            "finishes it."
        )


def _names(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if _PASSED_OVER.isdisjoint(name.parts) and (path.is_symlink() or not path.is_dir()):
            if not path.is_file():
                raise InputError(f"{path} is neither a file nor a folder; remove it.")
            yield name.as_posix()


def _weights(folder: Path) -> set[str]:
    """Return the names of the files that hold weights, and of code that the configuration asks for."""
    if is_adapter(folder):
        base = Adapter.open(folder).base
        if hub_name(base) is None:
            raise InputError(
                f"{folder / CONFIG} names its base by a folder of this machine ({base}), which nobody else "
                "has: write the base's name on the hub there."
            )
        return {CONFIG, WEIGHTS}
    files = Checkpoint.open(folder).files
    asked = [
        read_mapping(folder / name)
        for name in ("config.json", "tokenizer_config.json")
        if exists(folder / name)
    ]
    code = {path.name for path in folder.glob("*.py")} if any("auto_map" in one for one in asked) else set()
    return {*files, *code, *([INDEX_FILE] if SINGLE_FILE not in files else [])}


def _pushed(folder: Path, name: str) -> PushedFile:
    path = folder / name
    if name == "README.md" and (completed := completed_card(folder)) is not None:
        return PushedFile(name, completed, len(completed))
    if name in (*REPORTS, *CONFIGS):
        content = read_mapping(path)
        shown = published_content(name, content, path)
        if shown != content:
            written = json.dumps(shown, indent=2, ensure_ascii=False).encode() + b"\n"
            return PushedFile(name, written, len(written))
    return PushedFile(name, path, path.stat().st_size)
