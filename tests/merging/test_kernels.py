"""The compiled loops give, bit for bit, what torch gives in several passes on another device."""

import numpy as np
import pytest
import torch

from merging import arithmetic, tally, task_vectors
from merging.arithmetic import add_rounded
from merging.checkpoints.adapter import LowRank
from merging.checkpoints.dtypes import raw_bytes
from merging.method import Context, MergedBlock
from merging.methods.dare import Dare
from merging.methods.task_arithmetic import TaskArithmetic
from merging.methods.ties import MAJORITY, Ties
from merging.stored_block import StoredBlock
from merging.thresholds import _CUTS, _LOWER, _LowerBits, _UpperBits

LENGTHS = (0, 1, 4095, 4096, 4097, 10_000)


def drawn(*shape, seed=0):
    numbers = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    numbers.view(-1)[::7] = 0
    return numbers


@pytest.mark.parametrize("length", LENGTHS)
def test_differences_of_bfloat16(length):
    base, weights = drawn(length).bfloat16(), [drawn(length, seed=i).bfloat16() for i in (1, 2)]
    widened = task_vectors.widened(base)
    assert torch.equal(widened, base.float())
    found = torch.empty(2, length)
    assert task_vectors._subtract(weights, widened, found)
    assert torch.equal(found, torch.stack(weights).float() - base.float())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", [0, 4096, 9_999])
def test_what_is_not_finite_is_seen(value, where):
    weights, base = drawn(10_000).bfloat16(), torch.zeros(10_000)
    out = torch.empty(2, 10_000)
    assert task_vectors._subtract([weights, weights], base, out)
    broken = weights.clone()
    broken[where] = value
    assert not task_vectors._subtract([weights, broken], base, out)
    assert not add_rounded(base, broken.float(), torch.bfloat16).is_finite
    assert not add_rounded(base, broken.float(), torch.float32).is_finite


@pytest.mark.parametrize("length", LENGTHS)
def test_sums_rounded_to_bfloat16(length):
    base, delta = drawn(length), 1e-3 * drawn(length, seed=1)
    found = add_rounded(base, delta, torch.bfloat16)
    expected = (base + delta).bfloat16()
    assert torch.equal(found.weights.view(torch.int16), expected.view(torch.int16))
    lost = ((expected.float() - base) - delta).double().square().sum().item()
    assert found.lost == pytest.approx(lost, rel=1e-5)


def test_every_bit_pattern_between_two_bfloat16_numbers_is_rounded_as_torch_does():
    high = torch.tensor([0x0000, 0x0001, 0x007F, 0x3F80, 0x3F81, 0x7F7E], dtype=torch.int32) << 16
    numbers = (high[:, None] | torch.arange(2**16, dtype=torch.int32)).view(-1).view(torch.float32)
    for signed in (numbers, -numbers):
        found = add_rounded(torch.zeros_like(signed), signed, torch.bfloat16)
        # 0 + −0 is 0.
        expected = (torch.zeros_like(signed) + signed).bfloat16()
        assert torch.equal(found.weights.view(torch.int16), expected.view(torch.int16))
        assert found.is_finite


def test_a_number_that_rounds_to_infinity_is_not_finite():
    largest = torch.tensor([torch.finfo(torch.float32).max])
    assert not add_rounded(torch.zeros(1), largest, torch.bfloat16).is_finite


@pytest.mark.parametrize("length", LENGTHS)
def test_weighted_sums(length):
    deltas, weights = drawn(5, length), drawn(5, seed=1)
    expected = deltas[0] * weights[0]
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        expected = expected + delta * weight
    assert torch.equal(arithmetic.weighted_sum(deltas, weights), expected)
    assert torch.equal(arithmetic.weighted_sum(list(deltas), weights), expected)


@pytest.mark.parametrize("length", LENGTHS)
def test_tallies(length):
    deltas, merged = drawn(3, length), drawn(length, seed=1)
    merged[::5] = -0.0
    found, expected = tally._count_on_cpu(deltas, merged), tally._count_by_torch(deltas, merged)
    np.testing.assert_allclose(found[:, 0], expected[:, 0], rtol=1e-5)
    assert (found[:, 1:] == expected[:, 1:]).all()
    squares, nonzero = arithmetic.sum_of_squares(merged), arithmetic.count_nonzero(merged)
    np.testing.assert_allclose(squares, float(merged.double().square().sum()), rtol=1e-5)
    assert nonzero == merged.count_nonzero()


def family(length, statistics=None):
    """A base and three experts in bfloat16, of which many entries cancel, and the context of their block."""
    base = drawn(length).bfloat16()
    steps = [2.0**-6 * (drawn(length, seed=i) * 3).round() for i in (1, 2, 3)]
    experts = [(base.float() + step).bfloat16() for step in steps]
    experts[1][::3] = base[::3]
    context = Context(
        tensor="w",
        layer=0,
        depth=1,
        shape=(length + 70,),
        offset=70,
        base=base.float(),
        tasks=("a", "b", "c"),
        seed=5,
        digests=("d", "e", "f"),
        statistics=statistics or {},
    )
    return base, experts, context


def as_stored(base, experts, context):
    return StoredBlock.of(raw_bytes(base), list(map(raw_bytes, experts)), context)


def merged_step_by_step(method, base, experts, context, weights):
    deltas = torch.stack(experts).float() - base.float()
    merged = method(deltas, weights, context)
    block = merged if isinstance(merged, MergedBlock) else MergedBlock(merged)
    rounded = add_rounded(base.float(), block.delta, torch.bfloat16)
    return rounded.weights, tally.tally(deltas, block, rounded.lost)


THRESHOLDS = {_LOWER: {"model": {"thresholds": [0.03125, 0.015625, 0.046875]}}}
CUTS = {_LOWER: {"w": THRESHOLDS[_LOWER]["model"]}, _CUTS: {"w": {"0": ["w", 4100], "2": ["w", 71]}}}
LOOPS = {
    "task arithmetic": (TaskArithmetic(scaling=1 / 3), {}),
    "ties": (Ties(scaling=0.7), {**THRESHOLDS, MAJORITY: -1}),
    "ties, a majority for +": (Ties(), {**THRESHOLDS, MAJORITY: 1}),
    "ties, no majority": (Ties(aggregate="sum"), {**THRESHOLDS, MAJORITY: 0}),
    "ties, all kept": (Ties(density=1.0), {MAJORITY: 1}),
    "ties of mergekit": (Ties(variant="mergekit"), CUTS),
    "ties of peft": (Ties(variant="peft"), CUTS),
    "dare": (Dare(drop_rate=0.7, scaling=0.4), {}),
    "dare, nothing dropped": (Dare(drop_rate=0.0, rescale=False), {}),
}


@pytest.mark.parametrize("length", LENGTHS[1:])
@pytest.mark.parametrize("case", LOOPS)
def test_a_merge_without_task_vectors_in_memory(case, length):
    method, statistics = LOOPS[case]
    base, experts, context = family(length, statistics)
    weights = torch.tensor([0.5, 1.0, 1.5])
    expected_weights, expected = merged_step_by_step(method, base, experts, context, weights)
    done = method.merge_stored(as_stored(base, experts, context), weights.numpy())
    assert (done.weights == expected_weights.view(torch.uint16).numpy()).all()
    np.testing.assert_allclose(done.tally.result, expected.result, rtol=1e-5)
    np.testing.assert_allclose(done.tally.tasks, expected.tasks, rtol=1e-5)
    assert (done.tally.entries, done.tally.sparse) == (expected.entries, expected.sparse)
    experts[2][-1] = float("nan")
    assert method.merge_stored(as_stored(base, experts, context), weights.numpy()) is None


def test_what_a_loop_does_not_know_is_left_to_the_method():
    base, experts, context = family(10)
    block, weights = as_stored(base, experts, context), np.ones(3, np.float32)

    class Own(Ties):
        pass

    class OwnSum(TaskArithmetic):
        def __call__(self, deltas, weights, context):
            return deltas[0]

    for method in (Ties(vote="frequency"), Own(), OwnSum(), Dare(then="ties"), Dare(drop_rate={"a": 0.5})):
        assert method.merge_stored(block, weights) is None


@pytest.mark.parametrize("length", LENGTHS[1:])
def test_first_passes_of_stored_blocks(length):
    base, experts, context = family(length, {**THRESHOLDS})
    block, weights = as_stored(base, experts, context), torch.tensor([0.5, 1.0, 1.5])
    deltas = torch.stack(experts).float() - base.float()
    ties = Ties()
    upper, lower, majority = ties.first_passes().values()
    assert isinstance(upper, _UpperBits) and isinstance(lower, _LowerBits)
    assert (upper.observe_stored(block, weights.numpy()).counts == upper.count(deltas, {})).all()
    earlier = {"upper": [0x3D00, 0x3C80, 0x3D40]}
    counts = lower.count_stored(block, earlier)
    assert (counts == lower.count(deltas, earlier)).all()
    assert counts.sum() or length == 1
    assert majority.observe_stored(block, weights.numpy()) == majority.observe(deltas, weights, context)
    experts[0][length // 2] = -float("inf")
    broken = as_stored(base, experts, context)
    assert upper.observe_stored(broken, weights.numpy()) is None
    assert lower.count_stored(broken, earlier) is None
    assert majority.observe_stored(broken, weights.numpy()) is None


@pytest.mark.parametrize("rank", [1, 5])
def test_a_low_rank_product_is_the_same_wherever_a_block_begins(rank):
    left, right = drawn(37, rank), drawn(rank, 23, seed=1)
    product = LowRank(left, right)
    out = product.block(0, 37 * 23)
    torch.testing.assert_close(
        out.view(37, 23).double(), left.double() @ right.double(), rtol=1e-5, atol=1e-6
    )
    for start, stop in ((0, 1), (5, 30), (22, 24), (23, 46), (100, 851), (850, 851), (7, 7)):
        assert torch.equal(product.block(start, stop), out[start:stop])
