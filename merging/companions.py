"""What lies beside merged weights: configuration, generation settings and tokenizer."""

import json
import shutil
from pathlib import Path
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.compatible import asks_for_code
from merging.vocabularies import MergedVocabulary


def copy_companions(
    base: Checkpoint, folder: Path, dtype: str | None, vocabulary: MergedVocabulary | None = None
) -> None:
    """Copy the base's configuration and tokenizer files into a folder, and code that the configuration names.

    Args:
        base: where they come from.
        folder: where they go.
        dtype: the name that config.json gives to the weights' dtype; None leaves it as it is.
        vocabulary: the merged model's tokens, where they are not simply the base's.
    """
    config = base.config if dtype is None else _with_dtype(base.config, dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    code = [path.name for path in base.home.glob("*.py")] if asks_for_code(base) else []
    copy_tokenizer(base.home if vocabulary is None else vocabulary.folder, folder)
    for name in ("generation_config.json", *code):
        if (base.home / name).is_file():
            shutil.copyfile(base.home / name, folder / name)
    if vocabulary is not None:
        vocabulary.added.write(folder)
        if (settings := base.generation_settings()) is not None:
            text = json.dumps(settings, indent=2) + "\n"
            (folder / "generation_config.json").write_text(text, encoding="utf-8")


def _with_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Name the dtype under the key that is there: `dtype`, or `torch_dtype` before transformers 5."""
    key = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    nested = {
        name: _with_dtype(part, dtype)
        for name, part in config.items()
        if isinstance(part, dict) and ("dtype" in part or "torch_dtype" in part)
    }
    return {**config, **nested, key: dtype}
