"""What a merge writes, held against the formulas and against what a user sees."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from toy_checkpoints import tensors

from merging.checkpoints.checkpoint import Checkpoint
from merging.merge import JOURNAL, merge
from merging.task_vectors import TaskVectors
from merging.write import WeightsWriter
from results.errors import InputError

pytestmark = pytest.mark.slow

FLOATS = [name for name, tensor in tensors(0).items() if tensor.is_floating_point()]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def digest(folder: Path) -> str:
    return Checkpoint.open(folder).identity().weights


def test_average_is_the_mean_of_the_experts(family, recipe_for, tmp_path):
    base, experts = family
    out = weights_of(merge(recipe_for(base, experts), tmp_path / "out", progress=False))
    inputs = [weights_of(folder) for folder in experts.values()]
    for name in FLOATS:
        mean = torch.stack([weights[name] for weights in inputs]).mean(0)
        torch.testing.assert_close(out[name], mean, rtol=1e-6, atol=1e-6)
    assert torch.equal(out["model.position_ids"], torch.arange(5))


def test_average_weighs_the_experts(family, recipe_for, tmp_path):
    base, experts = family
    factors = dict(zip(experts, (1.0, 2.0, 5.0), strict=True))
    specs = {name: {"path": folder, "weight": factors[name]} for name, folder in experts.items()}
    out = weights_of(merge(recipe_for(base, specs), tmp_path / "out", progress=False))
    for name in FLOATS:
        mean = sum(factors[e] * weights_of(folder)[name] for e, folder in experts.items()) / 8
        torch.testing.assert_close(out[name], mean, rtol=1e-6, atol=1e-6)


def test_task_arithmetic_scales_the_weighted_sum(family, recipe_for, tmp_path):
    base, experts = family
    specs = {
        name: {"path": folder, "weight": w}
        for (name, folder), w in zip(experts.items(), (1, -2, 0.5), strict=True)
    }
    plain = merge(
        recipe_for(base, specs, "task_arithmetic", settings={"scaling": 0.3}), tmp_path / "plain", False
    )
    start, ends = weights_of(base), [weights_of(folder) for folder in experts.values()]
    for name in FLOATS:
        total = sum(w * (end[name] - start[name]) for w, end in zip((1, -2, 0.5), ends, strict=True))
        torch.testing.assert_close(weights_of(plain)[name], start[name] + 0.3 * total, rtol=1e-6, atol=1e-6)


def test_normalized_task_arithmetic_is_the_average(family, recipe_for, tmp_path):
    base, experts = family
    specs = {name: {"path": folder, "weight": 1.5} for name, folder in experts.items()}
    normalized = recipe_for(base, specs, "task_arithmetic", settings={"normalize": True})
    assert digest(merge(normalized, tmp_path / "ta", False)) == digest(
        merge(recipe_for(base, specs), tmp_path / "average", False)
    )


def test_one_expert_at_scaling_one_comes_back_bit_for_bit_in_float32(save, recipe_for, tmp_path):
    # The difference of floats within a factor of two of each other is exact (Sterbenz); then so is the sum.
    base = tensors(0)
    random = torch.Generator().manual_seed(9)
    expert = {
        name: tensor * (0.6 + 1.3 * torch.rand(tensor.shape, generator=random)) if name in FLOATS else tensor
        for name, tensor in base.items()
    }
    recipe = recipe_for(save("base", base), {"a": save("a", expert)}, "task_arithmetic")
    out = merge(recipe, tmp_path / "out", progress=False)
    assert digest(out) == digest(tmp_path / "a") != digest(tmp_path / "base")


def test_one_bfloat16_expert_at_scaling_one_comes_back_bit_for_bit(save, recipe_for, tmp_path):
    base, expert = tensors(0, torch.bfloat16), tensors(1, torch.bfloat16)
    recipe = recipe_for(save("base", base), {"a": save("a", expert)}, "task_arithmetic")
    assert digest(merge(recipe, tmp_path / "out", progress=False)) == digest(tmp_path / "a")


def test_bfloat16_is_summed_in_float32_and_rounded_to_nearest(save, recipe_for, tmp_path):
    base = tensors(0, torch.bfloat16)
    ends = [tensors(i, torch.bfloat16, like=base) for i in (1, 2, 3)]
    experts = {str(i): save(str(i), weights) for i, weights in enumerate(ends)}
    recipe = recipe_for(save("base", base), experts, "task_arithmetic", settings={"scaling": 0.4})
    out = weights_of(merge(recipe, tmp_path / "out", progress=False))
    for name in FLOATS:
        start = base[name].float()
        total = torch.zeros_like(start)
        for end in ends:
            total += 0.4 * (end[name].float() - start)
        assert out[name].dtype == torch.bfloat16
        assert torch.equal(out[name], (start + total).to(torch.bfloat16))


def test_experts_may_differ_in_dtype(save, recipe_for, tmp_path):
    base = tensors(0)
    experts = {
        "a": save("a", tensors(1, torch.bfloat16, like=base)),
        "b": save("b", tensors(2, torch.float16, like=base)),
    }
    out = weights_of(merge(recipe_for(save("base", base), experts), tmp_path / "out", progress=False))
    ends = [weights_of(folder) for folder in experts.values()]
    for name in FLOATS:
        assert out[name].dtype == torch.float32
        torch.testing.assert_close(out[name], (ends[0][name].float() + ends[1][name].float()) / 2)


@pytest.mark.parametrize(("key", "before"), [("dtype", {}), ("torch_dtype", {"torch_dtype": "float32"})])
def test_output_dtype_is_stored_and_named_in_the_configuration(save, recipe_for, tmp_path, key, before):
    base = save("base", tensors(0), before)
    if before:
        config = json.loads((base / "config.json").read_text())
        del config["dtype"]
        (base / "config.json").write_text(json.dumps(config))
    recipe = recipe_for(base, {"a": save("a", tensors(1))}, output_dtype="bfloat16")
    out = merge(recipe, tmp_path / "out", progress=False)
    assert {weights_of(out)[name].dtype for name in FLOATS} == {torch.bfloat16}
    config = json.loads((out / "config.json").read_text())
    assert config[key] == "bfloat16"
    assert ("dtype" in config) != ("torch_dtype" in config)


def test_shards_in_and_out_change_nothing(family, save, recipe_for, tmp_path):
    base, experts = family
    whole = merge(recipe_for(base, experts), tmp_path / "whole", progress=False)
    pieces = {
        name: save(f"{name}-pieces", weights_of(folder), per_shard=2) for name, folder in experts.items()
    }
    sharded_base = save("base-pieces", weights_of(base), per_shard=3)
    sharded = merge(
        recipe_for(sharded_base, pieces, max_shard_size=400), tmp_path / "sharded", progress=False
    )
    assert digest(sharded) == digest(whole)
    index = json.loads((sharded / "model.safetensors.index.json").read_text())
    files = sorted(path.name for path in sharded.glob("*.safetensors"))
    assert len(files) > 2
    assert files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert sorted(set(index["weight_map"].values())) == files
    assert index["metadata"]["total_size"] == sum(t.nbytes for t in weights_of(whole).values())
    for file in files:
        with safe_open(sharded / file, "pt") as opened:
            assert opened.metadata() == {"format": "pt"}
            assert all(index["weight_map"][name] == file for name in opened.keys())  # noqa: SIM118


def test_companions_come_from_the_base(family, recipe_for, tmp_path):
    base, experts = family
    out = merge(recipe_for(base, experts), tmp_path / "out", progress=False)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json"):
        assert (out / name).read_bytes() == (base / name).read_bytes()
    assert json.loads((out / "config.json").read_text()) == json.loads((base / "config.json").read_text())
    ours, theirs = Checkpoint.open(out).identity(), Checkpoint.open(base).identity()
    assert (ours.config, ours.tokenizer) == (theirs.config, theirs.tokenizer)


def test_the_report_says_what_was_merged(family, recipe_for, tmp_path):
    base, experts = family
    out = merge(recipe_for(base, experts, "task_arithmetic", seed=3), tmp_path / "out", progress=False)
    report = json.loads((out / "merge.json").read_text())
    assert report["recipe"]["method"] == {"name": "task_arithmetic", "scaling": 1.0, "normalize": False}
    assert report["recipe"]["seed"] == 3
    assert report["inputs"]["base"]["weights"] == digest(base)
    assert {name: entry["weights"] for name, entry in report["inputs"]["experts"].items()} == {
        name: digest(folder) for name, folder in experts.items()
    }


def test_progress_goes_to_stderr_where_that_is_a_terminal(family, recipe_for, tmp_path, capfd, monkeypatch):
    base, experts = family
    merge(recipe_for(base, experts), tmp_path / "quiet")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    merge(recipe_for(base, experts), tmp_path / "out")
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "100%" in printed.err


def test_peak_memory_does_not_grow_with_the_tensor(save, tmp_path):
    rows = 50_000_000 // 8 + 1  # 200 MB in float32
    for name in ("base", "a", "b"):
        _save_zeros(save(name, {"x": torch.zeros(1)}), (rows, 8))
    methods = ("average", "ties", "dare", "consensus_ta")
    found = _run_and_measure(tmp_path, *methods)
    assert found.keys() == {*methods}
    assert all(one["size"] > rows * 32 and one["peak"] < 100 * 2**20 for one in found.values()), found


def _save_zeros(folder: Path, shape: tuple[int, int]) -> None:
    """Put a sparse file of zeros in the place of a folder's weights."""
    nbytes = shape[0] * shape[1] * 4
    entry = {"w": {"dtype": "F32", "shape": list(shape), "data_offsets": [0, nbytes]}}
    header = json.dumps(entry).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + nbytes)


def _run_and_measure(folder: Path, *methods: str) -> dict[str, dict[str, int]]:
    """Return of each method how large its merge is, and by how many bytes it grew a process at its peak.

    Of anonymous memory. Each merge has a process of its own, forked from one that has loaded the libraries.
    """
    script = """
import json, os, shutil, sys, threading
from pathlib import Path
import torch
from merging.merge import JOURNAL, merge
from merging.task_vectors import TaskVectors
from merging.write import WeightsWriter
from merging.recipe import Recipe
def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
def measured(folder, method):
    torch.set_num_threads(2)
    experts = {name: folder / name for name in ("a", "b")}
    recipe = Recipe(base=folder / "base", experts=experts, method={"name": method})
    before, peak, done = anonymous(), [0], threading.Event()
    def watch():
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous())
    watcher = threading.Thread(target=watch)
    watcher.start()
    merge(recipe, folder / "out", progress=False)
    done.set()
    watcher.join()
    return {"peak": peak[0] - before, "size": (folder / "out/model.safetensors").stat().st_size}
folder = Path(sys.argv[1])
for method in sys.argv[2:]:
    child = os.fork()
    if child == 0:
        sys.stdout.write(json.dumps({method: measured(folder, method)}) + "\\n")
        sys.exit()
    if os.waitpid(child, 0)[1]:
        sys.exit(f"no merge by {method}")
    shutil.rmtree(folder / "out")
"""
    command = [sys.executable, "-c", script, str(folder), *methods]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {method: one for line in done.stdout.splitlines() for method, one in json.loads(line).items()}


SLOW = """
import sys, time
from pathlib import Path
from merging.merge import JOURNAL, merge
from merging.task_vectors import TaskVectors
from merging.write import WeightsWriter
from merging.known_methods import known_methods, register
from merging.method import Method, Scope
from merging.recipe import Recipe
@register("slow", paper="none")
class Slow(Method):
    scope = Scope.ELEMENT
    def __call__(self, deltas, weights, context):
        time.sleep(0.2)
        return deltas[0]
folder = Path(sys.argv[1])
recipe = Recipe(base=folder / "base", experts={"a": folder / "a"}, method={"name": "slow"})
merge(recipe, folder / "out", False, block_size=5)
"""


def test_a_killed_merge_leaves_nothing_under_its_name_and_the_next_one_succeeds(family, recipe_for, tmp_path):
    base, experts = family
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(tmp_path)])
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.*.partial/model.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.02)
    # A merge that is still running keeps its folder when another one to the same name comes and goes.
    recipe = recipe_for(base, experts)
    with pytest.raises(InputError):
        _fail_midway(recipe, tmp_path / "out", InputError)
    assert len(list(tmp_path.glob(".out.*.partial"))) == 1
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    merge(recipe, tmp_path / "out", progress=False)
    assert not list(tmp_path.glob(".out.*"))
    assert sorted(weights_of(tmp_path / "out")) == sorted(tensors(0))


def test_an_interrupted_merge_is_gone_on_with_only_when_the_same_is_asked_for(family, recipe_for, tmp_path):
    base, experts = family
    recipe = recipe_for(base, experts, "ties")
    with pytest.raises(KeyboardInterrupt):
        _fail_midway(recipe, tmp_path / "out", KeyboardInterrupt)
    (left,) = tmp_path.glob(".out.*.partial")
    assert len((left / JOURNAL).read_text().splitlines()) == 3 + len(FLOATS) - 1 + 1  # passes, tensors
    backwards = recipe_for(base, dict(reversed(experts.items())), "ties")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("merging.task_vectors.TaskVectors.read", None)  # nothing is left to be read
        merge(backwards, tmp_path / "out", progress=False)
    assert digest(tmp_path / "out") == digest(merge(recipe, tmp_path / "again", progress=False))
    reports = [json.loads((tmp_path / name / "merge.json").read_text()) for name in ("out", "again")]
    assert reports[0]["tensors"] == reports[1]["tensors"]
    assert not (tmp_path / "out" / JOURNAL).exists()


@pytest.mark.parametrize("damage", ["missing", "shorter"])
def test_an_interrupted_merge_whose_files_were_lost_is_written_anew(family, recipe_for, tmp_path, damage):
    base, experts = family
    recipe = recipe_for(base, experts, "ties", max_shard_size=400)
    for _ in range(2):  # the second time after progress that was forgotten
        with pytest.raises(KeyboardInterrupt):
            _fail_midway(recipe, tmp_path / "out", KeyboardInterrupt)
        (left,) = tmp_path.glob(".out.*.partial")
        shard = left / "model-00001-of-00003.safetensors"
        if damage == "missing":
            shard.unlink()
        else:
            shard.write_bytes(shard.read_bytes()[:-1])
    merge(recipe, tmp_path / "out", progress=False)
    assert digest(tmp_path / "out") == digest(merge(recipe, tmp_path / "again", progress=False))
    reports = [json.loads((tmp_path / name / "merge.json").read_text()) for name in ("out", "again")]
    assert reports[0]["tensors"] == reports[1]["tensors"]
    assert [one["resumed"] for one in reports] == [True, False]


@pytest.mark.parametrize("change", ["weights", "setting", "machine"])
def test_an_interrupted_merge_of_something_else_is_begun_anew(  # noqa: PLR0917
    family, save, recipe_for, tmp_path, monkeypatch, change
):
    base, experts = family
    recipe = recipe_for(base, experts, "task_arithmetic")
    with pytest.raises(KeyboardInterrupt):
        _fail_midway(recipe, tmp_path / "out", KeyboardInterrupt)
    if change == "weights":
        other = weights_of(save("other", tensors(9)))
        save_file(other, experts["a"] / "model.safetensors", metadata={"format": "pt"})
    elif change == "setting":
        recipe = recipe_for(base, experts, "task_arithmetic", settings={"scaling": 0.5})
    else:
        monkeypatch.setattr("merging.prepare._machine_start", lambda: "a later one")
    merge(recipe, tmp_path / "out", progress=False)
    assert digest(tmp_path / "out") == digest(merge(recipe, tmp_path / "again", progress=False))
    assert not list(tmp_path.glob(".out.*"))


@pytest.mark.parametrize("blocks", [1, 7, 30])
def test_a_merge_that_was_stopped_within_a_tensor_goes_on_there(family, recipe_for, tmp_path, blocks):
    base, experts = family
    recipe = recipe_for(base, experts, "ties", settings={"density": 0.5})
    whole = merge(recipe, tmp_path / "whole", progress=False, block_size=4)
    written, read = [], []
    with pytest.MonkeyPatch.context() as patch:
        write, read_block = WeightsWriter.write, TaskVectors.read

        def write_some(*arguments):
            if len(written) == blocks:
                raise KeyboardInterrupt
            written.append(arguments[1:3])
            write(*arguments)

        def count(vectors, name, block, statistics):
            read.append((name, block.start))
            return read_block(vectors, name, block, statistics)

        patch.setattr("merging.merge_blocks._JOURNALED_AT_LEAST", 8)
        patch.setattr("merging.write.WeightsWriter.write", write_some)
        with pytest.raises(KeyboardInterrupt):
            merge(recipe, tmp_path / "out", progress=False, block_size=4)
        patch.setattr("merging.write.WeightsWriter.write", write)
        patch.setattr("merging.task_vectors.TaskVectors.read", count)
        merge(recipe, tmp_path / "out", progress=False, block_size=4)
    assert digest(tmp_path / "out") == digest(whole)
    reports = [json.loads((folder / "merge.json").read_text()) for folder in (whole, tmp_path / "out")]
    assert reports[0]["tensors"] == reports[1]["tensors"]
    # No more than the two blocks since the last line and those in flight are merged twice.
    assert len(set(written) & set(read)) <= 2 + torch.get_num_threads() + 1


def test_a_journal_that_was_cut_off_in_a_line_is_read_up_to_there(family, recipe_for, tmp_path, caplog):
    base, experts = family
    recipe = recipe_for(base, experts)
    with pytest.raises(KeyboardInterrupt):
        _fail_midway(recipe, tmp_path / "out", KeyboardInterrupt)
    (left,) = tmp_path.glob(".out.*.partial")
    journal = (left / JOURNAL).read_bytes()
    (left / JOURNAL).write_bytes(journal[: len(journal) // 2])
    (left / "model.safetensors").write_bytes(
        (left / "model.safetensors").read_bytes()[:-8] + bytes(8)  # the last tensor's end is lost
    )
    with caplog.at_level("INFO", "manyshot.merging"):
        merge(recipe, tmp_path / "out", progress=False)
    assert f"resuming the merge into {tmp_path / 'out'}, which was stopped" in caplog.messages
    assert digest(tmp_path / "out") == digest(merge(recipe, tmp_path / "again", progress=False))


def test_of_two_merges_to_one_name_the_later_is_refused_and_leaves_nothing(family, recipe_for, tmp_path):
    base, experts = family
    others = set(tmp_path.iterdir())
    early, late = recipe_for(base, experts, seed=1), recipe_for(base, experts, seed=2)
    with pytest.MonkeyPatch.context() as patch:

        def merge_early(*_):
            patch.undo()
            merge(early, tmp_path / "out", progress=False)

        patch.setattr("merging.merge.copy_companions", merge_early)
        with pytest.raises(InputError, match="out exists already"):
            merge(late, tmp_path / "out", progress=False)
    assert set(tmp_path.iterdir()) == {*others, tmp_path / "out"}
    assert json.loads((tmp_path / "out" / "merge.json").read_text())["recipe"]["seed"] == 1


def _fail_midway(recipe, out, error):
    """Merge, with an error when the weights are written and nothing else is."""

    def fail(*_):
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("merging.merge.copy_companions", fail)
        merge(recipe, out, progress=False)
