"""The model card of a merged checkpoint: its README.md, with the header that the hub reads."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from merging.merged_template import is_text
from merging.method_file import class_name
from merging.sources import folders_of, published, reported_names
from results.card_parts import MERGE, RECIPE, card_part
from results.markdown import code, escaped, fenced, printable
from results.words import counted

MADE = "Made with manyshot"
"""How the text of a card begins that is made here."""
TAG = "manyshot"
"""In the header of such a card."""
_CODE = re.compile(r"(?<![`\\])(`[^`]*`)(?!`)")


def model_card(report: Mapping[str, Any], agreed: Mapping[str, Any]) -> str:
    """Return the README.md of a merged checkpoint.

    Local folders are named without the path to them, since a card is made to be published.

    Args:
        report: the content of merge.json.
        agreed: what the header says as the cards of all sources do: licence and languages.
    """
    recipe, model = report["recipe"], report["model"]
    method, experts, names = class_name(recipe["method"]["name"]), recipe["experts"], reported_names(report)
    rows = [
        [
            escaped(printable(name)),
            code(published(expert["path"], names)).replace("|", r"\|"),
            _weight(expert["weight"]),
            _number(model["experts"][name]["norm"]),
            _percent(model["experts"][name]["kept"], none="all"),
            _percent(model["experts"][name]["sign_agreement"]),
            report["inputs"]["experts"][name]["weights"][:12],
        ]
        for name, expert in sorted(experts.items())
    ]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(header(report, agreed), sort_keys=False, allow_unicode=True).rstrip(),
            "---",
            "",
            f"# A merge by {code(method)}",
            "",
            card_part(MERGE, _of_merge(report, rows)),
            "",
            "## Recipe",
            "",
            card_part(RECIPE, _of_recipe(recipe, names)),
            "",
        ]
    )


def _of_merge(report: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> str:
    recipe, model = report["recipe"], report["model"]
    method, base = class_name(recipe["method"]["name"]), report["inputs"]["base"]["weights"][:12]
    of = code(published(recipe["base"], reported_names(report)))
    return "\n".join(
        [
            f"{MADE} {report['versions']['manyshot']} from {counted(len(rows), 'expert')} of "
            f"{of} (weights {base}) by {_linked(method, report['paper'])}. "
            f"The merged delta is not 0 in {_percent(model['density'])} of its entries and has the norm "
            f"{_number(model['norm'])}; rounding moved it by {_percent(model['rounding'])} of that. "
            "`merge.json` says the same of every tensor.",
            *(f"\n{notice[0].upper()}{notice[1:]}." for notice in map(_sentence, report["notices"])),
            "",
            "| expert | checkpoint | weight | norm of task vector | kept | signs agree | weights digest |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            "*kept*: the share of entries that the method kept of the task vector, by the task's own mask "
            "where there is a consensus of masks; *signs agree*: of those "
            "where neither is 0, the share in which the merged delta has its sign; *weights digest*: the "
            "start of the digest over all tensors that `merge.json` gives.",
        ]
    )


def _of_recipe(recipe: Mapping[str, Any], names: Mapping[str, str]) -> str:
    shown = yaml.safe_dump(published_recipe(recipe, names), sort_keys=False, allow_unicode=True)
    return f"Local folders are named without the path to them.\n\n{fenced(shown, 'yaml')}"


def header(report: Mapping[str, Any], agreed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the hub reads of a merge. An adapter of merged factors is one of the base, not a model.

    Args:
        report: the content of merge.json.
        agreed: what the header says as the cards of all sources do.
    """
    recipe, known = report["recipe"], reported_names(report)
    is_adapter = recipe["space"] == "factors"
    experts = [] if is_adapter else [expert["path"] for expert in recipe["experts"].values()]
    named = [known.get(one) for location in (recipe["base"], *experts) for one in folders_of(location)]
    names = list(dict.fromkeys(name for name in named if name is not None))
    relation = {"base_model_relation": "adapter" if is_adapter else "merge"}
    return {
        **agreed,
        "library_name": "peft" if is_adapter else "transformers",
        "tags": ["merge", TAG],
        **({"base_model": names, **relation} if names else {}),
    }


def published_recipe(recipe: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a recipe without the paths to local folders and files.

    Args:
        recipe: as in merge.json.
        names: on the hub, by the folders and names in the recipe.
    """
    experts = {
        name: {**expert, "path": published(expert["path"], names)}
        for name, expert in recipe["experts"].items()
    }
    wanted, method = recipe["chat_template"], recipe["method"]
    template = {"chat_template": Path(wanted).name} if wanted and not is_text(wanted) else {}
    method = {**method, "name": class_name(method["name"])}
    if method.get("measured"):
        method["measured"] = Path(method["measured"]).name
    shown = {key: published(recipe[key], names) for key in ("base", "tokenizer")}
    return {**recipe, **shown, "method": method, "experts": experts, **template}


def _linked(method: str, paper: str) -> str:
    return f"[{code(method)}]({paper})" if paper else code(method)


def _sentence(notice: str) -> str:
    """Return a notice without HTML; what stands in backticks is text already."""
    parts = _CODE.split(printable(notice))
    return "".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


def _weight(weight: float | list[Any]) -> str:
    return "as below" if isinstance(weight, list) else f"{weight:g}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def _percent(value: float | None, none: str = "–") -> str:
    if value is None:
        return none
    return "less than 0.01 %" if 0 < value < 1e-4 else f"{100 * value:.3g} %"
