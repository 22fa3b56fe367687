"""Learned coefficients: gradients against two other ways, what is learned where it is known, and going on."""

import copy
import json
import math

import numpy as np
import pytest
import torch
from tiny import WORDS
from torch.func import functional_call
from transformers import (
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from bench.continuations import continue_inputs
from bench.engine import EngineSettings
from bench.engine_registry import open_engine
from bench.hf.objective import Matching
from manyshot.lab.tokenizer import build_tokenizer
from merging import learning
from merging.differentiable import DifferentiableMerge
from merging.known_methods import make_method
from merging.layers import layer_of
from merging.learning import learn
from merging.prepare import task_vectors
from merging.signals import SignalNeeds
from merging.tuning import check_settings, settings_needs
from results.errors import InputError

pytestmark = pytest.mark.slow

TEXTS = ["how many apples are left ?", "A B", "the answer is", "yes no maybe", "hello . B C"]
KINDS = ("llama", "qwen2", "t5")


def built(kind, vocabulary, ends):
    if kind == "t5":
        config = T5Config(
            vocab_size=vocabulary, d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4,
            decoder_start_token_id=ends["pad_token_id"], initializer_factor=0.7,
            feed_forward_proj="gated-gelu", **ends,
        )  # fmt: skip
        return T5ForConditionalGeneration(config)
    config_class, model = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    }[kind]
    config = config_class(
        vocab_size=vocabulary, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3,
        tie_word_embeddings=kind == "qwen2", **ends,
    )  # fmt: skip
    return model(config)


def family(folder, kind, tasks=2, distance=0.3):
    """A base and experts some steps from it."""
    tokenizer = build_tokenizer([WORDS], 64)
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    model = built(kind, len(tokenizer), ends)
    paths = [folder / "base", *(folder / f"expert{i}" for i in range(tasks))]
    start = copy.deepcopy(model.state_dict())
    for number, path in enumerate(paths):
        random, far = torch.Generator().manual_seed(number), distance * (number > 0)
        state = {
            name: tensor + far * tensor.std() * torch.randn(tensor.shape, generator=random)
            for name, tensor in start.items()
        }
        # So that models of random weights go on after their first token.
        tables = (tensor for tensor in state.values() if tensor.ndim == 2 and len(tensor) == len(tokenizer))
        for table in tables:
            table[[tokenizer.eos_token_id, tokenizer.pad_token_id]] = 0
        model.load_state_dict(state)
        model.tie_weights()
        model.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return paths[0], dict(zip(map(str, range(tasks)), paths[1:], strict=True))


def targets_of(experts, folder, texts=TEXTS, new_tokens=4):
    found = {}
    for task, path in experts.items():
        engine = open_engine(path, EngineSettings(name="hf", dtype="float32", device="cpu"))
        inputs = [engine.tokenizer.encode(text) for text in texts]
        found[task] = continue_inputs(
            engine, inputs, folder / f"targets {task}", expert=task, max_new_tokens=new_tokens
        )
        engine.close()
    return found


def loaded(base):
    kind = T5ForConditionalGeneration if "t5" in str(base) else None
    from transformers import AutoModelForCausalLM

    return (kind or AutoModelForCausalLM).from_pretrained(base, dtype=torch.float32)


@pytest.fixture(scope="module")
def families(tmp_path_factory):
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        base, experts = family(folder, kind)
        found[kind] = base, experts, targets_of(experts, folder)
    return found


def followed(base, experts, level):
    return DifferentiableMerge(
        loaded(base), task_vectors(str(base), {t: str(p) for t, p in experts.items()}), level
    )


def matching(model, targets, kind, **options):
    return Matching(model, targets, kind, pad=0, batch_tokens=40, **options)


def by_hand(model, parameters, targets, kind, weights):
    """Σ w ℓ over all inputs, one input at a time, from whole logits of a model with given parameters."""
    total = 0
    for (task, i), weight in weights.items():
        context, tokens = targets[task].pairs[i]
        if model.config.is_encoder_decoder:
            given = {
                "input_ids": torch.tensor([context]),
                "decoder_input_ids": torch.tensor([[model.config.decoder_start_token_id, *tokens[:-1]]]),
            }
            first = 0
        else:
            given, first = {"input_ids": torch.tensor([[*context, *tokens[:-1]]])}, len(context) - 1
        logits = functional_call(model, parameters, kwargs=given, tie_weights=True).logits
        q = logits[0, first : first + len(tokens)].softmax(-1)
        p = targets[task].distributions(i).logprobs.to(q.dtype).exp()
        m = (p + q) / 2
        each = {
            "kl": lambda p=p, q=q: (p * (p / q).log()).sum(-1),
            "js": lambda p=p, q=q, m=m: ((p * (p / m).log()).sum(-1) + (q * (q / m).log()).sum(-1)) / 2,
            "entropy": lambda q=q: -(q * q.log()).sum(-1),
        }[kind]()
        total = total + weight * each.mean()
    return total


@pytest.mark.parametrize("objective", ["kl", "js", "entropy"])
@pytest.mark.parametrize("level", ["task", "layer"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_autograd_and_of_finite_differences(families, kind, level, objective):
    base, experts, targets = families[kind]
    steered = followed(base, experts, level)
    inputs = [(task, i) for task in experts for i in range(len(TEXTS))]
    weights = {one: 0.1 + 0.05 * n for n, one in enumerate(inputs)}
    random = torch.Generator().manual_seed(5)
    at = 0.4 + 0.3 * torch.rand(2, len(steered.layers), generator=random, dtype=torch.float64)
    steered.write_weights(at)
    values = matching(steered.model, targets, objective).values(inputs, list(weights.values()))
    found = steered.gradient()

    double = loaded(base).double()
    vectors = {
        task: {n: t - dict(double.named_parameters())[n] for n, t in loaded(path).double().named_parameters()}
        for task, path in experts.items()
    }

    def loss(coefficients):
        parameters = {}
        for name, start in double.named_parameters():
            column = 0 if level == "task" else steered.layers.index(layer_of(name))
            steps = (g * vectors[t][name] for t, g in zip(experts, coefficients[:, column], strict=True))
            parameters[name] = start.detach() + sum(steps)
        return by_hand(double, parameters, targets, objective, weights)

    leaf = at.clone().requires_grad_()
    expected = loss(leaf)
    expected.backward()
    assert sum(w * v for w, v in zip(weights.values(), values, strict=True)) == pytest.approx(
        expected.item(), rel=1e-5, abs=1e-6
    )
    scale = leaf.grad.abs().max()
    torch.testing.assert_close(found, leaf.grad, rtol=1e-4, atol=1e-4 * scale.item())
    # Of the fourth order, with wide steps: parts of the models compute in float32 whatever they get.
    wide = 0.01
    with torch.no_grad():
        for place in [(0, 0), (1, len(steered.layers) - 1)]:
            step = torch.zeros_like(at)
            step[place] = wide
            near, far = (loss(at + n * step) - loss(at - n * step) for n in (1, 2))
            slope = (8 * near - far) / (12 * wide)
            assert found[place].item() == pytest.approx(slope.item(), rel=1e-4, abs=1e-4 * scale.item())


def test_logits_are_taken_some_rows_at_a_time(families, monkeypatch):
    """However few, and wherever an input begins: the same values and gradients."""
    base, experts, targets = families["llama"]
    inputs = [(task, i) for task in experts for i in range(len(TEXTS))]
    found = []
    for rows_at_once in (10**6, 3, 1):
        steered = followed(base, experts, "task")
        steered.write_weights(torch.full((2, 1), 0.5))
        vocabulary = steered.model.config.vocab_size
        monkeypatch.setattr("bench.hf.objective._LOGITS_AT_ONCE", rows_at_once * vocabulary)
        values = matching(steered.model, targets, "kl").values(inputs, [0.3] * len(inputs))
        found.append((values, steered.gradient()))
    for values, gradient in found[1:]:
        assert values == pytest.approx(found[0][0], rel=1e-5)
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-4, atol=1e-7)


def learned(base, experts, targets, file, **settings):
    kind = settings.pop("kind", "kl")
    steered = followed(base, experts, settings.get("level", "task"))
    objective = matching(steered.model, targets, kind, held_out=settings.get("held_out", 0))
    saved = settings.pop("save_seconds", 10)
    method = make_method("divmerge", settings)
    return learn(steered, objective, method, seed=0, file=file, key="key", save_seconds=saved)


@pytest.mark.parametrize("kind", ["kl", "js"])
def test_one_expert_alone_gets_its_whole_task_vector(families, tmp_path, kind):
    base, experts, targets = families["llama"]
    one = {"0": experts["0"]}
    found = learned(
        base, one, {"0": targets["0"]}, tmp_path / "note", kind=kind, epochs=60, learning_rate=4e-2
    )
    assert found.coefficients[0][0] == pytest.approx(1, abs=0.02)
    assert found.path[0] == [[0.5]]
    assert found.curve[-1] < 1e-3 < found.curve[0]


def test_frank_wolfe_goes_from_the_base_to_the_only_expert(families, tmp_path):
    base, experts, targets = families["llama"]
    merge = followed(base, {"0": experts["0"]}, "layer")
    objective = matching(merge.model, {"0": targets["0"]}, "kl")
    method = make_method("fw_merging", {"step_size": 0.5, "epochs": 2, "initial": 0.0, "level": "layer"})
    found = learn(merge, objective, method, seed=0, file=tmp_path / "note", key="key")
    assert len(found.curve) == 2 and found.curve[1] < found.curve[0]
    assert set(found.path[1][0]) <= {0.0, 0.5} and 0.5 in found.path[1][0]


def test_an_expert_with_itself_adds_up_to_one(families, tmp_path):
    base, experts, targets = families["qwen2"]
    twice = {"0": experts["0"], "again": experts["0"]}
    found = learned(
        base, twice, dict.fromkeys(twice, targets["0"]), tmp_path / "note",
        epochs=50, learning_rate=4e-2, initial=0.2,
    )  # fmt: skip
    assert sum(row[0] for row in found.coefficients) == pytest.approx(1, abs=0.02)


def test_experts_with_disjoint_supports_are_both_kept(tmp_path):
    """Each changed the embeddings of its own inputs' tokens only: with Γ = 1 for both nothing is lost."""
    base, experts = family(tmp_path, "llama", tasks=2, distance=0.0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    texts = {"0": ["how many apples", "many apples", "how how"], "1": ["yes no", "maybe yes", "no maybe"]}
    read = {
        task: {token for text in some for token in tokenizer.encode(text)} for task, some in texts.items()
    }
    targets = {}
    for seed, (task, path) in enumerate(experts.items()):
        model = loaded(base)
        rows = sorted(read[task] - read["1" if task == "0" else "0"])
        random = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            model.model.embed_tokens.weight[rows] += torch.randn(len(rows), 16, generator=random)
        model.save_pretrained(path)
        targets |= targets_of({task: path}, tmp_path, texts[task], new_tokens=1)
    found = learned(base, experts, targets, tmp_path / "note", kind="js", epochs=150, learning_rate=2e-2)
    assert found.curve[-1] < 0.05 * found.curve[0]
    assert [row[0] for row in found.coefficients] == pytest.approx([1, 1], abs=0.05)


def test_a_stopped_learning_ends_with_the_same_numbers(families, tmp_path, monkeypatch):
    base, experts, targets = families["llama"]
    options = {"level": "layer", "epochs": 3, "held_out": 1, "save_seconds": 0, "keep_step": "best"}
    whole = learned(base, experts, targets, tmp_path / "whole", **options)
    steps = []
    step = learning._step

    def stopping(*given):
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(1)
        step(*given)

    monkeypatch.setattr(learning, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        learned(base, experts, targets, tmp_path / "note", **options)
    steps.clear()
    monkeypatch.setattr(learning, "_step", lambda *given: (steps.append(1), step(*given)))
    again = learned(base, experts, targets, tmp_path / "note", **options)
    assert len(steps) == len(whole.curve) - 2
    assert (again.coefficients, again.curve, again.path) == (whole.coefficients, whole.curve, whole.path)
    assert again.validation == whole.validation
    assert again.inputs == whole.inputs == dict.fromkeys(experts, len(TEXTS) - 1)
    assert again.coefficients == again.path[again.best_step]
    steps.clear()
    assert learned(base, experts, targets, tmp_path / "note", **options).path == whole.path
    assert not steps
    assert json.loads((tmp_path / "note").read_text())["state"]["step"] == len(whole.curve)


def test_every_epoch_reads_every_input_once(families, tmp_path):
    seen = []

    class Seen(Matching):
        def values(self, inputs, weights=None):
            seen.extend(inputs)
            return super().values(inputs, weights)

    base, experts, targets = families["llama"]
    steered = followed(base, experts, "task")
    objective = Seen(steered.model, targets, "kl", pad=0, batch_tokens=40)
    learn(
        steered, objective, make_method("divmerge", {"epochs": 2}), seed=0, file=tmp_path / "note", key="key"
    )
    everything = sorted((task, i) for task in experts for i in range(len(TEXTS)))
    assert sorted(seen[:10]) == everything == sorted(seen[10:])
    assert seen[:10] != seen[10:]


def test_learning_ends_early_where_that_is_asked_for(families, tmp_path):
    base, experts, targets = families["llama"]
    options = {"held_out": 2, "epochs": 50, "learning_rate": 0.5, "patience": 2}
    found = learned(base, experts, targets, tmp_path / "note", **options)
    after = [step for step, _ in found.validation if step > found.best_step]
    assert len(after) >= 2 and len(found.curve) < 50
    again = learned(base, experts, targets, tmp_path / "note", **options)
    assert (again.curve, again.path, again.coefficients) == (found.curve, found.path, found.coefficients)


def test_what_experts_say_is_made_once_though_two_ask(families, tmp_path):
    base, _, _ = families["llama"]
    engine = open_engine(base, EngineSettings(name="hf", dtype="float32", device="cpu"))
    left = tmp_path / ".said.partial"
    left.mkdir()
    (left / "inputs.json").write_text("of a killed process")
    options = {"expert": "math", "max_new_tokens": 3}
    first = continue_inputs(engine, [[3, 4], [5, 6]], tmp_path / "said", **options)
    written = (tmp_path / "said/logprobs.npy").stat().st_mtime_ns
    again = continue_inputs(engine, [[3, 4], [5, 6]], tmp_path / "said", **options)
    assert again.pairs == first.pairs and not left.exists()
    assert (tmp_path / "said/logprobs.npy").stat().st_mtime_ns == written
    engine.close()


def test_settings_that_mean_nothing_are_refused():
    for settings in ({"patience": 2}, {"keep_step": "best"}):
        with pytest.raises(InputError, match="look at held-out inputs"):
            make_method("divmerge", settings)
    options = {"tasks": ["a", "b"]}
    with pytest.raises(InputError, match="learns how much each task counts"):
        check_settings("divmerge", {}, **options, weighting="loss_gap")
    with pytest.raises(InputError, match="take the space 'delta'"):
        check_settings("adamerging", {}, **options, space="factors")


def test_what_learning_asks_of_the_harness():
    assert settings_needs("divmerge", {}) == SignalNeeds(losses=True)
    assert settings_needs("adamerging", {"source": "test"}) == SignalNeeds(questions=True)
    assert settings_needs("divmerge", {"learning_rate": {"choose": [0.01, 0.1]}}) == SignalNeeds(
        losses=True, scores=True
    )
    assert not settings_needs("divmerge", {"coefficients": {"a": 1.0}}) and not settings_needs("ties", {})


def test_what_is_wrong_is_said(families, tmp_path):
    base, experts, targets = families["llama"]
    with pytest.raises(InputError, match="'learning_rate' is 0, where a number above 0 is expected"):
        make_method("divmerge", {"learning_rate": 0})
    with pytest.raises(InputError, match="'epochs' is 0, where a number from 1 on is expected"):
        make_method("divmerge", {"epochs": 0})
    with pytest.raises(InputError, match="made small is nan at step"):
        learned(base, experts, targets, tmp_path / "note", learning_rate=1e30, epochs=5)
    engine = open_engine(base, EngineSettings(name="hf", dtype="float32", device="cpu"))
    options = {"expert": "math", "max_new_tokens": 3}
    with pytest.raises(InputError, match="no inputs for the expert of 'math'"):
        continue_inputs(engine, [], tmp_path / "t", **options)
    with pytest.raises(InputError, match=r"of 'math' says at .* GiB for .* tokens each, more than 0\.0"):
        continue_inputs(engine, [[3, 4]], tmp_path / "t", most_bytes=10, **options)
    assert not (tmp_path / "t").exists()
    engine._ends = frozenset(range(len(AutoTokenizer.from_pretrained(base))))
    with pytest.raises(InputError, match="expert of 'math' generates nothing after any of its 2 inputs"):
        continue_inputs(engine, [[3, 4], [5]], tmp_path / "t", **options)
    engine.close()


def test_held_out_inputs_that_give_no_numbers_are_said(families, tmp_path):
    class Broken(Matching):
        def values(self, inputs, weights=None):
            return super().values(inputs, weights) if weights else [math.nan] * len(inputs)

    base, experts, targets = families["llama"]
    steered = followed(base, experts, "task")
    objective = Broken(steered.model, targets, "kl", pad=0, batch_tokens=40, held_out=1)
    method = make_method("divmerge", {"held_out": 1})
    with pytest.raises(InputError, match="made small is nan at step 0"):
        learn(steered, objective, method, seed=0, file=tmp_path / "file", key="key")


def test_what_was_stored_of_an_expert_is_what_it_says(families):
    _, experts, targets = families["llama"]
    engine = open_engine(experts["0"], EngineSettings(name="hf", dtype="float32", device="cpu"))
    whole = dict(engine.distributions(targets["0"].pairs))
    for i in range(len(TEXTS)):
        np.testing.assert_array_equal(targets["0"].distributions(i).logprobs, whole[i].logprobs)
    engine.close()
