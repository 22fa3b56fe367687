"""Changes to the report of a merge that is pushed."""

import json


def changed(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def changed_recipe(folder, **changes):
    recipe = json.loads((folder / "merge.json").read_text())["recipe"]
    changed(folder / "merge.json", recipe={**recipe, **changes})
