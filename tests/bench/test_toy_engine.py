"""A new engine is one decorated class: it is listed, scores, and refuses settings that it does not take."""

import argparse
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_llama
from transformers import AutoTokenizer

import bench.engine_registry as registry
from bench.engine import EngineSettings, Generation, Likelihood
from bench.engine_registry import EngineAbilities, choose_engine, engine, engine_names, open_engine
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.suite import load_benchmark
from manyshot.commands.list import run as list_command
from results.errors import InputError
from results.store import Store

SAID = "The answer is 42."


@pytest.fixture
def toy():
    """An engine that says the same to everything, registered for one test."""

    @engine(
        "toy",
        "the same answer to everything",
        settings=frozenset({"memory_share"}),
        max_logprobs=3,
        joins_benchmarks=True,
        abilities=lambda: EngineAbilities("paper", ("42",), ("anything else: it is a toy",)),
    )
    class ToyEngine:
        is_encoder_decoder = False
        max_length = 64

        def __init__(self, checkpoint, settings):
            self.settings = settings
            self.swap(checkpoint)

        def swap(self, checkpoint):
            self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)

        def generate(self, requests, progress=None):
            return [Generation(SAID, (3, 4), ended=True) for _ in requests]

        def loglikelihood(self, pairs, progress=None):
            ones = [np.ones(len(tokens), np.float32) for _, tokens in pairs]
            return [Likelihood(-float(len(each)), False, -each) for each in ones]

        def close(self):
            pass

    yield ToyEngine
    del registry._engines["toy"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"), max_length=64)


def test_it_is_listed_with_what_it_declares(toy, capsys):
    assert {"api", "hf", "vllm", "replay", "toy"} == set(engine_names())
    list_command(argparse.Namespace(what="engines", name="toy", data=None))
    said = capsys.readouterr().out
    assert said.startswith("toy: the same answer to everything\n")
    for line in ("on paper", "+ 42", "- anything else: it is a toy", "- whole next-token distributions"):
        assert line in said
    assert "settings: name, dtype, device, max_length, memory_share" in said


@pytest.mark.parametrize("name", ["lab_math", "lab_yes_no"])
def test_it_scores_a_benchmark_of_texts_and_one_of_choices(toy, llama, tmp_path, name):
    settings = ScoreSettings(engine=EngineSettings(name="toy", device="cpu"), limit=3)
    store = Store(tmp_path / "store")
    scorer = Scorer(settings, store, None)
    checkpoint, benchmark = ScoredCheckpoint.open(str(llama)), load_benchmark(name)
    scorer.answer_ahead(checkpoint, [benchmark, load_benchmark("lab_safety")])
    record = scorer.score(checkpoint, benchmark).record
    assert (record.key.settings["engine"], record.n) == ("toy", 3)
    if benchmark.is_generated:
        assert set(store.documents(record)["output"]) == {SAID}
    assert scorer.engine_kind.top_k(None) == 3 and scorer.engine_kind.top_k(2) == 2


def test_settings_that_it_does_not_take_are_refused_before_anything_starts(toy, llama):
    assert open_engine(llama, EngineSettings(name="toy", memory_share=0.5)).settings.memory_share == 0.5
    with pytest.raises(InputError, match=r"The engine toy has no setting batch_tokens .*\(hf\)"):
        choose_engine(EngineSettings(name="toy", batch_tokens=8), [llama])
    with pytest.raises(InputError, match=r"The engine hf has no setting memory_share .*\(vllm, toy\)"):
        choose_engine(EngineSettings(name="hf", memory_share=0.5), [llama])
    with pytest.raises(InputError, match=r"The engine replay has no setting dtype .*\(hf, vllm, toy\)"):
        choose_engine(EngineSettings(name="replay", dtype="float16", max_length=8), [llama])
    with pytest.raises(
        InputError, match="There is no engine 'toi'; there are api, hf, replay, vllm, toy, auto"
    ):
        choose_engine(EngineSettings(name="toi"), [llama])


def test_an_engine_whose_package_is_not_installed_says_how_to_install_it(toy, llama, monkeypatch):
    missing = replace(registry._engines["toy"], packages=("no-such-package",), install="pip install it")
    monkeypatch.setitem(registry._engines, "toy", missing)
    assert not missing.is_usable
    with pytest.raises(InputError, match="The engine toy is not installed: pip install it"):
        open_engine(llama, EngineSettings(name="toy"))


def test_auto_takes_vllm_only_where_the_device_is_the_first_gpu(llama, tmp_path, monkeypatch):
    supported = SimpleNamespace(get_supported_archs=lambda: ["LlamaForCausalLM"])
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(ModelRegistry=supported))
    monkeypatch.setattr("bench.vllm.start.device_kind", lambda: "cuda")
    monkeypatch.setattr(registry.EngineKind, "installed", "vllm")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(llama)}))

    def chosen(device):
        return choose_engine(EngineSettings(device=device), [llama, adapter]).name

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert [chosen(device) for device in ("auto", "cuda", "cuda:1", "cpu")] == ["vllm", "vllm", "hf", "hf"]
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert chosen("auto") == "hf"


def test_answers_depend_on_these_settings():
    settings = EngineSettings(name="hf", dtype="float32", device="cuda:1", batch_tokens=8, max_length=9)
    assert list(settings.deciding.items()) == [
        ("name", "hf"), ("dtype", "float32"), ("device", "cuda"), ("max_length", 9)
    ]  # fmt: skip
