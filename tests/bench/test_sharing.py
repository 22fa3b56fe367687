"""What is computed once: contexts with all their choices, and prefixes that many prompts start with."""

import random
from itertools import combinations
from pathlib import Path

import pytest
import torch
from tiny import llama, tiny_llama
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.hf import attention
from bench.hf.generation import generate
from bench.hf.head import token_logprobs
from bench.hf.layout import lay_out
from bench.hf.likelihood import score_documents
from bench.hf.support import why_not_shared
from bench.sharing import _GROUP_COST, Document, documents, prefix_groups

pytestmark = pytest.mark.slow


def best_saving(sequences):
    """By trying: the most tokens that disjoint groups of sequences save, less what the groups cost."""
    if len(sequences) < 2:
        return 0
    first, rest = sequences[0], sequences[1:]
    best = best_saving(rest)
    for size in range(1, len(rest) + 1):
        for others in combinations(range(len(rest)), size):
            group = [first, *(rest[i] for i in others)]
            length = next(
                (n for n in range(min(map(len, group))) if len({one[n] for one in group}) > 1),
                min(map(len, group)),
            )
            length = min(length, min(map(len, group)) - 1)
            left = [one for i, one in enumerate(rest) if i not in others]
            best = max(best, (len(group) - 1) * length - _GROUP_COST + best_saving(left))
    return best


@pytest.mark.parametrize("seed", range(20))
def test_groups_save_as_much_as_any_could(seed):
    draw = random.Random(seed)
    stems = [[draw.randrange(3) for _ in range(draw.randrange(20, 90))] for _ in range(2)]
    stems += [[*stems[0], *[draw.randrange(3) for _ in range(40)]]]
    sequences = [
        [*draw.choice(stems), *[draw.randrange(9) for _ in range(draw.randrange(1, 4))]] for _ in range(7)
    ]
    groups = prefix_groups(sequences)
    assert sorted(i for group in groups for i in group.members) == list(range(len(sequences)))
    for group in groups:
        assert len({tuple(sequences[i][: group.length]) for i in group.members}) == 1
        assert all(len(sequences[i]) > group.length for i in group.members)
    saved = sum((len(g.members) - 1) * g.length - _GROUP_COST for g in groups if g.length)
    assert saved == best_saving(sequences)


def test_pairs_with_one_context_are_one_document():
    found = documents([([1, 2], [3]), ([1, 2], [4, 5]), ([2], [3]), ([9, 1, 2], [3, 4, 5])], max_length=4)
    assert found == [
        Document((1, 2), ([3], [4, 5], [3, 4, 5]), (0, 1, 3)),
        Document((2,), ([3],), (2,)),
    ]


def test_a_document_of_many_continuations_is_parted():
    pairs = [((1, 2), [i, i, i]) for i in range(3, 9)]
    found = documents(pairs, 100, most_tokens=7)
    assert [document.indices for document in found] == [(0, 1), (2, 3), (4, 5)]
    assert max(map(len, found)) <= 7
    assert [len(document.indices) for document in documents(pairs, 100, most_tokens=1)] == [1] * 6


def test_a_choice_sees_its_context_and_itself_alone():
    layout = lay_out([Document((5, 6, 7), ([1, 2, 3], [8], [4, 9]), (0, 1, 2))], 1, 0, torch.float32)
    assert layout.ids.tolist() == [[6, 7, 1, 2, 4]]
    assert layout.positions.tolist() == [[1, 2, 3, 4, 3]]
    seen = [[c for c, value in enumerate(row) if value == 0] for row in layout.mask[0, 0].tolist()]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4]]
    predicted = zip(
        layout.rows[layout.target_rows].tolist(), layout.targets.tolist(), layout.owners.tolist(), strict=True
    )
    assert list(predicted) == [(1, 1, 0), (1, 8, 1), (1, 4, 2), (2, 2, 0), (3, 3, 0), (4, 9, 2)]


def test_documents_of_one_sequence_need_no_mask():
    assert lay_out([Document((5, 6), ([1], [2, 3], [4]), (0, 1, 2))], 0, 0, torch.float32).mask is None


SMALL = {"vocab_size": 99, "hidden_size": 32, "num_attention_heads": 4, "num_hidden_layers": 2}
MODELS = {
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SMALL, num_key_value_heads=2, intermediate_size=64)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=99, n_embd=32, n_head=4, n_layer=2)),
    "mistral": lambda: MistralForCausalLM(
        MistralConfig(**SMALL, num_key_value_heads=2, intermediate_size=64, sliding_window=None)
    ),
    "windows": lambda: MistralForCausalLM(
        MistralConfig(**SMALL, num_key_value_heads=2, intermediate_size=64, sliding_window=8)
    ),
    "soft caps": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SMALL, num_key_value_heads=2, intermediate_size=64, head_dim=8,
                     layer_types=["full_attention"] * 2, sliding_window=None)
    ),
    "alibi": lambda: BloomForCausalLM(BloomConfig(vocab_size=99, hidden_size=32, n_head=4, n_layer=2)),
}  # fmt: skip
OBSTACLES = {"windows": "not full in all layers", "soft caps": "scaled or capped", "alibi": "as others do"}


def made(kind):
    torch.manual_seed(0)
    model = MODELS[kind]().eval()
    for weights in model.parameters():
        weights.data.mul_(8)  # at their first size all answers are nearly alike
    return model


@pytest.fixture(params=[kind for kind in MODELS if kind not in OBSTACLES])
def model(request):
    return made(request.param)


def asked(seed=0):
    draw = random.Random(seed)
    shots = [draw.randrange(99) for _ in range(120)]
    contexts = [[*shots, *[draw.randrange(99) for _ in range(draw.randrange(1, 30))]] for _ in range(6)]
    contexts += [[draw.randrange(99) for _ in range(draw.randrange(1, 40))] for _ in range(6)]
    return [
        (context, [draw.randrange(99) for _ in range(length)])
        for context in contexts
        for length in (1, 1, 2, 5, draw.randrange(1, 9))
    ]


def test_architectures_that_can_share_are_told(model):
    assert why_not_shared(model) is None


@pytest.mark.parametrize("kind", OBSTACLES)
def test_architectures_that_cannot_share_are_told(kind):
    assert OBSTACLES[kind] in why_not_shared(made(kind))


@torch.inference_mode()
@pytest.mark.parametrize("joined", [attention._in_two_parts, attention._in_one])
def test_shared_contexts_and_prefixes_change_no_number(model, joined, monkeypatch):
    monkeypatch.setattr(attention, "_in_two_parts", joined)
    pairs = asked()
    scores = score_documents(model, documents(pairs, 200), batch_tokens=256, pad=0)
    for index, (context, tokens) in enumerate(pairs):
        logits = model(torch.tensor([[*context, *tokens]])).logits[0, len(context) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]
        torch.testing.assert_close(scores[index][0], expected, atol=1e-4, rtol=1e-5)
        assert scores[index][1].tolist() == (logits.argmax(-1) == torch.tensor(tokens)).tolist()


@torch.inference_mode()
@pytest.mark.parametrize("batch_tokens", [1, 200, 10000])
def test_answers_that_share_a_prefix_are_those_of_one_prompt_at_a_time(model, batch_tokens):
    prompts = [context for context, _ in asked()[::5]]
    requests = [GenerationRequest(prompt, 1 + 3 * (i % 5)) for i, prompt in enumerate(prompts)]
    answers = generate(
        model, requests, batch_tokens=batch_tokens, pad=0, ends=frozenset({3}), decode=lambda _: []
    )
    for request, answer in zip(requests, answers, strict=True):
        ids = torch.tensor([request.prompt])
        output = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=request.max_new_tokens, do_sample=False,
            eos_token_id=3, pad_token_id=0,
        )  # fmt: skip
        assert answer == [token for token in output[0, ids.shape[1] :].tolist() if token != 3]


@torch.inference_mode()
def test_each_prefix_and_each_context_is_computed_once(tmp_path):
    model = AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path / "llama")).eval()
    read = []
    model.base_model.register_forward_pre_hook(
        lambda _, __, arguments: read.append(arguments["input_ids"].numel()), with_kwargs=True
    )
    pairs = [(context, tokens) for context, tokens in asked() if len(context) > 100]
    vocabulary = model.config.vocab_size
    pairs = [([t % vocabulary for t in c], [t % vocabulary for t in ts]) for c, ts in pairs]
    found = documents(pairs, 1000)
    score_documents(model, found, batch_tokens=1, pad=0)
    own = sum(len(document) - 120 for document in found)
    assert 120 + own - len(found) * 3 <= sum(read) <= 120 + own


def test_the_head_sees_few_rows_at_a_time_and_only_scored_ones():
    rows, vocabulary = 700, 2**16
    torch.manual_seed(0)
    weight, hidden = torch.randn(vocabulary, 4), torch.randn(rows, 4)
    seen = []

    def head(some):
        seen.append(len(some))
        return some @ weight.T

    which = torch.arange(rows).repeat_interleave(2)
    targets = torch.randint(vocabulary, (2 * rows,))
    logprobs, greedy = token_logprobs(head, hidden, which, targets, vocabulary)
    expected = (hidden @ weight.T).log_softmax(-1)
    torch.testing.assert_close(logprobs, expected[which, targets])
    assert greedy.tolist() == (expected.argmax(-1)[which] == targets).tolist()
    assert max(seen) * vocabulary <= 2**24
    assert sum(seen) == rows


def test_a_model_that_cannot_share_is_scored_all_the_same_and_it_is_said(tmp_path, caplog, monkeypatch):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama(tmp_path / "tokenizer"))
    torch.manual_seed(0)
    options = SMALL | {"vocab_size": len(tokenizer), "num_key_value_heads": 2, "intermediate_size": 64}
    config = MistralConfig(**options, sliding_window=4, initializer_range=0.5)
    MistralForCausalLM(config).save_pretrained(tmp_path / "windows")
    tokenizer.save_pretrained(tmp_path / "windows")
    with caplog.at_level("INFO", "manyshot.bench"):
        engine = open_engine(tmp_path / "windows", EngineSettings())
    assert "windows: every choice is read with its whole context" in caplog.text
    pairs = [(context[:20], tokens) for context, tokens in asked()]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "windows").eval()
    for (context, tokens), answer in zip(pairs, engine.loglikelihood(pairs), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([[*context, *tokens]])).logits[0, len(context) - 1 : -1]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum()
        assert answer.logprob == pytest.approx(expected.item(), abs=1e-3)


def test_no_checkpoint_leaves_its_weights_behind(tmp_path):
    """Resident memory after twenty swaps is that after three."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama(tmp_path / "tokenizer"))
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        paths.append(tmp_path / f"{seed}")
        llama(tokenizer, 128, width=768).save_pretrained(paths[-1])
        tokenizer.save_pretrained(paths[-1])
    engine = open_engine(paths[0], EngineSettings())
    pairs = [(context[:20], [t % 50 for t in tokens]) for context, tokens in asked()]
    sizes = []
    for turn in range(20):
        engine.swap(paths[turn % 2])
        engine.loglikelihood(pairs)
        sizes.append(resident())
    assert min(sizes[-3:]) <= 1.02 * sizes[2]


def resident():
    """Bytes of this process that are in memory and belong to no file."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
