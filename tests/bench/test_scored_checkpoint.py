"""What is scored is what the digest says: no stack by its first part, no adapter on another base."""

import json
import shutil

import peft
import pytest
import transformers
import yaml
from command_line import manyshot
from searched_family import USUAL, made, written
from tiny import tiny_llama

from bench.scored_checkpoint import ScoredCheckpoint
from results.errors import InputError

STACK = "models/answers[0:1] | models/base[1:2]"


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return made(tmp_path_factory.mktemp("family"))


@pytest.mark.parametrize("place", ["base", "experts"])
@pytest.mark.parametrize("command", ["score", "run", "search"])
def test_a_stack_is_refused_before_anything_is_scored_or_merged(family, tmp_path, command, place):
    shutil.copytree(family, tmp_path, dirs_exist_ok=True)
    wrong = {"base": STACK} if place == "base" else {"experts": {**USUAL["experts"], "answers": STACK}}
    written(tmp_path, "search", **wrong)
    own = {key: {**USUAL, **wrong}[key] for key in ("suite", "base", "experts", "limit", "engine")}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**own, "methods": [{"name": "average"}]}))
    named = ("--benchmark", "lab_yes_no", "--limit", 2, "models/base", STACK)
    asked = named if command == "score" else (f"{command}.yaml", "--out", "out")
    done = manyshot(command, *asked, "--store", "store", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "[1:2] is stacked from blocks" in done.stderr and "merge it into a folder first" in done.stderr
    assert not list(tmp_path.glob("store/records/**/*.json")) and not list(tmp_path.rglob("merge.json"))


@pytest.fixture
def adapter(family, tmp_path):
    """An adapter that names its base by a name on the hub, as most do."""
    model = transformers.AutoModelForCausalLM.from_pretrained(family / "models/base")
    folder = tmp_path / "adapter"
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "org/base"}), encoding="utf-8"
    )
    return folder


def test_an_adapter_is_scored_on_the_base_that_it_names_or_not_at_all(family, adapter, tmp_path, monkeypatch):
    given = f"{family / 'models/base'}+{adapter}"
    on_the_hub = tiny_llama(tmp_path / "hub", 7)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(on_the_hub))
    with pytest.raises(InputError, match=r"was trained on org/base, which is not .*models/base, and would"):
        ScoredCheckpoint.open(given)
    alone = ScoredCheckpoint.open(str(adapter))
    on_the_hub = shutil.copytree(family / "models/base", tmp_path / "same")
    opened = ScoredCheckpoint.open(given)
    assert opened.path == adapter
    assert opened.identity == ScoredCheckpoint.open(str(adapter)).identity != alone.identity


def test_an_adapter_whose_base_cannot_be_had_is_named(family, adapter, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"adapter_config\.json names, which cannot be had: org/base is no"):
        ScoredCheckpoint.open(f"{family / 'models/base'}+{adapter}")
