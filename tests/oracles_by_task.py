"""Settings with one number for each task give what each task alone gives with its own; weights' sums."""

import torch
from in_memory import merged, whole
from oracles import Kinds, oracle, same, steps, whole_of

BROKEN = [
    ("by_task", "[value[task] for task in tasks]", "list(value.values())"),
    ("methods.dare", "[delta / (1 - rate) for", "[delta for"),
    ("methods.slerp", "deltas + context.base, shares", "deltas, shares"),
    ("methods.slerp", "if self.normalize else weights", "if not self.normalize else weights"),
    ("methods.weighted_sum", "alpha=beyond", "alpha=beyond + 1"),
]


@oracle
def numbers_by_task_are_those_of_each_task_alone(kinds: Kinds) -> None:
    model, weights = steps(20, tasks=2), [0.5, 2.0]
    cases = {
        "dare": {"drop_rate": {"b": 0.5, "a": 0.25}},
        "breadcrumbs": {"density": {"b": 0.5, "a": 0.25}, "outliers": {"b": 0.0, "a": 0.1}, "scaling": 1.0},
    }
    rows = {"della": {"drop_rate": {"b": 0.0, "a": 0.25}, "window": {"b": 0.9, "a": 0.1}}}
    for name, settings in cases.items():
        parts = []
        for place, task in enumerate("ab"):
            alone = {
                key: value[task] if isinstance(value, dict) else value for key, value in settings.items()
            }
            one = {tensor: delta[place : place + 1] for tensor, delta in model.items()}
            parts.append(weights[place] * whole_of(merged(kinds[name](**alone), one)))
        same(merged(kinds[name](**settings), model, weights), sum(parts))
    method = kinds["della"](**rows["della"], then="task_arithmetic")
    second = {tensor: delta * torch.tensor([[0.0], [1.0]]) for tensor, delta in model.items()}
    same(merged(method, second, weights), 2.0 * whole(model)[1])  # a drop rate of 0 keeps all


@oracle
def ties_trims_each_task_by_its_own_density(kinds: Kinds) -> None:
    deltas = torch.tensor([[5.0, 4.0, 3.0, 2.0, 1.0, 0.5], [0.5, 1.0, 2.0, 3.0, 4.0, -5.0]])
    for variant in ("mergekit", "peft"):
        method = kinds["ties"](density={"b": 1.0, "a": 0.5}, variant=variant)
        found = merged(method, {"w": deltas})["w"]
        assert found.tolist() == [2.75, 2.5, 2.5, 3.0, 4.0, -5.0]
    # The paper's rule keeps what reaches the (d − ⌊Kd⌋)-th smallest: three and one more of a, all of b.
    found = merged(kinds["ties"](density={"b": 1.0, "a": 0.5}), {"w": deltas})["w"]
    assert found.tolist() == [2.75, 2.5, 2.5, 2.5, 4.0, -5.0]


@oracle
def dare_without_rescaling_keeps_entries_as_they_are(kinds: Kinds) -> None:
    model = {"w": torch.full((1, 1000), 3.0)}
    found = merged(kinds["dare"](drop_rate=0.5, rescale=False), model)["w"]
    assert set(found.tolist()) == {0.0, 3.0}


@oracle
def multislerp_of_weights_has_their_mean_norm(kinds: Kinds) -> None:
    model = steps(21, tasks=3)
    base = {name: torch.ones(delta.shape[1]) for name, delta in model.items()}
    shares = torch.tensor([0.25, 0.5, 0.75])
    for normalize in (True, False):
        method = kinds["multislerp"](of="weights", normalize=normalize)
        found = merged(method, model, shares.tolist(), base=base)
        own = shares / 1.5 if normalize else shares
        for name, delta in found.items():
            points = model[name] + 1
            norms = points.norm(dim=1)
            direction = own @ (points / norms[:, None])
            expected = (own @ norms) * direction / direction.norm() - 1
            torch.testing.assert_close(delta, expected, rtol=1e-4, atol=1e-5)


@oracle
def a_weighted_sum_scales_the_base_too(kinds: Kinds) -> None:
    model = steps(22, tasks=2)
    base = {name: torch.full((delta.shape[1],), 2.0) for name, delta in model.items()}
    found = merged(kinds["weighted_sum"](), model, [0.25, 0.5], base=base)
    same(found, torch.tensor([0.25, 0.5]) @ (whole(model) + 2) - 2)
