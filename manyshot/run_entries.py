"""The entries of a run: what its manifest says of every checkpoint that an experiment opened or made."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.scored_checkpoint import ScoredCheckpoint
from manyshot.planned_merges import PlannedMerge
from merging.known_methods import find_method
from merging.many_shot import MergePlan, MergeRound
from merging.method_file import source_of
from results.json_values import json_value
from results.merge_trace import MergeOptions, RoundSelection
from results.record import Record
from results.run_manifest import Entry, Role


@dataclass(frozen=True)
class RunCheckpoint:
    """A checkpoint of a run, and what its manifest says of it."""

    entry: Entry
    scored: ScoredCheckpoint

    def with_records(self, records: Mapping[str, Record]) -> Entry:
        """The entry with the digests of its records, by benchmark."""
        digests = {benchmark: record.key.digest for benchmark, record in records.items()}
        return self.entry.model_copy(update={"records": digests})


def run_checkpoint(label: str, role: Role, checkpoint: ScoredCheckpoint, **about: Any) -> RunCheckpoint:
    """A checkpoint with an entry of these fields."""
    # Not resolved: a link's name is the checkpoint's. From the root: a recipe with it can be merged anywhere.
    path = str(checkpoint.path.absolute())
    return RunCheckpoint(
        Entry(label=label, role=role, path=path, checkpoint=checkpoint.identity, **about), checkpoint
    )


def merged_checkpoints(
    planned: PlannedMerge, plan: MergePlan, rounds: Sequence[MergeRound], selection: RoundSelection
) -> Iterator[RunCheckpoint]:
    """The merged checkpoint that counts, and of a method that merges in rounds the checkpoint of each."""
    method = planned.method
    about: dict[str, Any] = {
        "method": method.method_name,
        "settings": json_value(method.settings),
        "protocol": method.protocol,
        "seed": planned.seed,
        "title": method.plain_title,
        "identity": method.identity,
        "recipe": MergeOptions(
            method=Path(method.name).name,
            source=source_of(find_method(method.name).method_class),
            weighting=plan.weighting.model_dump(mode="json"),
            anchor=plan.anchor,
            keep=method.keep,
            space=plan.space,
            output_dtype=plan.output_dtype,
            seed=plan.seed,
            accept_differences=plan.accept_differences,
        ),
    }
    kept = rounds[selection.round_index - 1]
    yield run_checkpoint(
        planned.title,
        "merged",
        opened_round(kept, planned.title),
        **about,
        trace=kept.trace,
        selection=selection if method.in_rounds else None,
    )
    for merge_round in rounds if method.in_rounds else ():
        label = planned.round_label(merge_round.round_index)
        yield run_checkpoint(
            label,
            "round",
            opened_round(merge_round, label),
            **about,
            leads_to=planned.title,
            round_index=merge_round.round_index,
            trace=merge_round.trace,
        )


def opened_round(merge_round: MergeRound, label: str) -> ScoredCheckpoint:
    """The merged checkpoint of a round under a label."""
    return replace(ScoredCheckpoint.open(str(merge_round.merged)), name=label)
