"""What every engine promises, asked of each: transformers, and vLLM's real CPU build."""

import shutil

import numpy as np
import pytest
import torch
from device import DEVICE
from need_vllm import need
from peft import LoraConfig, get_peft_model
from reference_model import alone, greedy
from safetensors.torch import load_file, save_file
from tiny import tiny_llama
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.engines.vllm import VLLMEngine
from results.errors import InputError

pytestmark = pytest.mark.slow

TEXTS = ["hello", "how many apples are left ? the answer is", "Question : A", "maybe yes no and A B C D"]
LENGTH = 256


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Three checkpoints of one architecture, whose head is the embedding: a swap must reach both."""
    options = {"width": 128, "tie_word_embeddings": True, "initializer_range": 0.1}
    return [tiny_llama(tmp_path_factory.mktemp(f"llama{i}"), i, LENGTH, **options) for i in range(3)]


@pytest.fixture(scope="module", params=["hf", "vllm"])
def engine(request, checkpoints):
    need(request.param)
    engine = open_engine(checkpoints[0], EngineSettings(name=request.param, dtype="float32", device=DEVICE))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _first_checkpoint(engine, checkpoints):
    """Whatever a test swapped in, the next starts from the first checkpoint."""
    yield
    engine.swap(checkpoints[0])


def pairs(engine):
    """Choices of one and of several tokens, after contexts with and without a common start."""
    texts = [engine.tokenizer.encode(text) for text in TEXTS]
    shots = engine.tokenizer.encode("Question : how many apples ? the answer is 1 . " * 9)
    contexts = [*texts, *([*shots, *text] for text in texts)]
    continuations = [*texts, texts[0][:1], texts[1][:1], texts[1][:3]]
    return [(context, tokens) for context in contexts for tokens in continuations]


def test_loglikelihoods_are_the_models_own(engine, checkpoints):
    asked = pairs(engine)
    for (context, tokens), answer in zip(asked, engine.loglikelihood(asked), strict=True):
        expected, greedy = alone(checkpoints[0], context, tokens)
        assert answer.logprob == pytest.approx(expected.sum(), abs=1e-4, rel=5e-6)
        assert answer.is_greedy == greedy


def test_the_greedy_continuation_is_recognised(engine, checkpoints):
    context = engine.tokenizer.encode(TEXTS[1])
    tokens = greedy(checkpoints[0], context, 3)
    asked = [(context, tokens[:1]), (context, tokens), (context, [*tokens[:2], tokens[2] - 1])]
    assert [one.is_greedy for one in engine.loglikelihood(asked)] == [True, True, False]


def test_teacher_forced_losses_are_token_by_token(engine, checkpoints):
    asked = pairs(engine)[:8]
    for (context, tokens), likelihood in zip(asked, engine.loglikelihood(asked), strict=True):
        logprobs = likelihood.logprobs
        np.testing.assert_allclose(logprobs, alone(checkpoints[0], context, tokens)[0], atol=1e-4)


def test_distributions_are_the_models_own(engine, checkpoints):
    model = AutoModelForCausalLM.from_pretrained(checkpoints[0])
    asked = pairs(engine)
    found = dict(engine.distributions(asked, 5))
    assert set(found) == set(range(len(asked)))
    for i, (context, tokens) in enumerate(asked):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([[*context, *tokens]])).logits[0, len(context) - 1 : -1]
        values, likeliest = logits.log_softmax(-1).topk(5)
        torch.testing.assert_close(found[i].logprobs, values, rtol=0, atol=1e-4)
        clear = values.diff().amax(-1) < -1e-3  # where no two are equal to rounding
        assert torch.equal(found[i].tokens[clear], likeliest[clear])


def test_whole_distributions_add_up_to_one_or_are_refused(engine):
    asked = pairs(engine)[:3]
    if isinstance(engine, VLLMEngine):
        with pytest.raises(InputError, match="20 likeliest tokens at most"):
            list(engine.distributions(asked))
        return
    for i, found in engine.distributions(asked):
        assert found.tokens is None and found.logprobs.shape == (len(asked[i][1]), len(engine.tokenizer))
        torch.testing.assert_close(found.logprobs.exp().sum(-1), torch.ones(len(found)))


def test_answers_do_not_depend_on_what_is_asked_beside_them(engine, checkpoints):
    prompts = [context for context, _ in pairs(engine)[::7]]
    requests = [GenerationRequest(prompt, room) for prompt in prompts for room in (1, 5, 12)]
    for request, answer in zip(requests, engine.generate(requests), strict=True):
        expected = greedy(checkpoints[0], request.prompt, request.max_new_tokens)
        assert answer.text == engine.tokenizer.decode(expected, skip_special_tokens=True)
        ended = engine.tokenizer.eos_token_id in expected
        assert answer.ended == ended
        assert list(answer.ids) == expected[: len(expected) - ended]


def test_a_stop_string_ends_an_answer_and_is_cut_off(engine):
    prompt = engine.tokenizer.encode(TEXTS[0])
    whole = engine.generate([GenerationRequest(prompt, 16)])[0]
    stop = whole.text[4:6]
    other = GenerationRequest(engine.tokenizer.encode(TEXTS[1]), 9)
    stopped, beside = engine.generate([GenerationRequest(prompt, 16, (stop,)), other])
    assert stopped.text == whole.text.split(stop)[0]
    assert stopped.tokens < whole.tokens
    assert beside == engine.generate([other])[0]


def test_a_prompt_answered_before_a_swap_is_answered_anew_after_it(engine, checkpoints):
    asked = pairs(engine)
    request = GenerationRequest(asked[-1][0], 12)
    before = engine.loglikelihood(asked), engine.generate([request])
    engine.swap(checkpoints[1])
    for (context, tokens), answer in zip(asked, engine.loglikelihood(asked), strict=True):
        assert answer.logprob == pytest.approx(
            alone(checkpoints[1], context, tokens)[0].sum(), abs=1e-4, rel=5e-6
        )
    assert engine.generate([request]) != before[1]
    engine.swap(checkpoints[0])
    assert (engine.loglikelihood(asked), engine.generate([request])) == before


def test_what_ends_an_answer_is_taken_over_in_a_swap(engine, checkpoints, tmp_path):
    request = GenerationRequest(engine.tokenizer.encode(TEXTS[0]), 16)
    whole = engine.generate([request])[0]
    first = greedy(checkpoints[0], request.prompt, 1)[0]
    other = shutil.copytree(checkpoints[0], tmp_path / "other")
    (other / "generation_config.json").write_text(f'{{"eos_token_id": {first}}}')
    engine.swap(other)
    assert engine.generate([request])[0].tokens == 0 < whole.tokens


def test_a_pair_that_is_too_long_loses_its_left(engine):
    long = engine.tokenizer.encode("A B C D yes no" * LENGTH)[: LENGTH + 9]
    scored = engine.tokenizer.encode("maybe yes")
    for tokens in (scored, scored[:1]):
        kept = long[-(LENGTH + 1 - len(tokens)) :]
        assert engine.loglikelihood([(long, tokens)]) == engine.loglikelihood([(kept, tokens)])


def test_what_does_not_fit_is_refused_in_one_sentence(engine):
    tokens = engine.tokenizer.encode("yes no" * LENGTH)[:LENGTH]
    with pytest.raises(InputError, match=f"A prompt of {LENGTH} tokens and an answer of 4 do not fit into"):
        engine.generate([GenerationRequest(tokens, 4)])
    with pytest.raises(InputError, match=f"A continuation of {LENGTH + 1} tokens does not fit into {LENGTH}"):
        engine.loglikelihood([(tokens, [*tokens, 3])])


@pytest.mark.parametrize("fault", ["nan", "truncated"])
def test_a_broken_checkpoint_is_refused_by_name(engine, checkpoints, fault, tmp_path):
    broken = shutil.copytree(checkpoints[1], tmp_path / "broken")
    weights = broken / "model.safetensors"
    if fault == "nan":
        tensors = load_file(weights)
        tensors["model.norm.weight"][3] = float("nan")
        save_file(tensors, weights, metadata={"format": "pt"})
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    sentence = {
        "nan": r"broken holds NaN or infinity in the tensor model\.norm",
        "truncated": "not a complete",
    }
    with pytest.raises(InputError, match=sentence[fault]):
        engine.swap(broken)


def test_nothing_is_asked(engine):
    assert engine.loglikelihood([]) == engine.generate([]) == []


def test_progress_reaches_the_number_of_requests(engine):
    seen = []
    engine.generate(
        [GenerationRequest(engine.tokenizer.encode(text), 3) for text in TEXTS],
        lambda done, total: seen.append((done, total)),
    )
    assert seen[-1] == (len(TEXTS), len(TEXTS))


@pytest.fixture(scope="module")
def adapter(checkpoints):
    """An adapter of random factors on the second checkpoint, and the whole model that peft makes of it."""
    whole = AutoModelForCausalLM.from_pretrained(checkpoints[1])
    model = get_peft_model(whole, LoraConfig(r=8, target_modules=["q_proj", "v_proj"]))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.2)
    folder = checkpoints[1].parent / "adapter"
    model.save_pretrained(folder)
    merged = checkpoints[1].parent / "adapted"
    model.merge_and_unload().save_pretrained(merged)
    AutoTokenizer.from_pretrained(checkpoints[1]).save_pretrained(merged)
    return folder, merged


def test_an_adapter_is_swapped_in_as_a_checkpoint(engine, checkpoints, adapter):
    asked = pairs(engine)
    prompts = [GenerationRequest(engine.tokenizer.encode(text), 6) for text in TEXTS]
    folder, merged = adapter
    engine.swap(folder)
    adapted = [one.logprob for one in engine.loglikelihood(asked)], engine.generate(prompts)
    engine.swap(checkpoints[1])
    bare = [one.logprob for one in engine.loglikelihood(asked)]
    engine.swap(merged)
    expected = [one.logprob for one in engine.loglikelihood(asked)], engine.generate(prompts)
    np.testing.assert_allclose(adapted[0], expected[0], atol=2e-4)
    assert adapted[1] == expected[1]
    assert np.abs(np.subtract(bare, expected[0])).max() > 0.1
