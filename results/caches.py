"""Where what can be made again is kept on a user's machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return manyshot's folder among the user's caches: under XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "manyshot"
