"""The streaming writer: files that safetensors reads back, in shards of at most the size asked for."""

import json

import pytest
import torch
from safetensors.torch import load_file

from merging.checkpoint import TensorInfo
from merging.layers import Place, places
from merging.write import WeightsWriter

WEIGHTS = {
    "wide": torch.arange(6, dtype=torch.int64),
    "odd": torch.tensor([1.0, 2.0, 3.0], dtype=torch.bfloat16),
    "byte": torch.tensor([True, False, True]),
    "none": torch.empty(0, 2),
    "zero-d": torch.tensor(5.0),
    "half": torch.tensor([1.0], dtype=torch.float16),
}
CODES = {"wide": "I64", "odd": "BF16", "byte": "BOOL", "none": "F32", "zero-d": "F32", "half": "F16"}
PLANNED = [TensorInfo(name, CODES[name], tuple(tensor.shape)) for name, tensor in WEIGHTS.items()]


@pytest.mark.parametrize("largest", [1, 10, 50, 10**9])
def test_blocks_come_back_as_tensors(tmp_path, largest):
    with WeightsWriter(tmp_path, PLANNED, largest) as writer:
        for tensor in writer.order:
            for entry in WEIGHTS[tensor.name].reshape(-1).split(2):
                if entry.numel():
                    writer.append(tensor.name, entry)
    files = sorted(tmp_path.glob("*.safetensors"))
    found = {}
    for file in files:
        held = load_file(file)
        assert (
            sum(t.nbytes for t in held.values()) <= largest
            or len([t for t in held.values() if t.nbytes]) == 1
        )
        found |= held
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    index = tmp_path / "model.safetensors.index.json"
    assert index.exists() == (len(files) > 1)
    if len(files) > 1:
        assert json.loads(index.read_text())["metadata"]["total_size"] == sum(
            t.nbytes for t in WEIGHTS.values()
        )


def test_every_tensor_is_aligned_to_its_dtype_in_the_file(tmp_path):
    with WeightsWriter(tmp_path, PLANNED, 10**9) as writer:
        for tensor in writer.order:
            if tensor.numel:
                writer.append(tensor.name, WEIGHTS[tensor.name])
    content = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    for name, entry in header.items():
        assert (8 + length + entry["data_offsets"][0]) % WEIGHTS[name].element_size() == 0


def test_a_tensor_out_of_turn_too_long_or_missing_is_an_error(tmp_path):
    plan = [TensorInfo("a", "F32", (2,)), TensorInfo("b", "F32", (1,))]
    with pytest.raises(ValueError, match="'b' is not due"), WeightsWriter(tmp_path, plan, 100) as writer:
        writer.append("b", torch.zeros(1))
    with pytest.raises(ValueError, match="'a' was planned"), WeightsWriter(tmp_path, plan, 100) as writer:
        writer.append("a", torch.zeros(3))
    with pytest.raises(ValueError, match="'a' was planned"), WeightsWriter(tmp_path, plan, 100) as writer:
        writer.append("a", torch.zeros(2, dtype=torch.float16))
    with pytest.raises(ValueError, match="'b' is incomplete"), WeightsWriter(tmp_path, plan, 100) as writer:
        writer.append("a", torch.zeros(2))


def test_a_tensors_layer_is_its_block_in_its_own_stack():
    found = places(
        [
            "shared.weight",
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            "encoder.block.1.layer.1.DenseReluDense.wi.weight",
            "decoder.block.2.layer.0.SelfAttention.q.weight",
            "decoder.final_layer_norm.weight",
        ]
    )
    assert list(found.values()) == [Place(None, 3), Place(0, 2), Place(1, 2), Place(2, 3), Place(None, 3)]
