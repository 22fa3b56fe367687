"""Digests that are kept: found without hashing while the files are the same, never when they are not."""

import json
import os
import pickle
import shutil
import time

import pytest
import torch
from safetensors.torch import save_file

from manyshot.cli import main
from merging.checkpoints import kept_digests
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.kept_digests import how_kept, keeping_as, keeping_digests
from merging.merge import merge
from merging.recipe import Recipe


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text('{"model_type": "llama"}')
    write(made, 1.0)
    return made


def write(folder, value):
    save_file(
        {"a.weight": torch.full((4, 4), value), "b.weight": torch.ones(3)}, folder / "model.safetensors"
    )
    settle(folder / "model.safetensors")


def settle(path):
    """Let the change of a file be some time ago, as far as its content's time tells."""
    os.utime(path, (1_000_000, 1_000_000))


@pytest.fixture
def hashed(monkeypatch):
    """Names of nothing, once for every tensor that is hashed."""
    calls, digest = [], kept_digests.tensor_digest
    monkeypatch.setattr(kept_digests, "tensor_digest", lambda flat: calls.append(1) or digest(flat))
    # The time of change of a file's entry cannot be set: let it be long ago by the clock.
    real = time.time
    monkeypatch.setattr(kept_digests.time, "time", lambda: real() + 3600)
    return calls


def test_a_second_start_hashes_nothing_and_gives_the_same(folder, tmp_path, hashed):
    first = Checkpoint.open(folder).identity()
    assert len(hashed) == 2
    with keeping_digests(tmp_path / "kept"):
        assert Checkpoint.open(folder).identity() == first
        assert len(hashed) == 4
        assert Checkpoint.open(folder).identity() == first
        assert len(hashed) == 4
    Checkpoint.open(folder).identity()
    assert len(hashed) == 6


def test_other_content_another_inode_or_another_time_is_hashed_again(folder, tmp_path, hashed):
    weights = folder / "model.safetensors"
    with keeping_digests(tmp_path / "kept"):
        first = Checkpoint.open(folder).identity()
        size = weights.stat().st_size
        write(folder, 2.0)
        assert weights.stat().st_size == size
        assert Checkpoint.open(folder).identity() != first
        write(folder, 1.0)
        assert Checkpoint.open(folder).identity() == first
        assert len(hashed) == 6
        copy = tmp_path / "copy"
        copy.write_bytes(weights.read_bytes())
        settle(copy)
        copy.replace(weights)
        assert Checkpoint.open(folder).identity() == first
        assert len(hashed) == 8


def test_what_was_hashed_ahead_is_kept_and_found(folder, tmp_path, hashed):
    with keeping_digests(tmp_path / "kept"):
        for _ in range(2):
            checkpoint = Checkpoint.open(folder)
            checkpoint.hash(["a.weight", "b.weight"])
            checkpoint.identity()
    assert len(hashed) == 2


def test_a_file_that_took_the_place_of_the_opened_one_gets_none_of_its_digests(folder, tmp_path, hashed):
    with keeping_digests(tmp_path / "kept"):
        opened = Checkpoint.open(folder)
        (folder / "model.safetensors").rename(tmp_path / "before")
        write(folder, 2.0)
        first = opened.identity()
        assert not list((tmp_path / "kept").rglob("*.json"))
        assert Checkpoint.open(folder).identity() != first


def test_a_file_that_is_changed_where_it_lies_gets_none_of_what_was_kept(folder, tmp_path, hashed):
    weights = folder / "model.safetensors"
    with keeping_digests(tmp_path / "kept"):
        first = Checkpoint.open(folder).identity()
        opened = Checkpoint.open(folder)
        with weights.open("r+b") as file:
            file.seek(-4, os.SEEK_END)
            file.write(b"\0\0\0\0")
        changed = opened.identity()
        assert changed != first
        assert Checkpoint.open(folder).identity() == changed


def test_of_two_that_open_the_same_the_second_finds_what_the_first_kept(folder, tmp_path, hashed):
    with keeping_digests(tmp_path / "kept"):
        one, two = Checkpoint.open(folder), Checkpoint.open(folder)
        two.hash(["a.weight"])
        assert one.identity() == two.identity()
    assert len(hashed) == 3


def test_another_process_keeps_digests_as_this_one_does(folder, tmp_path, hashed):
    assert how_kept() is None
    with keeping_digests(tmp_path / "kept", verify=True):
        sent = pickle.dumps(how_kept())
    for _ in range(2):
        with keeping_as(pickle.loads(sent)):
            Checkpoint.open(folder).identity()
    assert len(hashed) == 4 and list((tmp_path / "kept").rglob("*.json"))


def test_the_command_keeps_digests_in_the_users_cache(folder, tmp_path, hashed, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"base: {folder}\nexperts: {{math: {folder}}}\nmethod: {{name: average}}\n")

    def digest_by(out, *flags):
        main(["merge", str(recipe), str(tmp_path / out), *flags])
        report = json.loads((tmp_path / out / "merge.json").read_text())
        return report["inputs"]["base"]["weights"]

    first = digest_by("first")
    kept = next((tmp_path / "cache/manyshot/digests").rglob("*.json"))
    kept.write_text(kept.read_text().replace('"a.weight": "', '"a.weight": "0'))
    assert digest_by("second") != first
    assert digest_by("third", "--verify") == first == digest_by("fourth")


def test_a_second_merge_of_the_same_hashes_nothing(folder, tmp_path, hashed):
    experts = {}
    for task in ("math", "safety"):
        experts[task] = str(shutil.copytree(folder, tmp_path / task))
        write(tmp_path / task, float(len(task)))
    recipe = Recipe(base=str(folder), experts=experts, method={"name": "average"})
    with keeping_digests(tmp_path / "kept"):
        reports = [merge(recipe, tmp_path / out) / "merge.json" for out in ("first", "second")]
    assert len(hashed) == 6
    first, second = (json.loads(report.read_text()) for report in reports)
    assert first["inputs"] == second["inputs"]


def test_verifying_hashes_again_and_mends_what_was_kept(folder, tmp_path, hashed):
    with keeping_digests(tmp_path / "kept"):
        first = Checkpoint.open(folder).identity()
    kept = next((tmp_path / "kept").rglob("*.json"))
    whole = kept.read_text()
    kept.write_text(whole.replace('"a.weight": "', '"a.weight": "0'))
    with keeping_digests(tmp_path / "kept"):
        assert Checkpoint.open(folder).identity() != first
    with keeping_digests(tmp_path / "kept", verify=True):
        assert Checkpoint.open(folder).identity() == first
    assert kept.read_text() == whole


@pytest.mark.parametrize("content", ["", "[]", '{"files": []}'])
def test_what_cannot_be_read_is_made_again(folder, tmp_path, hashed, content):
    with keeping_digests(tmp_path / "kept"):
        first = Checkpoint.open(folder).identity()
        next((tmp_path / "kept").rglob("*.json")).write_text(content)
        assert Checkpoint.open(folder).identity() == first
    assert len(hashed) == 4


def test_a_file_that_was_just_written_is_not_trusted_yet(folder, tmp_path):
    with keeping_digests(tmp_path / "kept"):
        Checkpoint.open(folder).identity()
    assert not (tmp_path / "kept").exists()
