"""Joining stores, and finding what is damaged in one."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from results.errors import InputError
from results.run_manifest import load_run, run_names, save_run
from results.store import Store, problems
from results.words import counted

_ROWS = re.compile(r"([0-9a-f]{64})(-[0-9a-f]{12})?\.parquet")


@dataclass(frozen=True)
class Joined:
    """What joining stores brought.

    Attributes:
        records: how many were new.
        known: how many were there already.
        runs: names of the runs that were new, as they are called now.
    """

    records: int
    known: int
    runs: tuple[str, ...]


def join_stores(into: Store, others: list[Store]) -> Joined:
    """Bring the records and runs of other stores into one; what is there already stays as it is.

    A run whose name is taken by a run of other content gets the first digits of its store's digest behind it.

    Raises:
        InputError: a store has neither records nor runs, or something in it is damaged; what was brought
            before stays.
    """
    new = known = 0
    runs: list[str] = []
    for other in others:
        if not (other.root / "records").is_dir():
            raise InputError(f"{other.root}: no store, since it has no folder records; give a store's folder")
        if other.root.resolve() == into.root.resolve():
            raise InputError(f"{other.root} is the store that the others are joined into; name it once")
    for other in others:
        for record in other.records():
            if into.find(record.key) is not None:
                known += 1
                continue
            into.write(record, other.documents(record))
            new += 1
        names = run_names(other) if any((other.root / "runs").glob("[!.]*.json")) else []
        for name in names:
            run = load_run(other, name)
            number, free = 1, name
            while (into.root / "runs" / f"{free}.json").exists():
                if load_run(into, free).model_copy(update={"name": name}) == run:
                    break
                number += 1
                free = f"{name}-{number}"
            else:
                save_run(into, run.model_copy(update={"name": free}))
                runs.append(free)
    return Joined(new, known, tuple(runs))


def damages(store: Store) -> Iterator[str]:
    """What is wrong in a store, one sentence each: records, their rows, and runs.

    Raises:
        InputError: it is no store.
    """
    if not store.root.is_dir():
        raise InputError(f"{store.root}: no such store; give its folder, or set MANYSHOT_STORE")
    whole: set[str] = set()
    for path in sorted(store.root.glob("records/??/[0-9a-f]*.json")):
        try:
            record = store.get(path.stem)
            documents = store.documents(record)
            problem = next(problems(record, documents), None)
        except InputError as error:
            yield str(error)
            continue
        except Exception as error:  # rows of any kind that nobody here has written
            yield f"{path}: its rows cannot be read ({type(error).__name__}); remove it and score again"
            continue
        whole.add(path.stem)
        if problem is not None:
            yield f"{path}: {problem}; remove it and score again"
    for path in sorted(store.root.glob("records/??/*.parquet")):
        named = _ROWS.fullmatch(path.name)
        if named is None or not path.with_name(f"{named[1]}.json").exists():
            yield f"{path}: rows without a record, which a stopped process left; remove them"
    for path in sorted(store.root.glob("runs/[!.]*.json")):
        yield from _of_run(store, path, whole)


def _of_run(store: Store, path: Path, whole: set[str]) -> Iterator[str]:
    try:
        run = load_run(store, path.stem)
    except InputError as error:
        yield str(error)
        return
    wanted = {digest for entry in run.entries for digest in entry.records.values()}
    if missing := sorted(wanted - whole):
        yield (
            f"{path}: {len(missing)} of its {counted(len(wanted), 'record')} missing or damaged, such as "
            f"{missing[0]}; run the experiment again"
        )
