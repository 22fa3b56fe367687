"""`manyshot store`: join stores, and find what is damaged in one."""

import argparse

from manyshot.console import answer
from results.errors import InputError
from results.store import Store, store_root
from results.store_check import damages, join_stores
from results.words import counted


def run(options: argparse.Namespace) -> None:
    """Join or check, and say what was found.

    Raises:
        InputError: something is damaged.
    """
    if options.kind == "merge":
        into, *others = [Store(store_root(path)) for path in options.stores]
        if not others:
            raise InputError("Name the store that others are joined into, and at least one other.")
        joined = join_stores(into, others)
        answer(
            f"{counted(joined.records, 'record')} and {counted(len(joined.runs), 'run')} brought into "
            f"{into.root}; {counted(joined.known, 'record')} were there"
        )
        return
    store, found = Store(store_root(options.store)), 0
    for sentence in damages(store):
        answer(sentence)
        found += 1
    if found:
        raise InputError(f"{store.root}: {counted(found, 'damage')}; see the lines above.")
    answer(f"{store.root}: nothing is damaged")
