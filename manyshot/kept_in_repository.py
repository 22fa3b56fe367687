"""What a push keeps of a repository: its model card where a user wrote it, and entries of others."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from manyshot.completed_card import card_of_others
from manyshot.console import logger
from manyshot.eval_entries import read_entries, without_ours, written_entries
from manyshot.push_files import ENTRY_FILES, PushedFile
from results.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_CARD = "README.md"


def kept_in_repository(
    api: "HfApi", repository: str, revision: str | None, there: Collection[str], sent: Sequence[PushedFile]
) -> Mapping[str, bytes | None]:
    """Return what files of a repository are to hold after a push, where that is not what is sent.

    Of a file of `.eval_results` that is sent too, these are its entries with those of others that are there;
    of one that is not, what is left without entries of ours: None where nothing is. A card that a user wrote
    there stays where the one that is sent is made by manyshot, and its header is completed by it; one without
    text gets that of manyshot's.

    Raises:
        InputError: a file that is sent is there in a form that cannot be read.
    """
    kept: dict[str, bytes | None] = {}
    contents = {file.name: file.content for file in sent}
    for name in sorted(there):
        if name != _CARD and not re.fullmatch(ENTRY_FILES, name):
            continue
        if name == _CARD and name not in contents:
            continue
        with TemporaryDirectory() as folder:
            path = Path(api.hf_hub_download(repository, name, revision=revision, local_dir=folder))
            if name not in contents:
                with suppress(InputError):  # what cannot be read is not ours
                    others, had_ours = without_ours(path.read_bytes(), name)
                    if had_ours:
                        kept[name] = written_entries(others) if others else None
                continue
            content = contents[name]
            ours = content if isinstance(content, bytes) else content.read_bytes()
            try:
                found = (
                    card_of_others(path, ours) if name == _CARD else _joined(path.read_bytes(), ours, name)
                )
            except InputError as error:
                raise InputError(
                    f"{repository} has a {name} that is not replaced, and cannot be read: mend or remove it "
                    f"there ({str(error).rstrip('.').replace(str(path), name)})."
                ) from None
            if found is not None:
                what = "its model card" if name == _CARD else f"the entries of others in {name}"
                logger.info("keeping what %s has: %s", repository, what)
                kept[name] = found
    return kept


def _joined(theirs: bytes, ours: bytes, name: str) -> bytes | None:
    """The entries that are sent, and those of others that are there; None where there are no further ones."""
    sent = read_entries(ours, name)
    others = [entry for entry in without_ours(theirs, name)[0] if entry not in sent]
    return written_entries([*sent, *others]) if others else None
