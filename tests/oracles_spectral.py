"""What the methods of singular values must give, as `oracles` has it for the others."""

from math import ceil, cos, radians, sin

import torch
from in_memory import merged
from oracles import Kinds, oracle

BROKEN = [
    ("matrix_method", "layer is not None", "True"),
    ("spectral", "left @ right\n\n\ndef joined", "matrix\n\n\ndef joined"),
    ("spectral", "NEGLIGIBLE = 1e-5", "NEGLIGIBLE = 0.0"),
    ("spectral", "* len(weights)", "* 1"),
    ("methods.tsv_merge", "// len(deltas)", ""),
    ("methods.tsv_merge", "(left * values)", "left"),
    ("methods.tsv_merge", "((left * values) @ right).mul_(self.scaling)", "((left * values) @ right)"),
    ("methods.iso", "float(values.mean())", "float(values.max())"),
    ("methods.iso", "matrix - projection @ matrix", "matrix"),
    ("methods.iso", "size - each * len(own)", "size"),
    ("methods.iso", "svd(matrix - projection @ matrix, each)", "svd(matrix - projection @ matrix, 1)"),
    ("methods.star", "self.share * sums[-1]", "0.5 * sums[-1]"),
    ("methods.star", "(values[:kept] * scale)", "values[:kept]"),
    ("methods.cart", "svd(delta - centre, rank)", "svd(delta, rank)"),
    ("methods.cart", "ceil(self.rank * min(context.shape))", "min(context.shape)"),
    ("methods.cart", "torch.full_like(weights, self.scaling)", "torch.ones_like(weights)"),
    ("methods.knots", "directions.t() @ deltas", "directions.abs().t() @ deltas"),
    ("methods.knots", "keep_ranks(flat, 0, count)", "flat"),
    ("spectral", "map(torch.Tensor.double, matrices)", "map(torch.Tensor.double, matrices[:1])"),
    ("methods.knots", "(directions @ merged).mul_(self.scaling)", "(directions @ merged)"),
]  # fmt: skip
NAME = "model.layers.0.up.weight"


def one(matrices: torch.Tensor) -> dict[str, torch.Tensor]:
    return {NAME: matrices}


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


def turn(degrees: float) -> torch.Tensor:
    """A unit vector of the plane, so many degrees from the first axis."""
    return torch.tensor([cos(radians(degrees)), sin(radians(degrees))])


def low_rank(seed: int, tasks: int, rows: int, columns: int, rank: int) -> torch.Tensor:
    return random(seed, tasks, rows, rank) @ random(seed + 1, tasks, rank, columns)


@oracle
def what_is_no_matrix_of_a_block_is_averaged(kinds: Kinds) -> None:
    model = {"embed.weight": random(40, 3, 6, 4), "model.layers.0.norm.weight": random(41, 3, 5)}
    weights = torch.tensor([1.0, 2.0, 1.0])
    for method, scaling in {"tsv_merge": 0.7, "iso": 0.7, "star": 0.7, "cart": 1.0, "knots": 0.7}.items():
        found = merged(kinds[method](scaling=scaling), model, weights.tolist())
        for name, delta in model.items():
            near(found[name], scaling * torch.einsum("t,t...->...", weights / 4, delta))
        still = merged(kinds[method](), one(torch.zeros(2, 6, 4)))
        assert not still[NAME].any()


@oracle
def tsv_merge_of_one_task_is_that_task_and_of_orthogonal_ones_their_sum(kinds: Kinds) -> None:
    matrix = random(42, 1, 7, 5)
    near(merged(kinds["tsv_merge"](scaling=0.3), one(matrix))[NAME], 0.3 * matrix[0])
    # Tasks in rows and columns of their own, of rank 2 = ⌊4/2⌋, which nothing need be changed of.
    apart = torch.zeros(2, 5, 4)
    apart[0, :2, :2], apart[1, 2:4, 2:] = random(43, 2, 2), random(44, 2, 2)
    near(merged(kinds["tsv_merge"](), one(apart))[NAME], apart.sum(0))
    # Relative weights 0.5 and 1.5.
    near(merged(kinds["tsv_merge"](), one(apart), [1.0, 3.0])[NAME], 0.5 * apart[0] + 1.5 * apart[1])


@oracle
def tsv_merge_leaves_out_directions_that_a_task_does_not_have(kinds: Kinds) -> None:
    # Of rank 2 in 32, orthogonal to each other: their sum, whatever vectors span what is 0.
    left, right = (torch.linalg.qr(random(seed, 32, 4)).Q for seed in (46, 47))
    apart = torch.stack([left[:, :2] @ right[:, :2].T, left[:, 2:] @ right[:, 2:].T])
    near(merged(kinds["tsv_merge"](), one(apart))[NAME], apart.sum(0))


@oracle
def iso_without_common_directions_is_flat(kinds: Kinds) -> None:
    values = torch.linalg.svdvals(merged(kinds["iso"](common=0.0), one(random(48, 5, 8, 8)))[NAME])
    assert values[0] > 0.1
    near(values, values[0].expand(8))


@oracle
def tsv_merge_makes_the_tasks_directions_orthogonal(kinds: Kinds) -> None:
    # u_1 and u_2 at 60° go to 90° by 15° each, and so do v_1 and v_2: by hand, of rank 1 = ⌊2/2⌋.
    pair = torch.stack([2.0 * torch.outer(turn(0.0), turn(10.0)), 3.0 * torch.outer(turn(60.0), turn(70.0))])
    expected = 2.0 * torch.outer(turn(-15.0), turn(-5.0)) + 3.0 * torch.outer(turn(75.0), turn(85.0))
    near(merged(kinds["tsv_merge"](), one(pair))[NAME], expected)
    # In general: orthogonal factors nearest to the joined ones, by the inverse root of their Gram matrix.
    matrices = random(45, 3, 9, 7)
    parts = [torch.linalg.svd(matrix, full_matrices=False) for matrix in matrices.double()]
    left = torch.cat([u[:, :2] for u, _, _ in parts], 1)
    right = torch.cat([v[:2] for _, _, v in parts]).T
    values = torch.cat([s[:2] for _, s, _ in parts])
    roots = []
    for factor in (left, right):
        squares, vectors = torch.linalg.eigh(factor.T @ factor)
        roots.append(factor @ (vectors / squares.sqrt()) @ vectors.T)
    expected = (roots[0] * values) @ roots[1].T
    near(merged(kinds["tsv_merge"](scaling=0.8), one(matrices))[NAME], 0.8 * expected.float())


@oracle
def iso_flattens_the_spectrum_of_the_sum_and_keeps_its_total(kinds: Kinds) -> None:
    matrices = random(46, 3, 6, 9)
    total = torch.linalg.svd(matrices.sum(0), full_matrices=False)
    found = merged(kinds["iso"](), one(matrices))[NAME]
    values = torch.linalg.svdvals(found)
    near(values, total[1].mean().expand(6))
    near(found, total[1].mean() * total[0] @ total[2])
    near(merged(kinds["iso"](scaling=0.4), one(matrices))[NAME], 0.4 * found)
    weighted = matrices * torch.tensor([0.75, 1.5, 0.75]).reshape(3, 1, 1)
    near(
        merged(kinds["iso"](), one(matrices), [1.0, 2.0, 1.0])[NAME],
        merged(kinds["iso"](), one(weighted))[NAME],
    )
    # Diagonal: 6, 2 and 1 become 3. What an adapter does not reach stays the base's.
    near(merged(kinds["iso"](), one(torch.diag(torch.tensor([6.0, 2.0, 1.0]))[None]))[NAME], 3 * torch.eye(3))
    low = low_rank(47, 2, 12, 10, 2)
    values = torch.linalg.svdvals(merged(kinds["iso"](), one(low))[NAME])
    near(values, torch.cat([torch.linalg.svdvals(low.sum(0))[:4].mean().expand(4), torch.zeros(6)]))


@oracle
def iso_with_directions_of_tasks_as_the_paper_says(kinds: Kinds) -> None:
    # By hand: common is ⌊0.5 · 4⌋ = 2 of 4 directions, and one is left for each of two tasks.
    pair = torch.stack([torch.diag(torch.tensor(d)) for d in ([4.0, 3.0, 2.0, 0.0], [4.0, 3.0, 0.0, -1.0])])
    expected = (8 + 6 + 2 + 1) / 4 * torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    near(merged(kinds["iso"](common=0.5), one(pair))[NAME], expected)
    # Of 8 directions 0.7 are 5, and three tasks share three; 0.5 are 4, and two tasks share four.
    for tasks, common, kept, each in ((3, 0.7, 5, 1), (2, 0.5, 4, 2)):
        matrices = random(48, tasks, 8, 11)
        expected = iso_of_common_and_tasks(matrices.double(), kept, each).float()
        near(merged(kinds["iso"](common=common), one(matrices))[NAME], expected)
    # 1 of 4 left is nothing that three tasks could share.
    small = random(49, 3, 4, 4)
    near(merged(kinds["iso"](common=0.8), one(small))[NAME], merged(kinds["iso"](), one(small))[NAME])


def iso_of_common_and_tasks(matrices: torch.Tensor, kept: int, each: int) -> torch.Tensor:
    u, s, v = torch.linalg.svd(matrices.sum(0), full_matrices=False)
    lefts, values, rights = [u[:, :kept]], [s[:kept]], [v[:kept]]
    for matrix in matrices:
        rest = matrix - lefts[0] @ lefts[0].T @ matrix
        left, value, right = torch.linalg.svd(rest, full_matrices=False)
        lefts, values, rights = [*lefts, left[:, :each]], [*values, value[:each]], [*rights, right[:each]]
    factors = []
    for joined in (torch.cat(lefts, 1), torch.cat(rights)):
        p, _, q = torch.linalg.svd(joined, full_matrices=False)
        factors.append(p @ q)
    return torch.cat(values).mean() * factors[0] @ factors[1]


@oracle
def star_keeps_the_nuclear_norm_in_the_fewest_directions(kinds: Kinds) -> None:
    # Of 5, 3, 2 the first is half: 0.4 keeps one, as 10; 0.6 keeps 5 and 3, as 6.25 and 3.75.
    matrix = torch.diag(torch.tensor([5.0, 3.0, 2.0]))[None]
    near(merged(kinds["star"](), one(matrix))[NAME], torch.diag(torch.tensor([10.0, 0.0, 0.0])))
    near(merged(kinds["star"](share=0.6), one(matrix))[NAME], torch.diag(torch.tensor([6.25, 3.75, 0.0])))
    matrices, weights = random(50, 3, 7, 5), torch.tensor([1.0, 2.0, 1.0])
    near(
        merged(kinds["star"](share=1.0), one(matrices), weights.tolist())[NAME],
        torch.einsum("t,tij->ij", weights / 4, matrices),
    )
    single = [merged(kinds["star"](), one(matrix[None]))[NAME] for matrix in matrices]
    for found, matrix in zip(single, matrices, strict=True):
        near(torch.linalg.svdvals(found).sum(), torch.linalg.svdvals(matrix).sum())
    near(merged(kinds["star"](), one(matrices))[NAME], torch.stack(single).mean(0))


@oracle
def cart_is_task_arithmetic_of_low_rank_around_the_mean(kinds: Kinds) -> None:
    matrices = random(51, 3, 8, 6)
    near(merged(kinds["cart"](rank=1.0), one(matrices))[NAME], matrices.mean(0))
    # Around their mean diag(2, 2) they are diag(4, −2), diag(−2, −1) and diag(−2, 3): by rank 1 4, −2 and 3.
    trio = torch.stack([torch.diag(torch.tensor(d)) for d in ([6.0, 0.0], [0.0, 1.0], [0.0, 5.0])])
    near(merged(kinds["cart"](rank=0.5), one(trio))[NAME], torch.diag(torch.tensor([4.0, 5.0])))
    weights = torch.tensor([2.0, 1.0, 1.0])
    centre = torch.einsum("t,tij->ij", weights / 4, matrices)
    expected = centre.clone()
    for matrix in matrices:
        left, values, right = torch.linalg.svd(matrix - centre, full_matrices=False)
        kept = ceil(0.3 * 6)
        expected += 0.6 * (left[:, :kept] * values[:kept]) @ right[:kept]
    near(merged(kinds["cart"](rank=0.3, scaling=0.6), one(matrices), weights.tolist())[NAME], expected)


@oracle
def knots_merges_coordinates_by_ties(kinds: Kinds) -> None:
    # Of rank one each, with outputs of their own directions: no conflict, and each is kept whole.
    apart = torch.zeros(2, 4, 3)
    apart[0, 0], apart[1, 2] = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([5.0, 1.0, 1.0])
    near(merged(kinds["knots"](scaling=1.0), one(apart))[NAME], apart.sum(0))
    # In one direction (3, 4)/5 the coordinates are 5·(1, 2, −1) and 5·(3, −1, −1), 8 of which agree.
    along = torch.tensor([3.0, 4.0])
    pair = torch.stack(
        [torch.outer(along, torch.tensor(row)) for row in ([1.0, 2.0, -1.0], [3.0, -1.0, -1.0])]
    )
    near(merged(kinds["knots"](), one(pair))[NAME], 0.5 * torch.outer(along, torch.tensor([2.0, 2.0, -1.0])))
    weighted = merged(kinds["knots"](scaling=1.0), one(pair), [1.0, 3.0])[NAME]
    near(weighted, torch.outer(along, torch.tensor([2.5, -1.0, -1.0])))
    # ⌊0.4 · 3⌋ = 1 coordinate of each stays: 2 and 3.
    near(
        merged(kinds["knots"](density=0.4), one(pair))[NAME],
        0.5 * torch.outer(along, torch.tensor([3.0, 2.0, 0])),
    )


@oracle
def knots_takes_the_directions_of_all_tasks_together(kinds: Kinds) -> None:
    low = low_rank(52, 3, 9, 8, 2)
    u, s, v = torch.linalg.svd(torch.cat(low.double().unbind(0), 1), full_matrices=False)
    coordinates = torch.stack((s[:6, None] * v[:6]).split(8, dim=1))
    signs = coordinates.sum(0).sign()
    agree = coordinates.sign() == signs
    expected = u[:, :6] @ (torch.where(agree, coordinates, 0).sum(0) / agree.sum(0).clamp(min=1))
    near(merged(kinds["knots"](scaling=1.0), one(low))[NAME], expected.float())
