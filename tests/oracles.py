"""What the methods must give, from closed forms and from straightforward whole-vector forms of their papers.

Each oracle takes the registered methods by name, so that it can be run on broken ones too.
"""

from collections.abc import Callable, Mapping
from math import sqrt

import pytest
import torch
from in_memory import Model, merged, whole

from merging.method import Method
from results.errors import InputError

Kinds = Mapping[str, type[Method]]
ORACLES: dict[str, Callable[[Kinds], None]] = {}


def oracle(check: Callable[[Kinds], None]) -> Callable[[Kinds], None]:
    ORACLES[check.__name__] = check
    return check


def steps(seed: int, tasks: int = 3, rough: bool = False) -> Model:
    """Task vectors of three tensors; rough ones have few different values: many equal, opposite or 0."""
    random = torch.Generator().manual_seed(seed)
    lengths = {"embedding": 4001, "layer.0": 1500, "layer.1": 37}
    drawn = {name: torch.randn((tasks, length), generator=random) for name, length in lengths.items()}
    if rough:
        return {name: (2 * delta).round() / 4 for name, delta in drawn.items()}
    # Tensors of different magnitudes, so that a threshold over all of them is none of a single one.
    return {name: delta * 4.0**-i for i, (name, delta) in enumerate(drawn.items())}


def same(found: Model, expected: torch.Tensor) -> None:
    torch.testing.assert_close(
        torch.cat([found[name] for name in sorted(found)]), expected, rtol=1e-5, atol=1e-6
    )


@oracle
def average_is_the_weighted_mean(kinds: Kinds) -> None:
    model = steps(0)
    same(merged(kinds["average"](), model), whole(model).mean(0))
    weights = torch.tensor([1.0, 2.0, 5.0])
    same(merged(kinds["average"](), model, weights.tolist()), (weights @ whole(model)) / 8)


@oracle
def task_arithmetic_is_the_scaled_sum(kinds: Kinds) -> None:
    model = steps(1)
    same(merged(kinds["task_arithmetic"](scaling=0.3), model), 0.3 * whole(model).sum(0))
    one = {name: delta[:1] for name, delta in model.items()}
    assert all(torch.equal(d, one[n][0]) for n, d in merged(kinds["task_arithmetic"](), one).items())


def ties_of_the_paper(deltas: torch.Tensor, density: float, aggregate: str = "mean") -> torch.Tensor:
    """TIES over whole vectors (n_tasks, d) as its three steps say, with a full sort."""
    size = deltas.shape[1]
    kth = deltas.abs().sort(dim=1).values[:, size - int(size * density) - 1]
    trimmed = torch.where(deltas.abs() >= kth[:, None], deltas, 0.0)
    signs = trimmed.sum(0).sign()
    signs[signs == 0] = signs.sum().sign()
    agree = (trimmed.sign() == signs) & (trimmed != 0)
    total = torch.where(agree, trimmed, 0.0).sum(0)
    return total if aggregate == "sum" else total / agree.sum(0).clamp(min=1)


@oracle
def ties_is_the_papers_three_steps_over_the_whole_vector(kinds: Kinds) -> None:
    for rough in (False, True):
        for density in (0.001, 0.2, 0.55, 0.9):
            model = steps(2, rough=rough)
            found = merged(kinds["ties"](density=density, scaling=0.7), model)
            same(found, 0.7 * ties_of_the_paper(whole(model), density))
    summed = merged(kinds["ties"](density=0.3, aggregate="sum"), model)
    same(summed, ties_of_the_paper(whole(model), 0.3, "sum"))


@oracle
def ties_gives_undecided_entries_the_majoritys_sign(kinds: Kinds) -> None:
    # Entries 0 and 1 cancel; 2 and 3 say − and 4 says +, so the majority is −.
    deltas = torch.tensor([[2.0, -1.0, -1.0, -1.0, 1.0], [-2.0, 1.0, -1.0, -1.0, 1.0]])
    found = merged(kinds["ties"](density=1.0), {"w": deltas})["w"]
    assert found.tolist() == [-2, -1, -1, -1, 1]
    found = merged(kinds["ties"](density=1.0), {"w": -deltas})["w"]
    assert found.tolist() == [2, 1, 1, 1, -1]
    balanced = torch.tensor([[2.0, 1.0, -1.0], [-2.0, 1.0, -1.0]])
    assert merged(kinds["ties"](density=1.0), {"w": balanced})["w"].tolist() == [0, 1, -1]


@oracle
def ties_of_equal_signs_at_full_density_is_the_mean(kinds: Kinds) -> None:
    model = {name: delta.abs() + 0.1 for name, delta in steps(3).items()}
    same(merged(kinds["ties"](density=1.0), model), whole(model).mean(0))
    weights = [1.0, 2.0, 5.0]
    same(merged(kinds["ties"](density=1.0), model, weights), torch.tensor(weights) @ whole(model) / 8)


@oracle
def ties_trims_globally_or_per_tensor_as_worked_out_by_hand(kinds: Kinds) -> None:
    # ⌊0.4·5⌋ + 1 = 3 entries of each vector are kept: of the first 3, 4, 5; of the second −4, 5, −6.
    model = {
        "a": torch.tensor([[3.0, 4.0, 5.0], [-4.0, 5.0, -6.0]]),
        "b": torch.tensor([[1.0, -2.0], [2.0, 1.0]]),
    }
    found = merged(kinds["ties"](density=0.4), model)
    assert found["a"].tolist() == [-4.0, 4.5, -6.0]
    assert found["b"].tolist() == [0, 0]
    # Within a: ⌊1.2⌋ + 1 = 2 of 3: 4, 5 and 5, −6. Within b: ⌊0.8⌋ + 1 = 1 of 2: the last −2, the first 2.
    found = merged(kinds["ties"](density=0.4, scope="tensor"), model)
    assert found["a"].tolist() == [0.0, 4.5, -6.0]
    assert found["b"].tolist() == [2.0, -2.0]
    # mergekit keeps max(1, ⌊1.2⌋) = 1 of a, 5 and −6, and max(1, ⌊0.8⌋) = 1 of b.
    found = merged(kinds["ties"](density=0.4, variant="mergekit"), model)
    assert found["a"].tolist() == [0.0, 0.0, -6.0]
    assert found["b"].tolist() == [2.0, -2.0]


@oracle
def ties_of_mergekit_keeps_the_first_of_equal_magnitudes(kinds: Kinds) -> None:
    model = {"a": torch.tensor([[1.0, -2.0, 2.0, 3.0]]), "b": torch.tensor([[2.0, 1.0, -2.0, 0.0, 0.0, 0.0]])}
    for density, a, b in ((0.3, [0, -2, 2, 3], [0] * 6), (0.4, [0, -2, 2, 3], [2, 0, 0, 0, 0, 0])):
        method = kinds["ties"](density=density, variant="mergekit", scope="model")
        for block in (1, 3, 100):
            found = merged(method, model, block=block)
            assert [found["a"].tolist(), found["b"].tolist()] == [a, b]


@oracle
def ties_of_peft_votes_without_weights_and_divides_by_the_number(kinds: Kinds) -> None:
    deltas = torch.tensor([[1.0, 2.0, -1.0, 3.0], [-4.0, 2.0, -1.0, 1.0], [2.0, -9.0, 5.0, 1.0]])
    weights = [3.0, 1.0, 0.5]
    found = merged(kinds["ties"](density=1.0, variant="peft"), {"w": deltas}, weights)["w"]
    assert found.tolist() == [-4.0, -4.5, 2.5, 3.5]
    found = merged(kinds["ties"](density=1.0, variant="peft", vote="frequency"), {"w": deltas}, weights)["w"]
    assert found.tolist() == [2.0, 4.0, -2.0, 3.5]


@oracle
def dare_keeps_each_entry_by_chance_and_scales_it_up(kinds: Kinds) -> None:
    model = {"w": torch.full((1, 200_000), 3.0)}
    found = merged(kinds["dare"](drop_rate=0.9), model)["w"]
    assert set(found.tolist()) == {0.0, found.max().item()}
    torch.testing.assert_close(found.max().item(), 30.0)
    assert abs((found != 0).double().mean().item() - 0.1) < 5 * sqrt(0.09 / 200_000)


@oracle
def dare_keeps_the_expectation_over_seeds(kinds: Kinds) -> None:
    model = steps(4)
    rounds = 100
    total = sum(whole_of(merged(kinds["dare"](drop_rate=0.5), model, seed=seed)) for seed in range(rounds))
    expected = whole(model).sum(0)
    deviation = whole(model).square().sum(0).sqrt() / sqrt(rounds)  # of τ m/(1−p) at p = ½ it is |τ|
    scores = (total / rounds - expected) / deviation
    assert abs(scores.mean().item()) < 5 / sqrt(len(scores))
    assert abs(scores.std().item() - 1) < 0.1


def whole_of(found: Model) -> torch.Tensor:
    return torch.cat([found[name] for name in sorted(found)])


@oracle
def dare_drops_by_expert_and_seed_and_nothing_else(kinds: Kinds) -> None:
    model = steps(5)
    method = kinds["dare"](drop_rate=0.5)
    found = whole_of(merged(method, model))
    assert torch.equal(found, whole_of(merged(method, model, block=97)))
    assert not torch.equal(found, whole_of(merged(method, model, seed=1)))
    one, other = ({name: delta[i : i + 1] for name, delta in model.items()} for i in (0, 1))
    apart = whole_of(merged(method, one)) != 0, whole_of(merged(method, other)) != 0
    both = (apart[0] & apart[1]).double().mean().item()
    assert abs(both - 0.25) < 5 * sqrt(0.1875 / len(found))
    pair = {name: delta[:2] for name, delta in model.items()}
    assert torch.equal(whole_of(merged(method, pair)) != 0, apart[0] | apart[1])


@oracle
def dare_then_ties_elects_among_what_is_left(kinds: Kinds) -> None:
    model = steps(6, rough=True)
    tasks = len(model["embedding"])
    single = [{name: delta[t : t + 1] for name, delta in model.items()} for t in range(tasks)]
    # Doubling is exact, so entries that cancel before it cancel after it.
    dropped = torch.stack([whole_of(merged(kinds["dare"](drop_rate=0.5), one)) for one in single])
    found = merged(kinds["dare"](drop_rate=0.5, then="ties", scaling=0.5), model)
    same(found, 0.5 * ties_of_the_paper_untrimmed(dropped))
    same(merged(kinds["dare"](drop_rate=0.0, then="ties"), model), ties_of_the_paper_untrimmed(whole(model)))
    same(merged(kinds["dare"](drop_rate=0.0, scaling=0.3), model), 0.3 * whole(model).sum(0))


def ties_of_the_paper_untrimmed(deltas: torch.Tensor) -> torch.Tensor:
    return ties_of_the_paper(torch.cat([deltas, torch.zeros(len(deltas), 1)], dim=1), 1 - 1e-9)[:-1]


@oracle
def consensus_holds_what_enough_tasks_hold(kinds: Kinds) -> None:
    for rough in (False, True):
        model = steps(7, tasks=4, rough=rough)
        deltas = whole(model)
        total = deltas.sum(0)
        for k in (1, 2, 3, 4):
            masks = deltas.abs() > 0.4 * (total - deltas).abs()
            expected = torch.where(masks.sum(0) >= k, total, 0.0)
            same(merged(kinds["consensus_ta"](consensus=k, scaling=0.6), model), 0.6 * expected)


@oracle
def consensus_of_none_is_task_arithmetic_and_of_too_many_the_base(kinds: Kinds) -> None:
    model = steps(8)
    same(merged(kinds["consensus_ta"](consensus=0), model), whole(model).sum(0))
    same(merged(kinds["consensus_ta"](consensus=4), model), torch.zeros(whole(model).shape[1]))


@oracle
def consensus_of_one_task_is_that_tasks_mask(kinds: Kinds) -> None:
    model = steps(12)
    deltas = whole(model)
    total = deltas.sum(0)
    masks = deltas.abs() > 0.4 * (total - deltas).abs()
    for place, task in enumerate("abc"):
        expected = 0.6 * torch.where(masks[place], total, 0.0)
        same(merged(kinds["consensus_ta"](only=task, scaling=0.6), model), expected)


@oracle
def consensus_takes_a_threshold_for_each_task(kinds: Kinds) -> None:
    model = steps(9)
    deltas, each = whole(model), torch.tensor([0.2, 0.6, 1.5])
    masks = deltas.abs() > each[:, None] * (deltas.sum(0) - deltas).abs()
    expected = torch.where(masks.sum(0) >= 2, deltas.sum(0), 0.0)
    named = dict(zip("abc", each.tolist(), strict=True))
    same(merged(kinds["consensus_ta"](mask_threshold=named), model), expected)
    # Nobody holds an entry that nobody moves.
    still = {"w": torch.zeros(3, 5)}
    assert not merged(kinds["consensus_ta"](consensus=1), still)["w"].any()


def metis_of_the_paper(
    deltas: torch.Tensor, alphas: torch.Tensor, ratio: float, k: int, strict: bool = False
) -> torch.Tensor:
    """METIS over whole vectors (n_tasks, d) as its formulas say, in float64 where it decides."""
    own = alphas[:, None] * deltas
    total = own.sum(0)
    others = ratio * (total - own).abs()
    masks = own.abs() > others if strict else own.abs() >= others
    return torch.where(masks.sum(0) >= k, total, 0.0)


@oracle
def metis_holds_the_weighted_sum_where_tasks_agree(kinds: Kinds) -> None:
    weights = torch.tensor([1.0, 2.0, 4.0, 1.0])
    for rough in (False, True):
        model = steps(10, tasks=4, rough=rough)
        for k in (1, 2, 3, 4):
            for strict in (False, True):
                method = kinds["metis"](consensus=k, mask_ratio=0.3, scaling=0.7, strict=strict)
                expected = metis_of_the_paper(whole(model), weights / 8, 0.3, k, strict)
                same(merged(method, model, weights.tolist()), 0.7 * expected)


@oracle
def metis_without_consensus_is_the_weighted_sum_and_with_too_much_the_base(kinds: Kinds) -> None:
    model, weights = steps(11), [0.2, 0.3, 0.5]
    total = torch.tensor(weights) @ whole(model)
    same(merged(kinds["metis"](consensus=0), model, weights), total)
    same(merged(kinds["metis"](consensus=3, mask_ratio=0.0), model, weights), total)
    same(merged(kinds["metis"](consensus=4, mask_ratio=0.0), model, weights), torch.zeros_like(total))
    same(merged(kinds["metis"](consensus=0), model), whole(model).mean(0))


@oracle
def slerp_goes_along_the_sphere(kinds: Kinds) -> None:
    model = steps(12, tasks=2)
    for t, expected in ((0.0, 0), (1.0, 1)):
        same(merged(kinds["slerp"](t=t), model), whole(model)[expected])
    for name, delta in merged(kinds["slerp"](t=0.3), model).items():
        a, b = model[name]
        angle = torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=0))
        # On the arc between a and b; of their norms as the coefficients are of unnormalised vectors.
        expected = (torch.sin(0.7 * angle) * a + torch.sin(0.3 * angle) * b) / torch.sin(angle)
        torch.testing.assert_close(delta, expected, rtol=1e-4, atol=1e-6)
    by_weight, by_t = merged(kinds["slerp"](), model, [3.0, 1.0]), merged(kinds["slerp"](t=0.25), model)
    assert all(torch.allclose(by_weight[name], by_t[name]) for name in model)
    unit = {name: delta / delta.norm(dim=1, keepdim=True) for name, delta in model.items()}
    norms = torch.stack([delta.norm() for delta in merged(kinds["slerp"](t=0.4), unit).values()])
    torch.testing.assert_close(norms, torch.ones(3), rtol=1e-5, atol=1e-5)
    small = {name: 1e-6 * delta for name, delta in model.items()}
    for name, delta in merged(kinds["slerp"](t=0.3), small).items():
        torch.testing.assert_close(1e6 * delta, merged(kinds["slerp"](t=0.3), model)[name])
    near = {name: torch.stack([delta[0], 1.001 * delta[0]]) for name, delta in model.items()}
    same(merged(kinds["slerp"](t=0.25), near), 0.75 * whole(near)[0] + 0.25 * whole(near)[1])


@oracle
def multislerp_has_the_mean_norm_along_the_mean_direction(kinds: Kinds) -> None:
    model, weights = steps(13, tasks=3), [1.0, 2.0, 5.0]
    shares = torch.tensor(weights) / 8
    for name, delta in merged(kinds["multislerp"](), model, weights).items():
        norms = model[name].norm(dim=1)
        direction = shares @ (model[name] / norms[:, None])
        # One step of the tangents at the mean direction: they add up to nothing there.
        expected = (shares @ norms) * direction / direction.norm()
        torch.testing.assert_close(delta, expected, rtol=1e-4, atol=1e-6)


@oracle
def multislerp_of_two_is_slerp_of_their_directions_at_their_mean_norm(kinds: Kinds) -> None:
    model = steps(14, tasks=2)
    unit = {name: delta / delta.norm(dim=1, keepdim=True) for name, delta in model.items()}
    halfway = merged(kinds["slerp"](t=0.5), unit)
    for name, delta in merged(kinds["multislerp"](), model).items():
        mean = model[name].norm(dim=1).mean()
        torch.testing.assert_close(delta, mean * halfway[name], rtol=1e-4, atol=1e-5)


@oracle
def multislerp_of_what_does_not_move_or_cancels(kinds: Kinds) -> None:
    model = {"still": torch.zeros(2, 30), "against": torch.tensor([[1.0, 2.0, 0.0], [-1.0, -2.0, 0.0]])}
    found = merged(kinds["multislerp"](), model)
    assert torch.equal(found["still"], torch.zeros(30))
    same(found, torch.zeros(33))
    # Opposite but for rounding: the sum by weights, and of three nothing at all.
    first = torch.randn(50, generator=torch.Generator().manual_seed(16))
    pair = torch.stack([first, -3 * first * (1 + 1e-7)])
    assert not torch.equal(pair[1], -3 * first)
    same(merged(kinds["multislerp"](), {"w": pair}), pair.mean(0))
    with pytest.raises(InputError, match="'w' cancel"):
        merged(kinds["multislerp"](), {"w": torch.stack([*pair, torch.zeros(50)])})


@oracle
def learned_coefficients_scale_each_task_and_layer(kinds: Kinds) -> None:
    model = steps(15, tasks=2)
    names = ("a", "b")
    of_tasks = dict(zip(names, (0.25, 1.5), strict=True))
    for method in ("divmerge", "adamerging", "fw_merging"):
        same(merged(kinds[method](coefficients=of_tasks), model), torch.tensor([0.25, 1.5]) @ whole(model))
    layers = {name: {"embedding": 0.5, "layer.0": 1.0, "layer.1": float(i)} for i, name in enumerate(names)}
    found = merged(kinds["divmerge"](coefficients=layers), model)
    for name, (one, other) in {"embedding": (0.5, 0.5), "layer.0": (1.0, 1.0), "layer.1": (0.0, 1.0)}.items():
        torch.testing.assert_close(found[name], one * model[name][0] + other * model[name][1])
