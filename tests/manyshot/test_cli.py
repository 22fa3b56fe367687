"""What a user of the command line sees: answers, sentences and exit codes."""

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from command_line import manyshot
from safetensors.torch import load_file, save_file
from tiny import tiny_llama

from manyshot.cli import main

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "manyshot"]


@pytest.fixture
def refused(monkeypatch, capfd):
    """Runs a command in this process, which is to refuse it, and returns what it said; stdout stays empty."""

    def run(*arguments, cwd):
        monkeypatch.delenv("MANYSHOT_DATA", raising=False)
        monkeypatch.chdir(cwd)
        with pytest.raises(SystemExit) as stopped:
            main([str(one) for one in arguments])
        assert stopped.value.code == 2
        out, err = capfd.readouterr()
        assert out == "" and "Traceback" not in err
        return err.strip().splitlines()

    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("base", "math", "safety")):
        tiny_llama(folder / name, seed=seed)
    return folder


@pytest.fixture
def family(models, tmp_path):
    """A copy of the models that a test may break."""
    shutil.copytree(models, tmp_path / "models")
    return tmp_path / "models"


def recipe(folder: Path, **changes) -> Path:
    content = {
        "base": "models/base",
        "experts": {"math": "models/math", "safety": "models/safety"},
        "method": {"name": "task_arithmetic", "scaling": 0.5},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | changes))
    return path


def edit_weights(checkpoint: Path, change) -> None:
    tensors = load_file(checkpoint / "model.safetensors")
    change(tensors)
    save_file(tensors, checkpoint / "model.safetensors", metadata={"format": "pt"})


def cut_weights(family: Path) -> None:
    path = family / "math/model.safetensors"
    path.write_bytes(path.read_bytes()[:-50])


def reshape(family: Path) -> None:
    edit_weights(family / "math", lambda t: t.update({"model.norm.weight": torch.ones(31)}))


def poison(family: Path) -> None:
    edit_weights(family / "safety", lambda t: t["model.norm.weight"].fill_(float("nan")))


def change_vocabulary(family: Path) -> None:
    path = family / "math/tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["Ġyes"], vocabulary["Ġno"] = vocabulary["Ġno"], vocabulary["Ġyes"]
    path.write_text(json.dumps(content))


def test_help_takes_less_than_half_a_second_of_processor_time():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*COMMAND, "--help"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_merge_writes_a_checkpoint_and_names_it(family, tmp_path):
    done = manyshot("merge", recipe(tmp_path), "out", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "out\n")
    base, math, safety, merged = (
        load_file(path / "model.safetensors")
        for path in (family / "base", family / "math", family / "safety", tmp_path / "out")
    )
    for name, tensor in merged.items():
        expected = base[name] + 0.5 * ((math[name] - base[name]) + (safety[name] - base[name]))
        torch.testing.assert_close(tensor, expected)


def test_a_plan_says_what_a_merge_reads_writes_and_needs_and_does_none_of_it(family, tmp_path):
    path = recipe(tmp_path, method={"name": "ties"}, max_shard_size="50kB")
    done = manyshot("merge", "--plan", path, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("method   ties(scope=model, density=0.2, scaling=1.0, variant=paper")
    weights = (family / "base/model.safetensors").stat().st_size
    assert f"base    1 file, {weights / 1000:.3g} kB, {family / 'base'}" in done.stdout
    assert f"{3 * weights / 1000:.3g} kB in all, 4 times: upper bits of the magnitudes" in done.stdout
    assert done.stdout.count(".safetensors, ") > 1
    assert re.search(r"^memory   about \d+(\.\d+)? [kM]B in \d+ blocks? at once", lines[-1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "recipe.yaml"]
    varying = recipe(tmp_path, method={"name": "task_arithmetic", "scaling": [0.2, 0.6]})
    assert "scaling=[0.2, 0.6]" in manyshot("merge", "--plan", varying, cwd=tmp_path).stdout.splitlines()[0]
    of_task = {"name": "ties", "variant": "mergekit", "density": {"math": [1.0, 0.5], "safety": 0.2}}
    stack = f"{family / 'base'}[0:1] | {family / 'math'}[1:2]"
    done = manyshot("merge", "--plan", recipe(tmp_path, method=of_task, base=stack), cwd=tmp_path)
    assert "density={'math': [1.0, 0.5], 'safety': 0.2}" in done.stdout
    assert f"kB, {stack}\n" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "nowhere"), "The device 'nowhere' cannot be used"),
        (("--device", "cuda:99"), "The device 'cuda:99' cannot be used"),
        ((), "Name the folder of the merged checkpoint"),
    ],
)
def test_a_merge_that_cannot_start_says_why(arguments, says, family, tmp_path):
    out = ("out",) if arguments else ()
    done = manyshot("merge", recipe(tmp_path), *out, *arguments, cwd=tmp_path)
    assert done.returncode == 2
    (sentence,) = done.stderr.strip().splitlines()
    assert says in sentence
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "recipe.yaml"]


@pytest.mark.parametrize(
    ("damage", "names"),
    [
        (cut_weights, ["math", "model.safetensors"]),
        (reshape, ["math", "model.norm.weight"]),
        (poison, ["safety", "model.norm.weight"]),
        (change_vocabulary, ["math", "Ġno"]),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused_by_name(damage, names, family, tmp_path):
    damage(family)
    done = manyshot("merge", recipe(tmp_path), "out", cwd=tmp_path)
    assert done.returncode == 2
    (sentence,) = done.stderr.strip().splitlines()
    assert all(name in sentence for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "recipe.yaml"]


@pytest.mark.parametrize(
    ("method", "names"),
    [
        ({"name": "magic"}, ["magic", "manyshot list methods"]),
        ({"name": "task_arithmetic", "scale": 1.0}, ["scale", "scaling"]),
        ({"name": "task_arithmetic", "scaling": "much"}, ["scaling", "much"]),
    ],
)
def test_unknown_methods_and_settings_are_refused_with_the_known_ones(method, names, family, tmp_path):
    done = manyshot("merge", recipe(tmp_path, method=method), "out", cwd=tmp_path)
    assert done.returncode == 2
    assert all(name in done.stderr for name in names)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_exists_is_left_alone(family, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/precious").write_text("result")
    done = manyshot("merge", recipe(tmp_path), "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "out" in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


def test_an_experiment_without_an_expert_for_a_task_is_refused(family, tmp_path):
    content = {
        "suite": "lab",
        "base": "models/base",
        "experts": {"math": "models/math"},
        "methods": [{"name": "average"}],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content))
    done = manyshot("run", "experiment.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "'instructions'" in done.stderr
    assert not (tmp_path / "manyshot-runs").exists()


def test_score_says_what_has_no_data_and_stops(family, tmp_path):
    (tmp_path / "data").mkdir()
    done = manyshot("score", "--suite", "metis", "--data", "data", "models/base", cwd=tmp_path)
    assert done.returncode == 2
    assert "8 of 8 benchmarks have no data" in done.stderr
    assert "; and 4 more. Give a data root" in done.stderr and "ifeval (data/ifeval" in done.stderr
    assert not (tmp_path / "manyshot-results").exists()


def test_score_prints_one_object_per_record(family, tmp_path):
    arguments = ("score", "--benchmark", "lab_yes_no", "--limit", 5, "--json", "models/base", "models/math")
    done = manyshot(*arguments, cwd=tmp_path)
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    assert [(row["checkpoint"], row["benchmark"], row["n"]) for row in rows] == [
        ("models/base", "lab_yes_no", 5),
        ("models/math", "lab_yes_no", 5),
    ]
    assert set(rows[0]) == {
        "checkpoint", "digest", "benchmark", "task", "metric", "value", "n", "seconds", "answers", "engine"
    }  # fmt: skip
    assert json.loads(manyshot(*arguments, cwd=tmp_path).stdout) == rows


def test_the_metis_suite_on_real_rows_is_incomplete_and_has_no_average(family, tmp_path, data):
    arguments = (
        "score",
        "--suite",
        "metis",
        "--data",
        data,
        "--limit",
        2,
        "--engine",
        "hf",
        "--max-length",
        256,
        "models/base",
    )
    refused = manyshot(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    done = manyshot(*arguments, "--skip-missing", cwd=tmp_path)
    assert done.returncode == 0
    assert "incomplete (4/6)" in done.stdout
    assert re.search(r"^m_hellaswag +multilingual +no data$", done.stdout, re.MULTILINE)
    assert "no data for m_mmlu" in done.stderr


def test_list_shows_experiments_and_signals(capsys):
    for arguments, shown in (
        (["experiments"], ["metis-ablation", "learning_rate (0.0003)", "keep (last)"]),
        (["experiments", "metis"], ["suite: metis", "adapter: {rank: 16"]),
        (["signals"], ["loss_gap", "divergence"]),
    ):
        main(["list", *arguments])
        said = capsys.readouterr().out
        assert all(text in said for text in shown)


def test_an_end_by_a_scheduler_is_an_interruption(tmp_path):
    """SIGTERM stops as Ctrl-C does, and says how to go on."""
    command = [*COMMAND, "run", "lab", "--seed", "0", "--out", tmp_path / "out"]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    said = running.stderr.readline()
    assert "making the base of lab" in said
    running.terminate()
    rest = running.communicate(timeout=120)[1]
    assert running.returncode == 143
    assert "start again to go on" in rest and "Traceback" not in rest


def test_list_names_what_there_is(tmp_path, capfd, refused):
    for kind, name in (("benchmarks", "gsm8k_cot"), ("methods", "task_arithmetic")):
        main(["list", kind])
        assert name in capfd.readouterr().out
    assert "Method 'magic' is not known" in refused("list", "methods", "magic", cwd=tmp_path)[-1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--limit", 0), "The settings of scoring: 'limit' is 0, where a number above 0 is expected"),
        (("--max-length", -5), "'max_length' is -5, where a number from 8 on is expected"),
        (("--batch-tokens", 0), "'batch_tokens' is 0, where a number above 0 is expected"),
        (("--device", "nowhere"), "The device 'nowhere' cannot be used"),
        (("--dtype", "float8"), "argument --dtype: invalid choice: 'float8'"),
        (("--engine", "fast"), "There is no engine 'fast'"),
        (("--store", "models/base/config.json"), "models/base/config.json"),
        (("--data", "nowhere"), "nowhere is not a folder"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, sentence, family, tmp_path, refused):
    said = refused("score", "--benchmark", "lab_yes_no", "models/base", *arguments, cwd=tmp_path)
    assert sentence in said[-1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"suite": "labb"}, "There is no suite 'labb'"),
        ({"methods": [{"name": "average"}, {"name": "average"}]}, "Two methods are called 'average'"),
        ({"methods": []}, "methods"),
        ({"output_dtype": "fp16"}, "output_dtype"),
        ({"seeds": [-1]}, "seeds"),
        ({"experts": ["models/math"]}, "experts"),
        ({"basis": "models/base"}, "basis"),
        ({"base": "models/nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_experiment_is_refused_by_key(change, sentence, family, tmp_path, refused):
    tasks = ("instructions", "math", "multilingual", "safety")
    content = {
        "suite": "lab",
        "base": "models/base",
        "experts": dict.fromkeys(tasks, "models/math"),
        "methods": [{"name": "average"}],
    }
    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(content | change))
    (line,) = refused("run", "experiment.yaml", cwd=tmp_path)
    assert sentence in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment.yaml", "models"]


def test_a_checkpoint_that_asks_for_remote_code_is_refused_without_asking(family, tmp_path):
    path = family / "base/config.json"
    config = json.loads(path.read_text()) | {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil"}}
    path.write_text(json.dumps(config))
    (family / "base/evil.py").write_text("open('ran', 'w')\n")
    done = manyshot("score", "--benchmark", "lab_yes_no", "models/base", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()
