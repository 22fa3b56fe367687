"""`manyshot merge`: merge experts as a recipe file says."""

import argparse
from collections.abc import Iterator

from manyshot.console import answer, counted, size
from merging.merge import merge
from merging.prepare import prepare
from merging.recipe import load_recipe
from merging.requirements import MergeRequirements, requirements
from merging.staging import refuse_existing
from results.errors import InputError


def run(options: argparse.Namespace) -> None:
    """Merge and print the folder of the result, or print the plan."""
    recipe = load_recipe(options.recipe)
    if options.plan:
        if options.out is not None:
            refuse_existing(options.out)
        answer("\n".join(_lines(requirements(prepare(recipe, options.device)))))
        return
    if options.out is None:
        raise InputError("Name the folder of the merged checkpoint: manyshot merge RECIPE.yaml OUT.")
    answer(str(merge(recipe, options.out, device=options.device)))


def _lines(planned: MergeRequirements) -> Iterator[str]:
    width = max(len(checkpoint.name) for checkpoint in planned.inputs)
    yield f"method   {planned.method} on {planned.device}"
    for i, checkpoint in enumerate(planned.inputs):
        read = f"{counted(checkpoint.files, 'file')}, {size(checkpoint.nbytes)}, {checkpoint.folder}"
        yield f"{'' if i else 'reads':<9}{checkpoint.name:<{width}}  {read}"
    total = sum(checkpoint.nbytes for checkpoint in planned.inputs)
    times = counted(len(planned.passes), "time")
    yield f"         {size(total)} in all, {times}: {', '.join(planned.passes)}"
    for i, (name, nbytes) in enumerate(planned.outputs.items()):
        yield f"{'' if i else 'writes':<9}{name}, {size(nbytes)}"
    yield f"         {size(sum(planned.outputs.values()))} in all, as {', '.join(planned.dtypes)}"
    yield (
        f"memory   about {size(planned.memory)} in {counted(planned.threads, 'block')} at once of up to "
        f"{planned.block_entries:,} entries, beside the program and the mapped files"
    )
