"""`manyshot merge`: merge experts as a recipe file says, ours or mergekit's."""

import argparse
from collections.abc import Iterator

from manyshot.console import answer, counted, size
from manyshot.flags import settings_of
from manyshot.tracking import report_merge
from merging.merge import merge
from merging.prepare import Prepared, prepare
from merging.recipe_file import Step, load_steps
from merging.staging import refuse_existing
from results.errors import InputError
from results.trackers import ReportSettings, check_trackers


def run(options: argparse.Namespace) -> None:
    """Merge and print the folder of the result, or print the plan."""
    trackers = settings_of(options, ReportSettings).report_to
    check_trackers(trackers)
    steps = load_steps(options.recipe, options.out)
    if options.plan:
        if options.out is not None:
            refuse_existing(options.out)
        answer("\n".join(line for step in steps for line in _planned(step, options.device)))
        return
    if options.out is None:
        raise InputError("Name the folder of the merged checkpoint: manyshot merge RECIPE.yaml OUT.")
    refuse_existing(options.out)
    for step in steps:
        step.check()
    for step in steps:
        if step.out is not None and not step.is_made():
            answer(str(merge(step.recipe, step.out, device=options.device)))
            report_merge(trackers, step.out)


def _planned(step: Step, device: str) -> Iterator[str]:
    if step.out is not None and not step.is_last:
        yield f"makes    {step.out}"
    if step.builds_on:
        yield f"plan     once there is: {', '.join(step.builds_on)}"
        return
    yield from _plan(prepare(step.recipe, device))


def _plan(planned: Prepared) -> Iterator[str]:
    """What a merge will read, write and need."""
    spec = planned.recipe.method
    # What differs from tensor to tensor stands as the recipe has it.
    varying = {name: value for name, value in spec.settings.items() if isinstance(value, list)}
    settings = ", ".join(f"{name}={value}" for name, value in (planned.method.model_dump() | varying).items())
    yield f"method   {spec.name}({settings}) on {planned.vectors.device}"
    names = ("base", *planned.vectors.experts)
    width, total = max(map(len, names)), 0
    for name, checkpoint in zip(names, planned.checkpoints, strict=True):
        nbytes = sum((checkpoint.folder / file).stat().st_size for file in checkpoint.files)
        read = f"{counted(len(checkpoint.files), 'file')}, {size(nbytes)}, {checkpoint.folder}"
        yield f"{'' if total else 'reads':<9}{name:<{width}}  {read}"
        total += nbytes
    passes = (*(["digests"] if planned.method.random else []), *planned.passes, "merge")
    yield f"         {size(total)} in all, {counted(len(passes), 'time')}: {', '.join(passes)}"
    for i, shard in enumerate(planned.shards):
        yield f"{'' if i else 'writes':<9}{shard.name}, {size(shard.nbytes)}"
    dtypes = sorted({tensor.dtype for shard in planned.shards for tensor in shard.tensors})
    yield f"         {size(sum(shard.nbytes for shard in planned.shards))} in all, as {', '.join(dtypes)}"
    yield (
        f"memory   about {size(planned.memory)} in {counted(planned.threads, 'block')} at once of up to "
        f"{planned.largest_block:,} entries, beside the program and the mapped files"
    )
