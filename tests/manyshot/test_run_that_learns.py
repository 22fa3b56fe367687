"""DivMerge's two runs from end to end on tiny models, and divergences."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import WORDS, llama, tiny_llama
from transformers import T5Config, T5ForConditionalGeneration

from bench.continuations import ExpertContinuations
from bench.engine import EngineSettings
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_suite
from manyshot.cli import main
from manyshot.experiment import SHIPPED, load_experiment
from manyshot.lab.tokenizer import build_tokenizer
from manyshot.run import RunContext, run_experiment
from merging.known_methods import find_method
from merging.measured import EVERYWHERE, Measured
from merging.signals import ContinuationSettings
from results.errors import InputError
from results.store import Store

pytestmark = pytest.mark.slow

TINY = {"epochs": 1, "examples": 4, "validation": 6, "batch_size": 4, "learning_rate": 1e-3}
MEASURING = ("fisher", "regmean", "regmean_plus_plus", "mats", "aim")
LEARNED = {"inputs": 4, "held_out": 1, "epochs": 1, "max_new_tokens": 3}


def made_up(path, row, count=410):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row | {"label": i % 2, "idx": i, "concept_set_idx": i}) for i in range(count)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def rows(data, tmp_path_factory):
    """A data root with real rows where there are some, and a few made-up ones."""
    root = tmp_path_factory.mktemp("rows")
    (root / "glue").mkdir()
    for task in ("cola", "sst2", "qnli", "mnli", "rte"):
        (root / "glue" / task).symlink_to(data / "glue" / task)
    pair = {"question1": "How many ?", "question2": "How much ?"}
    sentences = {"sentence1": "Here it is .", "sentence2": "There it is ."}
    for split in ("train", "validation"):
        made_up(root / f"glue/qqp/{split}.jsonl", pair)
        made_up(root / f"glue/mrpc/{split}.jsonl", sentences)
        made_up(
            root / f"common_gen/{split}.jsonl", {"concepts": ["apples", "hello"], "target": "hello apples"}
        )
    (root / "qasc").symlink_to(data / "qasc")
    squad = json.loads((data / "squad_v1_dev_subset/validation.jsonl").read_text().splitlines()[0])
    made_up(root / "squad/train.jsonl", squad)
    made_up(root / "squad_v1_dev_subset/validation.jsonl", squad)
    for split in ("train", "test"):
        made_up(root / f"imdb/{split}.jsonl", {"text": "maybe the answer is yes"})
    return root


def ran(name, base, folder, rows, **changes):
    """A shipped experiment with few rows and some of its methods, by their titles."""
    content = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
    shipped = {one.get("label", one["name"]): one for one in content["methods"]}
    del content["preset"]
    content |= {"base": str(base), "limit": 1, "train": content["train"] | TINY, **changes}
    content["methods"] = [
        title
        if isinstance(title, dict)
        else shipped[title] | (LEARNED if "max_new_tokens" in shipped[title] else {})
        for title in changes["methods"]
    ]
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    experiment = load_experiment(folder / "tiny.yaml")
    return run_experiment(experiment, "tiny", RunContext(Store(folder / "store"), folder / "out", rows))


def merged_by(comparison, label):
    """The method as the merge was made by, with what was learned."""
    report = json.loads((Path(comparison.row(label).entry.path) / "merge.json").read_text())
    return report["recipe"]["method"]


def test_glue_with_a_decoder(tmp_path, rows):
    base = tiny_llama(tmp_path / "base", max_length=1024, initializer_range=0.1)
    methods = ["AdaMerging TL", "KL TL", "JS LL"]
    measures = [{"name": name, "inputs": 2, "max_new_tokens": 2, "label": name} for name in MEASURING]
    done = ran("divmerge-glue", base, tmp_path, rows, methods=[*methods, *measures], subsets=[7])
    (comparison,) = done.comparisons.values()
    tasks = list(load_suite("divmerge-glue").tasks)
    assert [row.label for row in comparison.rows if row.role == "merged"] == [*methods, *MEASURING]
    for name in MEASURING:
        made = merged_by(comparison, name)
        kept = Measured.open(Path(made["measured"]), find_method(name).method_class.measures)
        assert set(kept.index.tasks) in (set(tasks), {EVERYWHERE})
        assert comparison.row(name).entry.trace.seconds["measure"] == kept.index.seconds
    by_task = merged_by(comparison, "KL TL")["coefficients"]
    assert set(by_task) == set(tasks) and all(value != 0.5 for value in by_task.values())
    by_layer = merged_by(comparison, "JS LL")["coefficients"]["rte"]
    assert {"model.layers.0", "model.layers.1", "model.norm.weight", "model.embed_tokens.weight"} <= set(
        by_layer
    )
    assert len(set(by_layer.values())) > 2
    trace = comparison.row("JS LL").entry.trace
    learned = trace.learned
    assert set(learned.inputs) == set(tasks) and set(learned.inputs.values()) <= {1, 2, 3, 4}
    assert trace.memory is None or trace.memory >= 0
    assert trace.seconds["merge"] > 0
    assert learned.path_steps == list(range(len(learned.curve) + 1))
    last = learned.path[-1][learned.tasks.index("rte")]
    assert by_layer == pytest.approx(dict(zip(learned.layers, last, strict=True)))
    assert done.files[0].read_text().startswith("| method | protocol |")


@pytest.mark.full
def test_text_to_text_with_an_encoder(tmp_path, rows):
    torch.manual_seed(0)
    tokenizer = build_tokenizer([WORDS], 512)
    ends = {name: getattr(tokenizer, name) for name in ("eos_token_id", "pad_token_id")}
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer), d_model=16, d_kv=4, d_ff=32, num_layers=2, num_heads=4,
            decoder_start_token_id=tokenizer.pad_token_id, **ends,
        )
    )  # fmt: skip
    with torch.no_grad():
        model.shared.weight[[tokenizer.eos_token_id, tokenizer.pad_token_id]] = 0
    base = tmp_path / "base"
    model.save_pretrained(base)
    # As the hub's old files have it, which transformers does not read.
    weights = load_file(base / "model.safetensors")
    weights["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.ones(2, 2)
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    tokenizer.save_pretrained(base)
    done = ran("divmerge-t5", base, tmp_path, rows, methods=["average", "KL LL"], subsets=[4])
    assert [len(subset) for subset in done.comparisons] == [4]
    for subset, comparison in done.comparisons.items():
        assert set(comparison.suite.tasks) == set(subset)
        layers = merged_by(comparison, "KL LL")["coefficients"]
        assert set(layers) == set(subset)
        assert {"encoder.block.0", "decoder.block.1", "shared.weight"} <= set(layers[subset[0]])
    assert "| method | protocol |" in done.files[0].read_text()


@pytest.fixture
def signals(tmp_path):
    settings = ScoreSettings(engine=EngineSettings(name="hf", dtype="float32", device="cpu"), limit=4)
    scorer = Scorer(settings, Store(tmp_path / "store"), None)
    yield ValidationSignals(scorer, load_suite("lab"), None, limit=5)
    scorer.close()


def test_divergence_is_zero_of_a_model_with_itself_and_kept(signals, tmp_path, monkeypatch):
    one, other = (tiny_llama(tmp_path / str(seed), seed) for seed in (0, 1))
    asked = ContinuationSettings(inputs=5, max_new_tokens=4)
    assert signals.divergence("js", one, one, "math", asked) < 1e-9
    apart = {kind: signals.divergence(kind, one, other, "math", asked) for kind in ("kl", "js")}
    assert 0 < apart["js"] < 0.6932 and apart["kl"] > apart["js"]
    bound = signals.divergence(
        "kl", one, other, "math", ContinuationSettings(inputs=5, max_new_tokens=4, top_k=3)
    )
    assert 0 <= bound <= apart["kl"] + 1e-9
    monkeypatch.setattr(signals.scorer, "engine_with", lambda *_: pytest.fail("asked again"))
    assert signals.divergence("kl", one, other, "math", asked) == apart["kl"]


def test_inputs_are_taken_of_every_source_in_turn(signals, tmp_path):
    suite = load_suite("lab")
    both = suite.tasks["math"].validation + suite.tasks["safety"].validation
    mixed = suite.tasks["math"].but(validation=both)
    of_both = ValidationSignals(signals.scorer, suite.but(tasks={**suite.tasks, "math": mixed}), None)
    texts = of_both.data.inputs("math", ContinuationSettings(inputs=4))
    alone = ValidationSignals(signals.scorer, suite, None)
    of_math, of_safety = (
        alone.data.inputs(task, ContinuationSettings(inputs=2)) for task in ("math", "safety")
    )
    assert texts == [of_math[0], of_safety[0], of_math[1], of_safety[1]]


def test_an_experts_inputs_are_its_tasks_validation_prompts(signals, tmp_path):
    one = tiny_llama(tmp_path / "one")
    continuations = signals.continuations(one, "math", ContinuationSettings(inputs=3, max_new_tokens=4))
    tokenizer = signals.scorer.engine_with(ScoredCheckpoint.open(str(one))).tokenizer
    prompts = [tokenizer.decode(context) for context, _ in continuations.pairs]
    assert prompts == [
        tokenizer.decode(tokenizer(example.prompt)["input_ids"])
        for example in signals.data.examples("math")[:3]
    ]
    assert ExpertContinuations.open(continuations.folder).pairs == continuations.pairs
    test = signals.continuations(one, "math", ContinuationSettings(inputs=3, max_new_tokens=4, source="test"))
    assert test.folder != continuations.folder and len(test) == 3


def test_the_command_prints_tables_and_draws(tmp_path, capsys):
    base = tiny_llama(tmp_path / "base", 0)
    experts = [f"{task}={tiny_llama(tmp_path / task, i + 1)}" for i, task in enumerate(("math", "safety"))]
    command = ["signals", "--suite", "lab", "--base", base, *experts, "--inputs", 4, "--max-new-tokens", 3]
    store = ["--store", tmp_path / "store"]
    main([str(one) for one in [*command, *store, "--out", tmp_path / "out"]])
    said = capsys.readouterr().out
    assert "KL(expert ‖ ·)" in said and "gap: base − expert" in said and "No correlation" in said
    report = json.loads((tmp_path / "out/signals.json").read_text())
    assert report["divergences"]["kl"]["math"]["math"] < 1e-9 < report["divergences"]["kl"]["math"]["safety"]
    assert report["cosines"]["math"]["math"] == pytest.approx(1)
    gap = report["losses"]["base"]["math"] - report["losses"]["math"]["math"]
    assert report["gaps"]["math"] == pytest.approx(gap)
    assert {"kl.png", "js.png", "cosines.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    with pytest.raises(SystemExit):
        main([str(one) for one in [*command[:5], tmp_path / "nothing", *store]])
    assert "names none of the tasks of lab" in capsys.readouterr().err


def test_a_vocabulary_that_differs_is_refused(signals, tmp_path):
    one = tiny_llama(tmp_path / "one")
    larger = tmp_path / "larger"
    tokenizer = build_tokenizer([WORDS + " more words that nobody else knows"], 64)
    llama(tokenizer, 64, 32).save_pretrained(larger)
    tokenizer.save_pretrained(larger)
    with pytest.raises(InputError, match=r"One model has \d+ tokens and the other \d+"):
        signals.divergence("kl", one, larger, "math", ContinuationSettings(inputs=2, max_new_tokens=3))
