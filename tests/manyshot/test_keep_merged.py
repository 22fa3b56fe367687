"""Merged weights are removed when they have been scored, and made again where something else is wanted."""

import pytest
from command_line import manyshot
from scored_by_workers import files

from manyshot.experiment import Experiment
from manyshot.lab.base import BaseSettings, make_base
from manyshot.run import RunContext, run_experiment
from merging.checkpoints.adapted import open_checkpoint
from merging.checkpoints.folders import are_removed
from merging.checkpoints.removed import identity_of, remove_folder, remove_weights
from results.errors import InputError
from results.run_manifest import load_run
from results.store import Store

pytestmark = pytest.mark.slow

SUITE = """
name: two
title: Two tasks, which the likelihood of answers judges
tasks:
  math:
    benchmarks: [lab_math]
    training: &problems
      generate: !function tasks.lab_math.problems.splits
      split: train
      prompt: "Question: {{question}}\\nAnswer:"
      completion: " {{answer}}"
    validation: {<<: *problems, split: validation}
  safety:
    benchmarks: [lab_safety]
    training: &requests
      generate: !function tasks.lab_safety.requests.splits
      split: train
      prompt: "Question: {{prompt}}\\nAnswer:"
      completion: " {{response}}"
    validation: {<<: *requests, split: validation}
forgetting: [lab_yes_no]
"""
CONTENT = {
    "train": {"rounds": 2, "examples": 8, "validation": 4, "max_length": 64},
    "methods": [
        {"name": "average"},
        {"name": "average", "protocol": "many-shot"},
        {"name": "average", "protocol": "many-shot", "label": "best", "keep": "best_average"},
    ],
    "limit": 2,
    "engine": {"name": "hf", "device": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    base = make_base(folder / "base", BaseSettings.smoke())
    suite = folder / "two.yaml"
    suite.write_text(SUITE)

    def run(name, *, keep_merged, **changes):
        experiment = Experiment.model_validate(CONTENT | {"base": str(base), "suite": str(suite)} | changes)
        store = Store(folder / f"{name}-store")
        context = RunContext(store, folder / name, keep_merged=keep_merged)
        comparison = run_experiment(experiment, "run", context).comparison
        return folder / name, store, {row.label: row.average.value for row in comparison.rows}

    return run


def merged_weights(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.glob("merged/**/*.safetensors"))


def test_what_was_scored_is_removed_and_the_run_says_the_same(run):
    kept, kept_store, table = run("kept", keep_merged=True)
    assert len(merged_weights(kept)) == 1 + 2
    few, few_store, again = run("few", keep_merged=False)
    assert merged_weights(few) == []
    assert again == table
    assert files(few_store.root) == files(kept_store.root)
    identities = [
        [entry.checkpoint for entry in load_run(store).entries] for store in (kept_store, few_store)
    ]
    assert identities[0] == identities[1]

    _, _, found = run("few", keep_merged=True)  # nothing is merged, for nothing is lacking
    assert (merged_weights(few), found) == ([], table)
    more, store, _ = run("few", keep_merged=True, limit=3)
    assert merged_weights(more) == merged_weights(kept)
    assert {entry.checkpoint for entry in load_run(store).entries} == set(identities[0])
    run("few", keep_merged=False, limit=3)
    assert merged_weights(few) == []


def test_a_checkpoint_without_its_weights_is_refused_where_they_are_needed(run):
    folder, store, _ = run("refused", keep_merged=False)
    merged = next(path.parent for path in folder.glob("merged/average-*/round-1/removed_weights.json"))
    arguments = [
        "--suite",
        folder.parent / "two.yaml",
        "--store",
        store.root,
        "--engine",
        "hf",
        "--device",
        "cpu",
    ]
    found = manyshot("score", *arguments, "--limit", 2, merged, cwd=folder)
    assert found.returncode == 0, found.stderr
    assert "0 records made" in found.stderr
    done = manyshot("score", *arguments, "--limit", 3, merged, cwd=folder)
    assert done.returncode == 2
    assert f"The weights of {merged} were removed" in done.stderr
    with pytest.raises(InputError, match="were removed when it had been scored"):
        open_checkpoint(merged)
    (merged / "model.safetensors").write_bytes(b"left by one that was killed while it removed them")
    remove_weights(merged)
    assert are_removed(merged) and not (merged / "model.safetensors").exists()
    identity = identity_of(merged)
    remove_folder(merged.parent / "nothing")
    (merged / "removed_weights.json").write_text("{")
    with pytest.raises(InputError, match="remove the folder, and merge again"):
        identity_of(merged)
    remove_folder(merged)
    assert not merged.exists() and not list(merged.parent.glob(".round*"))
    run("refused", keep_merged=True)
    assert open_checkpoint(merged).identity() == identity


@pytest.mark.full
def test_removed_rounds_are_made_again_where_more_rounds_start_from_them(run):
    in_rounds = {"methods": CONTENT["methods"][1:]}
    _, _, kept = run("three", keep_merged=True, **in_rounds, train=CONTENT["train"] | {"rounds": 3})
    folder, _, _ = run("more", keep_merged=False, **in_rounds)
    assert merged_weights(folder) == []
    for keep_merged in (True, False):
        three = CONTENT["train"] | {"rounds": 3}
        _, _, more = run("more", keep_merged=keep_merged, **in_rounds, train=three)
        assert more == kept


@pytest.mark.full
def test_another_way_to_choose_a_round_measures_rounds_that_were_removed(run):
    folder, _, _ = run("chosen", keep_merged=False, methods=CONTENT["methods"][1:2])
    assert merged_weights(folder) == []
    _, _, chosen = run("chosen", keep_merged=False, methods=CONTENT["methods"][1:])
    assert "best" in chosen
    assert merged_weights(folder) == []
