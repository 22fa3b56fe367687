"""The lab's base in its smallest form: it opens, comes out the same again, and is kept."""

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.engine import EngineSettings, GenerationRequest
from bench.engine_registry import open_engine
from bench.examples import load_examples
from bench.suite import load_suite
from manyshot.lab.base import BaseSettings, make_base
from manyshot.lab.corpus import base_examples
from manyshot.lab.glue import GlueSettings, make_glue_base
from manyshot.lab.t5 import T5Settings, make_t5_base
from merging.checkpoints.checkpoint import Checkpoint
from merging.examples import Example
from results.errors import InputError
from tasks.lab_reading import stories
from tasks.lab_safety.requests import REFUSAL
from tasks.lab_yes_no import abstracts

pytestmark = pytest.mark.slow

SMOKE = BaseSettings.smoke()
TASKS = ["instructions", "math", "multilingual", "safety"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("lab") / "base", SMOKE)


def lessons(of):
    suite = load_suite("lab")
    return {
        task: [Example(*pair) for pair in load_examples(getattr(suite.tasks[task], of), None)]
        for task in TASKS
    }


def test_the_base_opens_and_writes(base):
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base)
    assert model.config.max_position_embeddings == 2048
    assert model.config.eos_token_id == model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.vocab_size == len(tokenizer)
    assert sum(p.numel() for p in model.parameters()) < 2_000_000
    prompt = tokenizer("Question: What is the dog like?\nAnswer:", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert written.shape[1] > prompt["input_ids"].shape[1]


def test_the_same_settings_give_the_same_bits(base, tmp_path):
    torch.manual_seed(99)
    again = make_base(tmp_path / "base", SMOKE)
    assert Checkpoint.open(again).identity() == Checkpoint.open(base).identity()


def test_a_base_that_is_there_is_kept(base):
    made = (base / "training.json").stat().st_mtime_ns
    assert make_base(base, SMOKE) == base
    assert (base / "training.json").stat().st_mtime_ns == made


def test_a_base_made_with_other_settings_is_refused(base):
    with pytest.raises(InputError, match="base was made in another way"):
        make_base(base, replace(SMOKE, training=SMOKE.training.but(learning_rate=1e-5)))


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


def test_the_other_families_bases_are_whole_models_that_answer(data, tmp_path):
    bases = {
        "glue": make_glue_base(tmp_path / "glue", data, GlueSettings.smoke()),
        "t5": make_t5_base(tmp_path / "t5", T5Settings.smoke()),
    }
    for name, base in bases.items():
        engine = open_engine(base, EngineSettings(name="hf", dtype="float32", device="cpu"))
        assert engine.is_encoder_decoder == (name == "t5")
        request = GenerationRequest(engine.tokenizer.encode("Question: How many apples?\nAnswer:"), 3)
        assert len(engine.generate([request])) == 1
        engine.close()
    before = (bases["t5"] / "model.safetensors").stat().st_mtime_ns
    make_t5_base(bases["t5"], T5Settings.smoke())
    assert (bases["t5"] / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="made in another way"):
        make_t5_base(bases["t5"], replace(T5Settings.smoke(), seed=1))
