"""Reading checkpoints: blocks, digests, and what they do and do not depend on."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from blake3 import blake3
from toy_checkpoints import SHAPES, tensors

from merging.checkpoints.checkpoint import Checkpoint, TensorInfo
from merging.merge import merge

pytestmark = pytest.mark.slow


def test_names_shapes_and_blocks(save):
    weights = tensors(0, torch.bfloat16)
    checkpoint = Checkpoint.open(save("m", weights, per_shard=2))
    assert checkpoint.names == tuple(sorted(weights))
    assert checkpoint.info("model.norm.weight") == TensorInfo("model.norm.weight", "BF16", (7,))
    for name in SHAPES:
        assert torch.equal(checkpoint.tensor(name), weights[name])
        assert torch.equal(checkpoint.block(name, 3, 6), weights[name].reshape(-1)[3:6])


@pytest.mark.parametrize("method", ["average", "ties"])
def test_a_file_may_lay_its_tensors_out_at_odd_places(save, recipe_for, tmp_path, method):
    base, weights = tensors(0, torch.bfloat16), tensors(1, torch.bfloat16)
    experts = {"even": save("even", weights), "odd": save("odd", weights)}
    file = experts["odd"] / "model.safetensors"
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length] + b" "
    file.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert Checkpoint.open(experts["odd"]).identity() == Checkpoint.open(experts["even"]).identity()
    start = save("base", base)
    outs = [
        merge(recipe_for(start, pair, method), tmp_path / name, progress=False)
        for name, pair in {"mixed": experts, "twice": dict.fromkeys(("a", "b"), experts["even"])}.items()
    ]
    assert Checkpoint.open(outs[0]).identity() == Checkpoint.open(outs[1]).identity()


def test_the_weights_digest_is_over_names_dtypes_shapes_and_bytes(save):
    weights = {"b": torch.tensor([[1.0, 2.0]]), "a": torch.tensor([3], dtype=torch.int64)}
    lines = [
        ["a", "I64", [1], blake3((3).to_bytes(8, "little")).hexdigest()],
        ["b", "F32", [1, 2], blake3(bytes.fromhex("0000803f00000040")).hexdigest()],
    ]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    found = Checkpoint.open(save("m", weights)).identity().weights
    assert found == hashlib.sha256(text.encode()).hexdigest()


def test_the_weights_digest_sees_names_shapes_dtypes_and_values_but_no_files(save):
    weights = tensors(0)
    same = [save("whole", weights), save("shards", weights, per_shard=2)]
    other = [
        save("value", weights | {"model.scale": weights["model.scale"] + 1}),
        save("shape", weights | {"model.norm.weight": weights["model.norm.weight"].reshape(1, 7)}),
        save("dtype", weights | {"model.position_ids": weights["model.position_ids"].view(torch.float64)}),
        save("name", {("x" if n == "model.scale" else n): t for n, t in weights.items()}),
    ]
    assert len({Checkpoint.open(folder).identity().weights for folder in same}) == 1
    assert len({Checkpoint.open(folder).identity().weights for folder in [*same, *other]}) == 5


def test_hashing_ahead_changes_no_digest(save):
    folder = save("m", tensors(0))
    checkpoint = Checkpoint.open(folder)
    checkpoint.hash(["model.norm.weight"])
    assert checkpoint.identity() == Checkpoint.open(folder).identity()


def test_the_configuration_digest_leaves_out_who_wrote_it(save):
    def config_of(name, **changes):
        return Checkpoint.open(save(name, tensors(0), changes)).identity().config

    plain = config_of("plain")
    assert config_of("version", transformers_version="4.0.0", _name_or_path="somewhere") == plain
    assert config_of("theta", rope_theta=1.0) != plain
    assert config_of("dtype", dtype="bfloat16") != plain


def test_the_configuration_digest_covers_generation(save):
    folder = save("m", tensors(0))
    before = Checkpoint.open(folder).identity()
    (folder / "generation_config.json").write_text('{"do_sample": true}')
    after = Checkpoint.open(folder).identity()
    assert (after.config != before.config, after.weights, after.tokenizer) == (
        True,
        before.weights,
        before.tokenizer,
    )


def test_the_tokenizer_digest_covers_vocabulary_and_template(save):
    folder = save("m", tensors(0))
    seen = {Checkpoint.open(folder).identity().tokenizer}
    (folder / "tokenizer_config.json").write_text('{ "tokenizer_class":"PreTrainedTokenizerFast" }')
    assert Checkpoint.open(folder).identity().tokenizer in seen
    for name in ("tokenizer.json", "chat_template.jinja", "tokenizer.model"):
        (folder / name).write_text("changed")
        seen.add(Checkpoint.open(folder).identity().tokenizer)
    assert len(seen) == 4


@pytest.mark.parametrize("package", ["merging", "merging.checkpoints"])
def test_importing_the_package_does_not_import_torch(package):
    script = f"import sys, {package}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
