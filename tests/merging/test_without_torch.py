"""Merges by compiled loops start without torch, whose import takes longer than they do."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_checkpoints import tensors

from merging.known_methods import known_methods
from merging.matrix_method import MatrixMethod
from merging.merge import merge

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "tokenizers",
    "datasets",
    "lm_eval",
    "pandas",
    "matplotlib",
    "scipy.linalg",
)
WITH_LOOPS = [
    name
    for name, known in known_methods().items()
    if hasattr(known.method_class, "merge_stored") and not issubclass(known.method_class, MatrixMethod)
]
MERGE = """
import sys
from manyshot.cli import main
main(["merge", *sys.argv[1:]])
print(*sys.modules)
"""
LATE = """
import sys, threading
from merging.blocks import one_torch_thread_each, usual_threads
from merging.checkpoints.when_used import torch
found, expected = [], usual_threads()
with one_torch_thread_each():
    assert "torch" not in sys.modules
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
print(expected, found, torch.get_num_threads(), usual_threads())
"""


def printed_by(script: str, *arguments: str | Path, **environment: str) -> str:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=inherited | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_which_methods_have_loops():
    assert WITH_LOOPS == ["average", "dare", "task_arithmetic", "ties"]


@pytest.mark.parametrize("name", WITH_LOOPS)
def test_a_merge_by_loops_imports_nothing_heavy(name, save, recipe_for, tmp_path):
    halved = [
        {key: one.bfloat16() if one.is_floating_point() else one for key, one in tensors(seed).items()}
        for seed in (0, 1, 2)
    ]
    base, *experts = (save(f"model {place}", weights) for place, weights in enumerate(halved))
    named = {f"e{place}": str(folder) for place, folder in enumerate(experts)}
    recipe = {"base": str(base), "experts": named, "method": {"name": name}}
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    modules = set(printed_by(MERGE, tmp_path / "recipe.yaml", tmp_path / "out").split())
    assert modules.isdisjoint(HEAVY)
    # What a process merges that has torch is the same.
    merge(recipe_for(base, named, name), tmp_path / "again", progress=False)
    found, expected = (load_file(tmp_path / out / "model.safetensors") for out in ("out", "again"))
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    reports = [json.loads((tmp_path / out / "merge.json").read_text()) for out in ("out", "again")]
    for report in reports:
        for key in ("seconds", "memory", "created"):
            del report[key]
    assert reports[0] == reports[1]


@pytest.mark.parametrize(("variables", "expected"), [({"OMP_NUM_THREADS": "1"}, "1"), ({}, None)])
def test_where_torch_comes_late_it_has_one_thread_each_all_the_same(variables, expected):
    threads = expected or str(len(os.sched_getaffinity(0)))
    assert printed_by(LATE, **variables).split() == [threads, "[1]", threads, threads]
