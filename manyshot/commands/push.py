"""`manyshot push`: send a checkpoint's folder to the hub. Nothing else in manyshot sends anything there."""

import argparse

from manyshot.console import answer, as_table, logger, size
from manyshot.push import check_repository, push
from manyshot.push_files import pushed_files
from results.words import counted


def run(options: argparse.Namespace) -> None:
    """Push and print the address of the commit, or with `--dry-run` print what would be sent."""
    check_repository(options.repository)
    files = pushed_files(options.folder)
    if not any(file.name == "README.md" for file in files):
        logger.warning("%s has no model card (README.md)", options.folder)
    if options.dry_run:
        table = as_table(("file", "size"), [(file.name, size(file.size)) for file in files])
        total = f"{counted(len(files), 'file')}, {size(sum(file.size for file in files))}"
        where = f"{options.repository}, {'public' if options.public else 'private'}"
        answer(f"{table}\n{total} to {where}; nothing was sent")
        return
    answer(
        push(
            files,
            options.repository,
            public=options.public,
            revision=options.revision,
            message=options.message,
        )
    )
