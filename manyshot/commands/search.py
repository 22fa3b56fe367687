"""`manyshot search`: search for the best merge on validation data, within a budget."""

import argparse
import json
from pathlib import Path

from bench.data import data_root
from manyshot.commands.run import make_homemade
from manyshot.console import answer, logger
from manyshot.experiment import HOMEMADE
from manyshot.run import RunContext
from manyshot.workers.cluster import Workers, has_gpu, open_workers
from merging.checkpoints.kept_digests import keeping_digests
from results.errors import InputError
from results.store import Store, store_root


def run(options: argparse.Namespace) -> None:
    """Search, and print the table."""
    with (
        keeping_digests(store_root(options.store) / "digests", verify=options.verify),
        open_workers(options.workers, options.ray) as workers,
    ):
        _search(options, workers)


def _search(options: argparse.Namespace, workers: Workers | None) -> None:
    from manyshot.search.file import Search, load_search
    from manyshot.search.run import run_search
    from reports.tables.search import search_table
    from reports.writers import write

    search = load_search(options.file)
    name = options.file.stem
    out = options.out or Path("manyshot-runs") / name
    base = search.experiment.base
    if base in HOMEMADE and not (Path(base) / "config.json").exists():
        logger.info("making the base of %s, or finding it made", base)
        made = make_homemade(base, out / "models" / base, data_root(options.data))
        search = Search(search.settings, search.experiment.model_copy(update={"base": str(made)}))
    if workers is not None:
        engine = workers.settle(search.experiment.engine)
        if engine.device.startswith("cuda") and not has_gpu():
            raise InputError(
                "A search trains and scores its experts and scores the winner in this process, which has no "
                "GPU as the workers have: start it where there is one."
            )
        search = Search(search.settings, search.experiment.model_copy(update={"engine": engine}))
    store, root = Store(store_root(options.store)), data_root(options.data)
    context = RunContext(store, out, root, skip_missing=options.skip_missing, workers=workers)
    finished = run_search(search, name, context, options.choose)
    if options.json:
        answer(json.dumps(finished.report.model_dump(mode="json"), indent=2))
        return
    answer(write(search_table(finished.report), "terminal"))
    answer("\n".join(f"wrote {file}" for file in finished.files))
