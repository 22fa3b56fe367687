"""Imports transformers' models without scikit-learn and scipy, which saves 2.5 s of CPU at every start.

Assisted decoding and the losses of object detection need them; nothing here does. Imported before models are.
"""

from importlib import import_module

import transformers.utils

_CHECKS = ("is_sklearn_available", "is_scipy_available")


def _import_models() -> None:
    answers = {check: getattr(transformers.utils, check) for check in _CHECKS}
    for check in _CHECKS:
        setattr(transformers.utils, check, lambda: False)
    try:
        import_module("transformers.modeling_utils")
        import_module("transformers.generation.candidate_generator")
    finally:
        for check, answer in answers.items():
            setattr(transformers.utils, check, answer)


_import_models()
