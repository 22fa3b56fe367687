"""What the methods that drop or choose entries must give, as `oracles` has it for the others."""

from math import sqrt

import pytest
import torch
from in_memory import merged, whole
from oracles import Kinds, oracle, same, steps, whole_of

from results.errors import InputError

BROKEN = [
    ("ranks", "descending=True, ", ""),
    ("ranks", "first : first + count", ": count"),
    ("ranks", "dtype=torch.float32, device=values.device)", "device=values.device).flip(0).float()"),
    ("arithmetic", "elected_sign(weighted_sum(deltas, weights), undecided)", "elected_sign(deltas[0], undecided)"),  # noqa: E501
    ("arithmetic", 'if aggregate == "sum"', 'if aggregate != "sum"'),
    ("methods.breadcrumbs", "int(density * size), 1)", "int(density * size) + 1, 1)"),
    ("methods.breadcrumbs", "min(int(outliers * size), size - count)", "int(outliers * size)"),
    ("methods.breadcrumbs", 'self.within == "tensor"', 'self.within != "tensor"'),
    ("methods.breadcrumbs", "undecided=1", "undecided=-1"),
    ("methods.breadcrumbs", "merged.mul_(self.scaling)", "merged"),
    ("methods.della", " / chance", " / 0.7"),
    ("methods.della", "add_(1 - rate - window / 2)", "add_(1 - rate)"),
    ("methods.della", "window / (length - 1)", "window / length"),
    ("methods.della", "context.uniform(task)", "context.uniform(0)"),
    ("methods.della", "undecided=0", "undecided=1"),
    ("methods.della", "torch.full_like(delta, 1 - rate)", "torch.full_like(delta, 1)"),
    ("methods.sce", "deltas.var(0, correction=0)", "deltas.abs().amax(0)"),
    ("methods.sce", "int(int(variance.count_nonzero()) * self.density)", "int(variance.numel() * self.density)"),  # noqa: E501
    ("methods.sce", "disjoint_mean(selected, shares, signs, shares)", "disjoint_mean(selected, weights, signs, weights)"),  # noqa: E501
    ("methods.sce", "weighted_sum(selected, torch.ones_like(weights))", "weighted_sum(selected, shares)"),
    ("methods.sce", "undecided=1", "undecided=0"),
    ("methods.sce", '1e-6 * selected[0].numel()', '1e-6'),
    ("methods.nearswap", "-self.t, self.t", "0, self.t"),
    ("arithmetic", "float(weights[0]) != 1", "float(weights[0]) > 1"),
    ("methods.arcee_fusion", "delta.abs() * ", ""),
    ("methods.arcee_fusion", "torch.log(after / before)", "torch.log(before / after)"),
    ("methods.arcee_fusion", "_BEYOND * (third - first)", "_BEYOND * third"),
    ("methods.ram", "deltas.abs().gt(self.smallest)", "deltas.abs().gt(0)"),
    ("methods.ram", "changed.sum(0).eq(1)", "changed.sum(0).ge(1)"),
    ("methods.ram", "min(ratio, self.limit)", "ratio"),
    ("methods.ram", 'if self.within == "model"', 'if self.within != "model"'),
    ("methods.ram", "weighted_sum(changed, weights)", "changed.sum(0)"),
    ("methods.magmax", "own.abs().argmax", "deltas.abs().argmax"),
    ("methods.magmax", ".mul_(self.scaling)", ""),
    ("methods.emr", "agreeing(delta, signs, magnitudes).mul_(weight)", "agreeing(delta, signs, magnitudes)"),
    ("methods.emr", "torch.maximum(largest,", "torch.add(largest,"),
    ("methods.emr", ".mul_(self.scaling)", ""),
    ("quantiles", "return min(max(self.at(size), 1), size)", "return min(max(self.at(size) + 1, 1), size)"),
    ("methods.pcb", "floor(size * _OUTSIDE)", "0"),
    ("methods.pcb", "floor(size * (1 - _OUTSIDE) - 1)", "floor(size * (1 - _OUTSIDE))"),
    ("methods.pcb", "floor(size * (1 - self.density))", "floor(size * 0.9)"),
    ("methods.pcb", "mul_(len(deltas))", "mul_(1)"),
    ("methods.pcb", "torch.tanh(own * weighted_sum(deltas, weights))", "torch.tanh(own * own)"),
    ("methods.pcb", "torch.sign(own) * own.abs().clamp(*_bounds(context))", "own"),
    ("methods.pcb", "merged.mul_(self.scaling)", "merged"),
    ("methods.pcb", 'self._competitions.of("largest", context) - cut', "1 + 0 * cut"),
]  # fmt: skip


@oracle
def breadcrumbs_as_worked_out_by_hand(kinds: Kinds) -> None:
    # Of ten entries one outlier goes (9, −9), then the three next are kept.
    deltas = torch.tensor([
        [9.0, 8, -7, 6, 5, 4, 3, 2, 1, 0],
        [1.0, -8, 9, -9, 2, 7, 3, 0, 0, 0],
    ])  # fmt: skip
    settings = {"density": 0.3, "outliers": 0.1}
    found = merged(kinds["breadcrumbs"](**settings, scaling=0.5), {"w": deltas})["w"]
    assert found.tolist() == [0, 0, -3.5, -1.5, 0, 3.5, 0, 0, 0, 0]
    # The first 9 of the second is its outlier. Of 8 and −8 the sign is + as in mergekit's breadcrumbs_ties.
    found = merged(kinds["breadcrumbs"](**settings, scaling=1.0, then="ties"), {"w": deltas})["w"]
    assert found.tolist() == [0, 8, -7, -9, 0, 7, 0, 0, 0, 0]
    weighted = merged(kinds["breadcrumbs"](**settings, scaling=1.0, then="ties"), {"w": deltas}, [1.0, 3.0])[
        "w"
    ]
    assert weighted.tolist() == [0, -8, -7, -9, 0, 7, 0, 0, 0, 0]
    summed = kinds["breadcrumbs"](**settings, scaling=1.0, then="ties", aggregate="sum")
    assert merged(summed, {"w": deltas}, [1.0, 3.0])["w"].tolist() == [0, -24, -7, -27, 0, 21, 0, 0, 0, 0]
    # In two rows of five no outlier goes, and one entry of each row stays.
    rows = {"w": deltas[:1].reshape(1, 2, 5)}
    found = merged(kinds["breadcrumbs"](**settings, scaling=1.0, within="row"), rows)["w"]
    assert found.tolist() == [[9, 0, 0, 0, 0], [4, 0, 0, 0, 0]]


@oracle
def breadcrumbs_lets_outliers_stay_where_too_little_is_left(kinds: Kinds) -> None:
    model = {"a": torch.tensor([[4.0, 3, 2, 1]]), "b": torch.tensor([[5.0]])}
    found = merged(kinds["breadcrumbs"](density=0.75, outliers=0.5, scaling=1.0), model)
    assert [found["a"].tolist(), found["b"].tolist()] == [[0, 3, 2, 1], [5]]
    everything = kinds["breadcrumbs"](density=1.0, outliers=0.5, scaling=0.3)
    model = steps(20)
    same(merged(everything, model), 0.3 * whole(model).sum(0))


@oracle
def della_keeps_large_entries_more_often_and_the_expectation(kinds: Kinds) -> None:
    method = kinds["della"](drop_rate=0.5, window=0.6, then="task_arithmetic")
    values = torch.tensor([-1.0, 4.0, 3.0, 0.5, -2.0])
    rows = 20_000
    found = merged(method, {"w": values.repeat(1, rows, 1)})["w"]
    chances = torch.tensor([0.35, 0.8, 0.65, 0.2, 0.5])  # ranks 2, 5, 4, 1, 3 from 0.2 to 0.8
    kept = found != 0
    torch.testing.assert_close(found[kept], (values / chances).repeat(rows, 1)[kept])
    share = kept.double().mean(0)
    assert ((share - chances).abs() < 5 * (chances * (1 - chances) / rows).sqrt()).all()
    alone = merged(method, {"w": torch.full((1, rows, 1), 3.0)})["w"]
    assert set(alone.flatten().tolist()) == {0.0, 6.0}
    assert abs((alone != 0).double().mean().item() - 0.5) < 5 * 0.5 / sqrt(rows)


@oracle
def della_drops_by_expert_and_then_elects(kinds: Kinds) -> None:
    model = {
        name: delta.reshape(3, -1, 1).expand(-1, -1, 4).contiguous() for name, delta in steps(21).items()
    }
    for window, then in ((0.0, "task_arithmetic"), (0.5, "ties")):
        settings = {"drop_rate": 0.4, "window": window}
        method = kinds["della"](**settings, then=then, scaling=0.7)
        single = kinds["della"](**settings, then="task_arithmetic")
        parts = [merged(single, {n: delta[t : t + 1] for n, delta in model.items()}) for t in range(3)]
        dropped = torch.stack([torch.cat([part[name].flatten() for name in sorted(part)]) for part in parts])
        total = dropped.sum(0)
        agree = dropped.sign() == total.sign()
        mean = torch.where(agree, dropped, 0.0).sum(0) / (agree & (dropped != 0)).sum(0).clamp(min=1)
        found = merged(method, model)
        flat = {name: found[name].flatten() for name in found}
        same(flat, 0.7 * (total if then == "task_arithmetic" else mean))
        assert torch.equal(
            whole_of(flat), torch.cat([d.flatten() for d in merged(method, model, block=97).values()])
        )
    against = {"w": torch.tensor([[[2.0]], [[-2.0]]]).repeat(1, 300, 1)}
    found = merged(kinds["della"](drop_rate=0.5, window=0.0), against)["w"]
    assert set(found.flatten().tolist()) == {-4.0, 0.0, 4.0}
    both = (
        merged(kinds["della"](drop_rate=0.5, window=0.0, then="task_arithmetic"), against)["w"] == 0
    ).double()
    assert torch.equal(both, (found == 0).double())
    assert abs(both.mean().item() - 0.5) < 5 * 0.5 / sqrt(300)


@oracle
def sce_as_worked_out_by_hand(kinds: Kinds) -> None:
    deltas = torch.tensor([[4.0, 5.0, 1.0, 0.0, 2.0], [-1.0, 5.0, 3.0, 0.0, 2.5]])
    # Variances 6.25, 0, 1, 0, 0.0625: of the three that are not 0 two are kept, the first and the third.
    # Squares are 16 + 1 and 1 + 9, so η = 17/27 and 10/27; the first sums to 3 and has task 1 alone.
    found = merged(kinds["sce"](density=0.7), {"w": deltas})["w"]
    torch.testing.assert_close(found, torch.tensor([4.0, 0.0, (17 + 30) / 27, 0.0, 0.0]))
    # With weights 1 and 10 η is 17 and 100 parts; signs do not follow the weights.
    found = merged(kinds["sce"](density=0.7), {"w": deltas}, [1.0, 10.0])["w"]
    torch.testing.assert_close(found, torch.tensor([4.0, 0.0, (17 + 300) / 117, 0.0, 0.0]))
    against = {"w": torch.tensor([[2.0, 3.0], [-2.0, 1.0]])}
    torch.testing.assert_close(
        merged(kinds["sce"](density=1.0), against)["w"], torch.tensor([2.0, (39 + 5) / 18])
    )


@oracle
def sce_of_small_steps_is_the_same_but_in_mergekit(kinds: Kinds) -> None:
    deltas = torch.tensor([[4.0, 1.0, 1.0, 0.0, 2.0], [3.0, 1.0, 3.0, 0.0, 2.5]])
    large, small = ({"w": scale * deltas} for scale in (1.0, 2e-4))
    for variant in ("paper", "mergekit"):
        method = kinds["sce"](density=1.0, variant=variant)
        expected = 2e-4 * merged(kinds["sce"](density=1.0), large)["w"]
        expected = expected if variant == "paper" else 2e-4 * deltas.mean(0)
        torch.testing.assert_close(merged(method, small)["w"], expected, rtol=1e-5, atol=1e-12)
        same(merged(method, large), merged(kinds["sce"](density=1.0), large)["w"])


@oracle
def nearswap_cuts_the_task_vector(kinds: Kinds) -> None:
    base = torch.tensor([1.0, 1.0, -1.0, 0.5])
    delta = torch.tensor([[0.05, 0.4, -0.2, 0.0]])
    found = merged(kinds["nearswap"](t=0.1), {"w": delta}, base={"w": base})["w"]
    other = base + delta[0]
    swap = (0.1 / (base - other).abs()).clamp(max=1)
    torch.testing.assert_close(base + found, (1 - swap) * base + swap * other)
    with pytest.raises(InputError, match="one expert"):
        merged(kinds["nearswap"](t=0.1), steps(22))
    with pytest.raises(InputError, match=r"takes no weights, and the expert's is 0\.5"):
        merged(kinds["nearswap"](t=0.1), {"w": delta}, [0.5])


@oracle
def arcee_fusion_takes_what_matters_by_far_the_most(kinds: Kinds) -> None:
    random = torch.Generator().manual_seed(23)
    base, delta = torch.randn((2, 12, 9), generator=random)
    delta[3] = delta[3] * 5
    after, before = torch.softmax(base + delta, -1), torch.softmax(base, -1)
    importance = delta.abs() * (after * (after / before).log()).sum(-1, keepdim=True)
    first, median, third = importance.flatten().sort().values[[26, 53, 80]]  # ⌊107/4⌋, ⌊107/2⌋, ⌊321/4⌋
    expected = torch.where(importance >= median + 1.5 * (third - first), delta, 0.0)
    assert 3 < (expected != 0).sum() < 40
    same(merged(kinds["arcee_fusion"](), {"w": delta[None]}, base={"w": base}), expected)
    with pytest.raises(InputError, match="one expert"):
        merged(kinds["arcee_fusion"](), steps(23))
    with pytest.raises(InputError, match=r"takes no weights, and the expert's is 0\.5"):
        merged(kinds["arcee_fusion"](), {"w": delta[None]}, [0.5])


@oracle
def ram_is_the_mean_of_those_that_changed_an_entry(kinds: Kinds) -> None:
    deltas = torch.tensor(
        [[2.0, 1e-6, -1.0, 0.0, 1e-6], [4.0, 3.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, 0.0, 0.0]]
    )
    model = {"a": deltas, "b": torch.tensor([[5.0], [0.0], [0.0]])}
    found = merged(kinds["ram"](), model)
    assert [found["a"].tolist(), found["b"].tolist()] == [[3.0, 3.0, 1.0, 0.0, 0.0], [5.0]]
    found = merged(kinds["ram"](), model, [3.0, 1.0, 1.0])["a"]
    torch.testing.assert_close(found, torch.tensor([2.5, 3.0, 0.0, 0.0, 0.0]))
    # Task 1 shares two entries and has one alone, ρ = 2; task 2 shares one and has one alone, ρ = 1.
    found = merged(kinds["ram"](rescale=0.1, limit=1.5), model)
    torch.testing.assert_close(found["a"], torch.tensor([3.0, 3.0 * 1.1, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(found["b"], torch.tensor([5.0 * 1.15]))
    # Within a tensor: in b nobody shares anything, so that ρ is 0.
    found = merged(kinds["ram"](rescale=0.1, limit=1.5, within="tensor"), model)
    assert found["b"].tolist() == [5.0]
    torch.testing.assert_close(found["a"], torch.tensor([3.0, 3.0 * 1.1, 1.0, 0.0, 0.0]))


@oracle
def magmax_takes_each_entry_from_the_task_that_moves_it_most(kinds: Kinds) -> None:
    deltas = torch.tensor([[1.0, -4.0, 2.0], [-3.0, 2.0, 2.0]])
    assert merged(kinds["magmax"](), {"w": deltas})["w"].tolist() == [-1.5, -2.0, 1.0]
    assert merged(kinds["magmax"](scaling=1.0), {"w": deltas}, [1.0, 3.0])["w"].tolist() == [-9.0, 6.0, 6.0]


def pcb_of_the_paper(deltas: torch.Tensor, share: float) -> torch.Tensor:
    """PCB over whole vectors (n_tasks, d) as its authors' code ranks them, with full sorts, in float64."""
    deltas = deltas.double()
    size = deltas.shape[1]
    in_order = deltas.abs().sort(dim=1).values
    low, high = in_order[:, int(size * 1e-4), None], in_order[:, int(size * (1 - 1e-4) - 1), None]
    magnitudes = deltas.abs().clamp(low, high)
    place = (magnitudes - low) / (high - low)
    competition = torch.exp(len(deltas) * place**2) * torch.tanh(deltas * deltas.sum(0))
    quantile = competition.sort(dim=1).values[:, int(size * (1 - share)), None]
    assert (quantile > 0).all()
    scale = (competition.clamp(min=quantile) - quantile) / (competition.amax(1, keepdim=True) - quantile)
    total = scale.sum(0)
    return torch.where(total > 0, (scale * deltas.sign() * magnitudes).sum(0) / total, 0).float()


def close(found: dict[str, torch.Tensor], expected: torch.Tensor) -> None:
    """Near the quantile a share is a difference of nearly equal numbers."""
    torch.testing.assert_close(whole_of(found), expected, rtol=1e-4, atol=2e-5)


@oracle
def pcb_weighs_entries_by_how_they_compete(kinds: Kinds) -> None:
    drawn = steps(24, tasks=3)
    model = {
        name: delta.repeat(1, 6) * torch.linspace(0.5, 1.5, 6 * delta.shape[1])
        for name, delta in drawn.items()
    }
    for share, block in ((0.1, 1000), (0.3, 77_777)):
        found = merged(kinds["pcb"](density=share, scaling=0.7), model, block=block)
        close(found, 0.7 * pcb_of_the_paper(whole(model), share))
    weights = torch.tensor([1.0, 0.5, 2.0])
    expected = pcb_of_the_paper(weights[:, None] * whole(model), 0.1)
    close(merged(kinds["pcb"](), model, weights.tolist()), expected)
    # Of eight entries one is above the 0.75-quantile, the seventh's, and is cut to the seventh's magnitude.
    alone = {"w": torch.tensor([[0.1, -0.8, 0.3, 0.4, 0.5, -0.6, 0.7, 0.2]])}
    same(merged(kinds["pcb"](density=0.25), alone), torch.tensor([0, -0.7, 0, 0, 0, 0, 0, 0]))
    assert not merged(kinds["pcb"](), {"w": torch.zeros(2, 5)})["w"].any()
    assert len(kinds["pcb"]().first_passes()) == 4


@oracle
def emr_has_the_elected_sign_and_its_largest_magnitude(kinds: Kinds) -> None:
    deltas = torch.tensor([[1.0, -4.0, 2.0, 1.0], [-3.0, 3.0, 3.0, -1.0], [1.0, 2.0, 1.0, 0.0]])
    assert merged(kinds["emr"](), {"w": deltas})["w"].tolist() == [-3.0, 3.0, 3.0, 0.0]
    found = merged(kinds["emr"](scaling=0.5), {"w": deltas}, [3.0, 0.5, 1.0])["w"]
    assert found.tolist() == [1.5, -6.0, 3.0, 1.5]
