"""Every method that needs no data beside its experts merges in rounds too."""

import json

import numpy as np
import pytest
from in_rounds import TASKS, TRAINING, Counted, arrays

from merging.checkpoints.adapted import open_checkpoint
from merging.experts import TrainedExperts
from merging.known_methods import known_methods
from merging.learned_method import LearnedMethod
from merging.many_shot import MergePlan, run_rounds
from merging.measured_method import MeasuredMethod
from merging.recipe import MethodSpec
from merging.weighting import Weighting

pytestmark = [pytest.mark.slow, pytest.mark.full]

EXPERTS = {"slerp": 2, "nuslerp": 2, "nearswap": 1, "arcee_fusion": 1}
"""How many a method takes, where that is not any number."""
REQUIRED = {"nearswap": {"t": 0.01}}
"""Settings that have no usual value."""
NAMES = [
    name
    for name, known in known_methods().items()
    if not issubclass(known.method_class, LearnedMethod | MeasuredMethod)
]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """Methods share the experts of the first round."""
    return tmp_path_factory.mktemp("rounds")


@pytest.mark.parametrize("name", NAMES)
def test_the_second_round_starts_from_the_merge_of_the_first(base, out, name):
    tasks = dict(list(TASKS.items())[: EXPERTS.get(name, 3)])
    plan = MergePlan(
        base=str(base),
        base_digest=open_checkpoint(base).identity().digest,
        experts=TrainedExperts(tasks, TRAINING),
        method=MethodSpec(name=name, **REQUIRED.get(name, {})),
        weighting=Weighting(name="uniform"),
        rounds=2,
    )
    first, second = run_rounds(plan, out, Counted(), title=name)
    merged = open_checkpoint(first.merged).identity().digest
    for folder in second.experts.values():
        assert json.loads((folder / "training.json").read_text())["base"] == merged
    before, after, start = arrays(first.merged), arrays(second.merged), arrays(base)
    assert all(np.isfinite(values).all() for values in after.values())
    assert any((before[key] != start[key]).any() for key in start)
    assert any((after[key] != before[key]).any() for key in start)
    assert run_rounds(plan, out, Counted(), title=name) == [first, second]
