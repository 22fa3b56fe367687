"""Broken folders of models are refused in one sentence, before anything is scored."""

import json
import shutil

import pytest
from tiny import tiny_llama

from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark
from manyshot.score_checkpoints import score_all
from results.errors import InputError
from results.store import Store
from results.validation import validated


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama, tmp_path):
    return shutil.copytree(llama, tmp_path / "model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": -5}, r"model: its configuration cannot be loaded .*The hidden size \(-5\)"),
        ({"hidden_size": "wide"}, "'hidden_size' expected int, got str"),
        ({"num_attention_heads": 0}, "model: its configuration cannot be loaded"),
        ({"vocab_size": -1}, r"model: its model cannot be loaded .*negative dimension"),
        ({"model_type": 5}, "model: its configuration cannot be loaded .*does not recognize"),
    ],
)
def test_a_broken_configuration_is_refused(folder, change, message):
    content = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(content | change))
    with pytest.raises(InputError, match=message):
        open_engine(folder, EngineSettings(device="cpu"))


def test_a_tokenizer_that_is_a_list_or_missing_is_refused(folder):
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(InputError, match="model: its tokenizer cannot be loaded"):
        open_engine(folder, EngineSettings(device="cpu"))
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InputError, match=r"has no tokenizer; one of .*vocab\.txt is expected in it\.$"):
        open_engine(folder, EngineSettings(device="cpu"))


def test_the_second_folder_is_refused_before_the_first_is_scored(llama, folder, tmp_path):
    (folder / "tokenizer_config.json").write_text("[]")
    store = Store(tmp_path / "store")
    scorer = Scorer(ScoreSettings(engine=EngineSettings(device="cpu"), limit=2), store, None)
    checkpoints = [ScoredCheckpoint.open(str(path)) for path in (llama, folder)]
    with pytest.raises(InputError, match="model: its tokenizer cannot be loaded"):
        score_all(scorer, checkpoints, [load_benchmark("lab_yes_no")])
    assert not list(store.records())


@pytest.mark.parametrize(("limit", "message"), [(10**24, "a whole number of 80 bits"), (0, "'limit' is 0")])
def test_a_limit_that_is_none_is_refused(limit, message):
    with pytest.raises(InputError, match=message):
        validated(ScoreSettings, {"limit": limit}, "The command line")
