"""Changes to the report of a merge that is pushed."""

import json


def changed(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def changed_base(folder, base):
    """Let a report say that a base was merged, by its path from the root or its name on the hub."""
    recipe = json.loads((folder / "merge.json").read_text())["recipe"]
    names = {} if base.startswith("/") else {base: base}
    changed(folder / "merge.json", recipe={**recipe, "base": base}, hub_names=names)
