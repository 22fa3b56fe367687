"""The engine on transformers, whose models are imported first, without scipy."""

import merging.checkpoints.lean_transformers  # noqa: F401
