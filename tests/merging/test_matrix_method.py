"""What is no matrix of a transformer block is averaged in blocks, unless a subclass has a call of its own."""

import torch
from toy_checkpoints import tensors

from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge
from merging.method import Scope
from merging.methods.iso import Iso

OWN = """
import torch
from merging.methods.iso import Iso

class Own(Iso):
    '''Leaves all but matrices as the base has them.'''
    def __call__(self, deltas, weights, context):
        return super().__call__(deltas, weights, context) * (context.layer is not None)
"""


def moved(save, recipe_for, tmp_path, method, dtype):
    """How far merging moves each tensor of a toy checkpoint, and the experts' mean, by name."""
    base = tensors(0, dtype)
    weights = [tensors(seed, dtype, like=base) for seed in (1, 2)]
    experts = {f"expert {i}": save(f"expert {i}", one) for i, one in enumerate(weights)}
    recipe = recipe_for(save("base", base), experts, method)
    found = Checkpoint.open(merge(recipe, tmp_path / "out", progress=False, block_size=16))
    means = {
        name: torch.stack([one[name].float() for one in weights]).mean(0) - base[name].float()
        for name in base
    }
    there = {name: found.block(name, 0, found.info(name).numel).reshape(base[name].shape) for name in base}
    return {name: there[name].float() - base[name].float() for name in base}, means


def test_embeddings_get_the_mean(save, recipe_for, tmp_path):
    found, means = moved(save, recipe_for, tmp_path, "iso", torch.float32)
    torch.testing.assert_close(found["model.embed_tokens.weight"], means["model.embed_tokens.weight"])
    method = Iso()
    assert method.scope_of((11, 7), None) is method.scope_of((7,), 0) is Scope.ELEMENT
    assert method.scope_of((11, 7), 0) is Scope.TENSOR


def test_a_subclass_with_a_call_of_its_own_sees_everything_whole(save, recipe_for, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    found, _ = moved(save, recipe_for, tmp_path, f"{tmp_path / 'own.py'}:Own", torch.bfloat16)
    assert not found["model.embed_tokens.weight"].any()
    assert any(found[name].any() for name in found if ".layers." in name)
