"""Numbers that mergekit 0.1.5 gave, of methods that do the same here.

Of the same recipes on a tiny Llama in float32 (`mergekit-yaml`, 36,704 weights) 13 of 16 merges were apart
by 4e-7 at most. `breadcrumbs_ties` differed in two weights, where magnitudes at its threshold were equal: it
keeps any of them, and we the first. Model Stock by rows differed in one row, of a negative mean cosine.
"""

import pytest
import torch
from in_memory import merged

from merging.known_methods import make_method

I = torch.arange(60, dtype=torch.float64)  # noqa: E741
BASE = torch.sin(I).float().reshape(5, 12)
MOVES = [0.02 * torch.sin(1.7 * I + 0.9 * t * t + t) + 0.01 * torch.cos(I) for t in range(3)]
DELTAS = torch.stack(MOVES).float().reshape(3, 5, 12)
WEIGHTS = [1.0, 0.5, 1.3]
PLACES = [0, 7, 25, 44, 59]
TIES = {"density": 0.3, "outliers": 0.05, "scaling": 0.7, "then": "ties"}
RAM = {"smallest": 0.004}
# Method, settings, number of experts, whether weighted: five entries of the merged delta, and its norm.
RECORDED = [
    ("breadcrumbs", {"density": 0.2, "outliers": 0.1, "scaling": 0.4}, 3, True,
     [0.0, 0.0, 0.0, 0.0, -0.0122469], 0.0600531),
    ("breadcrumbs", {**TIES, "aggregate": "sum"}, 3, True,
     [0.0, 0.0092446, 0.0063088, 0.0, -0.021432], 0.1336453),
    ("breadcrumbs", TIES, 3, True, [0.0, 0.0184891, 0.0126177, 0.0, -0.0164862], 0.1037913),
    ("model_stock", {}, 3, False, [0.0031122, 0.0008244, 0.0001167, 0.0016156, -0.0020275], 0.0202364),
    ("model_stock", {"within": "row"}, 3, False,
     [0.0039625, 0.0010496, 7.37e-05, 0.0023367, -0.0008076], 0.0213941),
    ("sce", {"density": 0.3}, 3, False, [0.0, 0.026413, 0.0, 0.0292791, 0.0], 0.0991086),
    ("nuslerp", {}, 2, True, [0.0236579, 0.0093046, 0.0004298, 0.0139117, -0.0045723], 0.1236886),
    ("nuslerp", {"within": "row"}, 2, True,
     [0.0225744, 0.0087467, 0.0004766, 0.0132994, -0.004646], 0.1237642),
    ("nuslerp", {"within": "column"}, 2, True,
     [0.02237, 0.0096471, 0.0006799, 0.012907, -0.004528], 0.1240668),
    ("nuslerp", {"of": "weights"}, 2, True,
     [0.0163108, 0.0056671, -0.00068, 0.0089198, -0.0040535], 0.0906169),
    ("karcher", {}, 3, False, [0.0121054, 0.0033098, 0.0004358, 0.0062889, -0.0077831], 0.0786776),
    ("nearswap", {"t": 0.01}, 1, False, [0.01, -0.0048237, -0.01, -0.0012651, -0.01], 0.0672782),
    ("arcee_fusion", {}, 1, False, [0.0, 0.0, 0.0, 0.0, 0.0], 0.0605637),
    ("ram", RAM, 3, False, [0.019463, 0.0032052, 0.0004537, 0.0100546, -0.0078827], 0.0959863),
    ("ram", {**RAM, "rescale": 0.1, "within": "tensor"}, 3, False,
     [0.019463, 0.0032052, 0.0004537, 0.0100546, -0.0078827], 0.0960492),
    ("dare", {"drop_rate": 0.0, "then": "ties", "aggregate": "sum", "scaling": 0.5}, 3, True,
     [0.0122315, -0.0101947, -0.0093302, 0.0073198, -0.0214532], 0.1439406),
]  # fmt: skip


@pytest.mark.parametrize(("method", "settings", "experts", "weighted", "entries", "norm"), RECORDED)
def test_it_is_what_mergekit_gave(method, settings, experts, weighted, entries, norm):  # noqa: PLR0917
    weights = WEIGHTS[:experts] if weighted else None
    found = merged(make_method(method, settings), {"w": DELTAS[:experts]}, weights, base={"w": BASE})["w"]
    torch.testing.assert_close(found.flatten()[PLACES], torch.tensor(entries), rtol=1e-4, atol=5e-7)
    assert found.norm().item() == pytest.approx(norm, rel=1e-5)
