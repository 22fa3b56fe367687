"""What the methods must give that use measurements of the experts, as `oracles` has it for the others."""

import tempfile
from pathlib import Path

import pytest
import torch
from in_memory import merged
from oracles import Kinds, oracle
from oracles_spectral import near

from merging.measured import EVERYWHERE, OUTPUT, MeasuredIndex, MeasuredTask, write_index, write_part
from results.errors import InputError

BROKEN = [
    ("methods.fisher", "weight / norm if norm", "weight if norm"),
    ("methods.fisher", "total += own * delta", "total += own * own * delta"),
    ("methods.fisher", "mean += weight * delta", "mean += delta"),
    ("methods.fisher", "if self.normalize else 1.0", ""),
    ("methods.fisher", "context.offset, stop)", "0, stop - context.offset)"),
    ("regression", "scaled.diagonal().copy_(gram.diagonal())", "pass"),
    ("regression", "gram * alpha", "gram * 1.0"),
    ("regression", ", alpha) * weight", ", alpha)"),
    ("regression", "(delta - mean).t()", "delta.t()"),
    ("regression", "deltas.transpose(1, 2), grams", "deltas, grams"),
    ("measured_method", "or bool((weights < 0).any())", ""),
    ("regression", "float(total.diagonal().mean())", "float(total.diagonal().mean()) * 1e5"),
    ("methods.mats", "outputs @ tau @ inputs", "tau @ inputs"),
    ("methods.mats", "outputs @ delta @ inputs", "delta @ inputs"),
    ("methods.mats", "share * one", "one"),
    ("methods.mats", "self.initial * weights", "weights"),
    ("methods.mats", "ending), self.alpha)", "ending), 1.0)"),
    ("conjugate_gradient", "found += step * direction", "found += direction"),
    ("conjugate_gradient", "residual + squares / before * direction", "residual"),
    ("methods.aim", "(1 - self.omega) * means", "self.omega * means"),
    ("methods.aim", "means / largest", "means"),
    ("methods.aim", "places // context", "places % context"),
    ("methods.aim", "+ context.offset", ""),
    ("methods.fw_merging", "gradient.argmin(0)", "gradient.argmax(0)"),
    ("methods.fw_merging", "(gradient[best, layers] < 0)", "(gradient[best, layers] < 9)"),
    ("methods.fw_merging", "(step + 2)", "2"),
    ("methods.fw_merging", "(vertex - coefficients)", "vertex"),
]  # fmt: skip
BLOCK = "model.layers.0.up.weight"
NORM = "model.norm.weight"


def measured(kind: str, of: dict[str, dict[str, torch.Tensor]], first: tuple[str, ...] = (), **norms) -> str:
    """A folder of measurements: what there is of each task, by the tensor's name."""
    folder = Path(tempfile.mkdtemp())
    for task, tensors in of.items():
        write_part(folder, f"{task}.safetensors", tensors)
    stored = {name: name for tensors in of.values() for name in tensors if not name.endswith(OUTPUT)}
    tasks = {
        task: MeasuredTask(texts=1, files=[f"{task}.safetensors"], norm=norms.get(task, 0.0)) for task in of
    }
    write_index(folder, MeasuredIndex(kind=kind, version=1, tasks=tasks, stored=stored, first=list(first)))
    return str(folder)


def table(*rows) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32)


@oracle
def fisher_averages_by_how_sure_each_expert_is(kinds: Kinds) -> None:
    folder = measured(
        "fisher",
        {"a": {"w": table(1, 4, 0)}, "b": {"w": table(3, 0, 0)}},
        a=17**0.5,
        b=3.0,
    )
    model = {"w": table((1, 2, 3), (5, 6, 7))}
    for block in (2, 100):
        plain = merged(kinds["fisher"](measured=folder, normalize=False), model, [1, 2], block=block)
        near(plain["w"], table(31 / 7, 2, 17 / 3))
        divided = merged(kinds["fisher"](measured=folder), model, [1, 2], block=block)
        of_a, of_b = 1 / 17**0.5, 2 * 3 / 3
        near(divided["w"], table((of_a * 1 + of_b * 5) / (of_a + of_b), 2, 17 / 3))
    equal = {"w": torch.rand(40) + 0.1}
    folder = measured("fisher", {"a": equal, "b": equal}, a=1.0, b=1.0)
    drawn = torch.randn(2, 8, 5)
    near(merged(kinds["fisher"](measured=folder), {"w": drawn})["w"], drawn.mean(0))


GRAMS = {"a": {BLOCK: table((2, 1), (1, 1))}, "b": {BLOCK: table((1, 0), (0, 3))}}


@oracle
def regmean_solves_the_least_squares_of_all_experts(kinds: Kinds) -> None:
    model = {BLOCK: table(((1, 0),), ((0, 2),)), NORM: table((1, 2), (3, 6))}
    for name, kind in {"regmean": "grams", "regmean_plus_plus": "merged_grams"}.items():
        folder = measured(kind, GRAMS)
        for alpha, expected in {
            1.0: (1 / 11, 19 / 11),
            0.5: (4.75 / 11.75, 18.5 / 11.75),
            0.0: (2 / 3, 6 / 4),
        }.items():
            found = merged(kinds[name](measured=folder, alpha=alpha), model)
            near(found[BLOCK], table(expected))
            near(found[NORM], table(2, 4))
    # Weights of 1 and 3: ΣG = [[5, 1], [1, 10]], and the right side [2, 1] + 3 [0, 6].
    folder = measured("grams", GRAMS)
    found = merged(kinds["regmean"](measured=folder, alpha=1.0), model, [1, 3])
    near(found[BLOCK], table(((10 * 2 - 19) / 49, (5 * 19 - 2) / 49)))
    near(found[NORM], table(2.5, 5))
    turned = measured("grams", GRAMS, first=(BLOCK,))
    wide = {BLOCK: table(((1, 3), (0, 5)), ((0, 7), (2, 9)))}
    straight = {BLOCK: wide[BLOCK].transpose(1, 2)}
    found = merged(kinds["regmean"](measured=turned, alpha=1.0), wide)[BLOCK]
    near(found, merged(kinds["regmean"](measured=folder, alpha=1.0), straight)[BLOCK].t())
    near(found[:, 0], table(1 / 11, 19 / 11))


@oracle
def regmean_of_equal_inputs_is_the_average_as_is_what_no_input_tells_apart(kinds: Kinds) -> None:
    gram = table((2, 1, 0), (1, 1, 0), (0, 0, 0))
    drawn = torch.randn(2, 4, 3)
    folder = measured("grams", {"a": {BLOCK: gram}, "b": {BLOCK: gram}})
    near(merged(kinds["regmean"](measured=folder), {BLOCK: drawn})[BLOCK], drawn.mean(0))
    other = measured("grams", {"a": {BLOCK: gram}, "b": {BLOCK: 0 * gram}})
    found = merged(kinds["regmean"](measured=other), {BLOCK: drawn})[BLOCK]
    torch.testing.assert_close(found[:, :2], drawn[0, :, :2], rtol=1e-3, atol=1e-3)
    near(found[:, 2], drawn.mean(0)[:, 2])
    broken = measured("grams", {"a": {BLOCK: gram / 0}, "b": {BLOCK: gram}})
    with pytest.raises(InputError, match="NaN or infinity"):
        merged(kinds["regmean"](measured=broken), {BLOCK: drawn})
    nothing = measured("grams", {"a": {BLOCK: 0 * gram}, "b": {BLOCK: 0 * gram}})
    near(merged(kinds["regmean"](measured=nothing), {BLOCK: drawn})[BLOCK], drawn.mean(0))


@oracle
def mats_matches_the_experts_where_their_answers_depend_on_the_layer(kinds: Kinds) -> None:
    one = {
        "a": {BLOCK: table((2,)), BLOCK + OUTPUT: table((3,))},
        "b": {BLOCK: table((1,)), BLOCK + OUTPUT: table((4,))},
    }
    model = {BLOCK: table(((1,),), ((6,),)), NORM: table((1, 2), (3, 6))}
    found = merged(kinds["mats"](measured=measured("kfac", one)), model)
    near(found[BLOCK], table((3,)))
    near(found[NORM], table(2, 4))
    found = merged(kinds["mats"](measured=measured("kfac", one)), model, [1, 3])
    near(found[BLOCK], table(((6 + 72) / 18,)))
    # Against the whole system of equations, whose unknowns are the entries row by row.
    random = torch.Generator().manual_seed(1)
    roots = {
        (task, name): torch.randn(width, width, generator=random)
        for task in "ab"
        for name, width in ((BLOCK, 4), (BLOCK + OUTPUT, 3))
    }
    factors = {
        task: {name: root @ root.t() for (of, name), root in roots.items() if of == task} for task in "ab"
    }
    drawn = torch.randn(2, 3, 4, generator=random)
    for alpha in (1.0, 0.5):
        total, right = torch.zeros(12, 12), torch.zeros(12)
        for task, delta in zip("ab", drawn, strict=True):
            own = {
                name: alpha * factor + (1 - alpha) * factor.diagonal().diag()
                for name, factor in factors[task].items()
            }
            system = torch.kron(own[BLOCK + OUTPUT], own[BLOCK])
            total += system
            right += system @ delta.flatten()
        expected = torch.linalg.solve(total, right).reshape(3, 4)
        method = kinds["mats"](measured=measured("kfac", factors), alpha=alpha, tolerance=1e-7)
        torch.testing.assert_close(merged(method, {BLOCK: drawn})[BLOCK], expected, rtol=2e-3, atol=2e-3)


@oracle
def mats_takes_steps_of_conjugate_gradients_from_where_it_begins(kinds: Kinds) -> None:
    one = {"a": {BLOCK: table((1, 0), (0, 3)), BLOCK + OUTPUT: table((1,))}}
    folder, model = measured("kfac", one), {BLOCK: table(((1, 1),))}
    step = 10 / 28  # of b = A τ = [1, 3]: b'b / b'Ab
    found = merged(kinds["mats"](measured=folder, iterations=1, initial=0.0), model)[BLOCK]
    near(found, table((step, 3 * step)))
    near(merged(kinds["mats"](measured=folder, iterations=2, initial=0.0), model)[BLOCK], table((1, 1)))
    near(
        merged(kinds["mats"](measured=folder, iterations=1, initial=2.0), model)[BLOCK],
        table((2 - step, 2 - 3 * step)),
    )
    near(merged(kinds["mats"](measured=folder, iterations=1), model)[BLOCK], table((1, 1)))


@oracle
def what_is_weighted_by_measurements_takes_no_negative_weights(kinds: Kinds) -> None:
    model = {BLOCK: table(((1, 0),), ((0, 2),))}
    fishers = measured("fisher", {task: {BLOCK: table(1, 2)} for task in "ab"}, a=1.0, b=1.0)
    outputs = {task: {**tensors, BLOCK + OUTPUT: table((1,))} for task, tensors in GRAMS.items()}
    for name, folder in (
        ("fisher", fishers),
        ("regmean", measured("grams", GRAMS)),
        ("mats", measured("kfac", outputs)),
    ):
        for weights in ([2, -1], [0, 0]):
            with pytest.raises(InputError, match="weights of 0 or more"):
                merged(kinds[name](measured=folder), model, weights)


@oracle
def aim_changes_least_what_reads_the_largest_activations(kinds: Kinds) -> None:
    folder = measured("magnitudes", {EVERYWHERE: {BLOCK: table(1, 4, 2), NORM: table(1, 2)}})
    model = {BLOCK: torch.ones(2, 2, 3), NORM: torch.ones(2, 2), "other": torch.ones(2, 5)}
    factors = table(0.85, 0.4, 0.7)
    for block in (2, 100):
        found = merged(kinds["aim"](measured=folder), model, [1, 2], block=block)
        near(found[BLOCK], 3 * torch.stack([factors, factors]))
        near(found[NORM], 3 * table(0.7, 0.4))
        near(found["other"], torch.full((5,), 3.0))
    turned = measured("magnitudes", {EVERYWHERE: {BLOCK: table(1, 4)}}, first=(BLOCK,))
    found = merged(kinds["aim"](measured=turned, of={"name": "average"}, omega=0.2), model)
    near(found[BLOCK], table((0.8,) * 3, (0.2,) * 3))
    with pytest.raises(ValueError, match="'of' cannot be 'fisher'"):
        kinds["aim"](of={"name": "fisher"})


@oracle
def frank_wolfe_goes_towards_the_expert_with_the_least_product(kinds: Kinds) -> None:
    method = kinds["fw_merging"](step_size=0.5)
    start = torch.tensor([[0.4, 0.4, 0.4], [0.2, 0.2, 0.2]])
    gradient = torch.tensor([[-1.0, 2.0, 3.0], [-2.0, -0.5, 1.0]])
    # The second expert, the second, and the base where nothing is negative; half of the way, then a third.
    near(method.stepped(start, gradient, 0), table((0.2, 0.2, 0.2), (0.6, 0.6, 0.1)))
    near(method.stepped(start, gradient, 1), start * 2 / 3 + table((0, 0, 0), (1, 1, 0)) / 3)
    with pytest.raises(ValueError, match="give 'step_size'"):
        kinds["fw_merging"](learning_rate=0.1)
