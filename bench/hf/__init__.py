"""The engine on transformers."""

import bench.lean  # noqa: F401
