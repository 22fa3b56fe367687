"""The cliff of consensus masks: what all tasks agree on is kept only where enough weights reach δ/(1 + δ)."""

import json
import logging

import pytest
import torch
from in_memory import merged

from merging.known_methods import make_method
from merging.mask_reach import MaskReach
from merging.merge import merge


@pytest.mark.parametrize("method", ["metis", "strict metis", "consensus_ta"])
@pytest.mark.parametrize(
    "weights",
    [
        [1.0] * 4,
        [1.0] * 5,
        [1.79, 1.0, 1.0, 1.0],  # a gap 0.58 nats above three equal others, softmax at temperature 1
        [1.0, 1.0, 0.2],
        [1.0],
    ],
)
@pytest.mark.parametrize("ratio", [0.2, 0.3, 0.55])
@pytest.mark.parametrize("needed", [0, 1, 2, 3])
def test_it_says_whether_the_mask_keeps_what_all_tasks_agree_on(method, weights, ratio, needed):
    """By the method itself, on an entry that is the same in all task vectors."""
    made = made_of(method, ratio, needed)
    tasks = "abcdefgh"[: len(weights)]
    reach = made.mask_reach(dict(zip(tasks, weights, strict=True)))
    kept = merged(made, {"w": torch.full((len(weights), 3), 0.7)}, weights)["w"].any()
    assert bool(kept) == (reach is None or not reach.is_short)


def made_of(method, ratio, needed):
    if method == "consensus_ta":
        return make_method(method, {"mask_threshold": ratio, "consensus": needed})
    return make_method(
        "metis", {"mask_ratio": ratio, "consensus": needed, "strict": method == "strict metis"}
    )


@pytest.mark.parametrize("method", ["metis", "strict metis", "consensus_ta"])
@pytest.mark.parametrize(("tasks", "ratio"), [(2, 1.0), (3, 0.5), (4, 1 / 3), (5, 0.25)])
def test_at_the_edge_it_is_the_comparison_that_decides(method, tasks, ratio):
    """Equal weights whose share is δ/(1 + δ): both sides of the test are equal."""
    reach = made_of(method, ratio, 2).mask_reach(dict.fromkeys("abcde"[:tasks], 1.0))
    assert reach.is_short == (method != "metis")
    if tasks == 2:  # where no rounding decides
        kept = merged(made_of(method, ratio, 2), {"w": torch.full((tasks, 3), 0.5)})["w"].any()
        assert bool(kept) == (method == "metis")


def test_four_equal_weights_reach_it_and_five_do_not():
    assert not MaskReach.of(2, dict.fromkeys("abcd", 1.0), dict.fromkeys("abcd", 0.3), strict=True).is_short
    five = MaskReach.of(2, dict.fromkeys("abcde", 1.0), dict.fromkeys("abcde", 0.3), strict=True)
    assert five.is_short and five.reaching == []
    assert five.thresholds["a"] == pytest.approx(0.2308, abs=1e-4)


def test_a_merge_says_it_once_with_what_the_mask_kept(family, recipe_for, tmp_path, caplog):
    base, experts = family
    three = {**experts, "c": {"path": str(next(iter(experts.values()))), "weight": 6.0}}
    with caplog.at_level(logging.WARNING, logger="manyshot.merging"):
        out = merge(recipe_for(base, three, "metis"), tmp_path / "out")
    report = json.loads((out / "merge.json").read_text())
    (notice,) = report["notices"]
    kept = report["model"]["mask_norm"]
    assert [record.getMessage() for record in caplog.records] == [f"{out}: {notice}"]
    assert notice.startswith("the mask drops every entry on which all tasks agree: 2 tasks need a weight of")
    assert f"at least 0.231, and 1 of 3 have it (a 0.125, b 0.125, c 0.750); it kept {kept:.3f} of" in notice
    assert notice[1:] in (out / "README.md").read_text()
    assert report["mask_reach"]["reaching"] == ["c"]


def test_nothing_is_said_where_the_weights_reach_it(family, recipe_for, tmp_path, caplog):
    base, experts = family
    with caplog.at_level(logging.WARNING, logger="manyshot.merging"):
        out = merge(recipe_for(base, experts, "metis"), tmp_path / "out")
    assert json.loads((out / "merge.json").read_text())["notices"] == [] == caplog.records


@pytest.mark.parametrize("scaling", [1.0, 0.25])
def test_the_share_of_the_norm_that_is_kept_is_of_the_weighted_sum(scaling, family, recipe_for, tmp_path):
    base, experts = family

    def report(name, **settings):
        out = merge(recipe_for(base, experts, "metis", settings=settings), tmp_path / name, progress=False)
        return json.loads((out / "merge.json").read_text())["model"]

    masked = report("masked", scaling=scaling, mask_ratio=0.9)
    whole = report("whole", scaling=scaling, consensus=0)
    assert 0.1 < masked["mask_norm"] < 0.99
    assert masked["mask_norm"] == pytest.approx(masked["norm"] / whole["norm"], rel=1e-6)
