"""vLLM's own server, its CPU build, scores as the hf engine does on the same checkpoint.

The same is asked of a small server with vLLM's protocol in `test_api_engine.py`, which starts in a moment.
"""

import os
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pytest
from command_line import manyshot
from need_vllm import need
from tiny import tiny_llama

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.server_settings import ServerSettings
from results.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.full]

TEXTS = ["hello", "how many apples are left ? the answer is", "Question : A", "maybe yes no and A B C D"]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} : {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}answer :{% endif %}"
)
_SECONDS = 300


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    need("vllm")
    folder = tiny_llama(tmp_path_factory.mktemp("models") / "llama", width=128, initializer_range=0.1)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    # Servers fill in what a request leaves out from here.
    (folder / "generation_config.json").write_text('{"repetition_penalty": 1.7, "temperature": 0.9}')
    return folder


@pytest.fixture(scope="module")
def url(llama, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(llama)]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager", "--port", str(port)]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    log = tmp_path_factory.mktemp("logs") / "vllm.log"
    with log.open("w") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(60)


def _wait(address, server, log):
    for _ in range(_SECONDS):
        try:
            with urlopen(address, timeout=1):
                return
        except (URLError, OSError):
            assert server.poll() is None, log.read_text()[-2000:]
            time.sleep(1)
    pytest.fail(f"vLLM's server did not start: {log.read_text()[-2000:]}")


def test_likelihoods_and_answers_are_those_of_hf(llama, url):
    served = open_engine(llama, EngineSettings(name="api", server=ServerSettings(url=url)))
    local = open_engine(llama, EngineSettings(name="hf", dtype="float32", device="cpu"))
    assert served.server.tokenizer_checked
    assert served.server.version.startswith("vllm ")
    contexts = [served.tokenizer.encode(text) for text in TEXTS]
    contexts += [[*served.tokenizer.encode("Question : how many ? 1 . " * 9), *text] for text in contexts]
    asked = [(context, tokens) for context in contexts for tokens in (*contexts[:4], contexts[0][:1])]
    for ours, theirs in zip(served.loglikelihood(asked), local.loglikelihood(asked), strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=1e-4, rel=5e-6)
        np.testing.assert_allclose(ours.logprobs, theirs.logprobs, atol=1e-4)
        assert ours.is_greedy == theirs.is_greedy
    requests = [GenerationRequest(tuple(context), room) for context in contexts for room in (1, 5, 12)]
    requests += [GenerationRequest(tuple(contexts[0]), 16, ("a", "e", "o", "i", "u"))]
    assert served.generate(requests) == local.generate(requests)
    greedy = local.generate(requests[2:3])[0].ids[:3]
    pairs = [(contexts[0], greedy), (contexts[0], [*greedy[:2], greedy[2] - 1])]
    assert [one.is_greedy for one in served.loglikelihood(pairs)] == [True, False]


def test_scores_are_those_of_hf_by_prompts_and_by_conversations(llama, url, tmp_path):
    told = ("--benchmark", "lab_math", "--limit", "6", "--store", "store")
    shots = ("--system-instruction", "be brief", "--num-fewshot", "2")
    hf = ("score", "--engine", "hf", "--device", "cpu")
    api = ("score", "--engine", "api", "--url", url, *told)
    for arguments in (
        (*api, llama, "--benchmark", "lab_yes_no"),
        (*hf, llama, *told, "--benchmark", "lab_yes_no"),
        (*api, "--chat-template", "server", *shots),
        (*hf, llama, *told, "--chat-template", "always", *shots),
    ):
        done = manyshot(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    store = Store(tmp_path / "store")
    outputs = {
        (one.key.settings["engine"], one.key.benchmark, one.key.settings["chat_template"] is None): one.value
        if one.key.benchmark == "lab_yes_no"
        # vLLM leaves out the beginning of a character that the last tokens of an answer do not finish.
        else [text.rstrip("\ufffd") for text in store.documents(one)["output"]]
        for one in store.records()
    }
    assert len(outputs) == 6
    for (engine, benchmark, plain), said in outputs.items():
        assert said == outputs["hf", benchmark, plain], (engine, benchmark, plain)
