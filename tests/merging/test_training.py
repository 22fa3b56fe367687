"""Training: deterministic, atomic, and deaf to prompts where only completions are to be learned."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from manyshot.lab.tokenizer import build_tokenizer
from merging.checkpoint import Checkpoint
from merging.training import IGNORED, Example, TrainSettings, collate, encode, train
from results.errors import InputError

EXAMPLES = [Example(f"say {word}:", f" {word} {word}") for word in ("red", "blue", "green", "grey")] * 4
FEW_STEPS = TrainSettings(max_steps=3, batch_size=4, learning_rate=1e-2, cpu=True)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training") / "base"
    tokenizer = build_tokenizer([e.prompt + e.completion for e in EXAMPLES], max_length=64)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


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
    assert report["settings"] == vars(FEW_STEPS)
    assert report["base"] == Checkpoint.open(base).identity().digest
    assert report["used"] == len(EXAMPLES) and report["left_out"] == 0
    assert [step for step, _ in report["loss"]] == [1, 2, 3]
    assert (out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert {p.dtype for p in AutoModelForCausalLM.from_pretrained(out).parameters()} == {torch.float32}
    assert [path.name for path in out.parent.iterdir()] == ["expert"]


def test_training_learns(base, tmp_path):
    settings = TrainSettings(max_steps=60, batch_size=8, learning_rate=1e-2, cpu=True)
    report = json.loads((train(base, EXAMPLES, settings, tmp_path / "out") / "training.json").read_text())
    assert report["loss"][0][1] > 2
    assert report["loss"][-1][1] < 0.5


def test_nothing_is_printed_to_stdout_and_progress_goes_to_stderr(base, tmp_path, capfd):
    train(base, EXAMPLES, FEW_STEPS, tmp_path / "expert")
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "expert" in captured.err and "3/3" in captured.err


def test_a_failure_while_writing_leaves_nothing_behind(base, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise OSError("disk full")

    monkeypatch.setattr("merging.training.shutil.copyfile", fail)
    with pytest.raises(OSError, match="disk full"):
        train(base, EXAMPLES, FEW_STEPS, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


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


def test_completion_loss_has_labels_on_the_completion_and_the_end_only(tokenizer):
    row = encode(tokenizer, Example("say red:", " red red"), TrainSettings())
    learned = [i for i, label in zip(row["input_ids"], row["labels"], strict=True) if label != IGNORED]
    assert tokenizer.decode(learned) == " red red</s>"
    assert tokenizer.decode(row["input_ids"]) == "say red: red red</s>"


def test_text_loss_has_labels_everywhere(tokenizer):
    row = encode(tokenizer, Example("say red:", " red red"), TrainSettings(loss="text"))
    assert row["labels"] == row["input_ids"]


def test_the_loss_of_a_batch_does_not_depend_on_prompt_labels_or_padding(base, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(base)
    row = encode(tokenizer, EXAMPLES[0], TrainSettings())
    long = encode(tokenizer, Example("say red say red say red:", ""), TrainSettings())
    long["labels"] = [IGNORED] * len(long["labels"])
    logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
    targets = torch.tensor(row["input_ids"][1:])
    learned = torch.tensor(row["labels"][1:]) != IGNORED
    expected = -logits[torch.arange(len(targets)), targets][learned].mean()
    batch = collate([row, long], tokenizer.pad_token_id)
    assert batch["attention_mask"].sum().item() == len(row["input_ids"]) + len(long["input_ids"])
    torch.testing.assert_close(model(**batch).loss, expected, rtol=1e-5, atol=1e-6)
