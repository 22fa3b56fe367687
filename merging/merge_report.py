"""The report of a merge: what was merged, how, and what became of every tensor."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

from merging.checkpoints.checkpoint import Checkpoint
from merging.differences import notices
from merging.known_methods import find_method
from merging.mask_reach import MaskReach
from merging.prepare import Prepared
from merging.provenance import versions
from merging.recipe import Recipe, absolute_recipe
from merging.sources import absolute_location, folders_of, hub_names, published, without_paths
from merging.tally import Tally, whole_model
from results.merge_trace import MergeTrace


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


def measurements(merged: Path) -> MergeTrace:
    """Return what was measured by the merge that made a folder, from the report in it.

    Its `seconds` are those of all phases, as `merge`; a merge that was resumed has none.
    """
    content = json.loads((merged / "merge.json").read_text(encoding="utf-8"))
    return MergeTrace(
        mask_density=content["model"]["mask_density"],
        mask_norm=content["model"]["mask_norm"],
        mask_thresholds=(content["mask_reach"] or {}).get("thresholds", {}),
        seconds={} if content["resumed"] else {"merge": sum(content["seconds"].values())},
        memory=content["memory"],
    )


def report(
    prepared: Prepared, tallies: Mapping[str, Tally], clock: Clock, resumed: bool, memory: int | None
) -> dict[str, Any]:
    """Return the content of merge.json.

    Args:
        prepared: the merge.
        tallies: of the merged tensors, by name.
        clock: what took how long.
        resumed: whether an earlier merge was stopped, whose seconds are not known.
        memory: most bytes that it took, beside mapped files; None where that is not known.
    """
    recipe, tasks = prepared.recipe, tuple(prepared.vectors.experts)
    whole = absolute_recipe(recipe)
    resolved = whole.model_dump(mode="json")
    settings = prepared.method.model_dump()
    differing = {} if len(prepared.groups) == 1 else recipe.method.settings
    resolved["method"] = {"name": recipe.method.name, **settings, **differing}
    model = whole_model(tallies, len(tasks)).summary(tasks)
    reach = _reach(prepared)
    base = _input(prepared.vectors.base)
    experts = {name: _input(expert) for name, expert in prepared.vectors.experts.items()}
    folders = [one["folder"] for one in (base, *experts.values())]
    names = hub_names([*_locations(whole), whole.tokenizer, *folders])
    shown = {
        one: published(absolute_location(one), names)
        for location in _locations(recipe)
        for one in folders_of(location)
    }
    return {
        "recipe": resolved,
        "paper": find_method(recipe.method.name).paper,
        "inputs": {"base": base, "experts": experts},
        "hub_names": names,
        "made_from": prepared.made_from(),
        "differences": [asdict(difference) for difference in prepared.differences],
        "versions": versions(),
        "device": prepared.vectors.device,
        "seconds": {name: round(seconds, 3) for name, seconds in clock.seconds.items()},
        "memory": memory,
        "resumed": resumed,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "notices": [
            *(without_paths(notice, shown) for notice in prepared.notices),
            *notices(prepared.differences),
            *([reach.notice(model["mask_norm"])] if reach and reach.is_short else []),
        ],
        "mask_reach": reach and reach.to_json(),
        "model": model,
        "tensors": {name: tally.summary(tasks) for name, tally in sorted(tallies.items())},
    }


def _reach(prepared: Prepared) -> MaskReach | None:
    """Return what a mask can hold: of the first tensors for which that is nothing, else of the first."""
    tasks = tuple(prepared.vectors.experts)
    reaches = [
        group.method.mask_reach(dict(zip(tasks, group.weights.tolist(), strict=True)))
        for group in prepared.groups
    ]
    return next((reach for reach in reaches if reach and reach.is_short), reaches[0])


def _locations(recipe: Recipe) -> list[str]:
    return [recipe.base, *(expert.path for expert in recipe.experts.values())]


def _input(checkpoint: Checkpoint) -> dict[str, str]:
    return {"folder": str(checkpoint.folder.absolute()), **checkpoint.identity().model_dump()}
