"""METIS's experiment trains as the released code does: beside transformers' Trainer, set up as it sets it up.

The reference is built here of rows, `datasets`, `peft` and `Trainer` alone. It is told what is known of the
released code (LoRA, learning rate, batch, cut-off, seed) and leaves all else at the Trainer's defaults.
"""

import json

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tiny import llama
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    set_seed,
)

from bench.examples import load_shares
from bench.suite import load_suite
from manyshot.experiment import find_experiment, load_experiment
from manyshot.lab.tokenizer import build_tokenizer
from merging.examples import Example
from merging.training import train

pytestmark = pytest.mark.slow

SEED, VALIDATION, TRAINING = 1234, 200, 77  # nine whole batches of 8 and one of 5
ROWS = [
    {
        "messages": [
            {"content": f"Repeat the number {n} as often as you can. \n"},
            {"content": " ".join([str(n)] * (700 if n % 50 == 0 else 1 + n % 7))},
        ]
    }
    for n in range(VALIDATION + TRAINING)
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("released") / "base"
    words = [f"{row['messages'][0]['content']}\nAnswer: \n\n{n}" for n, row in enumerate(ROWS)]
    tokenizer = build_tokenizer(words, max_length=2048)
    torch.manual_seed(0)
    llama(tokenizer, max_length=2048, width=32, initializer_range=0.5).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """What the experiment and its suite say of one task: its settings, and the examples of one round."""
    root = tmp_path_factory.mktemp("rows")
    (root / "training").mkdir()
    lines = "\n".join(map(json.dumps, ROWS))
    (root / "training" / "tulu_3_personas_if.jsonl").write_text(lines)
    experiment = load_experiment(find_experiment("metis"))
    (seed,) = experiment.seeds
    pairs = load_shares(load_suite("metis").tasks["instruction"].training, root, experiment.train.examples)
    settings = experiment.train.one_round_settings.but(seed=seed, cpu=True)
    return settings, [Example(*pair) for pair in pairs]


def released_texts():
    rows = Dataset.from_list(ROWS).shuffle(seed=SEED).select(range(VALIDATION, len(ROWS)))
    return [
        row["messages"][0]["content"].rstrip() + "\nAnswer: " + row["messages"][1]["content"] + "\n\n"
        for row in rows
    ]


def released_trainer(base, folder, epochs):
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [tokenizer(text, truncation=True, max_length=512) for text in released_texts()]
    set_seed(SEED)
    adapter = LoraConfig(
        r=16,
        lora_alpha=16,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj"],
        task_type="CAUSAL_LM",
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=8,
        learning_rate=3e-4,
        seed=SEED,
        use_cpu=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return Trainer(
        model=get_peft_model(AutoModelForCausalLM.from_pretrained(base), adapter),
        args=arguments,
        train_dataset=[{"input_ids": row["input_ids"]} for row in rows],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False),
    )


class Steps:
    """What a Trainer is fed: of every step the ids that count, the labels, the learning rate and the loss."""

    def __init__(self, patch):
        self.ids, self.labels, self.rates, self.losses = [], [], [], []
        step = Trainer.training_step

        def watched(trainer, model, inputs, *more, **others):
            counts = inputs["attention_mask"].bool()
            self.ids.append([row[own].tolist() for row, own in zip(inputs["input_ids"], counts, strict=True)])
            self.labels.append([row[own].tolist() for row, own in zip(inputs["labels"], counts, strict=True)])
            assert (inputs["labels"][~counts] == -100).all()
            self.rates.append(trainer.optimizer.param_groups[0]["lr"])
            loss = step(trainer, model, inputs, *more, **others)
            self.losses.append(loss.item())
            return loss

        patch.setattr(Trainer, "training_step", watched)


@pytest.fixture(scope="module")
def released(base, tmp_path_factory):
    """The reference's steps and model, after one pass (a round) and after two (a post-hoc training)."""
    found = {}
    for epochs in (1, 2):
        with pytest.MonkeyPatch.context() as patch:
            trainer = released_trainer(base, tmp_path_factory.mktemp("trainer"), epochs)
            steps = Steps(patch)
            trainer.train()
        found[epochs] = steps, trainer.model.eval()
    return found


def test_the_texts_are_the_released_codes(ours):
    _, examples = ours
    assert [one.prompt + one.completion for one in examples] == released_texts()


# The second round is a new Trainer's, and in the first's order; a longer training's second pass has its own.
@pytest.mark.parametrize("passes", [{"epochs": 1}, {"epochs": 1, "first_epoch": 1}, {"epochs": 2}])
def test_every_step_is_the_trainers(base, ours, released, tmp_path, passes):
    settings, examples = ours
    epochs = passes["epochs"]
    with pytest.MonkeyPatch.context() as patch:
        steps = Steps(patch)
        out = train(base, examples, settings.but(**passes), tmp_path / "expert")
    expected, model = released[epochs]
    assert len(steps.ids) == 10 * epochs and len(steps.ids[9]) == 5
    assert max(len(row) for batch in steps.ids for row in batch) == 512
    assert steps.ids == expected.ids
    assert steps.labels == steps.ids == expected.labels  # the loss is on all tokens
    assert steps.rates == expected.rates
    falling = [3e-4 * (1 - done / len(steps.ids)) for done in range(len(steps.ids))]
    assert steps.rates == pytest.approx(falling, rel=1e-9)
    assert steps.losses == pytest.approx(expected.losses, abs=1e-5)
    assert loss_after(trained(base, out), base) == pytest.approx(loss_after(model, base), abs=1e-5)
    assert loss_after(model, base) < loss_after(AutoModelForCausalLM.from_pretrained(base), base) - 1e-3
    assert (expected.ids[:10] != expected.ids[10:]) or epochs == 1


def trained(base, adapter):
    return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()


def loss_after(model, base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    with torch.inference_mode():
        losses = [
            model(**(row := tokenizer(text, return_tensors="pt")), labels=row["input_ids"]).loss.item()
            for text in released_texts()[:16]
        ]
    return sum(losses) / len(losses)
