"""The report of a merge: what was merged, how, and what became of every tensor."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.differences import notices
from merging.known_methods import find_method
from merging.prepare import Prepared
from merging.provenance import versions
from merging.tally import Tally, whole_model


@dataclass
class Clock:
    """Seconds by phase, in the order in which the phases began."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase."""
        started = monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + monotonic() - started


def report(
    prepared: Prepared, tallies: Mapping[str, Tally], clock: Clock, resumed: bool, memory: int | None
) -> dict[str, Any]:
    """Return the content of merge.json.

    Args:
        prepared: the merge.
        tallies: of the merged tensors, by name.
        clock: what took how long.
        resumed: whether this went on with a merge that was stopped, whose seconds are not known.
        memory: most bytes that it took, beside mapped files; None where that is not known.
    """
    recipe, tasks = prepared.recipe, tuple(prepared.vectors.experts)
    resolved = recipe.model_dump(mode="json")
    resolved["method"] = {"name": recipe.method.name, **prepared.method.model_dump()}
    model = whole_model(tallies, len(tasks)).summary(tasks)
    weights = dict(zip(tasks, prepared.vectors.weights.tolist(), strict=True))
    reach = prepared.method.mask_reach(weights)
    return {
        "recipe": resolved,
        "paper": find_method(recipe.method.name).paper,
        "inputs": {
            "base": _input(prepared.vectors.base),
            "experts": {name: _input(expert) for name, expert in prepared.vectors.experts.items()},
        },
        "differences": [difference.summary() for difference in prepared.differences],
        "versions": versions(),
        "device": str(prepared.vectors.device),
        "seconds": {name: round(seconds, 3) for name, seconds in clock.seconds.items()},
        "memory": memory,
        "resumed": resumed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "notices": [
            *notices(prepared.differences),
            *([reach.notice(model["mask_norm"])] if reach and reach.is_short else []),
        ],
        "mask_reach": reach and reach.to_json(),
        "model": model,
        "tensors": {name: tally.summary(tasks) for name, tally in sorted(tallies.items())},
    }


def _input(checkpoint: Checkpoint) -> dict[str, str]:
    return {"folder": str(checkpoint.folder), **asdict(checkpoint.identity())}
