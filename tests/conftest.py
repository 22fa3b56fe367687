"""What all tests share: no network, as many threads as cores, real rows, and the lab family."""

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

import pytest


@pytest.fixture(scope="session", autouse=True)
def _threads() -> None:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)


@pytest.fixture(scope="session")
def data() -> Path:
    """The data root with real benchmark rows."""
    root = os.environ.get("MANYSHOT_DATA")
    if not root:
        pytest.skip("MANYSHOT_DATA is not set: there are no real rows to read")
    return Path(root)
