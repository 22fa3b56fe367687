"""Fixtures: an empty family of checkpoints, and one that was scored on everything."""

from pathlib import Path

import pytest
from made_up_family import Family, hits

from results.store import Store


@pytest.fixture
def family(tmp_path: Path) -> Family:
    """An empty family."""
    return Family(Store(tmp_path / "store"), [])


@pytest.fixture
def lab(family: Family) -> Family:
    """A base, an expert per task, and two merged checkpoints, scored on everything."""

    def all_of(gsm8k: int, m_mmlu: int, m_arc: int, xstest: int, coqa: int) -> dict[str, list[int]]:
        return {
            "gsm8k": hits(gsm8k),
            "m_mmlu": hits(m_mmlu),
            "m_arc": hits(m_arc),
            "xstest": hits(xstest),
            "coqa": hits(coqa),
        }

    family.add("base", "base", all_of(4, 10, 8, 15, 14))
    family.add("math expert", "expert", all_of(16, 8, 8, 15, 12), task="math")
    family.add("multilingual expert", "expert", all_of(4, 16, 10, 15, 12), task="multilingual")
    family.add("safety expert", "expert", all_of(4, 10, 8, 4, 12), task="safety")
    family.add("ties", "merged", all_of(12, 12, 10, 12, 13), method="ties", protocol="post-hoc")
    family.add("metis", "merged", all_of(14, 14, 10, 4, 14), method="metis", protocol="many-shot", seed=1)
    return family
