"""What the methods of whole matrices without data must give, as `oracles` has it for the others."""

from math import atan, cos, degrees, radians, sin, sqrt, tan

import pytest
import torch
from in_memory import merged
from oracles import Kinds, oracle
from oracles_spectral import NAME, low_rank, near, one, random, turn

from results.errors import InputError

BROKEN = [
    ("spectral", "wide @ wide.t()", "wide.abs() @ wide.t().abs()"),
    ("methods.wudi", "matrix.t() @ matrix / square", "matrix.t() @ matrix"),
    ("methods.wudi", "pulled += matrix @ gram", "pulled += gram[: len(matrix)]"),
    ("descent", "-learning_rate /", "learning_rate /"),
    ("descent", "_SECOND**step)).sqrt_()", "_SECOND**step))"),
    ("descent", "first.lerp_(slope, 1 - _FIRST)", "first.lerp_(slope, 0.5)"),
    ("methods.wudi", "weighted_sum(own, torch.ones_like(weights))", "own.mean(0)"),
    ("methods.doge", "self.scaling * relatively_weighted(1 / lengths", "self.scaling * relatively_weighted(lengths"),  # noqa: E501
    ("methods.doge", "delta * (delta - merged)", "delta * merged"),
    ("methods.doge", "torch.add(total, shift, alpha=strength)", "torch.add(total, shift)"),
    ("methods.doge", "value=-2 * strength", "value=2 * strength"),
    ("methods.doge", "slope - shared @ (shared.t() @ slope)", "shared @ (shared.t() @ slope)"),
    ("methods.doge", "size // self.subspace", "size"),
    ("methods.doge", "size // len(deltas)", "size"),
    ("methods.doge", "(delta + shift) * mask", "delta * mask + shift"),
    ("methods.doge", "deltas if is_matrix(context.shape, context.layer) else deltas[:, :0]", "deltas"),
    ("methods.core_space", "left.t() @ deltas @ right", "left.t().abs() @ deltas @ right"),
    ("methods.core_space", "deltas.transpose(1, 2)", "deltas.transpose(1, 2)[:1]"),
    ("methods.core_space", "@ right.t()).mul_(self.scaling)", "@ right.t())"),
    ("methods.cabs", "free *= 1 - mask", "free *= 1"),
    ("methods.cabs", "order.gather(-1, by_freedom)", "order"),
    ("methods.cabs", "self.of), self.keep)", "self.of), 1)"),
    ("methods.cabs", "-(-self.keep * rest // self.of)", "self.keep * rest // self.of"),
    ("methods.cabs", "weighted_sum(own, weights).mul_(self.scaling)", "weighted_sum(own, weights)"),
    ("methods.cabs", "for task in self.order]", "for task in sorted(self.order)]"),
    ("methods.dc_merge", "(merged * blocks)", "merged"),
    ("methods.dc_merge", "// len(deltas)", ""),
    ("methods.dc_merge", "int(self.density * magnitudes.numel())", "magnitudes.numel()"),
    ("methods.dc_merge", "min(self.ratio, float(values[0] / values[-1]))", "self.ratio"),
    ("methods.dc_merge", "values.sum() * shares", "values[0] * shares"),
    ("methods.dc_merge", "@ right).mul_(self.scaling)", "@ right)"),
    ("methods.orthomerge", "length / norm if", "1.0 if"),
    ("methods.orthomerge", "self.scaling * left_over", "left_over"),
    ("methods.orthomerge", "unit - turned, unit + turned", "unit, unit + turned"),
    ("methods.orthomerge", "products + held", "products - held"),
    ("methods.orthomerge", "left[:, -1] *= -1", "left *= 1"),
    ("methods.orthomerge", "length += share *", "length += "),
    ("methods.ace", "own - own.mean(1, keepdim=True)", "own"),
    ("methods.ace", "zip(own, _centred(own)", "zip(_centred(own), _centred(own)"),
    ("methods.ace", "together + common", "together"),
    ("methods.ace", "guess / trace, self.ridge / trace", "guess / trace, self.ridge"),
    ("methods.ace", "common /= squares.mean() + _SMALLEST", "common /= 1"),
    ("methods.ace", "together / len(own)", "0 * together"),
    ("methods.ace", "int(len(values) * self.share)", "len(values)"),
    ("methods.ace", "logs.var() /", "logs.var() *"),
]  # fmt: skip
METHODS = {"wudi": {}, "doge": {}, "core_space": {"scaling": 0.7}, "dc_merge": {"scaling": 0.7}, "ace": {}}


@oracle
def what_is_no_matrix_of_a_block_is_averaged_too(kinds: Kinds) -> None:
    model = {"embed.weight": random(60, 3, 6, 4), "model.layers.0.norm.weight": random(61, 3, 5)}
    for method, settings in METHODS.items():
        found = merged(kinds[method](**settings), model, [1.0, 2.0, 1.0])
        for name, delta in model.items():
            mean = torch.einsum("t,t...->...", torch.tensor([0.25, 0.5, 0.25]), delta)
            near(found[name], settings.get("scaling", 1.0) * mean)
        assert not merged(kinds[method](), one(torch.zeros(2, 6, 4)))[NAME].any()


@oracle
def wudi_steps_off_the_sum_until_no_task_is_disturbed(kinds: Kinds) -> None:
    # By hand: Δ = (2, 1) has besides τ_1 = (1, 0) the product 1 with it, and besides τ_2 = (1, 1) also 1; the
    # gradient is 2 (1, 0)/1 + 2 (1, 1)/2 = (3, 1), and Adam's first step is the rate against its signs.
    pair = torch.tensor([[[1.0, 0.0]], [[1.0, 1.0]]])
    near(merged(kinds["wudi"](steps=0), one(pair))[NAME], torch.tensor([[2.0, 1.0]]))
    near(merged(kinds["wudi"](steps=1, learning_rate=0.1), one(pair))[NAME], torch.tensor([[1.9, 0.9]]))
    # Nothing is disturbed where Δ_1 = 1 and Δ_1 + Δ_2 = 2; an expert that is the base changes nothing.
    still = torch.cat([pair, torch.zeros(1, 1, 2)])
    for tasks, weights in ((pair, None), (still, [1.0, 1.0, 1.0])):
        found = merged(kinds["wudi"](steps=2000, learning_rate=0.01), one(tasks), weights)[NAME]
        torch.testing.assert_close(found, torch.ones(1, 2), rtol=0, atol=2e-3)
    # Of one task, and of tasks at right angles, the sum disturbs nothing.
    alone = random(62, 1, 4, 3)
    near(merged(kinds["wudi"](learning_rate=1e-3), one(alone))[NAME], alone[0])


@oracle
def wudi_is_the_descent_of_its_loss(kinds: Kinds) -> None:
    matrices = random(63, 3, 4, 6)
    vectors = (matrices * torch.tensor([0.75, 1.5, 0.75]).reshape(3, 1, 1)).double()
    expected = torch.nn.Parameter(vectors.sum(0))
    optimiser = torch.optim.Adam([expected], lr=1e-2)
    for _ in range(7):
        optimiser.zero_grad()
        disturbed = (expected - vectors) @ vectors.transpose(1, 2)
        (disturbed.square().sum((1, 2)) / vectors.square().sum((1, 2))).sum().backward()
        optimiser.step()
    found = merged(kinds["wudi"](steps=7, learning_rate=1e-2), one(matrices), [1.0, 2.0, 1.0])[NAME]
    torch.testing.assert_close(found, expected.detach().float(), rtol=0, atol=2e-4)


@oracle
def doge_moves_tasks_of_one_length_towards_what_the_merged_rows_lack(kinds: Kinds) -> None:
    # By hand: (1, 0) and (3, 4)/5 make (1.6, 0.8), which has 0.6 too much along (1, 0) and lacks 17 along
    # (3, 4); the gradient is 2 (1 + 1/5) (0.6 (1, 0) − 17 (3, 4)), and Adam takes 0.1 against its signs.
    pair = torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]])
    own = {"scaling": 1.0, "learning_rate": 0.1}
    near(merged(kinds["doge"](steps=0, density=1.0, **own), one(pair))[NAME], torch.tensor([[1.6, 0.8]]))
    near(merged(kinds["doge"](steps=1, density=1.0, **own), one(pair))[NAME], torch.tensor([[1.72, 0.92]]))
    # Of two entries the largest stays: 1.1 of the first, 4.1/5 of the second; other tensors do not count.
    norms = {"model.layers.0.norm.weight": random(74, 2, 9)}
    beside = {"embed.weight": 9 * random(73, 2, 5, 5), **norms, **one(pair)}
    near(merged(kinds["doge"](steps=1, **own), beside)[NAME], torch.tensor([[1.1, 0.82]]))
    # With relative weights of 1.5; an expert that is the base changes nothing else.
    still = torch.cat([pair, torch.zeros(1, 1, 2)])
    found = merged(kinds["doge"](steps=1, density=1.0, **own), one(still), [1.0, 1.0, 0.0])[NAME]
    near(found, torch.tensor([[2.58, 1.38]]))


@oracle
def doge_goes_down_its_loss_but_along_what_the_tasks_share(kinds: Kinds) -> None:
    matrices = random(75, 3, 12, 14).double()
    scales = 0.5 * torch.tensor([0.75, 1.5, 0.75]) / matrices.flatten(1).norm(dim=1)
    lefts = torch.cat([torch.linalg.svd(matrix)[0][:, :4] for matrix in matrices], 1)
    shared = torch.linalg.svd(lefts)[0][:, :2]
    shift = torch.nn.Parameter(torch.zeros(12, 14, dtype=torch.float64))
    optimiser = torch.optim.Adam([shift], lr=1e-2)
    for _ in range(7):
        optimiser.zero_grad()
        whole = torch.einsum("t,tij->ij", scales, matrices + shift)
        (matrices * (matrices - whole)).sum(2).square().sum().backward()
        shift.grad -= shared @ shared.T @ shift.grad
        optimiser.step()
    magnitudes = matrices.flatten(1).abs()
    least = magnitudes.sort(dim=1).values[:, 168 - int(0.4 * 168) - 1].reshape(3, 1, 1)
    moved = torch.where(matrices.abs() >= least, matrices + shift.detach(), 0)
    expected = torch.einsum("t,tij->ij", scales, moved).float()
    method = kinds["doge"](steps=7, learning_rate=1e-2, density=0.4, scaling=0.5)
    found = merged(method, one(matrices.float()), [1.0, 2.0, 1.0])[NAME]
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


@oracle
def core_space_loses_nothing_and_merges_by_another_method(kinds: Kinds) -> None:
    low = low_rank(64, 3, 10, 8, 2)
    weights = [1.0, 2.0, 1.0]
    mean = torch.einsum("t,tij->ij", torch.tensor([0.25, 0.5, 0.25]), low)
    near(
        merged(kinds["core_space"](of={"name": "average"}, scaling=0.5), one(low), weights)[NAME], 0.5 * mean
    )
    for method in ("tsv_merge", "iso", "star"):
        inside = merged(kinds["core_space"](of={"name": method}), one(low), weights)[NAME]
        near(inside, merged(kinds[method](), one(low), weights)[NAME])
    # Along u v' the coordinates are 2 and −1, of which EMR elects the 2; entries would elect the same signs.
    along = torch.outer(turn(30.0), turn(100.0))
    pair = torch.stack([2 * along, -along])
    near(merged(kinds["core_space"](of={"name": "emr"}), one(pair))[NAME], 2 * along)
    # By axes at 30° the coordinates are diag(2, 0) and diag(1, 3), of which 2 and 3 are the largest.
    axes = torch.stack([turn(30.0), turn(120.0)], dim=1)
    pair = torch.stack([axes @ torch.diag(torch.tensor(d)) @ axes.T for d in ([2.0, 0.0], [1.0, 3.0])])
    expected = axes @ torch.diag(torch.tensor([2.0, 3.0])) @ axes.T
    near(merged(kinds["core_space"](of={"name": "magmax", "scaling": 1.0}), one(pair))[NAME], expected)
    for refused in ("dare", "ties", "slerp", "core_space", "magic"):
        with pytest.raises(ValueError, match="'of'"):
            kinds["core_space"](of={"name": refused})


@oracle
def cabs_keeps_the_largest_of_every_stretch_that_are_left(kinds: Kinds) -> None:
    # One of two: a keeps 3, 5 and the last 7; b of what is left 2 and 1, and where nothing is left its 8.
    pair = torch.tensor([[3.0, 1.0, -2.0, 5.0, 7.0], [4.0, 2.0, 1.0, 6.0, 8.0]])
    found = merged(kinds["cabs"](keep=1, of=2), {"bias": pair})["bias"]
    near(found, torch.tensor([3.0, 2.0, 1.0, 5.0, 15.0]))
    other = merged(kinds["cabs"](keep=1, of=2, order=["b", "a"], scaling=0.5), {"bias": pair}, [1.0, 2.0])
    near(other["bias"], torch.tensor([4.0, 0.5, -1.0, 6.0, 11.5]))
    # Two of four consecutive entries of the flattened matrix; of the three after them ⌈3 · 2/4⌉ = 2.
    both = torch.tensor([[9.0, 8.0, 1.0], [2.0, 3.0, 4.0], [5.0, 0.5, 6.0]])[None]
    found = merged(kinds["cabs"](keep=2, of=4), {"w": both})["w"]
    near(found, torch.tensor([[9.0, 8.0, 0.0], [0.0, 0.0, 4.0], [5.0, 0.0, 6.0]]))
    short = merged(kinds["cabs"](keep=2, of=4), {"w": torch.tensor([[1.0, 2.0, 3.0, 4.0, 7.0, 5.0, 6.0]])})[
        "w"
    ]
    near(short, torch.tensor([0.0, 0.0, 3.0, 4.0, 7.0, 0.0, 6.0]))
    # Two of three each: b has one entry left, and of those of a the largest.
    crowded = torch.tensor([[5.0, 4.0, 1.0], [2.0, 3.0, 1.0]])
    near(merged(kinds["cabs"](keep=2, of=3), {"bias": crowded})["bias"], torch.tensor([5.0, 7.0, 1.0]))
    with pytest.raises(InputError, match="name each once"):
        merged(kinds["cabs"](order=["a", "z"]), {"bias": pair})
    with pytest.raises(ValueError, match="more than 'of'"):
        kinds["cabs"](keep=3, of=2)


@oracle
def dc_merge_keeps_each_tasks_own_coordinates(kinds: Kinds) -> None:
    # u_1, u_2 at 0° and 60° are covered by axes at −15° and 75°, with coordinates cos 15° and cos 75°.
    pair = torch.stack([2.0 * torch.outer(turn(0.0), turn(10.0)), 3.0 * torch.outer(turn(60.0), turn(70.0))])
    near_, far = cos(radians(15)), cos(radians(75))
    blocks = [torch.outer(turn(-15.0), turn(-5.0)), torch.outer(turn(75.0), turn(85.0))]
    kept = merged(kinds["dc_merge"](density=0.25), one(pair))[NAME]
    near(kept, 2 * near_**2 * blocks[0] + 3 * near_**2 * blocks[1])
    both = (2 * near_**2 + 3 * far**2) / 2, (2 * far**2 + 3 * near_**2) / 2
    all_of_them = merged(kinds["dc_merge"](density=1.0, scaling=0.5), one(pair))[NAME]
    near(all_of_them, 0.5 * (both[0] * blocks[0] + both[1] * blocks[1]))
    # By default each of two tasks has two of four directions.
    drawn = random(72, 2, 4, 4)
    near(merged(kinds["dc_merge"](), one(drawn))[NAME], merged(kinds["dc_merge"](rank=2), one(drawn))[NAME])
    # Tasks in rows and columns of their own are added up; relative weights are 0.5 and 1.5.
    apart = torch.zeros(2, 5, 4)
    apart[0, :2, :2], apart[1, 2:4, 2:] = random(65, 2, 2), random(66, 2, 2)
    found = merged(kinds["dc_merge"](density=1.0), one(apart), [1.0, 3.0])[NAME]
    near(found, 0.5 * apart[0] + 1.5 * apart[1])


@oracle
def dc_merge_smooths_singular_values_and_keeps_their_sum(kinds: Kinds) -> None:
    def smoothed(values: list[float], **settings: object) -> torch.Tensor:
        matrix = torch.diag(torch.tensor(values))[None]
        return merged(kinds["dc_merge"](density=1.0, **settings), one(matrix))[NAME].diagonal()

    near(smoothed([3.0, 1.0]), torch.tensor([3.0, 1.0]))
    near(smoothed([3.0, 1.0], smoothing="average"), torch.tensor([2.0, 2.0]))
    near(smoothed([9.0, 1.0], smoothing="linear"), torch.tensor([50.0, 10.0]) / 6)
    near(smoothed([3.0, 1.0], smoothing="linear"), torch.tensor([3.0, 1.0]))
    near(smoothed([5.0, 4.0, 3.0], rank=2), torch.tensor([5.0, 4.0, 0.0]))


def rotation(*angles: float) -> torch.Tensor:
    """Rotations of the planes of the first two axes, the next two, …"""
    planes = [[[cos(a), sin(a)], [-sin(a), cos(a)]] for a in map(radians, angles)]
    return torch.block_diag(*map(torch.tensor, planes))


@oracle
def orthomerge_merges_rotations_by_their_mean_length(kinds: Kinds) -> None:
    base = random(67, 4, 4)

    def turned(*experts: torch.Tensor, weights: list[float] | None = None, **settings: float) -> torch.Tensor:
        deltas = torch.stack([expert - base for expert in experts])
        return merged(kinds["orthomerge"](**settings), one(deltas), weights, base=one(base))[NAME] + base

    near(turned(base @ rotation(40, 10)), base @ rotation(40, 10))
    near(turned(base @ rotation(40, 0), base @ rotation(40, 0)), base @ rotation(40, 0))
    near(turned(base @ rotation(40, 0), base @ rotation(-40, 0)), base)
    # In planes of their own: (Q_1 + Q_2)/√2, which turns each by 2 atan(tan 20° / √2).
    less = 2 * degrees(atan(tan(radians(20)) / sqrt(2)))
    near(turned(base @ rotation(40, 0), base @ rotation(0, 40)), base @ rotation(less, less))
    # By weights: tan(θ/2) of 0.5 · tan 20° + 1.5 · tan 10° in one plane, whose length is the weighted mean.
    both = 2 * degrees(atan((0.5 * tan(radians(20)) + 1.5 * tan(radians(10))) / 2))
    near(turned(base @ rotation(40, 0), base @ rotation(20, 0), weights=[1.0, 3.0]), base @ rotation(both, 0))
    # What no rotation gives is added: 1.5 times a rotation leaves half of it.
    near(turned(1.5 * base @ rotation(40, 0), scaling=0.2), 1.1 * base @ rotation(40, 0))
    near(turned(random(68, 4, 4), scaling=1.0), random(68, 4, 4))
    tables = {"embed.weight": random(69, 2, 3, 3)}
    near(merged(kinds["orthomerge"](), tables)["embed.weight"], 0.2 * tables["embed.weight"].sum(0))


@oracle
def orthomerge_turns_no_more_than_the_weights_ask_for(kinds: Kinds) -> None:
    # One row, (2, 0): turned by 40° it is (2 cos 40°, 2 sin 40°), and the other direction goes with it.
    base = torch.tensor([[2.0, 0.0]])
    experts = torch.stack([base @ rotation(40), base @ rotation(40)])
    found = merged(kinds["orthomerge"](), one(experts - base), base=one(base))[NAME] + base
    near(found, base @ rotation(40))
    # A reflection is none: what it asks for in the weakest direction is left over, a fifth of which is taken.
    base, expert = (torch.diag(torch.tensor(d)) for d in ([3.0, 2.0, 1.0], [3.0, 2.0, -1.0]))
    found = merged(kinds["orthomerge"](), one((expert - base)[None]), base=one(base))[NAME] + base
    near(found, torch.diag(torch.tensor([3.0, 2.0, 0.6])))
    # Two rows of four columns: rotations that nothing asks for would shorten the merged one.
    wide = torch.cat([torch.eye(2), torch.zeros(2, 2)], dim=1)
    other = torch.stack([wide @ rotation(40, 0), wide @ rotation(20, 0)])
    mean = 2 * degrees(atan((tan(radians(20)) + tan(radians(10))) / 2))
    near(
        merged(kinds["orthomerge"](), one(other - wide), base=one(wide))[NAME] + wide,
        wide @ rotation(mean, 0),
    )


@oracle
def ace_weighs_by_covariances_of_the_task_vectors(kinds: Kinds) -> None:
    # One column: products 2 and 8, ridge 1, and 10 beside them: (1·3 + 2·9)/(3 + 9 + 10) of (1, −1).
    along = torch.tensor([[1.0], [-1.0]])
    pair = torch.stack([along, 2 * along])
    near(merged(kinds["ace"](ridge=1.0, unlike=9.0), one(pair))[NAME], 21 / 22 * along)
    # The mean of the rows is left out.
    near(merged(kinds["ace"](ridge=1.0, unlike=9.0), one(pair + 5.0))[NAME], 21 / 22 * along)
    # Unlike: 1 of each, ridges 1/2 and 1/8, 2/5 beside them: (1.5 + 2·1.125)/3.025; and once more what
    # becomes of that with Σ τ_t (1 − 2.625/2) = −0.9375.
    first = 3.75 / 3.025
    near(merged(kinds["ace"](ridge=1.0, share=1.0), one(pair))[NAME], (2 * first - 0.9375) * along)
    near(merged(kinds["ace"](ridge=1.0, share=0.5), one(pair))[NAME], first * along)
    # Where the ridge is all, it is the mean; relative weights are 0.5 and 1.5.
    small = 1e-4 * random(70, 2, 6, 5)
    centred = small - small.mean(1, keepdim=True)
    expected = (0.5 * centred[0] + 1.5 * centred[1]) / 2
    torch.testing.assert_close(
        merged(kinds["ace"](unlike=9.0), one(small), [1.0, 3.0])[NAME], expected, rtol=1e-3, atol=1e-9
    )
    # In general, with the numbers of two unlike tasks of several columns.
    matrices = random(71, 2, 7, 4) * torch.tensor([1.0, 6.0]).reshape(2, 1, 1)
    near(merged(kinds["ace"](unlike=0.1), one(matrices))[NAME], ace(matrices.double()).float())


def ace(matrices: torch.Tensor) -> torch.Tensor:
    norms = torch.stack([(matrix**2).sum() for matrix in matrices])
    centred = [matrix - matrix.mean(0) for matrix in matrices]
    guesses = [matrix.T @ matrix / (matrix**2).sum() for matrix in centred]
    ridges = [1e-2 / (matrix**2).sum() * torch.eye(4) for matrix in centred]
    sides = [guess + ridge for guess, ridge in zip(guesses, ridges, strict=True)]
    beside = sum(guesses).mean(0) / norms.mean()
    merged_ = sum(m @ s for m, s in zip(centred, sides, strict=True)) @ torch.linalg.inv(sum(sides) + beside)
    rest = sum(m @ (g - sum(sides) / 2) for m, g in zip(matrices, guesses, strict=True))
    left, values, right = torch.linalg.svd(merged_ + rest, full_matrices=False)
    return merged_ + values[:1].mean() * left[:, :1] @ right[:1]
