"""`manyshot report figure`: names, runs, signals and settings from the command line to a file."""

import pytest
from made_up_comparisons import learned_of, signals_of
from made_up_family import SUITE, Family, hits

from manyshot.cli import main
from results.merge_trace import MergeTrace
from results.run_manifest import RunSettings, save_run
from results.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path):
    """Two runs over pairs of tasks, `lab.math-safety` and `lab.math-multilingual`, with coefficients."""
    family = Family(Store(tmp_path / "store"), [])
    scores = {one.name: hits(16) for one in SUITE.benchmarks} | {"xstest": hits(4)}
    family.add("base", "base", {name: hits(10) for name in scores})
    for task in SUITE.tasks:
        family.add(f"{task} expert", "expert", scores, task=task)
    for scaling in (0.3, 0.5):
        family.add(f"ta {scaling}", "merged", scores, method="ta", settings={"scaling": scaling})
    for tasks in (["math", "multilingual"], ["math", "safety"]):
        run = family.run(SUITE.but(tasks={task: SUITE.tasks[task] for task in tasks}))
        trace = MergeTrace(learned=learned_of(tasks, 3), seconds={"merge": 2.0})
        entries = tuple(
            one.model_copy(update={"trace": trace}) if one.role == "merged" else one for one in run.entries
        )
        about = {
            "name": f"lab.{'-'.join(tasks)}",
            "entries": entries,
            "settings": RunSettings(subsets_of="lab"),
        }
        save_run(family.store, run.model_copy(update=about))
    return family.store.root


@pytest.fixture
def figure(store, tmp_path, capsys):
    """Draws by arguments; gives the SVG's text, or what was said where nothing is drawn."""

    def draw(*arguments):
        out = tmp_path / "figure.svg"
        out.unlink(missing_ok=True)
        try:
            main(["report", "figure", *map(str, arguments), str(out), "--store", str(store)])
        except SystemExit as ended:
            assert ended.code == 2
            return capsys.readouterr().err
        assert capsys.readouterr().out.strip() == str(out)
        return out.read_text()

    return draw


def test_a_run_is_the_latest_or_the_one_that_is_named(figure):
    assert ">safety</text>" in figure("--show", "bars")
    named = figure("--show", "bars", "--run", "lab.math-multilingual")
    assert ">multilingual</text>" in named and ">safety</text>" not in named
    said = figure("--show", "bars", "--run", "lab.math-multilingual", "--run", "lab.math-safety")
    assert said == "manyshot: bars shows one run, and 2 are given; give one --run\n"


def test_several_runs_are_those_that_are_named_or_of_one_name(figure):
    for runs in ([], ["--run", "lab"], ["--run", "lab.math-safety", "--run", "lab.math-multilingual"]):
        assert "2 pairs." in figure("--show", "partners", *runs)
    assert "1 pair." in figure("--show", "partners", "--run", "lab.math-safety")
    assert "(n = 2)" in figure("--show", "subsets", "--run", "lab")


def test_a_setting_is_named(figure):
    assert ">scaling (dashed: the experts)</text>" in figure("--show", "sensitivity", "--setting", "scaling")
    assert "there are several of scaling" in figure("--show", "sensitivity")


def test_signals_are_read_from_their_file(figure, tmp_path):
    file = tmp_path / "signals.json"
    file.write_text(signals_of(2).model_dump_json())
    assert ">JS(expert ‖ model), nats</text>" in figure("--show", "js", "--signals", file)
    assert figure("--show", "js") == (
        "manyshot: js shows signals: give --signals, a file of `manyshot signals --out`\n"
    )


def test_there_is_a_list_and_what_is_not_in_it_is_refused(figure, capsys):
    main(["list", "figures"])
    _, _, *lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["tasks", "performance by task and method, as dots"] in lines
    assert f"no figure 'pie'; there are {', '.join(name for name, _ in lines)}" in figure("--show", "pie")
