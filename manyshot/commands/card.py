"""`manyshot card`: write a checkpoint's scores into its folder, where the hub and its readers find them."""

import argparse

from manyshot.console import answer
from manyshot.published_scores import published_scores
from manyshot.score_card import write_scores
from merging.checkpoints.adapted import open_checkpoint
from results.errors import InputError
from results.store import Store, store_root
from results.words import counted


def run(options: argparse.Namespace) -> None:
    """Write the scores, and print the files."""
    folder, root = options.folder, store_root(options.store)
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; a card is written into a checkpoint's folder.")
    if not root.is_dir():
        raise InputError(f"{root}: no such store; give its folder with --store, or set MANYSHOT_STORE.")
    scores = published_scores(open_checkpoint(folder).identity(), Store(root))
    if not scores:
        raise InputError(
            f"The store {root} has no score of {folder} under this or another name; score it first: "
            f"manyshot score --suite SUITE --store {root} {folder}"
        )
    files = write_scores(folder, scores)
    answer("\n".join([counted(len(scores), "score"), *map(str, files)]))
