"""The engine on transformers."""

import merging.checkpoints.lean_transformers  # noqa: F401
