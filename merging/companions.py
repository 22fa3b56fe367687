"""What lies beside a checkpoint's weights: configuration, generation settings, tokenizer, chat template."""

import json
import shutil
from pathlib import Path
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.compatible import asks_for_code


def copy_companions(base: Checkpoint, folder: Path, dtype: str | None) -> None:
    """Copy the base's configuration and tokenizer files into a folder, and code that the configuration names.

    Args:
        base: where they come from.
        folder: where they go.
        dtype: the name that config.json gives to the weights' dtype; None leaves it as it is.
    """
    config = base.config if dtype is None else _with_dtype(base.config, dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    code = [path.name for path in base.home.glob("*.py")] if asks_for_code(base) else []
    copy_tokenizer(base.home, folder)
    for name in ("generation_config.json", *code):
        if (base.home / name).is_file():
            shutil.copyfile(base.home / name, folder / name)


def _with_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Name the dtype under the key that is there: `dtype`, or `torch_dtype` before transformers 5."""
    key = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    nested = {
        name: _with_dtype(part, dtype)
        for name, part in config.items()
        if isinstance(part, dict) and ("dtype" in part or "torch_dtype" in part)
    }
    return {**config, **nested, key: dtype}
