"""The method contract: settings, scopes, first passes, randomness, and the registry."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file
from toy_checkpoints import SHAPES

from merging.arithmetic import weighted_sum
from merging.checkpoints.checkpoint import Checkpoint
from merging.cost import Cost
from merging.known_methods import known_methods, make_method, register
from merging.merge import merge
from merging.method import Method, Scope
from merging.methods.task_arithmetic import TaskArithmetic
from results.errors import InputError


class SquaredNorms:
    """Statistic: the squared norm of every whole task vector."""

    def start(self, n_tasks):
        return torch.zeros(n_tasks, dtype=torch.float64)

    def observe(self, deltas, weights, context):
        return deltas.double().square().sum(1)

    def combine(self, total, part):
        return total + part

    def finish(self, total):
        return total.tolist()


class LargestShare(SquaredNorms):
    """Statistic of a later pass: the largest norm's share, which needs the earlier one."""

    def start(self, n_tasks):
        return torch.zeros(())

    def observe(self, deltas, weights, context):
        norms = context.statistics["norms"]
        return torch.tensor(max(norms) / sum(norms), dtype=torch.float64)

    def combine(self, total, part):
        return part


@pytest.fixture
def by_norm(registry):
    @register("by_norm", paper="none")
    class ByNorm(Method):
        """Weighs task vectors by their whole-model squared norms, as MetaGPT does."""

        scope: ClassVar[Scope] = Scope.ELEMENT

        def first_passes(self):
            return {"norms": SquaredNorms(), "largest": LargestShare()}

        def __call__(self, deltas, weights, context):
            norms = context.statistics["norms"]
            assert context.statistics["largest"] == max(norms) / sum(norms)
            return sum(norm / sum(norms) * delta for norm, delta in zip(norms, deltas, strict=True))


@pytest.fixture
def random_drop(registry):
    @register("random_drop", paper="none")
    class RandomDrop(Method):
        """Keeps entries of each task vector by chance and scales them up, as DARE does."""

        density: float

        scope: ClassVar[Scope] = Scope.ELEMENT
        random: ClassVar[bool] = True

        def __call__(self, deltas, weights, context):
            total = torch.zeros_like(context.base)
            # Summed from the smallest entry up, so that the order of the experts does not round differently.
            kept = [d * (context.uniform(t) < self.density) / self.density for t, d in enumerate(deltas)]
            for delta in torch.stack(kept).sort(0).values:
                total += delta
            return total


def merged(recipe, out, **options):
    return load_file(merge(recipe, out, progress=False, **options) / "model.safetensors")


def digest(folder):
    return Checkpoint.open(folder).identity().weights


def test_a_first_pass_sees_every_task_vector_once(family, recipe_for, by_norm, tmp_path):
    base, experts = family
    out = merged(recipe_for(base, experts, "by_norm"), tmp_path / "out")
    start = load_file(base / "model.safetensors")
    steps = [
        {n: t - start[n] for n, t in load_file(folder / "model.safetensors").items() if n in SHAPES}
        for folder in experts.values()
    ]
    norms = torch.tensor([sum(float(t.double().square().sum()) for t in step.values()) for step in steps])
    for name in SHAPES:
        expected = start[name] + sum(n / norms.sum() * s[name] for n, s in zip(norms, steps, strict=True))
        torch.testing.assert_close(out[name], expected.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("by_norm", "random_drop")
@pytest.mark.parametrize(("method", "settings"), [("by_norm", {}), ("random_drop", {"density": 0.5})])
def test_statistics_and_chance_do_not_depend_on_blocks_or_shards(  # noqa: PLR0917
    family, save, recipe_for, tmp_path, method, settings
):
    base, experts = family
    recipe = recipe_for(base, experts, method, settings=settings)
    sharded = {
        name: save(f"{name}-pieces", load_file(folder / "model.safetensors"), per_shard=2)
        for name, folder in experts.items()
    }
    outputs = [merge(recipe, tmp_path / str(size), False, block_size=size) for size in (1, 5, 64, 2**20)]
    outputs.append(merge(recipe_for(base, sharded, method, settings=settings), tmp_path / "sharded", False))
    assert len({digest(out) for out in outputs}) == 1


def test_chance_depends_on_seed_and_expert_not_on_order(family, recipe_for, random_drop, tmp_path):
    base, experts = family

    def dropped(folders, seed, name):
        recipe = recipe_for(base, folders, "random_drop", settings={"density": 0.5}, seed=seed)
        return digest(merge(recipe, tmp_path / name, progress=False))

    backwards = {f"renamed-{name}": experts[name] for name in reversed(list(experts))}
    assert dropped(experts, 0, "first") == dropped(backwards, 0, "backwards")
    assert dropped(experts, 0, "again") != dropped(experts, 1, "seed")


def test_dropping_keeps_the_expectation(save, recipe_for, random_drop, tmp_path):
    base = {"w": torch.zeros(200, 500)}
    folders = {
        name: save(name, {"w": torch.full((200, 500), value)}) for name, value in (("a", 1.0), ("b", 3.0))
    }
    out = merged(
        recipe_for(save("base", base), folders, "random_drop", settings={"density": 0.25}), tmp_path / "o"
    )
    # Each entry is 0, 4, 12 or 16, the two experts apart: mean 4, and a quarter of a quarter has both.
    assert out["w"].mean().item() == pytest.approx(4, abs=0.1)
    assert (out["w"] == 16).float().mean().item() == pytest.approx(1 / 16, abs=0.005)


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        (Scope.ELEMENT, {"model.norm.weight": (2, 7), "model.layers.0.mlp.up_proj.weight": (2, 20)}),
        (Scope.ROW, {"model.norm.weight": (2, 1, 7), "model.layers.0.mlp.up_proj.weight": (2, 2, 7)}),
        (Scope.TENSOR, {"model.norm.weight": (2, 7), "model.layers.0.mlp.up_proj.weight": (2, 13, 7)}),
    ],
)
@pytest.mark.usefixtures("registry")
def test_a_scope_says_how_much_a_method_sees(family, recipe_for, tmp_path, wanted, seen):
    calls = {}

    @register("looking", paper="none")
    class Looking(Method):
        scope: ClassVar[Scope] = wanted

        def __call__(self, deltas, weights, context):
            assert context.base.shape == deltas.shape[1:]
            calls.setdefault(context.tensor, []).append((tuple(deltas.shape), context))
            return deltas[0]

    base, experts = family
    two = {name: experts[name] for name in ("a", "b")}
    out = merged(recipe_for(base, two, "looking"), tmp_path / "out", block_size=20)
    expert = load_file(experts["a"] / "model.safetensors")
    for name in SHAPES:
        torch.testing.assert_close(out[name], expert[name])
    for name, shape in seen.items():
        in_place = sorted(calls[name], key=lambda call: call[1].offset)
        assert in_place[0][0] == shape
        offset = 0
        for block, context in in_place:
            assert context.offset == offset
            assert context.shape == SHAPES[name]
            offset += torch.Size(block[1:]).numel()
        assert offset == torch.Size(SHAPES[name]).numel()
    assert {(c.layer, c.depth) for _, c in calls["model.layers.1.mlp.up_proj.weight"]} == {(1, 2)}
    assert {(c.layer, c.depth) for _, c in calls["model.norm.weight"]} == {(None, 2)}
    assert "model.position_ids" not in calls


def test_row_blocks_of_a_long_row_hold_it_whole(save, recipe_for, registry, tmp_path):
    @register("row_max", paper="none")
    class RowMax(Method):
        scope: ClassVar[Scope] = Scope.ROW

        def __call__(self, deltas, weights, context):
            return deltas[0].amax(-1, keepdim=True).expand(deltas.shape[1:])

    expert = torch.arange(24.0).reshape(2, 3, 4)
    folders = {"a": save("a", {"w": expert})}
    out = merged(
        recipe_for(save("base", {"w": torch.zeros(2, 3, 4)}), folders, "row_max"),
        tmp_path / "out",
        block_size=3,
    )
    assert torch.equal(out["w"], expert.amax(-1, keepdim=True).expand(2, 3, 4))


def test_a_weighted_sum_rounds_each_product_and_each_sum_wherever_a_block_is_cut():
    random = torch.Generator().manual_seed(0)
    deltas, weights = torch.randn(7, 301, generator=random), torch.randn(7, generator=random)
    expected = (deltas[0].double() * weights[0].double()).float()
    for delta, weight in zip(deltas[1:], weights[1:], strict=True):
        expected = (expected.double() + (delta.double() * weight.double()).float().double()).float()
    for start, stop in ((0, 301), (0, 1), (3, 20), (100, 133)):
        assert torch.equal(weighted_sum(deltas[:, start:stop], weights), expected[start:stop])


def test_the_known_methods_name_their_papers():
    known = known_methods()
    assert {"average", "task_arithmetic"} <= known.keys()
    where = (
        "https://arxiv.org/",
        "https://doi.org/",
        "https://github.com/arcee-ai/mergekit",
        "https://github.com/zongzhenyang/CABS",
    )
    assert all(method.paper.startswith(where) for method in known.values())
    assert known["task_arithmetic"].settings == ("scaling", "normalize")


def test_settings_are_taken_as_given():
    assert make_method("task_arithmetic", {"scaling": 2}) == TaskArithmetic(scaling=2.0)


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("tis", {}, ["'tis'", "ties, metis", "manyshot list methods"]),
        ("task_arithmetic", {"scale": 1.0}, ["'scale'", "scaling, normalize"]),
        ("task_arithmetic", {"scaling": "big"}, ["'scaling'", "'big'", "a number is expected"]),
        ("task_arithmetic", {"scaling": True}, ["'scaling'", "True", "a number is expected"]),
        ("task_arithmetic", {"normalize": 1}, ["'normalize'", "true or false"]),
        ("task_arithmetic", {"scaling": float("inf")}, ["'scaling'", "inf", "finite"]),
        ("average", {"scaling": 1.0}, ["'scaling'", "known are none"]),
        ("ties", {"density": 0.0}, ["'density'", "0.0", "above 0"]),
        ("ties", {"density": 20}, ["'density'", "20", "up to 1"]),
        ("ties", {"scaling": float("nan")}, ["'scaling'", "nan", "finite"]),
        ("ties", {"variant": "magic"}, ["'variant'", "'magic'", "one of paper, mergekit, peft"]),
        ("ties", {"scope": "layer"}, ["'scope'", "'layer'", "one of model, tensor"]),
        ("dare", {"drop_rate": 1.0}, ["'drop_rate'", "1.0", "below 1"]),
        ("dare", {"drop_rate": -0.1}, ["'drop_rate'", "-0.1", "from 0 on"]),
        ("dare", {"then": "slerp"}, ["'then'", "'slerp'", "one of task_arithmetic, ties"]),
        ("della", {"drop_rate": 0.9, "window": 0.2}, ["'window'", "less than twice"]),
        ("breadcrumbs", {"outliers": 1.0}, ["'outliers'", "1.0", "below 1"]),
        ("nearswap", {}, ["'t'", "required"]),
        ("lines", {"of": {"name": "tis"}}, ["'of'", "'tis'"]),
        ("lines", {"of": {}}, ["'of'", "''"]),
        ("lines", {"of": {"name": "ties", "density": 2.0}}, ["'of'", "'density'", "2.0"]),
        ("lines", {"of": {"name": "./mine.py:Mine"}}, ["'of'", "not from a file"]),
        ("lines", {"of": {"name": "lines"}}, ["'of'", "'lines'"]),
        ("lines", {"of": {"name": "star"}}, ["'alpha'", "'star'"]),
        ("cart", {"rank": 0.0}, ["'rank'", "0.0", "above 0"]),
        ("consensus_ta", {"consensus": -1}, ["'consensus'", "-1", "from 0 on"]),
        ("consensus_ta", {"mask_threshold": -0.4}, ["mask_threshold", "-0.4", "from 0 on"]),
        ("consensus_ta", {"mask_threshold": {"a": "b"}}, ["mask_threshold", "a number is expected"]),
    ],
)
def test_a_wrong_setting_is_refused_by_name(name, settings, says):
    with pytest.raises(InputError) as refusal:
        make_method(name, settings)
    for words in says:
        assert words in str(refusal.value)


def test_a_setting_without_default_must_be_given(random_drop):
    with pytest.raises(InputError, match="'density' is required and missing"):
        make_method("random_drop", {})


def test_registration_refuses_what_cannot_be_carried_out(registry):
    class Whole(Method):
        scope: ClassVar[Scope] = Scope.MODEL

        def __call__(self, deltas, weights, context):
            return deltas[0]

    class Plain(Whole):
        scope = Scope.ELEMENT

    with pytest.raises(ValueError, match="scope"):
        register("whole", paper="none")(Whole)
    with pytest.raises(ValueError, match="leave @dataclass out"):
        register("plain", paper="none")(dataclass(type("Loose", (Method,), {"scope": Scope.ELEMENT})))
    with pytest.raises(ValueError, match="registered already"):
        register("average", paper="none")(Whole)


def test_nan_made_by_a_method_is_refused(family, recipe_for, registry, tmp_path):
    @register("broken", paper="none")
    class Broken(Method):
        scope: ClassVar[Scope] = Scope.ELEMENT

        def __call__(self, deltas, weights, context):
            return deltas[0] / 0

    base, experts = family
    with pytest.raises(InputError, match="NaN or infinity"):
        merge(recipe_for(base, experts, "broken"), tmp_path / "out", progress=False)
    assert not list(tmp_path.glob("*out*"))


def test_what_methods_need_and_read_is_declared():
    costs = {name: known.cost for name, known in known_methods().items()}
    assert costs["average"] == Cost()
    assert (costs["ties"].needs, costs["ties"].passes) == ((), 4)
    assert costs["tsv_merge"].held == "one whole matrix of every expert"
    assert costs["divmerge"].needs == ("validation inputs", "gradients")
    assert "forward and backward 5 times" in str(costs["adamerging"])
