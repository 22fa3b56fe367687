"""What the methods made of lengths and angles must give, as `oracles` has it for the others."""

from itertools import combinations
from math import acos, cos, sin, sqrt

import pytest
import torch
from in_memory import merged, whole
from oracles import Kinds, oracle, same, steps

from results.errors import InputError

BROKEN = [
    ("geometry", "sin((1 - t) * angle)", "sin(t * angle)"),
    ("geometry", "(products / torch.where", "(products * torch.where"),
    ("methods.model_stock", "(number - 1) * cosine", "number * cosine"),
    ("methods.model_stock", "clamp(min=0)", "abs()"),
    ("methods.model_stock", 'self.within == "tensor"', 'self.within != "tensor"'),
    ("methods.model_stock", "torch.stack(pairs).mean(0)", "pairs[0]"),
    ("methods.model_stock", "values[pair] for pair in pairs", "values[pair] for pair in pairs[:1]"),
    ("methods.nuslerp", "[1])", "[0])"),
    ("methods.nuslerp", '0 if self.within == "column" else -1', "-1"),
    ("methods.nuslerp", 'if self.of == "weights"', 'if self.of != "weights"'),
    ("methods.nuslerp", 'if self.within == "tensor" or', "if"),
    ("methods.karcher", "context.base + delta for", "delta for"),
    ("methods.karcher", "(shares @ norms)", "norms.mean()"),
    ("methods.karcher", "shares / shares.sum() * stretch", "shares / shares.sum()"),
    ("methods.karcher", "range(self.max_iterations)", "range(0)"),
    ("methods.karcher", "torch.where(moved, shares, 0)", "torch.where(moved, shares.mean(), 0)"),
    ("methods.karcher", "angle.gt(pi - CANCELLED)", "angle.gt(pi)"),
    ("methods.metagpt", "squares / squares.sum() if", "squares if"),
    ("methods.metagpt", "deltas.double().square()", "deltas.double().abs()"),
    ("methods.metagpt", "weights * shares", "shares"),
    ("methods.lines", "self.beta * context.layer", "self.beta * (context.layer + 1)"),
    ("methods.lines", "max(context.depth - 1, 1)", "context.depth"),
    ("methods.lines", "of_sum / (n_tasks * of_merged)", "of_sum / of_merged"),
    ("methods.lines", "values.abs().sum(dtype=torch.float64)", "values.square().sum(dtype=torch.float64)"),
    ("methods.lines", "if context.layer is not None", "if False"),
]  # fmt: skip


def matrices(seed: int, tasks: int) -> dict[str, torch.Tensor]:
    """Task vectors of a matrix and of a vector, which point into one half-space."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"layers.0.matrix": (6, 5), "vector": (7,)}
    return {name: torch.randn((tasks, *shape), generator=random) + 0.6 for name, shape in shapes.items()}


@oracle
def model_stock_goes_as_far_as_the_angles_say(kinds: Kinds) -> None:
    # Of two task vectors at 60°: t = 2 · ½ / (1 + ½) = ⅔. Of three at right angles: 0.
    pair = {"w": torch.tensor([[2.0, 0.0], [0.5, sqrt(3) / 2]])}
    same(merged(kinds["model_stock"](), pair), 2 / 3 * torch.tensor([1.25, sqrt(3) / 4]))
    same(merged(kinds["model_stock"](), {"w": torch.eye(3)}), torch.zeros(3))
    same(merged(kinds["model_stock"](), {"w": torch.tensor([[1.0, 2.0], [-1.0, -1.0]])}), torch.zeros(2))
    same(merged(kinds["model_stock"](), {"w": torch.ones(4, 3)}), torch.ones(3))
    small = {name: 1e-5 * delta for name, delta in pair.items()}
    torch.testing.assert_close(
        1e5 * merged(kinds["model_stock"](), small)["w"], merged(kinds["model_stock"](), pair)["w"]
    )
    with pytest.raises(InputError, match="there is one"):
        merged(kinds["model_stock"](), {"w": torch.ones(1, 3)})


@oracle
def model_stock_takes_the_mean_cosine_of_all_pairs(kinds: Kinds) -> None:
    model, weights = matrices(30, 3), torch.tensor([1.0, 2.0, 1.0])
    for within in ("tensor", "row"):
        found = merged(kinds["model_stock"](within=within), model, weights.tolist())
        for name, delta in model.items():
            rows = delta if within == "row" else delta.flatten(1)
            pairs = [torch.cosine_similarity(rows[i], rows[j], dim=-1) for i, j in combinations(range(3), 2)]
            cosine = torch.stack(pairs).mean(0).clamp(min=0).reshape(-1, 1)
            expected = (
                3 * cosine / (1 + 2 * cosine) * (weights @ delta.flatten(1) / 4).reshape(len(cosine), -1)
            )
            torch.testing.assert_close(found[name].flatten(), expected.flatten(), rtol=1e-5, atol=1e-6)


@oracle
def nuslerp_goes_along_the_sphere_of_task_vectors(kinds: Kinds) -> None:
    # From (2, 0) to (0, 1) a quarter of the way: 22.5°.
    model = {"w": torch.tensor([[2.0, 0.0], [0.0, 1.0]])}
    base = {"w": torch.tensor([3.0, 1.0])}
    expected = torch.tensor([2 * cos(acos(-1) / 8), sin(acos(-1) / 8)])
    same(merged(kinds["nuslerp"](), model, [3.0, 1.0], base=base), expected)
    same(merged(kinds["nuslerp"](), {"w": torch.tensor([[1.0, 1.0], [3.0, 3.0]])}), torch.tensor([2.0, 2.0]))
    same(merged(kinds["nuslerp"](), {"w": torch.tensor([[0.0, 0.0], [3.0, 1.0]])}), torch.tensor([1.5, 0.5]))
    # Between the weights (5, 1) and (3, 2) the angle has the cosine 17/√338.
    angle = acos(17 / sqrt(338))
    shares = sin(0.75 * angle) / sin(angle), sin(0.25 * angle) / sin(angle)
    expected = shares[0] * torch.tensor([5.0, 1.0]) + shares[1] * torch.tensor([3.0, 2.0]) - base["w"]
    same(merged(kinds["nuslerp"](of="weights"), model, [3.0, 1.0], base=base), expected)
    with pytest.raises(InputError, match="two experts"):
        merged(kinds["nuslerp"](), steps(31))


@oracle
def nuslerp_of_rows_and_columns_is_that_of_each(kinds: Kinds) -> None:
    model = matrices(32, 2)
    for within in ("row", "column"):
        found = merged(kinds["nuslerp"](within=within), model, [1.0, 2.0])
        name = "layers.0.matrix"
        turned = model[name] if within == "row" else model[name].transpose(1, 2)
        lines = [merged(kinds["nuslerp"](), {"w": pair}, [1.0, 2.0])["w"] for pair in turned.unbind(1)]
        expected = torch.stack(lines) if within == "row" else torch.stack(lines).T
        torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6)
        whole_vector = merged(kinds["nuslerp"](), model, [1.0, 2.0])["vector"]
        torch.testing.assert_close(found["vector"], whole_vector)
        assert not torch.allclose(found[name], merged(kinds["nuslerp"](), model, [1.0, 2.0])[name], rtol=1e-3)


@oracle
def karcher_of_two_is_slerp_halfway_of_their_directions(kinds: Kinds) -> None:
    model = steps(33, tasks=2)
    unit = {name: delta / delta.norm(dim=1, keepdim=True) for name, delta in model.items()}
    halfway = merged(kinds["slerp"](t=0.5), unit)
    for name, delta in merged(kinds["karcher"](), model).items():
        torch.testing.assert_close(
            delta, model[name].norm(dim=1).mean() * halfway[name], rtol=1e-4, atol=1e-5
        )
    by_weight = merged(kinds["karcher"](), unit, [1.0, 3.0])
    for name, delta in merged(kinds["slerp"](t=0.75), unit).items():
        torch.testing.assert_close(by_weight[name], delta, rtol=1e-4, atol=1e-5)


@oracle
def karcher_is_where_the_ways_to_all_experts_cancel(kinds: Kinds) -> None:
    model, base = (
        matrices(34, 4),
        {"layers.0.matrix": torch.full((6, 5), 0.5), "vector": torch.full((7,), -0.2)},
    )
    weights = torch.tensor([1.0, 2.0, 1.0, 4.0], dtype=torch.float64) / 8
    found = merged(kinds["karcher"](max_iterations=50), model, (8 * weights).tolist(), base=base)
    for name, delta in found.items():
        points = (base[name] + model[name]).double().flatten(1)
        norms = points.norm(dim=1, keepdim=True)
        result = (base[name] + delta).double().flatten()
        torch.testing.assert_close(result.norm(), weights @ norms[:, 0], rtol=1e-5, atol=0)
        mean, units = result / result.norm(), points / norms
        angles = torch.acos(units @ mean)
        ways = (weights * angles / angles.sin())[:, None] * (units - angles.cos()[:, None] * mean)
        assert ways.sum(0).norm() < 2e-5
        assert ways.norm(dim=1).min() > 0.01
    still = merged(kinds["karcher"](), {"w": torch.zeros(2, 4)}, base={"w": torch.zeros(4)})
    assert not still["w"].any()


@oracle
def karcher_of_opposite_directions_is_refused(kinds: Kinds) -> None:
    first = torch.randn(50, generator=torch.Generator().manual_seed(37))
    pair = {"w": torch.stack([first, -3 * first * (1 + 1e-7)])}
    assert not torch.equal(pair["w"][1], -3 * first)
    with pytest.raises(InputError, match="'w' cancel"):
        merged(kinds["karcher"](), pair)
    with pytest.raises(InputError, match="straight away from the mean"):
        merged(kinds["karcher"](), pair, [2.0, 1.0])
    # An expert without a share is no matter.
    same(merged(kinds["karcher"](), pair, [1.0, 0.0]), first)


@oracle
def lines_scales_layers_by_their_depth(kinds: Kinds) -> None:
    random = torch.Generator().manual_seed(36)
    names = ("embed", *(f"model.layers.{i}.w" for i in range(3)))
    model = {name: torch.randn((2, 50), generator=random) for name in names}
    depth = dict(zip(names, (0, 0, 1, 2), strict=True))

    def expected(
        alpha: float, beta: float, merged_deltas: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        return {name: (alpha + beta * depth[name] / 2) * merged_deltas[name] for name in names}

    total = {name: delta.sum(0) for name, delta in model.items()}
    found = merged(kinds["lines"](beta=0.8), model)
    same(found, torch.cat([expected(0.5, 0.8, total)[name] for name in sorted(names)]))
    found = merged(kinds["lines"](beta=0.8, alpha=0.1), model)
    same(found, torch.cat([expected(0.1, 0.8, total)[name] for name in sorted(names)]))
    by_ties = merged(kinds["ties"](density=0.4), model, [1.0, 2.0])
    of_sum = (torch.tensor([1.0, 2.0]) @ whole(model)).abs().sum()
    alpha = of_sum / (2 * torch.cat(list(by_ties.values())).abs().sum())
    found = merged(kinds["lines"](of={"name": "ties", "density": 0.4}, beta=0.3), model, [1.0, 2.0])
    same(found, torch.cat([expected(float(alpha), 0.3, by_ties)[name] for name in sorted(names)]))
    by_star = kinds["lines"](of={"name": "star"}, alpha=0.2, beta=0.3)
    mean = {name: delta.mean(0) for name, delta in model.items()}
    same(merged(by_star, model), torch.cat([expected(0.2, 0.3, mean)[name] for name in sorted(names)]))
    one_layer = {"model.layers.0.w": torch.ones(2, 3)}
    same(merged(kinds["lines"](beta=0.3), one_layer), torch.ones(3))
    assert not merged(kinds["lines"](), {"w": torch.zeros(2, 3)})["w"].any()


@oracle
def metagpt_weighs_task_vectors_by_their_squared_lengths(kinds: Kinds) -> None:
    model = steps(35)
    deltas = whole(model)
    squares = deltas.double().square().sum(1)
    weights = torch.tensor([1.0, 3.0, 0.5])
    expected = (weights * (squares / squares.sum()).float()) @ deltas
    same(merged(kinds["metagpt"](), model, weights.tolist()), expected)
    equal = {"w": torch.tensor([[3.0, 0.0], [0.0, -3.0]])}
    same(merged(kinds["metagpt"](), equal), torch.tensor([1.5, -1.5]))
    same(merged(kinds["metagpt"](), {"w": torch.zeros(2, 3)}), torch.zeros(3))
