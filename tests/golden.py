"""Results as they were when a version was last raised: what is kept under a version must stay what it gives.

A test computes a result and calls `check`. Where the result has changed, the version that is part of the kept
things' key has to be raised, so that what other code made is not taken for the same. Then
`MANYSHOT_WRITE_GOLDEN=1 pytest tests/…` writes the new result; under the same version it writes nothing over.
"""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "golden_results"
TOLERANCE = 2e-5


def check(name: str, version: int, result: Any, folder: Path = FOLDER) -> None:
    """Compare a JSON value, of numbers up to rounding, with the one that is kept for its version."""
    file = folder / f"{name}.json"
    result = json.loads(json.dumps(result))
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
    if (kept is None or kept["version"] < version) and os.environ.get("MANYSHOT_WRITE_GOLDEN"):
        kept = {"version": version, "result": result}
        folder.mkdir(exist_ok=True)
        file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    elif kept is not None and kept["version"] == version and isinstance(result, dict):
        new = {key: value for key, value in result.items() if key not in kept["result"]}
        if new and os.environ.get("MANYSHOT_WRITE_GOLDEN"):  # what is added changes nothing that was kept
            kept["result"].update(new)
            file.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        elif new:
            pytest.fail(f"{file.name} lacks {', '.join(new)}: write it with MANYSHOT_WRITE_GOLDEN=1")
    if kept is None or kept["version"] != version:
        found = "missing" if kept is None else f"of version {kept['version']}"
        pytest.fail(f"{file.name} is {found}: write it with MANYSHOT_WRITE_GOLDEN=1 for version {version}")
    if different := difference(kept["result"], result):
        pytest.fail(f"{name}: {different}; raise the version, or results of other code count as the same")


def difference(kept: Any, found: Any, at: str = "") -> str | None:
    """Where and how two JSON values differ; None where they are the same but for rounding."""
    if isinstance(kept, dict) and isinstance(found, dict) and kept.keys() == found.keys():
        parts = [difference(kept[key], found[key], f"{at}.{key}") for key in kept]
    elif isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        parts = [difference(a, b, f"{at}[{i}]") for i, (a, b) in enumerate(zip(kept, found, strict=True))]
    elif isinstance(kept, float | int) and isinstance(found, float | int):
        same = np.isclose(kept, found, rtol=TOLERANCE, atol=TOLERANCE)
        return None if same else f"{at} was {kept} and is {found}"
    else:
        return None if kept == found else f"{at} was {kept!r} and is {found!r}"
    return next((part for part in parts if part), None)


def fingerprint(values: Any) -> dict[str, Any]:
    """Of an array: its shape, norm and mean, and eight entries spread over it."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    places = np.linspace(0, flat.size - 1, 8).astype(int)
    return {
        "shape": list(np.shape(values)),
        "norm": float(np.linalg.norm(flat)),
        "mean": float(flat.mean()),
        "entries": flat[places].tolist(),
    }
