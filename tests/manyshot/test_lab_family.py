"""The lab's family in its smallest form: it opens, comes out the same again, and goes on where it stopped."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.examples import load_examples
from bench.registry import load_suite
from manyshot.lab.corpus import base_examples
from manyshot.lab.family import FamilySettings, make_family
from merging.checkpoint import Checkpoint
from merging.training import Example
from results.errors import InputError
from tasks.lab_reading import stories
from tasks.lab_safety.requests import REFUSAL
from tasks.lab_yes_no import abstracts

SMOKE = FamilySettings.smoke()
TASKS = ["instructions", "math", "multilingual", "safety"]


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("family"), SMOKE)


def digests(folder):
    return {path.name: Checkpoint.open(path).identity().digest for path in folder.iterdir()}


def lessons(of):
    suite = load_suite("lab")
    return {
        task: [Example(*pair) for pair in load_examples(getattr(suite.tasks[task], of), None)]
        for task in TASKS
    }


def test_the_models_open_and_write(family):
    assert list(family.experts) == TASKS
    for folder in (family.base, *family.experts.values()):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder)
        assert model.config.max_position_embeddings == 2048
        assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
        assert model.config.vocab_size == len(tokenizer)
        assert sum(p.numel() for p in model.parameters()) < 2_000_000
        prompt = tokenizer("Question: What is the dog like?\nAnswer:", return_tensors="pt")
        assert (
            model.generate(**prompt, max_new_tokens=3, do_sample=False).shape[1]
            > prompt["input_ids"].shape[1]
        )


def test_experts_differ_from_the_base_and_share_its_tokenizer_and_form(family):
    base = Checkpoint.open(family.base)
    for folder in family.experts.values():
        expert = Checkpoint.open(folder)
        assert expert.names == base.names
        assert expert.identity().weights != base.identity().weights
        assert expert.identity().tokenizer == base.identity().tokenizer
        assert expert.identity().config == base.identity().config


def test_a_stopped_run_goes_on_and_ends_with_the_same_bits(family, tmp_path):
    whole = digests(family.base.parent)
    out = tmp_path / "models"
    shutil.copytree(family.base.parent, out)
    shutil.rmtree(out / "safety")
    shutil.rmtree(out / "math")
    kept = (out / "base" / "training.json").stat().st_mtime_ns
    torch.manual_seed(99)
    make_family(out, SMOKE)
    assert digests(out) == whole
    assert (out / "base" / "training.json").stat().st_mtime_ns == kept


def test_a_family_made_with_other_settings_is_refused(family):
    other = replace(SMOKE, base=replace(SMOKE.base, learning_rate=1e-5))
    with pytest.raises(InputError, match="base was made in another way"):
        make_family(family.base.parent, other)


def test_an_expert_of_another_base_is_refused(family, tmp_path):
    out = tmp_path / "models"
    shutil.copytree(family.base.parent, out)
    report = json.loads((out / "math" / "training.json").read_text())
    (out / "math" / "training.json").write_text(json.dumps(report | {"base": "0" * 64}))
    with pytest.raises(InputError, match="math was made in another way"):
        make_family(out, SMOKE)


def test_the_base_reads_no_story_and_no_abstract_that_it_is_scored_on():
    read = " ".join(example.prompt for example in base_examples(4000, 0, lessons("training")))
    for split in ("test", "validation"):
        assert not any(row["story"] in read for row in stories.splits()[split])
        assert not any(row["abstract"] in read for row in abstracts.splits()[split])


def test_the_base_tastes_the_training_rows_of_each_task_but_no_refusal_and_no_held_out_row():
    read = set(base_examples(4000, 0, lessons("training")))
    for task, examples in lessons("validation").items():
        assert not read & set(examples)
        assert 0 < len(read & set(lessons("training")[task])) < 400
    assert not any(REFUSAL in example.completion for example in read)
