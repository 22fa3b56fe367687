"""Experts stored as masks or as few bits, and made again: sizes, errors and what comes back."""

import json
from itertools import pairwise

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_llama
from toy_checkpoints import VOCAB

from manyshot.cli import main
from merging.checkpoints.checkpoint import Checkpoint
from merging.compress import compress
from merging.packing import BITS, Grid, pack, packed_bytes, unpack
from merging.restore import restore
from results.errors import InputError


def weights(folder):
    return load_file(folder / "model.safetensors")


def steps(base, expert):
    start, end = weights(base), weights(expert)
    return {name: end[name] - start[name] for name in start if start[name].is_floating_point()}


@pytest.fixture
def stored(family, tmp_path):
    """Store the family's experts somehow, and read the report."""

    def make(name="stored", **how):
        base, experts = family
        out = compress(str(base), {task: str(path) for task, path in experts.items()}, tmp_path / name, **how)
        return out, json.loads((out / "compress.json").read_text())

    return make


@pytest.mark.parametrize("bits", (1, *BITS))
def test_codes_come_back_from_no_more_bytes_than_they_need(bits):
    codes = torch.randint(0, 2**bits, (1003,), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    packed = pack(codes, bits)
    assert len(packed) == packed_bytes(1003, bits) == -(-1003 * bits // 8)
    assert torch.equal(unpack(packed, bits, 1003), codes)


def test_codes_lie_one_after_the_other_lowest_bit_first():
    assert pack(torch.tensor([1, 2, 3], dtype=torch.uint8), 2).tolist() == [0b111001]
    assert pack(torch.tensor([5, 0, 7], dtype=torch.uint8), 3).tolist() == [0b11000101, 0b1]


def test_a_grid_spans_the_values_and_has_0():
    grid = Grid.over(-1.0, 2.0, 2)
    assert (grid.step, grid.zero) == (1.0, 1)
    values = torch.tensor([-1.0, -0.6, 0.0, 0.4, 1.4, 2.0])
    assert grid.codes(values).tolist() == [0, 0, 1, 1, 2, 3]
    assert grid.values(grid.codes(values)).tolist() == [-1.0, -1.0, 0.0, 0.0, 1.0, 2.0]
    # 0 is on it wherever the range lies, and where there is none.
    for low, high in ((0.3, 0.9), (-0.7, 0.2), (0.0, 0.0)):
        for bits in BITS:
            assert Grid.over(low, high, bits).values(Grid.over(low, high, bits).codes(torch.zeros(1))) == 0


@pytest.mark.parametrize("bits", BITS)
def test_a_restored_expert_is_the_base_and_its_quantised_step(family, stored, tmp_path, bits):
    base, experts = family
    out, report = stored(bits=bits)
    for task, path in experts.items():
        again = restore(out, task, tmp_path / f"again {task}")
        lost = total = 0.0
        for name, delta in steps(base, path).items():
            found = steps(base, again)[name]
            low, high = (
                (min(0.0, delta.min().item()), max(0.0, delta.max().item())) if delta.numel() else (0, 0)
            )
            step = (high - low) / (2**bits - 1)
            assert ((found - delta).abs() <= step * 1.001 + 1e-6).all()  # 0 moves the grid by half a step
            places = found / step if step else found
            torch.testing.assert_close(places, places.round(), rtol=0, atol=1e-3)
            if delta.numel():
                error = ((found - delta).norm() / delta.norm()).item()
                assert report["tensors"][task][name] == pytest.approx(error, abs=2e-5)
            lost, total = lost + (found - delta).square().sum(), total + delta.square().sum()
        assert report["error"][task] == pytest.approx(float((lost / total) ** 0.5), abs=2e-5)
        opened = Checkpoint.open(again)
        assert (opened.identity().config, opened.identity().tokenizer) == (
            Checkpoint.open(path).identity().config, Checkpoint.open(path).identity().tokenizer
        )  # fmt: skip
        assert torch.equal(opened.tensor("model.position_ids"), torch.arange(5))


def test_fewer_bits_are_smaller_and_further_off(stored):
    reports = [stored(str(bits), bits=bits)[1] for bits in BITS]
    for more, less in pairwise(reports):
        assert less["bytes"] < more["bytes"]
        assert all(less["error"][task] > more["error"][task] for task in "abc")


def test_masks_keep_of_the_sum_what_is_a_tasks_own(family, stored, tmp_path):
    base, experts = family
    out, report = stored(mask_threshold={"a": 0.2, "b": 0.4, "c": 1.5})
    own = {task: steps(base, path) for task, path in experts.items()}
    for task, threshold in {"a": 0.2, "b": 0.4, "c": 1.5}.items():
        found = steps(base, restore(out, task, tmp_path / f"again {task}"))
        lost = total = 0.0
        for name, delta in own[task].items():
            merged = own["a"][name] + own["b"][name] + own["c"][name]
            expected = merged * (delta.abs() > threshold * (merged - delta).abs())
            torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-6)
            lost, total = lost + (expected - delta).square().sum(), total + delta.square().sum()
        assert report["error"][task] == pytest.approx(float((lost / total) ** 0.5), rel=1e-4)
    assert report["mask_threshold"] == {"a": 0.2, "b": 0.4, "c": 1.5}
    sizes = {path.name: path.stat().st_size for path in out.glob("*.safetensors")}
    assert sum(sizes.values()) == report["bytes"]
    assert stored("default")[1]["mask_threshold"] == {"a": 0.4, "b": 0.4, "c": 0.4}


def test_alone_an_expert_is_its_mask_of_itself(family, tmp_path):
    base, experts = family
    out = compress(str(base), {"a": str(experts["a"])}, tmp_path / "alone")
    again = restore(out, "a", tmp_path / "again")
    for name, delta in steps(base, experts["a"]).items():
        torch.testing.assert_close(steps(base, again)[name], delta, rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", [{"bits": 3}, {}])
def test_the_same_files_come_of_pieces_of_any_size(family, stored, tmp_path, monkeypatch, how):
    out, report = stored("whole", **how)
    again = restore(out, "b", tmp_path / "again")
    for module in ("task_vectors", "restore"):
        monkeypatch.setattr(f"merging.{module}.PIECE", 8)
    other, same = stored("in pieces", **how)
    for path in out.glob("*.safetensors"):
        assert path.read_bytes() == (other / path.name).read_bytes()
    assert same["error"] == pytest.approx(report["error"])
    pieced = restore(other, "b", tmp_path / "in pieces again")
    assert (again / "model.safetensors").read_bytes() == (pieced / "model.safetensors").read_bytes()


def test_an_expert_of_a_stack_comes_back_from_another_folder_without_its_base_being_named(
    tmp_path, monkeypatch
):
    for seed, name in enumerate(("a", "b", "expert")):
        tiny_llama(tmp_path / name, seed)
    monkeypatch.chdir(tmp_path)
    compress("a[0:1] | b[1:2]", {"x": "expert"}, tmp_path / "stored", bits=8)
    monkeypatch.chdir("/")
    again, wanted = (
        weights(restore(tmp_path / "stored", "x", tmp_path / "again")),
        weights(tmp_path / "expert"),
    )
    for name, tensor in wanted.items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0.05)


def test_models_that_do_not_fit_are_refused_without_the_advice_of_a_recipe(family, save, tmp_path):
    base, experts = family
    whole = weights(experts["a"])
    less = save("less", {name: whole[name] for name in sorted(whole)[1:]})
    more = save("more", {**whole, "more.weight": torch.ones(2)})
    moved = save("moved", whole, vocab=dict(zip(VOCAB, reversed(VOCAB.values()), strict=True)))
    tied = tiny_llama(tmp_path / "tied", tie_word_embeddings=True)
    apart = tiny_llama(tmp_path / "apart", tie_word_embeddings=False)
    for start, expert, said in (
        (base, less, "lacks tensor"),
        (base, more, "has tensor 'more.weight'"),
        (base, moved, "maps token"),
        (apart, tied, "ties 'lm_head.weight'"),
        (tied, apart, "has 'lm_head.weight', which the base ties"),
    ):
        with pytest.raises(InputError, match=said) as refusal:
            compress(str(start), {"a": str(expert)}, tmp_path / "no", bits=4)
        assert "recipe" not in str(refusal.value)


def test_what_cannot_be_stored_or_restored_is_refused(family, stored, tmp_path):
    base, experts = family
    ours = {"a": str(experts["a"])}
    for how in ({"bits": 5}, {"bits": 4, "mask_threshold": 0.4}, {"mask_threshold": {"z": 0.4}}):
        with pytest.raises(InputError):
            compress(str(base), ours, tmp_path / "no", **how)
    for name in ("merged", "../a", ".a"):
        with pytest.raises(InputError, match="cannot be called"):
            compress(str(base), {name: str(experts["a"])}, tmp_path / "no", bits=4)
    assert not (tmp_path / "no").exists()
    out, _ = stored(bits=4)
    with pytest.raises(InputError, match="there are a, b, c"):
        restore(out, "z", tmp_path / "no")
    with pytest.raises(InputError, match="other weights than the base"):
        restore(out, "a", tmp_path / "no", base=str(experts["b"]))
    with pytest.raises(InputError, match="manyshot compress"):
        restore(tmp_path, "a", tmp_path / "no")


def test_the_commands_say_sizes_and_errors(family, tmp_path, capsys):
    base, experts = family
    named = [f"{task}={path}" for task, path in experts.items()]
    main(["compress", str(base), str(tmp_path / "out"), *named, "--bits", "4"])
    shown = capsys.readouterr().out
    assert "bytes for" in shown and "relative error a 0.0" in shown
    main(["restore", str(tmp_path / "out"), "a", str(tmp_path / "again")])
    assert (tmp_path / "again/model.safetensors").is_file()
    with pytest.raises(SystemExit) as ended:
        main(["compress", str(base), str(tmp_path / "no"), "models/a"])
    assert ended.value.code == 2
    assert "TASK=PATH" in capsys.readouterr().err
