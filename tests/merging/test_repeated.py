"""Merges in memory are those on disk, bit for bit, whatever was merged before with the same experts."""

import pytest
import torch
from tiny import tiny_llama

from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.checkpoint import tensors_of
from merging.known_methods import known_methods
from merging.merge import merge
from merging.recipe import Recipe
from merging.repeated import RepeatedMerge
from results.errors import InputError

TASKS = ("math", "safety")
METHODS = [
    {"name": "task_arithmetic", "scaling": 0.7},
    {"name": "ties", "density": 0.3},
    {"name": "dare", "drop_rate": 0.5},
    {"name": "task_arithmetic", "scaling": [0.2, 1.0]},
    {"name": "tsv_merge"},
    {"name": "metis"},
    {"name": "ties", "density": 0.6},
]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("repeated")
    return {name: str(tiny_llama(folder / name, seed)) for seed, name in enumerate(("base", *TASKS))}


def recipe_of(family, method, weight=1.0, **more):
    experts = {task: {"path": family[task], "weight": weight} for task in TASKS}
    return Recipe(base=family["base"], experts=experts, method=method, seed=4, **more)


@pytest.mark.parametrize("kept_bytes", [0, 10**6, 10**9])
def test_a_merge_in_memory_is_that_on_disk(family, tmp_path, kept_bytes):
    repeated = RepeatedMerge(recipe_of(family, {"name": "average"}), kept_bytes)
    assert repeated.stays_beside_base
    for place, method in enumerate(METHODS):
        recipe = recipe_of(family, method, weight=1.0 + place / 8)
        merged, folder = repeated.merge(recipe), tmp_path / str(place)
        merge(recipe, folder, progress=False)
        on_disk = tensors_of(folder)
        assert on_disk.keys() == merged.tensors.keys()
        assert all(torch.equal(on_disk[name], merged.tensors[name]) for name in on_disk)
        assert merged.identity == open_checkpoint(str(folder)).identity()


def test_what_is_merged_between_changes_nothing(family):
    """No method writes into the task vectors that are kept for the next."""
    repeated = RepeatedMerge(recipe_of(family, {"name": "average"}))
    before = repeated.merge(recipe_of(family, {"name": "task_arithmetic"})).identity
    merged = 0
    for name, known in known_methods().items():
        fields = known.method_class.model_fields.values()
        if known.method_class.takes in (None, 2) and not any(field.is_required() for field in fields):
            try:
                repeated.merge(recipe_of(family, {"name": name}))
            except InputError:  # of methods that want something measured or learned
                continue
            merged += 1
            assert repeated.merge(recipe_of(family, {"name": "task_arithmetic"})).identity == before, name
    assert merged > 20


def test_a_model_with_files_of_its_own_does_not_stay_in_memory(family):
    recipe = recipe_of(family, {"name": "average"}, output_dtype="bfloat16")
    assert not RepeatedMerge(recipe).stays_beside_base
