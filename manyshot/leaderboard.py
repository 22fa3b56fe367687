"""The leaderboard of some stores, as a page."""

from collections.abc import Sequence
from pathlib import Path

from manyshot.console import logger


def write_leaderboard(stores: Sequence[Path], out: Path, runs: Sequence[str] = ()) -> Path:
    """Write the page of the runs of some stores; return its file.

    Raises:
        InputError: as `arrange` and `write_page` do.
    """
    from reports.leaderboard.kept import KeptRanks, KeptRuns
    from reports.leaderboard.page import write_page
    from results.leaderboard import arrange

    kept = KeptRuns(lambda run: logger.info("comparing %s", run))
    ranks = KeptRanks(stores[0])
    board = arrange(kept.read, stores, runs, ranks.rank)
    ranks.save()
    return write_page(board, out)
