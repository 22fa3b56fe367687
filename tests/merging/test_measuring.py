"""What is measured of experts is what one gets by hand, in however many passes, and goes on when stopped."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny import tiny_llama, tiny_t5
from transformers import GPT2Config, GPT2LMHeadModel

from merging import measuring as measuring_module
from merging.checkpoints.pretrained import load_model
from merging.known_methods import make_method
from merging.linear_layers import LinearLayers, in_groups
from merging.measured import EVERYWHERE, INDEX, OUTPUT, Measured
from merging.measuring import Measuring, measure
from merging.merge import merge
from merging.prepare import task_vectors
from merging.regression import regression_mean
from merging.signals import SignalNeeds
from merging.texts import drawn_tokens, forward_inputs
from merging.tuning import check_settings, settings_needs
from results.errors import InputError

pytestmark = pytest.mark.slow

TEXTS = {"a": [([5, 6, 7], [8, 9]), ([9, 4], [5, 6, 7]), ([3, 8, 8, 6], [4])], "b": [([7, 7], [5, 8, 4])]}
KINDS = {"llama": tiny_llama, "t5": tiny_t5}


@pytest.fixture(scope="module", params=KINDS)
def family(request, tmp_path_factory):
    """A base and two experts some steps from it."""
    folder = tmp_path_factory.mktemp(request.param)
    base = KINDS[request.param](folder / "base")
    experts = {}
    for number, task in enumerate("ab", start=1):
        model = load_model(base)
        random = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=random) * 0.2 * parameter.std())
        experts[task] = folder / task
        model.save_pretrained(experts[task])
    return base, experts


class Told:
    """Signals that give fixed texts."""

    device = "cpu"

    def __init__(self):
        self.asked = 0

    def learning_key(self, base, experts, settings):
        return [str(base), settings.inputs]

    def continued_inputs(self, experts, settings):
        self.asked += 1
        return TEXTS

    def progress(self, description):
        return nullcontext(lambda done, total: None)


def measured(family, folder, name, **settings):
    base, experts = family
    method = make_method(name, settings)
    weights = {"a": 1.0, "b": 3.0}
    found = measure(method, Told(), base, experts, weights=weights, seed=4, folder=folder)
    return Measured.open(found, method.measures), found


def in_blocks(model):
    return LinearLayers.of(model, TEXTS["a"][0])


@torch.no_grad()
def by_hand(model, task, names):
    """Mean over the tokens that a model reads of x x', by name."""
    seen = {name: [] for name in names}
    modules = in_blocks(model).modules
    hooks = [
        modules[name].register_forward_hook(lambda _, given, __, name=name: seen[name].append(given[0][0]))
        for name in names
    ]
    for pair in TEXTS[task]:
        model(**forward_inputs(model, pair)[0])
    for hook in hooks:
        hook.remove()
    rows = {name: torch.cat(parts) for name, parts in seen.items()}
    return {name: (each[:, :, None] * each[:, None, :]).mean(0) for name, each in rows.items()}


def near(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


def test_matrices_are_of_what_each_layer_reads(family, tmp_path, monkeypatch):
    monkeypatch.setattr(measuring_module, "AT_ONCE", 0)
    found, _ = measured(family, tmp_path, "regmean")
    assert len(found.index.tasks["a"].files) == len(set(found.index.stored.values())) > 5
    for task, path in family[1].items():
        model = load_model(path)
        expected = by_hand(model, task, found.index.stored)
        assert expected
        for name, gram in expected.items():
            near(found.whole(task, name), gram)
    query = next(name for name in found.index.stored if name.endswith(("q_proj.weight", ".q.weight")))
    assert (
        found.index.stored[query.replace("q_proj", "k_proj").replace(".q.", ".k.")]
        == found.index.stored[query]
    )
    assert found.index.tasks["a"].texts == 3
    again = Told()
    base, experts = family
    measure(make_method("regmean", {"alpha": 0.2}), again, base, experts, weights={}, seed=4, folder=tmp_path)
    assert not again.asked


@torch.no_grad()
def test_adapters_are_measured_as_what_they_make_of_their_base(family, tmp_path):
    base, experts = family
    adapted = get_peft_model(load_model(base), LoraConfig(r=2, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "adapter")
    adapter = tmp_path / "adapter" / "adapter_config.json"
    adapter.write_text(json.dumps(json.loads(adapter.read_text()) | {"base_model_name_or_path": str(base)}))
    model = adapted.merge_and_unload()
    both = base, {"a": tmp_path / "adapter", "b": experts["b"]}
    found, _ = measured(both, tmp_path, "regmean")
    for name, gram in by_hand(model, "a", found.index.stored).items():
        near(found.whole("a", name), gram)


def test_groups_take_what_there_is_room_for():
    assert in_groups({"a": 3, "b": 2, "c": 4, "d": 9, "e": 1}, 5) == [["a", "b"], ["c"], ["d"], ["e"]]


def test_fisher_is_the_mean_of_squared_gradients_of_drawn_answers(family, tmp_path):
    found, _ = measured(family, tmp_path / "one", "fisher")
    path = family[1]["a"]
    model = load_model(path)
    squares = {name: torch.zeros_like(one) for name, one in model.named_parameters()}
    for number, pair in enumerate(TEXTS["a"]):
        inputs, first = forward_inputs(model, pair)
        logits = model(**inputs).logits[0, first : first + len(pair[1])]
        drawn = drawn_tokens(logits.detach(), [4, number, *b"a"])
        model.zero_grad()
        (-torch.nn.functional.cross_entropy(logits, drawn, reduction="sum")).backward()
        for name, one in model.named_parameters():
            squares[name] += one.grad.square() / 3
    assert set(squares) <= set(found.index.stored)
    for name, expected in squares.items():
        near(found.flat("a", name, 0, expected.numel()), expected.flatten())
    norm = sum(float(expected.square().sum()) for expected in squares.values()) ** 0.5
    assert found.index.tasks["a"].norm == pytest.approx(norm, rel=1e-3)

    base, experts = family
    vectors = task_vectors(str(base), {task: str(path) for task, path in experts.items()})
    (tmp_path / "many").mkdir()
    steps = measuring_module._Steps(lambda done, total: None)
    many = Measuring(load_model(base).eval(), vectors, TEXTS, tmp_path / "many", 4, steps, at_once=0)
    index = many.measure(make_method("fisher", {}), {})
    assert len(index.tasks["a"].files) > 10
    apart = Measured(tmp_path / "many", index)
    for name, expected in squares.items():
        parts = [of.flat("b", name, 1, expected.numel()) for of in (apart, found)]
        torch.testing.assert_close(*parts, rtol=1e-3, atol=1e-5 * found.index.tasks["b"].norm)


def test_tokens_are_drawn_by_their_probabilities():
    logits = torch.tensor([0.5, 0.3, 0.0, 0.2]).log().repeat(4000, 1)
    shares = drawn_tokens(logits, [1]).bincount(minlength=4) / 4000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.0, 0.2]), rtol=0, atol=0.03)
    assert torch.equal(drawn_tokens(logits, [1]), drawn_tokens(logits, [1]))
    assert not torch.equal(drawn_tokens(logits, [1]), drawn_tokens(logits, [2]))


def test_kronecker_factors_are_of_inputs_and_of_gradients_of_outputs(family, tmp_path):
    found, _ = measured(family, tmp_path, "mats")
    model = load_model(family[1]["b"])
    layers = in_blocks(model)
    outputs = {}
    hooks = [
        module.register_forward_hook(
            lambda _, __, out, name=name: (out.retain_grad(), outputs.setdefault(name, []).append(out))[0]
        )
        for name, module in layers.modules.items()
    ]
    (pair,) = TEXTS["b"]
    inputs, first = forward_inputs(model, pair)
    logits = model(**inputs).logits[0, first : first + len(pair[1])]
    logits.log_softmax(-1).gather(1, drawn_tokens(logits.detach(), [4, 0, *b"b"])[:, None]).sum().backward()
    for hook in hooks:
        hook.remove()
    grams = by_hand(model, "b", layers.modules)
    for name in layers.modules:
        (gradient,) = [out.grad[0] for out in outputs[name]]
        near(found.whole("b", name, OUTPUT), gradient.t() @ gradient / len(gradient))
        near(found.whole("b", name), grams[name])


def test_the_magnitudes_are_the_bases_on_all_texts(family, tmp_path):
    found, _ = measured(family, tmp_path, "aim")
    model = load_model(family[0])
    norm = next(name for name in found.index.stored if "norm" in name)
    rows = []
    module = model.get_submodule(norm.removesuffix(".weight"))
    hook = module.register_forward_pre_hook(lambda _, given: rows.append(given[0][0]))
    for task in "ab":
        for pair in TEXTS[task]:
            model(**forward_inputs(model, pair)[0])
    hook.remove()
    near(found.whole(EVERYWHERE, norm), torch.cat(rows).abs().mean(0).detach())
    assert not any("embed" in name or "shared" in name for name in found.index.stored)


def merged_by_hand(model, base, experts, names, grams):
    """A model with some tensors merged: linear ones by their matrices, the others averaged."""
    shares = torch.tensor([0.25, 0.75])
    weights = {name: [one.state_dict()[name] for one in experts.values()] for name in names}
    for name, (one, other) in weights.items():
        start = base.state_dict()[name]
        deltas = torch.stack([one - start, other - start])
        delta = (shares.view(-1, *[1] * start.dim()) * deltas).sum(0)
        if name in grams:
            delta = regression_mean(deltas, [grams[name][task] for task in experts], shares, 0.5)
        model.state_dict()[name].copy_(start + delta)


@torch.no_grad()
def test_inputs_of_a_block_come_from_the_merged_blocks_before(family, tmp_path):
    found, folder = measured(family, tmp_path, "regmean_plus_plus", alpha=0.5)
    base, experts = load_model(family[0]), {task: load_model(path) for task, path in family[1].items()}
    model = load_model(family[0])
    blocks = list(dict.fromkeys(name.rpartition(".")[0] for name in _names_of_blocks(model)))
    everything = list(model.state_dict())
    inside = {block: [name for name in everything if name.startswith(f"{block}.")] for block in blocks}
    merged_by_hand(model, base, experts, everything, {})
    for block in blocks:
        linear = [name for name in inside[block] if name in found.index.stored]
        grams = {name: {} for name in linear}
        for task, expert in experts.items():
            for name in inside[block]:
                model.state_dict()[name].copy_(expert.state_dict()[name])
            for name, gram in by_hand(model, task, linear).items():
                near(found.whole(task, name), gram)
                grams[name][task] = gram
        merged_by_hand(model, base, experts, inside[block], grams)

    kept = {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}
    (folder / INDEX).unlink()
    (folder / max(kept)).unlink()
    _, same = measured(family, tmp_path, "regmean_plus_plus", alpha=0.5)
    assert same == folder
    assert kept == {file.name: file.read_bytes() for file in folder.glob("*.safetensors")}
    other, _ = measured(family, tmp_path, "regmean_plus_plus", alpha=0.6)
    assert other.folder != folder


def _names_of_blocks(model):
    return [
        f"{name}.x"
        for name, _ in model.named_modules()
        if name.split(".")[-1].isdigit() and "layer." not in name
    ]


def test_layers_whose_weights_lie_the_other_way_round(tmp_path):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=16, n_embd=8, n_layer=1, n_head=2))
    layers = in_blocks(model)
    name = "transformer.h.0.attn.c_attn.weight"
    assert name in layers.reads_first and layers.sizes(name) == (8, 24)
    assert model.state_dict()[name].shape == (8, 24)


def recipe(recipe_for, family, name, **settings):
    base, experts = family
    more = {key: settings.pop(key) for key in ("space",) if key in settings}
    return recipe_for(
        base, {task: str(path) for task, path in experts.items()}, name, settings=settings, **more
    )


def test_what_cannot_be_merged_is_refused_in_a_sentence(family, tmp_path, recipe_for):
    _, grams = measured(family, tmp_path, "regmean")
    told = {
        "Method 'fisher' uses .* name it in an experiment": {"name": "fisher"},
        "'grams'; 'fisher' is expected": {"name": "fisher", "measured": str(grams)},
        "measured.json is expected in it": {"name": "regmean", "measured": str(tmp_path)},
        "space 'delta'": {"name": "regmean", "measured": str(grams), "space": "factors"},
    }
    for sentence, method in told.items():
        with pytest.raises(InputError, match=sentence):
            merge(recipe(recipe_for, family, **method), tmp_path / "out", progress=False)
    base, experts = family
    other = recipe_for(base, {"c": str(experts["a"])}, "regmean", settings={"measured": str(grams)})
    with pytest.raises(InputError, match="no measurements of c; it has those of a, b"):
        merge(other, tmp_path / "out", progress=False)
    with pytest.raises(InputError, match="'source'"):
        make_method("fisher", {"source": "test"})
    with pytest.raises(InputError, match="space 'delta'"):
        check_settings("fisher", {}, ["a", "b"], space="factors")
    assert settings_needs("fisher", {}) == SignalNeeds(losses=True)
    assert settings_needs("fisher", {"measured": "x"}) == SignalNeeds()
    index = json.loads((grams / INDEX).read_text())
    Path(grams / index["tasks"]["b"]["files"][0]).write_bytes(b"no tensors")
    with pytest.raises(InputError, match="cannot be read"):
        merge(recipe(recipe_for, family, "regmean", measured=str(grams)), tmp_path / "out", progress=False)
