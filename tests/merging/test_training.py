"""Training: deterministic, atomic, and deaf to prompts where only completions are to be learned."""

import dataclasses
import json
import shutil
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from tiny import EXAMPLES, tiny_t5
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    T5ForConditionalGeneration,
    TrainingArguments,
)

from merging.batches import collate
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.pretrained import padding_of
from merging.examples import IGNORED, Example, tokenise
from merging.optimise import _reporting
from merging.train_settings import AdapterSettings, Schedule, TrainSettings
from merging.training import train
from results.errors import InputError
from results.validation import validated

pytestmark = pytest.mark.slow

FEW_STEPS = TrainSettings(max_steps=3, batch_size=4, learning_rate=1e-2, cpu=True)


@pytest.fixture(scope="module")
def tokenizer(base):
    return AutoTokenizer.from_pretrained(base)


def weights(folder):
    return Checkpoint.open(folder).identity().weights


def test_the_same_settings_give_the_same_bits_and_another_seed_does_not(base, tmp_path):
    torch.manual_seed(1)
    first = train(base, EXAMPLES, FEW_STEPS, tmp_path / "first")
    torch.manual_seed(2)
    again = train(base, EXAMPLES, FEW_STEPS, tmp_path / "again")
    other = train(base, EXAMPLES, TrainSettings(**{**vars(FEW_STEPS), "seed": 1}), tmp_path / "other")
    assert weights(first) == weights(again) != weights(other)
    assert weights(first) != weights(base)


def test_the_checkpoint_is_complete_and_float32_and_says_how_it_was_made(base, tmp_path):
    out = train(base, EXAMPLES, FEW_STEPS, tmp_path / "models" / "expert")
    report = json.loads((out / "training.json").read_text())
    undeciding = ("save_seconds", "report_to", "chat")
    assert report["settings"] == {k: v for k, v in vars(FEW_STEPS).items() if k not in undeciding}
    assert report["base"] == Checkpoint.open(base).identity().digest
    assert report["used"] == len(EXAMPLES) and report["left_out"] == 0
    assert [step for step, _ in report["loss"]] == [1, 2, 3]
    assert (out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert {p.dtype for p in AutoModelForCausalLM.from_pretrained(out).parameters()} == {torch.float32}
    assert [path.name for path in out.parent.iterdir()] == ["expert"]


def test_training_learns(base, tmp_path):
    settings = TrainSettings(max_steps=90, batch_size=8, learning_rate=1e-2, cpu=True)
    report = json.loads((train(base, EXAMPLES, settings, tmp_path / "out") / "training.json").read_text())
    assert report["loss"][0][1] > 2
    assert report["loss"][-1][1] < 0.5


def test_progress_goes_to_stderr_where_that_is_a_terminal(base, tmp_path, capfd, monkeypatch):
    train(base, EXAMPLES, FEW_STEPS, tmp_path / "quiet")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "training" not in captured.err and "3/3" not in captured.err
    monkeypatch.setenv("FORCE_COLOR", "1")
    train(base, EXAMPLES, FEW_STEPS, tmp_path / "expert")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "expert" in captured.err and "3/3" in captured.err


def test_a_failure_while_writing_keeps_what_was_done(base, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr("merging.training.shutil.copyfile", fail)
    with pytest.raises(OSError, match="disk full"):
        train(base, EXAMPLES, FEW_STEPS, tmp_path / "out")
    assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
    monkeypatch.undo()
    assert [path.name for path in train(base, EXAMPLES, FEW_STEPS, tmp_path / "out").parent.iterdir()] == [
        "out"
    ]


def test_an_output_that_exists_is_refused_before_training(base, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out exists already"):
        train(base, EXAMPLES, FEW_STEPS, tmp_path / "out")


def test_examples_without_a_token_to_learn_are_refused_and_counted(base, tmp_path):
    short = TrainSettings(max_steps=1, max_length=3, cpu=True)
    with pytest.raises(InputError, match="none of the 16 examples has a token to learn within 3 tokens"):
        train(base, EXAMPLES, short, tmp_path / "out")
    mixed = [Example("", "red"), *EXAMPLES]
    report = json.loads((train(base, mixed, short, tmp_path / "out") / "training.json").read_text())
    assert (report["used"], report["left_out"]) == (1, 16)


@pytest.mark.parametrize(
    ("setting", "values"),
    {
        "epochs": [0, -1, float("nan"), float("inf"), "1"],
        "max_steps": [0, -1, 1.5, True],
        "batch_size": [0, -8, 2.0],
        "learning_rate": [0, -1e-3, float("nan"), float("inf")],
        "warmup_ratio": [-0.1, 1.1, float("nan")],
        "schedule": ["cosinus", "cosine_with_min_lr"],
        "weight_decay": [-0.1, float("nan")],
        "loss": ["prompt"],
        "max_length": [1, 0],
        "end_token": [None, 1],
        "order": ["sequential"],
        "seed": [-1, 2**32],
    }.items(),
)
def test_a_setting_out_of_range_is_refused_with_its_value_and_what_is_expected(setting, values):
    for value in values:
        with pytest.raises(ValidationError):
            TrainSettings(**{setting: value})
        with pytest.raises(InputError) as refusal:
            validated(TrainSettings, {setting: value}, "f")
        assert f"f: '{setting}' is {value!r}, where " in str(refusal.value)
        assert "is expected" in str(refusal.value)


def test_the_trainers_order_looks_at_no_lengths():
    with pytest.raises(
        ValidationError, match="order is 'trainer', which does not look at lengths: set group_by_"
    ):
        TrainSettings(order="trainer")


def test_an_end_token_is_added_where_it_is_to_be(tokenizer):
    for added in (True, False):
        ids = tokenise(tokenizer, EXAMPLES[0], TrainSettings(end_token=added))["input_ids"]
        assert (ids[-1] == tokenizer.eos_token_id) == added
        assert ids[: len(ids) - added] == tokenizer(EXAMPLES[0].prompt + EXAMPLES[0].completion)["input_ids"]


@pytest.mark.parametrize("schedule", get_args(Schedule))
def test_every_schedule_and_the_ends_of_the_ranges_train(base, tmp_path, schedule):
    ends = {"max_steps": 1, "batch_size": 1, "warmup_ratio": 1, "weight_decay": 0, "max_length": 2}
    settings = TrainSettings(**ends, loss="text", schedule=schedule, seed=2**32 - 1, cpu=True)
    assert train(base, EXAMPLES, settings, tmp_path / "out").is_dir()


@pytest.fixture
def broken(base, tmp_path):
    """A copy of the base, for breaking."""
    return shutil.copytree(base, tmp_path / "broken")


def refusal_of(folder):
    out = folder.parent / "out"
    with pytest.raises(InputError) as refusal:
        train(folder, EXAMPLES, FEW_STEPS, out)
    assert str(folder) in str(refusal.value)
    assert not out.exists()
    return str(refusal.value)


def configure(folder, name="config.json", **changes):
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("adapter", [None, AdapterSettings(rank=2, alpha=4, targets=("q", "v"))])
def test_an_encoder_decoder_learns_answers(tmp_path, adapter):
    """Its loss is transformers' own of each example by itself, and falls."""
    base = tiny_t5(tmp_path / "t5")
    configure(base, dropout_rate=0.0)
    examples = [Example("how many apples", "yes"), Example("A", "the answer is B")] * 8
    settings = TrainSettings(epochs=15, batch_size=16, learning_rate=1e-2, cpu=True, adapter=adapter)
    out = train(base, examples, settings, tmp_path / "out")
    report = json.loads((out / "training.json").read_text())
    model, tokenizer = T5ForConditionalGeneration.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    losses, counts = [], []
    for one in examples[:2]:
        labels = [*tokenizer(one.completion)["input_ids"], tokenizer.eos_token_id]
        given = {"input_ids": tokenizer(one.prompt, return_tensors="pt")["input_ids"]}
        losses.append(model(**given, labels=torch.tensor([labels])).loss.item())
        counts.append(len(labels))
    # The first step's loss is the mean over all tokens that are learned.
    assert report["loss"][0][1] == pytest.approx(np.average(losses, weights=counts), rel=1e-4)
    assert report["loss"][-1][1] < 0.8 * report["loss"][0][1]
    assert (out / "adapter_config.json").is_file() == (adapter is not None)


def test_an_encoder_decoder_does_not_learn_whole_texts(tmp_path):
    with pytest.raises(InputError, match="which learns answers: set the loss to 'completion'"):
        train(tiny_t5(tmp_path / "t5"), EXAMPLES, TrainSettings(loss="text", cpu=True), tmp_path / "out")


def test_a_base_without_a_vocabulary_is_refused(broken):
    (broken / "tokenizer.json").unlink()
    assert "has no tokenizer" in refusal_of(broken)
    configure(broken, model_type="gpt2")  # for which transformers makes an empty tokenizer
    assert "has no tokenizer" in refusal_of(broken)


@pytest.mark.parametrize("content", ["{broken", "{}"])
def test_a_tokenizer_that_does_not_load_is_refused(broken, content):
    (broken / "tokenizer.json").write_text(content)
    assert "its tokenizer cannot be loaded" in refusal_of(broken)


def test_a_model_of_an_unknown_type_is_refused(broken):
    configure(broken, model_type="unheard-of")
    assert "its configuration cannot be loaded (ValueError: " in refusal_of(broken)


def test_a_model_without_a_language_model_is_refused(broken):
    configure(broken, model_type="vit")
    assert "its model cannot be loaded (ValueError: " in refusal_of(broken)


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(broken):
    weights = load_file(broken / "model.safetensors")
    norm = weights.pop("model.norm.weight")
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert "lack the tensor 'model.norm.weight'" in refusal_of(broken)
    weights["model.norm.weight"] = norm[:5].clone()
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    assert "'model.norm.weight' has the shape (5,), but config.json asks for (16,)" in refusal_of(broken)


@pytest.mark.parametrize(
    ("file", "changes", "part"),
    [
        (
            "tokenizer_config.json",
            {"auto_map": {"AutoTokenizer": ["code.T", None]}, "tokenizer_class": "T"},
            "tokenizer",
        ),
        ("config.json", {"auto_map": {"AutoConfig": "code.C"}, "model_type": "unheard-of"}, "configuration"),
        ("config.json", {"auto_map": {"AutoModelForCausalLM": "code.M"}, "model_type": "vit"}, "model"),
    ],
)
def test_code_beside_a_checkpoint_is_not_even_asked_about(broken, monkeypatch, file, changes, part):
    asked = []
    monkeypatch.setattr("builtins.input", lambda question="": asked.append(question) or "n")
    configure(broken, file, **changes)
    assert f"its {part} cannot be loaded (ValueError: " in refusal_of(broken)
    assert asked == []


def test_completion_loss_has_labels_on_the_completion_and_the_end_only(tokenizer):
    row = tokenise(tokenizer, Example("say red:", " red red"), TrainSettings())
    learned = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
    assert tokenizer.decode(learned) == " red red</s>"
    assert tokenizer.decode(row["input_ids"]) == "say red: red red</s>"


def test_text_loss_has_labels_everywhere(tokenizer):
    row = tokenise(tokenizer, Example("say red:", " red red"), TrainSettings(loss="text"))
    assert row["labels"] == row["input_ids"]


def test_the_loss_of_a_batch_does_not_depend_on_prompt_labels_or_padding(base, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(base)
    row = tokenise(tokenizer, EXAMPLES[0], TrainSettings())
    long = tokenise(tokenizer, Example("say red say red say red:", ""), TrainSettings())
    long["labels"] = [IGNORED] * len(long["labels"])
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
    targets = torch.tensor(row["input_ids"][1:])
    learned = torch.tensor(row["labels"][1:]) != IGNORED
    expected = -logits[torch.arange(len(targets)), targets][learned].mean()
    batch = collate([row, long], tokenizer.pad_token_id)
    assert batch["attention_mask"].sum().item() == len(row["input_ids"]) + len(long["input_ids"])
    torch.testing.assert_close(model(**batch).loss, expected, rtol=1e-5, atol=1e-6)


def test_tensorboard_gets_every_logged_loss_and_changes_no_bit(base, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    quiet = train(base, EXAMPLES, FEW_STEPS, tmp_path / "quiet")
    followed = train(base, EXAMPLES, FEW_STEPS.but(report_to=("tensorboard",)), tmp_path / "followed")
    assert weights(followed) == weights(quiet)
    events = EventAccumulator(str(tmp_path / "runs" / "followed")).Reload()
    found = [[one.step, one.value] for one in events.Scalars("train/loss")]
    assert found == [
        pytest.approx(point) for point in json.loads((followed / "training.json").read_text())["loss"]
    ]
    assert not (tmp_path / "runs" / "quiet").exists()


def test_a_tracker_that_is_not_installed_is_named(base, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="wandb is not installed: pip install wandb"):
        train(base, EXAMPLES, FEW_STEPS.but(report_to=("wandb",)), tmp_path / "out")
    with pytest.raises(InputError, match=r"'report_to.0' is 'mail', where one of tensorboard, wandb, mlflow"):
        validated(TrainSettings, {"report_to": ("mail",)}, "f")


def test_trackio_makes_no_space_on_the_hub(monkeypatch):
    """transformers has it make one by itself, and public, where a space was logged to."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: SimpleNamespace(origin="somewhere"))
    given = _reporting(FEW_STEPS.but(report_to=("trackio",)))
    assert given.keys() <= {field.name for field in dataclasses.fields(TrainingArguments)}
    assert (given["trackio_static_space_id"], given["hub_private_repo"]) == (False, True)
    assert "trackio_static_space_id" not in _reporting(FEW_STEPS.but(report_to=("mlflow",)))
    assert _reporting(FEW_STEPS) == {"report_to": "none"}


@pytest.mark.parametrize(("pad", "end", "filled"), [(0, 5, 0), (None, 5, 5), (None, None, 0)])
def test_rows_are_filled_up_whatever_tokens_a_tokenizer_has(pad, end, filled):
    assert padding_of(SimpleNamespace(pad_token_id=pad, eos_token_id=end)) == filled


@pytest.mark.parametrize("adapter", [None, AdapterSettings(targets=["q_proj"])])
def test_generation_settings_that_contradict_themselves_are_said_first_and_kept(
    broken, tmp_path, caplog, adapter, monkeypatch
):
    """transformers reads such a file with a warning and refuses to write it."""
    said = {"do_sample": False, "temperature": 0.9, "eos_token_id": 1}
    (broken / "generation_config.json").write_text(json.dumps(said))
    before = []
    monkeypatch.setattr(
        "merging.training.optimise", lambda *args, **kwargs: before.extend(caplog.messages) or []
    )
    out = train(broken, EXAMPLES, FEW_STEPS.but(adapter=adapter), tmp_path / "out")
    assert any("temperature" in message and str(broken) in message for message in before)
    if adapter is None:
        assert json.loads((out / "generation_config.json").read_text()) == said
    assert any(out.glob("*.safetensors"))
