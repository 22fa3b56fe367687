"""The streaming writer: files that safetensors reads back, in shards of at most the size asked for."""

import errno
import json
import os

import pytest
import torch
from safetensors.torch import load_file

from merging.checkpoints.checkpoint import TensorInfo
from merging.layers import LayerPosition, layer_positions
from merging.write import WeightsWriter, plan_shards
from results.errors import InputError

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
    shards = plan_shards(PLANNED, largest)
    with WeightsWriter(tmp_path, shards) as writer:
        pieces = [
            (name, 2 * i, piece)
            for name, tensor in WEIGHTS.items()
            for i, piece in enumerate(tensor.reshape(-1).split(2))
        ]
        for name, start, piece in reversed(pieces):
            writer.write(name, start, piece)
        writer.write_index()
    files = sorted(tmp_path.glob("*.safetensors"))
    assert {file.name: file.stat().st_size for file in files} == {s.name: s.nbytes for s in shards}
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
    with WeightsWriter(tmp_path, plan_shards(PLANNED, 10**9)):
        pass
    content = (tmp_path / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "pt"}
    for name, entry in header.items():
        assert (8 + length + entry["data_offsets"][0]) % WEIGHTS[name].element_size() == 0


def test_entries_that_were_not_planned_are_an_error(tmp_path):
    plan = plan_shards([TensorInfo("a", "F32", (2,)), TensorInfo("b", "F32", (1,))], 100)
    with WeightsWriter(tmp_path, plan) as writer:
        with pytest.raises(ValueError, match="'a' was planned"):
            writer.write("a", 1, torch.zeros(2))
        with pytest.raises(ValueError, match="'a' was planned"):
            writer.write("a", 0, torch.zeros(2, dtype=torch.float16))


def test_a_later_writer_keeps_what_an_earlier_one_wrote(tmp_path):
    plan = plan_shards([TensorInfo("a", "F32", (4,))], 100)
    with WeightsWriter(tmp_path, plan) as writer:
        writer.write("a", 0, torch.tensor([1.0, 2.0]))
    with WeightsWriter(tmp_path, plan) as writer:
        writer.write("a", 2, torch.tensor([3.0, 4.0]))
    assert load_file(tmp_path / "model.safetensors")["a"].tolist() == [1, 2, 3, 4]


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room for a file")
def test_a_full_disk_shows_before_the_work(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"no room for model\.safetensors of \d+ bytes \(No space"):
        WeightsWriter(tmp_path, plan_shards(PLANNED, 10**9)).__enter__()


def test_a_tensors_layer_is_its_block_in_its_own_stack():
    found = layer_positions(
        [
            "shared.weight",
            "encoder.block.0.layer.0.SelfAttention.q.weight",
            "encoder.block.1.layer.1.DenseReluDense.wi.weight",
            "decoder.block.2.layer.0.SelfAttention.q.weight",
            "decoder.final_layer_norm.weight",
        ]
    )
    assert list(found.values()) == [
        LayerPosition(None, 3),
        LayerPosition(0, 2),
        LayerPosition(1, 2),
        LayerPosition(2, 3),
        LayerPosition(None, 3),
    ]
