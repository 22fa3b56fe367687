"""`manyshot list`: what there is. What only one list needs is imported there: torch takes seconds."""

import argparse
import textwrap
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bench.benchmark import Benchmark, benchmark_languages
from bench.data import count_rows, data_root, load_rows
from bench.definition import tasks_folder
from bench.engine_registry import engines, find_engine
from bench.examples import ExampleSource
from bench.hub import NoDataError
from bench.prompts import prompts_of
from bench.recorded import recorded_form
from bench.score_settings import ScoreSettings
from bench.suite import Preset, benchmark_names, load_benchmark, load_suite, suite_names
from manyshot.console import answer, as_table
from merging.method_file import class_name
from merging.train_settings import AdapterSettings
from merging.weighting import SIGNALS, Weighting
from results.errors import InputError

_RULE = "─" * 80


def run(options: argparse.Namespace) -> None:
    """Print a table of all, or what is known of one."""
    root = data_root(options.data)
    kinds = {
        "benchmarks": _benchmarks,
        "suites": _suites,
        "methods": _methods,
        "signals": _signals,
        "engines": _engines,
        "experiments": _experiments,
        "tables": _tables,
        "figures": _figures,
    }
    answer(kinds[options.what](options.name, root))


def _tables(name: str | None, _root: Path | None) -> str:
    from reports.tables import TABLES, find_table

    tables = {name: find_table(name)} if name else TABLES
    needs = {"runs": "--run, one for each backbone", "families": "--run of subsets", "signals": "--signals"}
    rows = [
        (name, table.title, needs[table.needs], "yes" if table.paper else "no")
        for name, table in tables.items()
    ]
    return as_table(("table", "what it shows", "ours from", "printed in the paper"), rows)


def _figures(name: str | None, _root: Path | None) -> str:
    from reports.figures import FIGURES, find_figure

    figures = {name: find_figure(name)} if name else FIGURES
    return as_table(("figure", "what it shows"), [(name, figure.about) for name, figure in figures.items()])


def _benchmarks(name: str | None, root: Path | None) -> str:
    if name is None:
        benchmarks = [load_benchmark(each) for each in benchmark_names()]
        rows = [(b.name, b.category, b.metric, *_data(b, root), b.title) for b in benchmarks]
        return as_table(("benchmark", "category", "metric", "rows", "from", "what is asked"), rows)
    benchmark = load_benchmark(name)
    rows_at_hand, source = _data(benchmark, root)
    languages = benchmark_languages(tasks_folder() / benchmark.name) if name in benchmark_names() else ()
    facts = {
        "benchmark": benchmark.name,
        "asks": benchmark.title,
        "category": benchmark.category,
        "metric": f"{benchmark.metric} (filter {benchmark.filter}; "
        f"{'higher' if benchmark.higher_is_better else 'lower'} is better; chance {benchmark.chance:g})",
        "lm-eval tasks": ", ".join(task.name for task in benchmark.tasks),
        "worked examples": ", ".join(map(str, benchmark.num_fewshot)),
        "by language": ", ".join(f"{benchmark.name}_{language}" for language in languages) or "no",
        "answers": "generated" if benchmark.is_generated else "log-likelihoods of choices",
        "recorded outputs": _recorded(benchmark),
        "hub": ", ".join(dict.fromkeys(task.hub for task in benchmark.tasks if task.hub)) or "none",
        "local files": ", ".join(file for task in benchmark.tasks for file in task.files.values()) or "none",
        "rows": f"{rows_at_hand} ({source})",
        "licence": benchmark.licence,
        "paper": benchmark.paper or "none",
    }
    return f"{as_table((), facts.items())}\n\n{_example(benchmark, root)}"


def _recorded(benchmark: Benchmark) -> str:
    if not benchmark.is_generated:
        return "lm-eval's log of samples, with `--engine replay`"
    form = recorded_form(benchmark)
    return f"JSONL with the columns {form.match} and {form.output}, or lm-eval's log of samples"


def _example(benchmark: Benchmark, root: Path | None) -> str:
    """The first document that is asked, as a model sees it."""
    task = benchmark.tasks[0]
    if task.generate is None and root is None:
        return "An example is shown where rows are at hand: name a data root with --data."
    try:
        (first,) = prompts_of(task, load_rows(task, root), ScoreSettings().seed, limit=1)
    except NoDataError as error:
        return f"No example can be shown: {error}."
    lines = [f"The first prompt of {task.name}, between the lines:", _RULE, first.prompt, _RULE]
    if first.choices:
        lines.append("Choices: " + " | ".join(map(repr, first.choices)))
    return "\n".join([*lines, f"Target: {first.target!r}"])


def _suites(name: str | None, root: Path | None) -> str:
    if name is None:
        suites = [load_suite(suite) for suite in suite_names()]
        return as_table(
            ("suite", "tasks", "benchmarks"),
            [(s.name, ", ".join(s.tasks), len(s.benchmarks)) for s in suites],
        )
    suite = load_suite(name)
    rows = [
        (b.name, suite.spec.task_of(b.name) or "forgetting", b.metric, *_data(b, root))
        for b in suite.benchmarks
    ]
    blocks = [suite.title or suite.name, as_table(("benchmark", "task", "metric", "rows", "from"), rows)]
    sources = [
        (task, use, _origin(source), source.split, source.start, source.size or "all")
        for task, of in suite.tasks.items()
        for use, of_use in (("training", of.training), ("validation", of.validation))
        for source in of_use
    ]
    if sources:
        blocks.append(
            as_table(("task", "used for", "examples from", "split", "from row", "at most"), sources)
        )
    if suite.presets:
        presets = [
            (
                name,
                preset.limit or "all",
                _limits(preset),
                ScoreSettings().seed if preset.seed is None else preset.seed,
            )
            for name, preset in suite.presets.items()
        ]
        blocks.append(as_table(("preset", "documents", "apart from", "seed"), presets))
    return "\n\n".join(blocks)


def _origin(source: ExampleSource) -> str:
    if source.generate is not None:
        return "generated"
    return source.hub or ", ".join((source.files or {}).values())


def _limits(preset: Preset) -> str:
    return ", ".join(f"{name}: {limit or 'all'}" for name, limit in preset.limits.items()) or "none"


def _methods(name: str | None, root: Path | None) -> str:
    from manyshot.docs import about_method, setting_rows
    from merging.known_methods import find_method, known_methods

    methods = known_methods()
    if name is None:
        return as_table(
            ("method", "needs", "settings", "paper"),
            [(m.name, m.cost.needed, ", ".join(m.settings) or "none", m.paper) for m in methods.values()],
        )
    method = find_method(name)
    settings = as_table(("setting", "type", "default", "what it is"), setting_rows(method.method_class))
    presets = [
        f"preset {name}: {preset.about}\n    "
        + ", ".join(f"{key}={value}" for key, value in preset.settings.items())
        + f"; weighting {', '.join(f'{key}={value}' for key, value in preset.weighting.items())}"
        for name, preset in method.method_class.presets.items()
    ]
    heading = f"{class_name(method.name)}\n{method.paper}"
    blocks = [heading, about_method(method), str(method.cost)]
    return "\n\n".join([*blocks, *([settings] if method.settings else []), *presets])


def _signals(name: str | None, root: Path | None) -> str:
    if name not in (None, *SIGNALS):
        raise InputError(f"There is no signal '{name}'; there are {', '.join(SIGNALS)}.")
    signals = SIGNALS if name is None else {name: SIGNALS[name]}
    rows = [(signal_name, signal.description) for signal_name, signal in signals.items()]
    return as_table(("signal", "as a weighting of tasks"), rows)


def _experiments(name: str | None, root: Path | None) -> str:
    from manyshot.experiment import SHIPPED, Experiment, ExperimentTraining, MethodEntry

    files = {path.stem: path.read_text(encoding="utf-8") for path in sorted(SHIPPED.glob("*.yaml"))}
    if name is not None:
        if name not in files:
            raise InputError(f"There is no experiment '{name}'; there are {', '.join(files)}.")
        return files[name]
    blocks = [_paragraph(name, text.split("suite:")[0].replace("# ", "")) for name, text in files.items()]
    for heading, model in (
        ("keys of an experiment", Experiment),
        ("of train", ExperimentTraining),
        ("of its adapter", AdapterSettings),
        ("of a method, beside its own settings", MethodEntry),
        ("of its weighting", Weighting),
    ):
        keys = ", ".join(f"{name}{_default(field)}" for name, field in model.model_fields.items())
        blocks.append(_paragraph(heading, keys))
    return "\n\n".join(blocks)


def _paragraph(heading: str, text: str) -> str:
    return f"{heading}\n{textwrap.indent(textwrap.fill(' '.join(text.split()), 96), '    ')}"


def _default(field: Any) -> str:
    if field.is_required() or field.default in (None, ()) or isinstance(field.default, BaseModel):
        return ""
    values = field.default if isinstance(field.default, tuple) else [field.default]
    return f" ({', '.join(map(str, values))})"


def _engines(name: str | None, root: Path | None) -> str:
    blocks = []
    for kind in [find_engine(name)] if name else engines().values():
        lines = [f"{kind.name}: {kind.summary}"]
        if kind.is_usable:
            abilities, package = kind.abilities(), kind.installed
            where = f", on {abilities.runs_on}" if abilities.runs_on else ""
            lines.append(f"  {f'{package} {version(package)}' if package else 'no model'}{where}")
            if not (kind.recorded or kind.served):
                lines += [f"  {'+' if able else '-'} {what}" for what, able in kind.declared.items()]
            lines += [f"  + {ability}" for ability in abilities.can]
            lines += [f"  - {lack}" for lack in abilities.cannot]
        else:
            lines += ["  not installed", f"  - {kind.install}"]
        lines.append(f"  settings: {', '.join(kind.all_settings)}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _data(benchmark: Benchmark, root: Path | None) -> tuple[str, str]:
    """How many rows are at hand, and where from; what would be fetched is named, not fetched."""
    rows, missing = 0, 0
    source = "local files"
    for task in benchmark.tasks:
        if task.generate is None and root is None:
            return "not counted", f"hub: {task.hub}"
        try:
            rows += count_rows(task, root)
        except NoDataError:
            missing += 1
            continue
        source = "generated" if task.generate else "local files"
    if missing == len(benchmark.tasks):
        return "none", f"nothing local; hub: {benchmark.tasks[0].hub}"
    if missing:
        source += f", none for {missing} of {len(benchmark.tasks)} lm-eval tasks"
    return str(rows), source
