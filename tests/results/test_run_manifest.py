"""Manifests of runs, and the description of a suite that they carry."""

import os

import pytest
from made_up_family import SUITE, Family, identity

from results.errors import InputError
from results.run_manifest import (
    RunSettings,
    load_family,
    load_run,
    run_names,
    save_run,
    set_aside,
    set_aside_unreadable,
)
from results.suite import BenchmarkSpec, SuiteSpec


def test_a_run_is_read_as_it_was_written(lab: Family) -> None:
    run = lab.run()
    path = save_run(lab.store, run)
    assert path == lab.store.root / "runs" / "first.json"
    assert load_run(lab.store) == run
    assert list(load_run(lab.store).suite.tasks) == list(SUITE.tasks), (
        "the order of tasks is the tables' order"
    )


def test_a_manifest_may_be_rewritten(lab: Family) -> None:
    save_run(lab.store, lab.run())
    save_run(lab.store, lab.run().model_copy(update={"entries": ()}))
    assert load_run(lab.store, "first").entries == ()


def test_the_latest_run_is_the_one_written_last(lab: Family) -> None:
    for age, name in [(10, "b"), (0, "a"), (20, "c")]:
        path = save_run(lab.store, lab.run().model_copy(update={"name": name}))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert load_run(lab.store).name == "a"
    assert load_run(lab.store, "c").name == "c"


def test_a_family_is_all_runs_of_one_experiments_subsets_or_those_that_are_named(lab: Family) -> None:
    names = {"lab": None, "glue.a-b": "glue", "glue.a-c": "glue", "glue-lab.a-b": "glue-lab", "glue.d": None}
    for age, (name, of) in enumerate(names.items()):
        path = save_run(lab.store, lab.run().but(name=name, settings=RunSettings(subsets_of=of)))
        os.utime(path, (1_000_000 - age, 1_000_000 - age))

    def family(*wanted: str) -> list[str]:
        return [run.name for run in load_family(lab.store, wanted)]

    assert sorted(family("glue")) == ["glue.a-b", "glue.a-c"]
    assert family("glue.a-c", "lab") == ["glue.a-c", "lab"]
    assert family() == ["lab"]  # the latest, which is of no family
    os.utime(lab.store.root / "runs" / "glue.a-c.json")
    assert family() == ["glue.a-b", "glue.a-c"]
    with pytest.raises(InputError, match=r"no run 'glu'; there are glue-lab\.a-b"):
        family("glu")


def test_what_is_not_there_or_broken_is_named(lab: Family) -> None:
    with pytest.raises(InputError, match="no runs"):
        load_run(lab.store)
    path = save_run(lab.store, lab.run())
    with pytest.raises(InputError, match="no run 'second'; there are first"):
        load_run(lab.store, "second")
    path.write_text('{"name": "first"}')
    with pytest.raises(InputError, match=r"first\.json"):
        load_run(lab.store)


@pytest.mark.parametrize("name", ["", "../escape", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_file_name_is_refused(lab: Family, name: str) -> None:
    with pytest.raises(InputError, match="run name"):
        save_run(lab.store, lab.run().model_copy(update={"name": name}))


def test_a_suite_knows_which_task_a_benchmark_measures() -> None:
    assert [benchmark.name for benchmark in SUITE.benchmarks] == [
        "gsm8k",
        "m_mmlu",
        "m_arc",
        "xstest",
        "coqa",
    ]
    assert SUITE.task_of("m_arc") == "multilingual"
    assert SUITE.task_of("coqa") is None
    with pytest.raises(InputError, match="no benchmark ifeval"):
        SUITE.task_of("ifeval")


def test_a_suite_without_tasks_or_with_a_benchmark_twice_is_refused() -> None:
    one = BenchmarkSpec(name="gsm8k", metric="acc")
    with pytest.raises(InputError, match="no tasks"):
        SuiteSpec(name="s", tasks={})
    with pytest.raises(InputError, match="task math has no benchmarks"):
        SuiteSpec(name="s", tasks={"math": ()})
    with pytest.raises(InputError, match="gsm8k is named twice"):
        SuiteSpec(name="s", tasks={"math": (one,)}, forgetting=(one,))


def test_a_run_of_other_experts_is_set_aside_and_one_that_went_on_is_not(lab: Family) -> None:
    save_run(lab.store, lab.run())
    assert set_aside(lab.store, lab.run().model_copy(update={"entries": lab.run().entries[:-1]})) is None
    others = [
        one.model_copy(update={"checkpoint": identity("another")}) if one.role == "base" else one
        for one in lab.entries
    ]
    run = lab.run().model_copy(update={"entries": tuple(others)})
    name = set_aside(lab.store, run)
    save_run(lab.store, run)
    assert name is not None and set(run_names(lab.store)) == {"first", name}
    assert load_run(lab.store, name).entries == lab.run().entries


def test_a_manifest_that_cannot_be_read_is_moved_and_kept(lab: Family) -> None:
    assert set_aside_unreadable(lab.store, "first") is None
    path = save_run(lab.store, lab.run())
    assert set_aside_unreadable(lab.store, "first") is None and path.exists()
    for number in (1, 2):
        path.write_text(f"broken {number}")
        moved = set_aside_unreadable(lab.store, "first")
        assert moved is not None and moved.read_text() == f"broken {number}" and not path.exists()
    save_run(lab.store, lab.run())
    assert run_names(lab.store) == ["first"]
