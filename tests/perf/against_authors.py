"""Seconds of spectral merges beside their authors' functions, and how far the results are apart.

    git clone https://github.com/danielm1405/iso-merging
    python tests/perf/against_authors.py iso-merging [--layers 4] [--folder DIR]

Four experts and a base of random weights in the shapes of Qwen2.5-0.5B. Of the authors' (TSV-M, Iso-C and
Iso-CTS, all of that repository) only the function is timed that merges the matrices of transformer blocks,
which lie in memory in float32; of ours the whole merge from files in bfloat16 to a file, embeddings and norms
included. Both have the same threads. Theirs is left as it is.
"""

import argparse
import contextlib
import importlib.util
import io
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from family import make_family
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from merging.merge import merge
from merging.recipe import Recipe

ASKED = 0.5


def loaded(path: Path) -> ModuleType:
    """A file of the authors' as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def matrices(folder: Path) -> dict[str, torch.Tensor]:
    """The matrices of transformer blocks, in float32."""
    weights = load_file(folder / "model.safetensors")
    return {name: one.float() for name, one in weights.items() if one.dim() == 2 and ".layers." in name}


def theirs(
    function: Callable[..., Any], vectors: list[SimpleNamespace]
) -> tuple[float, dict[str, torch.Tensor]]:
    """Seconds of a function of the authors', and what it makes of task vectors."""
    config = SimpleNamespace(
        device="cpu", DATASETS=[str(i) for i in range(len(vectors))],
        method=SimpleNamespace(common_space_fraction=0.8),
    )  # fmt: skip
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        found = function(vectors, config)
    return time.perf_counter() - started, found


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("authors", type=Path, help="a checkout of their repository")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--folder", type=Path, help="for the family; what is there is kept")
    parser.add_argument("--method", action="append", choices=("TSV-M", "Iso-C", "Iso-CTS"))
    options = parser.parse_args()
    tsv = loaded(options.authors / "src/utils/TSVM_utils.py").compute_and_sum_svd_mem_reduction
    iso = loaded(options.authors / "src/utils/iso.py")
    compared: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
        ("TSV-M", tsv, {"name": "tsv_merge"}),
        ("Iso-C", iso.iso_c, {"name": "iso"}),
        ("Iso-CTS", iso.iso_cts, {"name": "iso", "common": 0.8}),
    ]
    table = Table("method", "theirs, s", "ours, s", "ratio", "asked", "apart, of the norm")
    with tempfile.TemporaryDirectory() as scratch:
        base, experts = make_family(options.folder or Path(scratch) / "family", layers=options.layers)
        start = matrices(base)
        vectors = [
            SimpleNamespace(vector={name: one - start[name] for name, one in matrices(path).items()})
            for path in experts.values()
        ]
        for title, function, method in compared:
            if options.method and title not in options.method:
                continue
            try:
                seconds, expected = theirs(function, vectors)
            except torch.linalg.LinAlgError:  # of a matrix that LAPACK's float32 cannot decompose
                seconds, expected = math.nan, {}
            recipe = Recipe(base=base, experts=experts, method=method)
            started = time.perf_counter()
            merge(recipe, Path(scratch) / title, progress=False)
            own = time.perf_counter() - started
            exact = recipe.model_copy(update={"output_dtype": "float32"})
            merged = matrices(merge(exact, Path(scratch) / f"{title} in float32", progress=False))
            distances = (
                float((merged[name] - start[name] - one).norm() / one.norm())
                for name, one in expected.items()
            )
            apart = max(distances, default=math.nan)
            table.add_row(
                title, f"{seconds:.1f}", f"{own:.1f}", f"{own / seconds:.2f}", str(ASKED), f"{apart:.1e}"
            )
    threads = torch.get_num_threads()
    Console(width=110).print(f"{options.layers} layers, {threads} threads", table)


if __name__ == "__main__":
    main()
