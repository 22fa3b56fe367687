"""The lab's suite as bench reads it."""

from bench.examples import load_examples
from bench.suite import load_suite
from tasks.lab_math import problems


def test_the_suite_has_four_tasks_and_two_benchmarks_that_watch_forgetting():
    suite = load_suite("lab")
    assert list(suite.tasks) == ["instructions", "math", "multilingual", "safety"]
    assert [benchmark.name for benchmark in suite.forgetting] == ["lab_reading", "lab_yes_no"]
    assert {b.name: len(b.tasks) for b in suite.benchmarks}["lab_multilingual"] == 3


def test_every_task_has_training_and_validation_examples_that_differ():
    for task in load_suite("lab").tasks.values():
        training, validation = (load_examples(source, None) for source in (task.training, task.validation))
        assert len(training) >= 1000 and len(validation) >= 100
        assert not set(training) & set(validation)


def test_examples_have_the_form_of_the_benchmark_prompts():
    training = load_suite("lab").tasks["math"].training
    row = problems.splits()["train"][0]
    assert load_examples(training, None)[0] == (f"Question: {row['question']}\nAnswer:", f" {row['answer']}")
