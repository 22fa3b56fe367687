"""Merging beside mergekit and beside plain copies of the same bytes, in one run.

    python tests/perf/against_mergekit.py MERGEKIT_YAML [--folder DIR] [--models BASE EXPERT …]

Four experts of 0.5 B random bfloat16 parameters are merged by the command lines of both, one after the other,
each in a process of its own, and the wall time of the whole command and its largest anonymous memory are
compared. Beside the plain copies, which read the five files and write as many bytes as one of them has, stand
the seconds of the merge itself, without the start of the program. Each that mergekit has is measured with
inputs whose digests are kept, as of whatever was merged before, and with all hashed, as at first. The last
rows merge a model with four times as many layers, for the memory alone. About 25 GB of disk are needed. With
--models these are merged, and nothing is made.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import yaml
from family import make_family
from rich.console import Console
from rich.table import Table

EXPERTS = 4
PAIRS = {
    "task arithmetic": ({"name": "task_arithmetic", "scaling": 0.3}, "task_arithmetic", {}),
    "TIES (theirs per tensor)": ({"name": "ties", "density": 0.2}, "ties", {"density": 0.2}),
    "DARE": ({"name": "dare", "drop_rate": 0.8, "scaling": 0.3}, "dare_linear", {"density": 0.2}),
}
ALONE = {
    "Consensus TA": {"name": "consensus_ta"},
    "average": {"name": "average"},
}


@dataclass(frozen=True)
class Measured:
    """Seconds from start to end of a process, and the largest anonymous memory that it had, in bytes.

    For our merges also the seconds that they themselves report, hashing of the inputs included.
    """

    seconds: float
    anonymous: int
    inside: float = 0.0


def measured(command: list[str | Path]) -> Measured:
    """Run a command, looking at its memory a hundred times a second."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], _anonymous(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, errors = process.communicate()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{errors.decode()}")
    return Measured(seconds, peak[0])


def _anonymous(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon")), 0)


def ours(method: dict, family: tuple[Path, dict[str, Path]], work: Path, *flags: str) -> Measured:
    """Merge with manyshot's command line and its flags."""
    base, experts = family
    recipe = {"base": str(base), "experts": {n: str(p) for n, p in experts.items()}, "method": method}
    (work / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    command = [Path(sys.executable).parent / "manyshot", "merge", work / "recipe.yaml", work / "out", *flags]
    seconds = measured(command)
    report = json.loads((work / "out" / "merge.json").read_text())
    shutil.rmtree(work / "out")
    return replace(seconds, inside=sum(report["seconds"].values()))


def theirs(
    program: Path, name: str, each: dict, family: tuple[Path, dict[str, Path]], work: Path
) -> Measured:
    """Merge with mergekit's command line."""
    base, experts = family
    config = {
        "merge_method": name,
        "base_model": str(base),
        "models": [{"model": str(p), "parameters": {"weight": 1.0, **each}} for p in experts.values()],
        "parameters": {"lambda": 0.3, "normalize": False},
        "dtype": json.loads((base / "config.json").read_text())["dtype"],
    }
    (work / "config.yaml").write_text(yaml.safe_dump(config))
    seconds = measured([program, work / "config.yaml", work / "out", "--quiet"])
    shutil.rmtree(work / "out")
    return seconds


def copies(family: tuple[Path, dict[str, Path]], work: Path) -> Measured:
    """Read every file and write as many bytes as the base has."""
    base, experts = family
    files = [folder / "model.safetensors" for folder in (base, *experts.values())]
    script = 'cat "$@" > /dev/null && cp "$1" "$0"'
    seconds = measured(["bash", "-c", script, work / "out", *files])
    (work / "out").unlink()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mergekit", type=Path, help="path of mergekit-yaml")
    parser.add_argument("--folder", type=Path, default=Path("build/perf"), help="where the models are kept")
    parser.add_argument("--models", type=Path, nargs="+", help="a base and experts of one's own")
    options = parser.parse_args()
    os.environ.pop("HF_HUB_OFFLINE", None)  # mergekit's card fails with it
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.models:
        base, *experts = options.models
        family = base, {f"expert {number}": path for number, path in enumerate(experts, 1)}
    else:
        family = make_family(options.folder / "24 layers", EXPERTS)
    table = Table(
        "merge", "s", "theirs", "ratio", "itself, s", "× copies", "anonymous, MB", "theirs", "ratio"
    )
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        work = Path(name)
        # Compiles the loops where that was never done, and brings the files into memory.
        ours(PAIRS["task arithmetic"][0], family, work)
        plain = median(copies(family, work).seconds for _ in range(3))
        table.add_row("plain copies", f"{plain:.1f}", "", "", "", "1.0")
        for title, (method, peer, each) in PAIRS.items():
            mine, other = ours(method, family, work), theirs(options.mergekit, peer, each, family, work)
            table.add_row(title, *_cells(mine, plain, other))
            at_first = ours(method, family, work, "--verify")
            table.add_row(f"{title}, all hashed", *_cells(at_first, plain, other))
        for title, method in ALONE.items():
            table.add_row(title, *_cells(ours(method, family, work), plain))
        if not options.models:
            shutil.rmtree(options.folder / "24 layers")
            deep = make_family(options.folder / "96 layers", EXPERTS, layers=96)
            for title, (method, _, _) in PAIRS.items():
                table.add_row(f"{title}, 96 layers", *_cells(ours(method, deep, work)))
            shutil.rmtree(options.folder / "96 layers")
    Console(width=140).print(table)


def _cells(mine: Measured, plain: float | None = None, other: Measured | None = None) -> list[str]:
    return [
        f"{mine.seconds:.1f}",
        f"{other.seconds:.1f}" if other else "",
        f"{mine.seconds / other.seconds:.2f}" if other else "",
        f"{mine.inside:.1f}",
        f"{mine.inside / plain:.1f}" if plain else "",
        f"{mine.anonymous / 1e6:.0f}",
        f"{other.anonymous / 1e6:.0f}" if other else "",
        f"{mine.anonymous / other.anonymous:.2f}" if other else "",
    ]


if __name__ == "__main__":
    main()
