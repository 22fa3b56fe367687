"""A merge that is pushed, and how it is pushed to a hub that stands in for the real one."""

import shutil

import pytest
import yaml
from command_line import manyshot
from hub_stub import TOKEN
from huggingface_hub import constants
from tiny import tiny_llama


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """A folder that `manyshot merge` made, with scores."""
    folder = tmp_path_factory.mktemp("push")
    for seed, name in enumerate(("base", "expert")):
        tiny_llama(folder / "models" / name, seed)
    models = folder / "models"
    recipe = {
        "base": str(models / "base"),
        "experts": {"a": str(models / "expert")},
        "method": {"name": "average"},
        "max_shard_size": "20KB",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    done = manyshot("merge", "recipe.yaml", "merged", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "merged/.eval_results").mkdir()
    (folder / "merged/.eval_results/gsm8k.yaml").write_text("[]\n")
    return folder / "merged"


@pytest.fixture
def folder(merged, tmp_path):
    shutil.copytree(merged, tmp_path / "merged")
    return tmp_path / "merged"


@pytest.fixture
def push(monkeypatch, tmp_path):
    """Push to a hub, as with its address in HF_ENDPOINT, which the library reads when it is imported."""

    def run(hub, *arguments, token=TOKEN, offline=False):
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        files = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", token)
        done = manyshot("push", *arguments, cwd=tmp_path)
        assert TOKEN not in done.stdout + done.stderr
        return done

    return run
