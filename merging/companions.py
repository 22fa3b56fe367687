"""What lies beside merged weights: configuration, generation settings, tokenizer and model card."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.stacked import stack_parts, with_paths
from merging.checkpoints.tokenizer_files import copy_tokenizer
from merging.compatible import asks_for_code
from merging.merged_template import is_text
from merging.method_file import class_name
from merging.vocabularies import MergedVocabulary


def copy_companions(
    base: Checkpoint, folder: Path, dtype: str | None, vocabulary: MergedVocabulary | None = None
) -> None:
    """Copy the base's configuration and tokenizer files into a folder, and code that the configuration names.

    Args:
        base: where they come from.
        folder: where they go.
        dtype: the name that config.json gives to the weights' dtype; None leaves it as it is.
        vocabulary: the merged model's tokens, where they are not simply the base's.
    """
    config = base.config if dtype is None else _with_dtype(base.config, dtype)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    code = [path.name for path in base.home.glob("*.py")] if asks_for_code(base) else []
    copy_tokenizer(base.home if vocabulary is None else vocabulary.folder, folder)
    for name in ("generation_config.json", *code):
        if (base.home / name).is_file():
            shutil.copyfile(base.home / name, folder / name)
    if vocabulary is not None:
        vocabulary.added.write(folder)
        if (settings := base.generation_settings()) is not None:
            text = json.dumps(settings, indent=2) + "\n"
            (folder / "generation_config.json").write_text(text, encoding="utf-8")


def _with_dtype(config: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Name the dtype under the key that is there: `dtype`, or `torch_dtype` before transformers 5."""
    key = "torch_dtype" if "torch_dtype" in config and "dtype" not in config else "dtype"
    nested = {
        name: _with_dtype(part, dtype)
        for name, part in config.items()
        if isinstance(part, dict) and ("dtype" in part or "torch_dtype" in part)
    }
    return {**config, **nested, key: dtype}


def model_card(report: dict[str, Any]) -> str:
    """Return the README.md of a merged checkpoint.

    Local folders are named without the path to them, since a card is made to be published.

    Args:
        report: the content of merge.json.
    """
    recipe, model = report["recipe"], report["model"]
    method, experts = class_name(recipe["method"]["name"]), recipe["experts"]
    named = [recipe["base"], *(expert["path"] for expert in experts.values())]
    sources = [one for name in named for one in ([part.path for part in stack_parts(name)] or [name])]
    header = {
        "library_name": "transformers",
        "tags": ["merge", "manyshot"],
        "base_model": list(dict.fromkeys(source for source in sources if not Path(source).is_dir())),
    }
    rows = [
        [
            name,
            _published(expert["path"]),
            _weight(expert["weight"]),
            _number(model["experts"][name]["norm"]),
            _percent(model["experts"][name]["kept"], none="all"),
            _percent(model["experts"][name]["sign_agreement"]),
            report["inputs"]["experts"][name]["weights"][:12],
        ]
        for name, expert in sorted(experts.items())
    ]
    base = report["inputs"]["base"]["weights"][:12]
    return "\n".join(
        [
            "---",
            yaml.safe_dump({key: value for key, value in header.items() if value}, sort_keys=False).rstrip(),
            "---",
            "",
            f"# A merge by `{method}`",
            "",
            f"Made with manyshot {report['versions']['manyshot']} from {len(rows)} experts of "
            f"`{_published(recipe['base'])}` (weights {base}) by [`{method}`]({report['paper']}). "
            f"The merged delta is not 0 in {_percent(model['density'])} of its entries and has the norm "
            f"{_number(model['norm'])}; rounding moved it by {_percent(model['rounding'])} of that. "
            "`merge.json` says the same of every tensor.",
            *(f"\n{notice[0].upper()}{notice[1:]}." for notice in report["notices"]),
            "",
            "| expert | checkpoint | weight | norm of task vector | kept | signs agree | weights digest |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
            "",
            "*kept*: the share of entries that the method kept of the task vector, by the task's own mask "
            "where there is a consensus of masks; *signs agree*: of those "
            "where neither is 0, the share in which the merged delta has its sign; *weights digest*: the "
            "start of the digest over all tensors that `merge.json` gives.",
            "",
            "## Recipe",
            "",
            "Local folders are named without the path to them.",
            "",
            "```yaml",
            yaml.safe_dump(_recipe(recipe), sort_keys=False, allow_unicode=True).rstrip(),
            "```",
            "",
        ]
    )


def _recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    experts = {
        name: {**expert, "path": _published(expert["path"])} for name, expert in recipe["experts"].items()
    }
    wanted = recipe["chat_template"]
    template = {"chat_template": Path(wanted).name} if wanted and not is_text(wanted) else {}
    published = {"base": _published(recipe["base"]), "tokenizer": _published(recipe["tokenizer"])}
    return {**recipe, **published, "experts": experts, **template}


def _published(source: str) -> str:
    return with_paths(source, lambda one: Path(one).resolve().name if Path(one).is_dir() else one)


def _weight(weight: float | list[Any]) -> str:
    return "as below" if isinstance(weight, list) else f"{weight:g}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float | None, none: str = "–") -> str:
    if value is None:
        return none
    return "less than 0.01 %" if 0 < value < 1e-4 else f"{100 * value:.3g} %"
