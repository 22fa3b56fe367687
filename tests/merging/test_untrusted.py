"""Input that was made to harm: one sentence, no code run, nothing read outside, nothing left behind."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from toy_checkpoints import tensors

from manyshot.cli import main
from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import merge


@pytest.fixture
def refusal(family, tmp_path, capfd, monkeypatch):
    """The sentence with which the command line refuses to merge, checked for its exit code and its traces."""
    base, experts = family
    named = {"base": str(base), "experts": {name: str(folder) for name, folder in experts.items()}}
    usual = yaml.safe_dump({**named, "method": {"name": "average"}})
    monkeypatch.chdir(tmp_path)

    def run(recipe: str = usual) -> str:
        Path("recipe.yaml").write_text(recipe)
        before = {path.name for path in tmp_path.iterdir()}
        with pytest.raises(SystemExit) as stopped:
            main(["merge", "recipe.yaml", "out"])
        printed = capfd.readouterr()
        assert (stopped.value.code, printed.out) == (2, "")
        assert {path.name for path in tmp_path.iterdir()} == before
        (sentence,) = printed.err.strip().splitlines()
        return sentence

    return run


UP = "model.layers.1.mlp.up_proj.weight"


class Harm:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def as_bin(folder: Path, **options) -> Path:
    """Store a folder's weights as a .bin file instead."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin", **options)
    (folder / "model.safetensors").unlink()
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bin_file_is_read_as_weights(family, recipe_for, tmp_path, zipped):
    base, experts = family
    expected = Checkpoint.open(merge(recipe_for(base, experts), tmp_path / "expected", False)).identity()
    before = Checkpoint.open(experts["b"]).identity()
    as_bin(experts["b"], _use_new_zipfile_serialization=zipped)
    assert Checkpoint.open(experts["b"]).identity() == before
    assert Checkpoint.open(merge(recipe_for(base, experts), tmp_path / "out", False)).identity() == expected


def test_bin_shards_are_read_by_their_index(family, recipe_for, tmp_path):
    _, experts = family
    weights = load_file(experts["a"] / "model.safetensors")
    before = Checkpoint.open(experts["a"]).identity()
    (experts["a"] / "model.safetensors").unlink()
    places = {name: f"pytorch_model-{i % 2}.bin" for i, name in enumerate(weights)}
    for shard in set(places.values()):
        torch.save({n: weights[n] for n in weights if places[n] == shard}, experts["a"] / shard)
    index = {"metadata": {}, "weight_map": places}
    (experts["a"] / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert Checkpoint.open(experts["a"]).identity() == before


@pytest.mark.parametrize("form", ["pickle", "zip", "within a tensor's dictionary"])
def test_code_in_a_bin_file_is_not_run(family, tmp_path, refusal, form):
    _, experts = family
    path, trace = as_bin(experts["b"]), tmp_path / "harmed"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Harm(trace)))
    elif form == "zip":
        torch.save(Harm(trace), path)
    else:
        torch.save({"model.norm.weight": torch.zeros(7), "harm": Harm(trace)}, path)
    sentence = refusal()
    assert str(path) in sentence
    assert "code to be run" in sentence
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not weights at all"])
def test_a_bin_file_that_is_none(family, refusal, content):
    _, experts = family
    path = as_bin(experts["b"])
    path.write_bytes(content)
    assert str(path) in refusal()


def test_a_bin_file_that_is_cut_off_or_holds_no_weights(family, refusal):
    _, experts = family
    path = as_bin(experts["b"])
    path.write_bytes(path.read_bytes()[:-100])
    assert "not a whole file of weights" in refusal()
    torch.save([1, 2, 3], path)
    assert "no mapping" in refusal()
    torch.save({"epoch": 3}, path)
    assert "'epoch' is no plain tensor" in refusal()


class OrderedDictOfANumber:
    """Unpickled with weights only, it makes the unpickler fail in a way of its own."""

    def __reduce__(self):
        return OrderedDict, (5,)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (OrderedDictOfANumber(), "not a whole file of weights"),
        ({"w": torch.zeros(1 << 10).expand(1 << 40, 1 << 10)}, "'w' is no plain tensor"),
        ({"w": torch.empty(3, device="meta")}, "'w' is no plain tensor"),
        ({"w": torch.eye(3).to_sparse()}, "'w' is no plain tensor"),
        ({1: torch.zeros(3)}, "1 is no plain tensor"),
    ],
)
def test_a_bin_file_of_other_things(family, refusal, content, says):
    _, experts = family
    torch.save(content, as_bin(experts["b"]))
    assert says in refusal()


def test_a_tensor_of_a_bin_file_may_have_gaps(family):
    _, experts = family
    weights = load_file(experts["b"] / "model.safetensors")
    before = Checkpoint.open(experts["b"]).identity()
    path = as_bin(experts["b"])
    strided = {n: t.repeat_interleave(2)[::2] if t.dim() == 1 else t for n, t in weights.items()}
    strided[UP] = weights[UP].T.contiguous().T
    torch.save(strided, path)
    assert Checkpoint.open(experts["b"]).identity() == before


def rewrite_header(file: Path, change) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header[UP].update(shape=[1 << 40, 7]),
        lambda header: header[UP].update(shape=[13, 6]),
        lambda header: header[UP].update(data_offsets=[0, 1 << 50]),
        lambda header: header[UP].update(data_offsets=[-4, 360]),
        lambda header: header[UP].update(data_offsets=header["model.norm.weight"]["data_offsets"]),
        lambda header: header[UP].update(dtype="F64"),
        lambda header: header[UP].update(dtype="EVIL"),
        lambda header: header.update({UP: "everything"}),
    ],
)
def test_a_safetensors_header_that_lies(family, refusal, change):
    _, experts = family
    rewrite_header(experts["b"] / "model.safetensors", change)
    assert str(experts["b"] / "model.safetensors") in refusal()


@pytest.mark.parametrize("length", [0, 1 << 62, (1 << 64) - 1])
def test_a_safetensors_header_of_a_length_that_lies(family, refusal, length):
    _, experts = family
    file = experts["b"] / "model.safetensors"
    file.write_bytes(length.to_bytes(8, "little") + file.read_bytes()[8:])
    assert "not a complete safetensors file" in refusal()


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
@pytest.mark.parametrize("place", ["../base/model.safetensors", "/etc/hostname", "a/../../base/x", "..", ""])
def test_an_index_that_points_outside_its_folder(family, refusal, index, place):
    _, experts = family
    weights = load_file(experts["a"] / "model.safetensors")
    (experts["a"] / "model.safetensors").unlink()
    (experts["a"] / index).write_text(json.dumps({"weight_map": dict.fromkeys(weights, place)}))
    assert str(experts["a"] / index) in refusal()


def test_a_yaml_bomb(refusal):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for name, before in zip("bcdefghij", "abcdefghi", strict=True):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    sentence = refusal(bomb + "base: *j\nexperts: {a: *j}\nmethod: {name: average}\n")
    assert "recipe.yaml" in sentence
    assert len(sentence) < 300


@pytest.mark.parametrize(
    "recipe", ["a: &a [*a]\n", "&a {base: *a}\n", "[" * 5000, "base: !!python/object/apply:os.getcwd []"]
)
def test_other_yaml_that_harms(refusal, recipe):
    assert "recipe.yaml" in refusal(recipe)


def test_a_configuration_that_asks_for_remote_code(family, recipe_for, tmp_path, refusal):
    base, experts = family
    config = json.loads((base / "config.json").read_text()) | {"auto_map": {"AutoModel": "evil.Evil"}}
    (experts["b"] / "config.json").write_text(json.dumps(config))
    (experts["b"] / "evil.py").write_text("open('harmed', 'w')\n")
    sentence = refusal()
    assert "Expert 'b'" in sentence
    assert "auto_map" in sentence
    (base / "config.json").write_text(json.dumps(config))
    (base / "evil.py").write_text("open('harmed', 'w')\n")
    assert "The base" in refusal()
    out = merge(recipe_for(base, experts, trust_remote_code=True), tmp_path / "out", progress=False)
    assert json.loads((out / "config.json").read_text())["auto_map"] == {"AutoModel": "evil.Evil"}
    assert (out / "evil.py").read_text() == (base / "evil.py").read_text()
    assert not list(tmp_path.rglob("harmed"))


def test_a_tokenizer_that_asks_for_remote_code(family, refusal):
    base, _ = family
    (base / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}')
    assert "`auto_map` in tokenizer_config.json" in refusal()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_delta_that_is_not_finite(family, refusal, dtype, value):
    _, experts = family
    weights = tensors(1, dtype)
    weights[UP][3, 3] = value
    save_file(weights, experts["b"] / "model.safetensors", metadata={"format": "pt"})
    sentence = refusal()
    assert "'b'" in sentence
    assert UP in sentence
    assert "NaN or infinity" in sentence


def test_files_that_are_links_to_elsewhere_are_read_as_the_hubs_cache_has_them(family, recipe_for, tmp_path):
    base, experts = family
    blob = tmp_path / "blob"
    (experts["a"] / "model.safetensors").rename(blob)
    (experts["a"] / "model.safetensors").symlink_to(blob)
    out = merge(recipe_for(base, experts), tmp_path / "out", progress=False)
    assert Checkpoint.open(out).names == tuple(sorted(tensors(0)))
