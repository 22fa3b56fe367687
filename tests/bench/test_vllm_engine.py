"""What vLLM alone does: adapters of one base, one start for many checkpoints, and what it cannot run."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from need_vllm import need
from peft import LoraConfig, PeftModel, get_peft_model
from reference_model import greedy
from tiny import tiny_llama, tiny_t5
from transformers import AutoModelForCausalLM

from bench.engine import AUTO, EngineSettings, GenerationRequest
from bench.engine_registry import EngineKind, choose_engine, open_engine
from bench.vllm.start import without_llvmlite
from merging.merge import merge
from merging.recipe import Recipe
from results.errors import InputError

pytestmark = pytest.mark.slow

SETTINGS = EngineSettings(name="vllm", dtype="float32", device="cpu")


@pytest.fixture(scope="module", autouse=True)
def _vllm():
    need("vllm")


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"), max_length=256, width=128)


def adapter(base, folder, seed, rank):
    """A LoRA adapter with random weights, and the folder of the same model with it merged in."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["q_proj", "v_proj", "down_proj"])
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, weights in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weights, std=0.3)
    model.save_pretrained(folder / "adapter")
    model.merge_and_unload().save_pretrained(folder / "merged")
    return folder / "adapter", folder / "merged"


def test_adapters_and_their_base_answer_one_after_the_other(llama, tmp_path):
    """Adapters, and one that the factors of two of them were merged into."""
    first, second, third = (
        adapter(llama, tmp_path / f"{seed}", seed, rank) for seed, rank in enumerate((4, 12, 12))
    )
    experts = {"a": str(second[0]), "b": str(third[0])}
    recipe = Recipe(base=str(llama), experts=experts, method={"name": "average"}, space="factors")
    factors = merge(recipe, tmp_path / "factors", progress=False)
    whole = tmp_path / "whole"
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(llama), factors)
    model.merge_and_unload().save_pretrained(whole)
    assert "llvmlite" in sys.modules  # by which numba compiles what merging computes
    engine = open_engine(llama, SETTINGS)
    try:
        prompts = [engine.tokenizer.encode(text) for text in ("hello", "the answer is", "Question : A B")]
        models = {llama: llama, first[0]: first[1], second[0]: second[1], factors: whole}
        requests = [GenerationRequest(prompt, 8) for prompt in prompts]
        texts, expected = [], []
        for adapter_or_base, model in models.items():
            engine.swap(adapter_or_base)
            texts += [answer.text for answer in engine.generate(requests)]
            expected += [
                engine.tokenizer.decode(greedy(model, prompt, 8), skip_special_tokens=True)
                for prompt in prompts
            ]
        assert texts == expected
        assert len(set(texts)) == len(texts)
    finally:
        engine.close()


def test_numbas_compiler_is_hidden_for_a_while():
    """Merging compiles by numba; vLLM looks into every module that is loaded."""
    loaded = {name: module for name, module in sys.modules.items() if name.startswith("llvmlite")}
    assert "llvmlite.binding" in loaded
    with without_llvmlite():
        assert not loaded.keys() & sys.modules.keys()
    assert all(sys.modules[name] is module for name, module in loaded.items())


@pytest.mark.full  # a Python of its own, for vLLM's first import
def test_vllm_starts_beside_numba(llama):
    """Its first import, too, after numba's."""
    script = (
        "import numba, sys; from pathlib import Path; from bench.engine import EngineSettings\n"
        "from bench.engine_registry import open_engine\n"
        "settings = EngineSettings(name='vllm', dtype='float32', device='cpu')\n"
        "engine = open_engine(Path(sys.argv[1]), settings)\n"
        "assert engine.loglikelihood([([3, 4], [5])])[0].logprob < 0; engine.close()"
    )
    command = [sys.executable, "-c", script, str(llama)]
    started = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert started.returncode == 0, started.stderr


def test_one_start_serves_many_checkpoints_and_torch_is_given_back(llama, tmp_path):
    threads = torch.set_num_threads
    engine = open_engine(llama, SETTINGS)
    try:
        for seed in range(1, 4):
            engine.swap(tiny_llama(tmp_path / f"{seed}", seed, max_length=256, width=128))
        assert engine.starts == 1
        engine.swap(tiny_llama(tmp_path / "wider", max_length=256, width=256))
        assert engine.starts == 2
        pair = ([3, 4, 5], [6, 7])
        hf = open_engine(tmp_path / "wider", EngineSettings(dtype="float32", device="cpu"))
        assert engine.loglikelihood([pair])[0].logprob == pytest.approx(
            hf.loglikelihood([pair])[0].logprob, abs=1e-4
        )
        engine.swap(another_vocabulary(tmp_path / "wider", tmp_path / "words"))
        assert engine.starts == 3  # stop strings are looked for by the vocabulary that vLLM started with
    finally:
        engine.close()
    assert torch.set_num_threads is threads


def another_vocabulary(checkpoint, folder):
    """The same weights with the last two tokens of the vocabulary in each other's place."""
    other = shutil.copytree(checkpoint, folder)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.get)[-2:]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    return other


def unsupported(folder):
    """A checkpoint whose architecture vLLM has never heard of."""
    config = json.loads((tiny_llama(folder) / "config.json").read_text())
    config["architectures"] = ["CtrlLMHeadModel"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_vllm_cannot_run_is_said_in_one_sentence(llama, tmp_path):
    with pytest.raises(InputError, match=r"does not support the architecture CtrlLMHeadModel.*--engine hf"):
        open_engine(unsupported(tmp_path / "ctrl"), SETTINGS)
    with pytest.raises(InputError, match=r"runs no encoder-decoder such as .*: score it with --engine hf"):
        open_engine(tiny_t5(tmp_path / "t5"), SETTINGS)
    with pytest.raises(InputError, match="is made for 256 tokens: lower the maximum length of 300"):
        open_engine(llama, EngineSettings(name="vllm", device="cpu", max_length=300))
    with pytest.raises(
        InputError, match=r"too little memory for .* lower the maximum length \(--max-length\)"
    ):
        open_engine(llama, EngineSettings(name="vllm", device="cpu", memory_share=0.01))
    odd = open_engine(tiny_llama(tmp_path / "odd", max_length=256, width=160), SETTINGS)
    with pytest.raises(InputError, match=r"cannot run .*odd here: .*head_dim=40.*; use --engine hf"):
        odd.generate([GenerationRequest([3, 4], 2)])
    odd.close()
    with pytest.raises(InputError, match="runs on cpu, not on 'cuda'"):
        open_engine(llama, EngineSettings(name="vllm", device="cuda"))


def test_auto_takes_vllm_on_a_gpu_for_what_it_supports(llama, tmp_path, monkeypatch):
    assert choose_engine(EngineSettings(name=AUTO), [llama]).name == "hf"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_engine(EngineSettings(name=AUTO), [llama]).name == "hf"  # this build runs on a CPU
    monkeypatch.setattr("bench.vllm.start.device_kind", lambda: "cuda")
    assert choose_engine(EngineSettings(name=AUTO), [llama]).name == "vllm"
    assert choose_engine(EngineSettings(name=AUTO), [llama, tiny_t5(tmp_path / "t5")]).name == "hf"
    assert choose_engine(EngineSettings(name=AUTO, device="cuda:1"), [llama]).name == "hf"
    assert choose_engine(EngineSettings(name=AUTO, max_length=300), [llama]).name == "hf"
    assert choose_engine(EngineSettings(name=AUTO), [unsupported(tmp_path / "ctrl")]).name == "hf"
    monkeypatch.setattr(EngineKind, "installed", None)
    assert choose_engine(EngineSettings(name=AUTO), [llama]).name == "hf"


def test_vllm_that_is_not_installed_is_named(llama, monkeypatch):
    monkeypatch.setattr(EngineKind, "installed", None)
    with pytest.raises(InputError, match="The engine vllm is not installed"):
        open_engine(llama, SETTINGS)


@pytest.mark.full
def test_no_process_is_left_after_an_interruption(llama, tmp_path):
    command = [
        sys.executable,
        "-m",
        "manyshot",
        "score",
        "--engine",
        "vllm",
        "--benchmark",
        "lab_math",
        str(llama),
    ]
    process = subprocess.Popen(
        [*command, "--store", str(tmp_path / "store"), "--debug"],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    started = time.monotonic()
    while not _maps_vllm(process.pid) and time.monotonic() - started < 120:
        time.sleep(0.2)
    time.sleep(3)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, 130), errors.decode()[-2000:]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def _maps_vllm(process: int) -> bool:
    return "vllm" in Path(f"/proc/{process}/maps").read_text()
