"""`manyshot merge`: merge experts as a recipe file says, ours or mergekit's."""

import argparse
from collections.abc import Iterator, Mapping

from manyshot.console import answer, size
from manyshot.flags import settings_of
from manyshot.tracking import report_merge
from merging.checkpoints.kept_digests import keeping_digests
from merging.checkpoints.stacked import stack_parts
from merging.merge import merge
from merging.prepare import Prepared, prepare
from merging.recipe import Recipe
from merging.recipe_file import Step, load_steps
from merging.staging import refuse_existing
from results.errors import InputError
from results.trackers import ReportSettings, check_trackers
from results.words import counted


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
    with keeping_digests(verify=options.verify):
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
        locations = _locations(step.recipe)
        width = max(len(name) for name, _ in locations)
        for i, (name, location) in enumerate(locations):
            yield f"{'' if i else 'reads':<9}{name:<{width}}  {location}"
        return
    yield from _plan(prepare(step.recipe, device))


def _varies(setting: object) -> bool:
    """Whether a setting, or a task's own, differs from tensor to tensor."""
    own = setting.values() if isinstance(setting, Mapping) else (setting,)
    return any(isinstance(value, list) for value in own)


def _locations(recipe: Recipe) -> list[tuple[str, str]]:
    """What is merged, by name and location, in the order of the names."""
    return [("base", recipe.base), *((name, spec.path) for name, spec in sorted(recipe.experts.items()))]


def _plan(planned: Prepared) -> Iterator[str]:
    """What a merge will read, write and need."""
    spec = planned.recipe.method
    # What differs from tensor to tensor stands as the recipe has it.
    varying = {name: value for name, value in spec.settings.items() if _varies(value)}
    settings = ", ".join(f"{name}={value}" for name, value in (planned.method.model_dump() | varying).items())
    yield f"method   {spec.name}({settings}) on {planned.vectors.device}"
    locations = _locations(planned.recipe)
    width, total = max(len(name) for name, _ in locations), 0
    for (name, location), checkpoint in zip(locations, planned.checkpoints, strict=True):
        nbytes = sum((checkpoint.folder / file).stat().st_size for file in checkpoint.files)
        where = location if stack_parts(location) or "+" in location else checkpoint.folder
        read = f"{counted(len(checkpoint.files), 'file')}, {size(nbytes)}, {where}"
        yield f"{'' if total else 'reads':<9}{name:<{width}}  {read}"
        total += nbytes
    passes = (*(["digests unless kept"] if planned.method.random else []), *planned.passes, "merge")
    yield f"         {size(total)} in all, {counted(len(passes), 'time')}: {', '.join(passes)}"
    for i, shard in enumerate(planned.shards):
        yield f"{'' if i else 'writes':<9}{shard.name}, {size(shard.nbytes)}"
    dtypes = sorted({tensor.dtype for shard in planned.shards for tensor in shard.tensors})
    yield f"         {size(sum(shard.nbytes for shard in planned.shards))} in all, as {', '.join(dtypes)}"
    yield (
        f"memory   about {size(planned.memory)} in {counted(planned.threads, 'block')} at once of up to "
        f"{planned.largest_block:,} entries, beside the program and the mapped files"
    )
