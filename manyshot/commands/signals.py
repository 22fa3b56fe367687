"""`manyshot signals`: signals of a base and its experts."""

import argparse
import json

from bench.data import data_root
from bench.engine import EngineSettings
from bench.engine_registry import choose_engine, refuse_served
from bench.score_settings import ScoreSettings
from bench.scored_checkpoint import ScoredCheckpoint
from bench.scoring import Scorer
from bench.signals import ValidationSignals
from bench.suite import load_suite
from manyshot.console import answer
from manyshot.flags import given, settings_of
from manyshot.score_checkpoints import score_settings, shown_progress
from manyshot.signal_reports import by_task, measure
from merging.chat import ChatSettings
from merging.checkpoints.kept_digests import keeping_digests
from merging.signals import ContinuationSettings
from reports.figures.signals import signal_figures
from reports.tables.signals import signals_text
from results.signal_report import KINDS
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Measure, and print tables or JSON; draw heat maps where a folder is named."""
    folder = store_root(options.store) / "digests"
    with keeping_digests(folder, verify=options.verify):
        _signals(options)


def _signals(options: argparse.Namespace) -> None:
    suite = load_suite(options.suite)
    experts = by_task(suite, options.experts)
    wanted = settings_of(options, EngineSettings)
    refuse_served(wanted, "Signals are measured of")
    engine = choose_engine(wanted, [ScoredCheckpoint.open(options.base).path])
    settings = score_settings(
        suite,
        options.preset,
        engine,
        chat=settings_of(options, ChatSettings),
        **given(options, ScoreSettings),
    )
    scorer = Scorer(settings, Store(store_root(options.store)), data_root(options.data))
    signals = ValidationSignals(
        scorer, suite, data_root(options.data), limit=options.inputs, progress=shown_progress
    )
    continued = settings_of(options, ContinuationSettings, inputs=options.inputs)
    try:
        scorer.chat_forms.check(
            [ScoredCheckpoint.open(str(path)) for path in (options.base, *experts.values())]
        )
        report = measure(
            signals, suite, options.base, experts, settings=continued, over=options.loss, score=options.score
        )
    finally:
        scorer.close()
    text = json.dumps(report.model_dump(mode="json"), indent=2)
    answer(text if options.json else signals_text(report))
    if options.out is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for picture in options.out.glob("*.png"):
            if picture.stem in {*KINDS, "cosines", "correlation"}:
                picture.unlink()  # one of other signals would lie beside these
        (options.out / "signals.json").write_text(f"{text}\n")
        files = signal_figures(report, options.out)
        if not options.json:
            answer("\n".join(f"wrote {file}" for file in [options.out / "signals.json", *files]))
