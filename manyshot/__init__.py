"""manyshot: merge language models, score them, compare them and see what merging erased.

The public interface is `merge`, `score` and `load_results`; the work is done by `bench`, `merging`, `results`
and `reports`. Importing this package imports none of them.
"""

from typing import Any

__all__ = ["load_results", "merge", "score"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from manyshot import api

        return getattr(api, name)
    raise AttributeError(f"module 'manyshot' has no attribute '{name}'")
