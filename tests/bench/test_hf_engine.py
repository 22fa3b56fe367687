"""The transformers engine: likelihoods and answers are those of the model alone, whatever the batches."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_llama, tiny_t5
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
)

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.hf.generation import generate
from results.errors import InputError
from results.validation import validated

TEXTS = ["hello", "how many apples are left ? the answer is", "Question : A", "maybe yes no and A B C D"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return tiny_t5(tmp_path_factory.mktemp("t5"))


def pairs(tokenizer):
    texts = [tokenizer.encode(text) for text in TEXTS]
    return [
        (context, continuation) for context in texts for continuation in texts if context is not continuation
    ]


@pytest.mark.parametrize("batch_tokens", [8, 64, 10000])
def test_causal_loglikelihoods_are_those_of_one_pair_at_a_time(llama, batch_tokens):
    engine = open_engine(llama, EngineSettings(batch_tokens=batch_tokens))
    model = AutoModelForCausalLM.from_pretrained(llama)
    asked = pairs(engine.tokenizer)
    for (context, continuation), answer in zip(asked, engine.loglikelihood(asked), strict=True):
        logprobs = (
            model(torch.tensor([context + continuation])).logits[0, len(context) - 1 : -1].log_softmax(-1)
        )
        expected = logprobs.gather(1, torch.tensor(continuation)[:, None]).sum()
        assert answer.logprob == pytest.approx(expected.item(), abs=1e-4)
        assert answer.is_greedy == (logprobs.argmax(-1).tolist() == continuation)


def test_the_greedy_continuation_is_recognised(llama):
    engine = open_engine(llama, EngineSettings())
    context = engine.tokenizer.encode(TEXTS[1])
    model = AutoModelForCausalLM.from_pretrained(llama)
    best = model(torch.tensor([context])).logits[0, -1].argmax().item()
    answers = engine.loglikelihood([(context, [best]), (context, [best + 1])])
    assert [answer.is_greedy for answer in answers] == [True, False]


def test_seq2seq_loglikelihoods_are_those_of_one_pair_at_a_time(t5):
    engine = open_engine(t5, EngineSettings(batch_tokens=64))
    model = AutoModelForSeq2SeqLM.from_pretrained(t5).eval()
    asked = pairs(engine.tokenizer)
    for (context, continuation), answer in zip(asked, engine.loglikelihood(asked), strict=True):
        with torch.no_grad():
            output = model(input_ids=torch.tensor([context]), labels=torch.tensor([continuation]))
        assert answer.logprob == pytest.approx(-output.loss.item() * len(continuation), abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "t5"])
@pytest.mark.parametrize("batch_tokens", [1, 1000])
def test_answers_are_those_of_one_prompt_at_a_time(family, batch_tokens, request):
    checkpoint = request.getfixturevalue(family)
    engine = open_engine(checkpoint, EngineSettings(batch_tokens=batch_tokens))
    kind = AutoModelForSeq2SeqLM if family == "t5" else AutoModelForCausalLM
    model = kind.from_pretrained(checkpoint).eval()
    prompts = [engine.tokenizer.encode(text) for text in TEXTS]
    answers = engine.generate([GenerationRequest(prompt, 12) for prompt in prompts])
    for prompt, answer in zip(prompts, answers, strict=True):
        output = model.generate(torch.tensor([prompt]), max_new_tokens=12, do_sample=False)[0]
        start = 1 if family == "t5" else len(prompt)
        assert answer.text == engine.tokenizer.decode(output[start:], skip_special_tokens=True)


def test_a_stop_string_ends_an_answer_and_is_cut_off(llama):
    engine = open_engine(llama, EngineSettings())
    prompt = engine.tokenizer.encode(TEXTS[0])
    whole = engine.generate([GenerationRequest(prompt, 16)])[0]
    stop = whole.text[4:6]
    stopped = engine.generate([GenerationRequest(prompt, 16, (stop,))])[0]
    assert stopped.text == whole.text.split(stop)[0]
    assert stopped.tokens < whole.tokens


def test_a_swapped_in_checkpoint_answers_as_a_fresh_engine_does(llama, tmp_path):
    other = tiny_llama(tmp_path / "other", seed=1)
    engine = open_engine(llama, EngineSettings())
    asked = pairs(engine.tokenizer)
    before = engine.loglikelihood(asked)
    engine.swap(other)
    after = engine.loglikelihood(asked)
    assert after == open_engine(other, EngineSettings()).loglikelihood(asked)
    assert after != before


def test_a_checkpoint_of_another_architecture_can_be_swapped_in(llama, t5):
    engine = open_engine(llama, EngineSettings())
    engine.swap(t5)
    asked = pairs(engine.tokenizer)
    assert engine.loglikelihood(asked) == open_engine(t5, EngineSettings()).loglikelihood(asked)


def test_tokens_of_an_answer_do_not_count_what_the_batch_went_on_for(llama):
    engine = open_engine(llama, EngineSettings())
    prompts = [engine.tokenizer.encode(text) for text in TEXTS]
    stop = engine.generate([GenerationRequest(prompts[0], 16)])[0].text[3:5]
    requests = [GenerationRequest(prompt, 16, (stop,)) for prompt in prompts]
    alone = [engine.generate([request])[0] for request in requests]
    assert engine.generate(requests) == alone
    assert len({answer.tokens for answer in alone}) > 1


@pytest.mark.parametrize("shared", [0, 80])
@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_answers_that_take_up_finished_ones_room_are_those_of_one_prompt_at_a_time(llama, penalty, shared):
    def requests(tokenizer):
        start = (tokenizer.encode(TEXTS[1]) * shared)[:shared]
        numbers = np.random.default_rng(0)
        for number in range(24):
            prompt = start + numbers.integers(5, len(tokenizer), size=2 + 7 * number % 23).tolist()
            yield GenerationRequest(prompt, 1 + 5 * number % 31, repetition_penalty=penalty)

    many = open_engine(llama, EngineSettings(batch_tokens=160))
    asked = list(requests(many.tokenizer))
    alone = open_engine(llama, EngineSettings(batch_tokens=1))
    assert many.generate(asked) == [alone.generate([request])[0] for request in asked]


def test_a_finished_answer_is_read_on_at_no_position_that_the_model_lacks():
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=64, n_positions=40, n_embd=32, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(config).eval()
    requests = [GenerationRequest([1, 2] + [3] * 36, 2)]
    requests += [GenerationRequest([1, 4, number] + [5] * 20, 5) for number in range(7)]
    requests += [GenerationRequest([number + 4, 6], 20) for number in range(14)]

    def said(some, batch_tokens):
        with torch.inference_mode():
            return generate(
                model,
                some,
                batch_tokens=batch_tokens,
                pad=0,
                ends=frozenset(),
                decode=lambda rows: [""] * len(rows),
            )

    assert said(requests, 320) == [said([request], 1)[0] for request in requests]


def test_a_long_answer_does_not_keep_others_waiting(llama, monkeypatch):
    engine = open_engine(llama, EngineSettings(batch_tokens=4 * 48))
    prompt = engine.tokenizer.encode(TEXTS[0])
    long, short = GenerationRequest(prompt, 40), GenerationRequest(prompt[::-1], 10)
    rows = []
    forward = engine._model.base_model.forward
    monkeypatch.setattr(
        engine._model.base_model,
        "forward",
        lambda *args, **options: rows.append(len(options["input_ids"])) or forward(*args, **options),
    )
    answers = engine.generate([long, *[short] * 9])
    assert [answer.tokens for answer in answers] == [40, *[10] * 9]
    # Three at a time beside the long one: a first reading each time, and ten tokens less the first's.
    assert len(rows) == 1 + 39 + 2


@pytest.mark.parametrize("kind", ["loglikelihood", "generate"])
def test_an_encoder_with_absolute_positions_does_not_feel_its_batch(kind, tmp_path):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(tiny_t5(tmp_path / "tokenizer"))
    config = BartConfig(
        vocab_size=len(tokenizer), d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64,
        decoder_ffn_dim=64, encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=64,
        pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, init_std=0.5,
        bos_token_id=tokenizer.bos_token_id, decoder_start_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    BartForConditionalGeneration(config).save_pretrained(tmp_path / "bart")
    tokenizer.save_pretrained(tmp_path / "bart")
    engine = open_engine(tmp_path / "bart", EngineSettings())
    prompts = [engine.tokenizer.encode(text) for text in TEXTS]
    if kind == "generate":
        requests = [GenerationRequest(prompt, 6) for prompt in prompts]
        assert engine.generate(requests) == [engine.generate([request])[0] for request in requests]
        return
    for pair, answer in zip(asked := pairs(engine.tokenizer), engine.loglikelihood(asked), strict=True):
        assert answer.logprob == pytest.approx(engine.loglikelihood([pair])[0].logprob, abs=1e-4)


def test_a_device_that_is_not_there_is_refused(llama):
    with pytest.raises(InputError, match="The device 'nowhere' cannot be used"):
        open_engine(llama, EngineSettings(device="nowhere"))


def test_a_checkpoint_that_lacks_a_tensor_is_refused(llama, tmp_path):
    broken = tiny_llama(tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"broken: the weights lack the tensor 'model\.norm\.weight'"):
        open_engine(broken, EngineSettings())
    with pytest.raises(InputError, match=r"broken: the weights lack the tensor 'model\.norm\.weight'"):
        open_engine(llama, EngineSettings()).swap(broken)


def test_a_wrappers_prefix_is_named(llama, tmp_path):
    wrapped = tiny_llama(tmp_path / "wrapped")
    tensors = load_file(wrapped / "model.safetensors")
    save_file(
        {f"wrapper.{name}": tensor for name, tensor in tensors.items()},
        wrapped / "model.safetensors",
        metadata={"format": "pt"},
    )
    says = r"lack the tensor 'lm_head\.weight' .*and have 'wrapper\.lm_head\.weight'"
    with pytest.raises(InputError, match=says):
        open_engine(wrapped, EngineSettings())


def test_weights_that_are_not_finite_are_refused(llama, tmp_path):
    broken = tiny_llama(tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"broken holds NaN or infinity in the tensor model\.norm\.weight"):
        open_engine(broken, EngineSettings())
    with pytest.raises(InputError, match=r"broken holds NaN or infinity in the tensor model\.norm\.weight"):
        open_engine(llama, EngineSettings()).swap(broken)


def test_a_swap_takes_over_what_ends_an_answer(llama, tmp_path):
    other = tiny_llama(tmp_path / "other")
    engine = open_engine(llama, EngineSettings())
    request = GenerationRequest(engine.tokenizer.encode(TEXTS[0]), 16)
    whole = engine.generate([request])[0]
    first = engine.tokenizer.encode(whole.text)[0]
    (other / "generation_config.json").write_text(f'{{"eos_token_id": {first}}}')
    engine.swap(other)
    assert engine.generate([request])[0].tokens == 0 < whole.tokens


def test_what_is_too_long_loses_its_left(tmp_path):
    engine = open_engine(tiny_llama(tmp_path / "short", max_length=16), EngineSettings())
    long = engine.tokenizer.encode(" A B C D yes no" * 5)
    scored = engine.tokenizer.encode(" maybe yes")
    assert engine.loglikelihood([(long, scored)]) == engine.loglikelihood([(long[-15:], scored)])


def test_unknown_engines_dtypes_and_broken_checkpoints_are_refused(llama, tmp_path):
    with pytest.raises(InputError, match="no engine 'fast'; there are api, hf"):
        open_engine(llama, EngineSettings(name="fast"))
    with pytest.raises(InputError, match="'dtype' is 'float8', where one of float32, "):
        validated(EngineSettings, {"dtype": "float8"}, "f")
    broken = tiny_llama(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for opening in (
        lambda: open_engine(broken, EngineSettings()),
        lambda: open_engine(llama, EngineSettings()).swap(broken),
    ):
        with pytest.raises(InputError, match=r"model\.safetensors is not a complete safetensors file"):
            opening()
