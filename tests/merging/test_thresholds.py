"""Thresholds found by counting bits are those that a full sort finds, and ties are kept as each rule says."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from in_memory import merged
from safetensors.torch import save_file

from merging import thresholds
from merging.checkpoints.checkpoint import Checkpoint
from merging.groups import Group
from merging.journal import Journal
from merging.merge_blocks import run_first_passes
from merging.methods.ties import Ties
from merging.task_vectors import TaskVectors
from merging.thresholds import Ranking

pytestmark = pytest.mark.slow

ENTRIES = 10_000_000


def ten_million(dtype):
    """An expert of a base of zeros: normal numbers, a tenth of them 0 and a tenth rounded to few values."""
    random = torch.Generator().manual_seed(0)
    drawn = torch.empty(ENTRIES).normal_(std=0.01, generator=random)
    drawn[torch.rand(ENTRIES, generator=random) < 0.1] = 0
    rough = torch.rand(ENTRIES, generator=random) < 0.1
    drawn[rough] = (drawn[rough] * 100).round() / 100
    return drawn.to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_threshold_of_ten_million_entries_is_that_of_a_full_sort(save, tmp_path, dtype):
    expert = ten_million(dtype)
    cuts = (3_000_000, 3_000_001, 9_999_990)
    parts = dict(zip("abcd", expert.tensor_split(cuts), strict=True))
    base = save("base", {"a": torch.zeros(1)})
    folder = save("expert", {"a": torch.zeros(1)})
    save_file({name: torch.zeros_like(part) for name, part in parts.items()}, base / "model.safetensors")
    save_file({name: part.clone() for name, part in parts.items()}, folder / "model.safetensors")
    vectors = TaskVectors(Checkpoint.open(base), {"e": Checkpoint.open(folder)})
    ordered = expert.float().abs().sort().values
    for density in (0.2, 0.01, 0.9, 0.95):  # the last two fall among the zeros
        for exact in (False, True):
            ranking = Ranking(density, per_tensor=False, exact=exact)
            counting = SimpleNamespace(first_passes=ranking.passes)
            with Journal(tmp_path / f"journal {density} {exact}") as journal:
                found = run_first_passes(
                    Group(counting, np.ones(1, np.float32), vectors.names),
                    vectors,
                    journal,
                    2,
                    lambda *_: None,
                )[thresholds._LOWER]["model"]
            kept = int(ENTRIES * density)
            rank = kept if exact else kept + 1
            assert found["thresholds"] == [ordered[ENTRIES - rank].item()]
            at_least = int((ordered >= ordered[ENTRIES - rank]).sum())
            assert found["equals"] == [
                None if at_least == rank else rank - int((ordered > ordered[ENTRIES - rank]).sum())
            ]


def test_equal_magnitudes_are_all_kept_by_the_papers_rule_and_by_position_where_the_number_is_exact():
    model = {
        "a": torch.tensor([[1.0, -2.0, 2.0, 3.0]]),
        "b": torch.tensor([[2.0, 1.0, -2.0, 0.0, 0.0, 0.0]]),
    }

    def kept(**settings):
        return [delta.tolist() for delta in merged(Ties(**settings), model, block=3).values()]

    # The paper keeps magnitudes from the (⌊0.3·10⌋ + 1)-th largest on, which is 2.
    assert kept(density=0.3) == [[0, -2, 2, 3], [2, 0, -2, 0, 0, 0]]
    assert kept(density=0.3, variant="mergekit", scope="model") == [[0, -2, 2, 3], [0] * 6]
    assert kept(density=0.4, variant="mergekit", scope="model") == [[0, -2, 2, 3], [2, 0, 0, 0, 0, 0]]
    assert kept(density=0.5, variant="mergekit") == [[0, -2, 0, 3], [2, 1, -2, 0, 0, 0]]
    assert kept(density=0.2, variant="peft") == [[0, 0, 0, 3], [2, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("block", [1, 2, 5, 100])
def test_where_a_block_is_cut_changes_nothing(block):
    random = torch.Generator().manual_seed(1)
    model = {n: torch.randn((3, 40), generator=random).mul(3).round() for n in ("a", "b")}
    for settings in ({}, {"variant": "mergekit"}, {"variant": "peft", "scope": "model"}):
        method = Ties(density=0.4, **settings)
        found, expected = merged(method, model, block=block), merged(method, model, block=40)
        assert all(torch.equal(found[name], expected[name]) for name in model)


def test_what_another_device_would_count_is_the_same():
    random = torch.Generator().manual_seed(2)
    deltas = torch.randn((3, 5000), generator=random).bfloat16().float()
    deltas[:, ::9] = 0
    assert (thresholds._count_upper_bits(deltas) == thresholds._bin_upper_bits(deltas)).all()
    uppers = [int(bits) for bits in thresholds._magnitudes(deltas)[:, 1] >> 16]
    counted = thresholds._count_lower_bits(deltas, uppers)
    assert (counted == thresholds._bin_lower_bits(deltas, uppers)).all()
    assert counted.sum(1).min() > 0
