"""The comparison of tests/perf/against_lm_eval_tasks.py finds lm-eval's numbers, and what differs."""

import pytest
from against_lm_eval_tasks import TASKS, LmEval, agree, compare, table
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from lm_eval_folder import write_rows
from local_task_rows import write_root
from tiny import tiny_llama

from bench.definition import packaged_tasks
from bench.engine import EngineSettings
from bench.lm_eval_tasks.benchmarks import LmEvalTasks
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from results.store import Store

ASKED = {asked.name: asked for asked in TASKS}
FOLDERS = {"mmlu_social_sciences": "mmlu/default", "wikitext": "wikitext", "triviaqa": "triviaqa"}


@pytest.fixture
def rows(tmp_path):
    """A root with a few made-up rows in the columns of the local data, and what the tasks make of them."""
    (group,) = LmEvalTasks().benchmarks(["mmlu_social_sciences"])
    questions = [
        {"question": f"how many {n}", **{f"option_{letter}": f"{n} {letter}" for letter in "abcd"},
         "answer": "ABCD"[n % 4], "subject": task.config["dataset_name"]}
        for task in group.tasks
        for n in range(2)
    ]  # fmt: skip
    root = tmp_path / "root"
    write_rows(root / "global_mmlu/dev_en.jsonl", questions)
    lines = [" = apples = \n", " many apples are left \n", " = hello = \n", " no , how many ? \n"]
    write_rows(root / "text/wikitext2/test.jsonl", [{"text": line} for line in lines])
    asked = [{"question": f"how many {n}?", "answers": {"text": ["yes", "no", "no"]}} for n in range(8)]
    write_rows(root / "squad_v1_dev_subset/validation.jsonl", asked)
    (tmp_path / "rows").mkdir()
    return write_root(root, tmp_path / "rows", [ASKED[name].make for name in FOLDERS])


def compared(name, rows, tmp_path, ours, theirs):
    place = {"dtype": "float32", "device": "cpu"}
    lm = HFLM(pretrained=str(theirs), batch_size=2, softmax_dtype="float64", **place)
    manager = TaskManager(include_defaults=False, include_path=str(packaged_tasks() / FOLDERS[name]))
    settings = ScoreSettings(engine=EngineSettings(name="hf", **place), limit=2)
    scorer = Scorer(settings, Store(tmp_path / "store"), rows)
    checkpoint = ScoredCheckpoint.open(str(ours))
    return compare(ASKED[name], scorer, checkpoint, LmEval(lm, manager), new_tokens=4)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_metric_is_lm_evals(name, rows, tmp_path):
    llama = tiny_llama(tmp_path / "llama", width=64)
    found = compared(name, rows, tmp_path, llama, llama)
    assert not found.differing
    assert found.documents == len(found.benchmark.tasks) * 2
    assert len(found.metrics) == {"mmlu_social_sciences": 13, "wikitext": 3, "triviaqa": 1}[name]
    assert len(found.answers) == (2 if name == "triviaqa" else 0)
    assert all(ours == theirs and ours for ours, theirs in found.answers)
    assert table([found]).row_count == 1


def test_another_model_differs(rows, tmp_path):
    one, other = (tiny_llama(tmp_path / str(seed), seed, width=64) for seed in (0, 1))
    found = compared("wikitext", rows, tmp_path, one, other)
    assert len(found.differing) == len(found.metrics) == 3
    assert found.largest > 0.1
    found = compared("triviaqa", rows, tmp_path, one, other)
    assert found.same_answers == "0 of 2" and len(found.differing) == 2


@pytest.mark.parametrize(
    "name, ours, theirs, same",
    [
        ("a/acc,none", 0.5, 0.5 + 9e-7, True),
        ("a/acc,none", 0.5, 0.5 + 2e-6, False),
        ("a/acc,none", 0.5, None, False),
        ("a/acc,none", None, 0.5, False),
        ("a/perplexity,none", 100.0, 100.0 + 9e-5, True),
        ("a/word_perplexity,none", 100.0, 100.0 + 2e-4, False),
    ],
)
def test_numbers_agree_within_1e_6(name, ours, theirs, same):
    assert agree(name, ours, theirs) is same
