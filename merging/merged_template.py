"""The chat template of a merged model, where the recipe takes another than the base's."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from merging.chat import check_template
from merging.chat_templates import CHAT_TEMPLATES
from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.folders import locate
from merging.checkpoints.stacked import stack_parts
from merging.checkpoints.tokenizer_files import chat_template
from merging.differences import SettingDifference
from merging.recipe import AUTO, Recipe
from results.errors import InputError

_KEY = "tokenizer.chat_template"


def merged_template(recipe: Recipe, base: Checkpoint, experts: Mapping[str, Checkpoint]) -> Any:
    """Return the template that a recipe asks for: text, or several by name; None where it asks for none.

    Args:
        recipe: of the merge.
        base: of the merge, as stored.
        experts: by name, as stored.

    Raises:
        InputError: the recipe names neither an expert with a template, nor a common form, nor a file.
    """
    wanted = recipe.chat_template
    if wanted is None:
        return None
    if is_text(wanted):
        check_template(wanted, "The `chat_template` of the recipe")
        return wanted
    if wanted in experts:
        template = chat_template(experts[wanted].tokenizer_folder)
        if not template:
            raise InputError(
                f"`chat_template` names the expert {wanted!r}, which has no chat template; name another, "
                "or a jinja file."
            )
        return template
    if wanted == AUTO:
        stored = {recipe.base: base} | {recipe.experts[name].path: one for name, one in experts.items()}
        return _commonest(stored)
    if wanted in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[wanted]
    if not Path(wanted).is_file():
        raise InputError(
            f"`chat_template` is {wanted!r}, which is neither an expert ({', '.join(experts)}), nor "
            f"'{AUTO}', nor a form by name ({', '.join(CHAT_TEMPLATES)}), nor a jinja file that is there."
        )
    try:
        text = Path(wanted).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{wanted} holds no text; a chat template is expected there.") from None
    check_template(text, wanted)
    return text


def _commonest(stored: Mapping[str, Checkpoint]) -> Any:
    """Return the template that most models have, each counted once; of several the first one's.

    None where no model has any.

    Args:
        stored: checkpoints by location, the base first; in a stack the models of all its parts count.
    """
    folders: dict[str, Path] = {}
    for location, one in stored.items():
        parts = stack_parts(location)
        folders |= {part.path: locate(part.path.partition("+")[0]) for part in parts}
        folders |= {} if parts else {location: one.tokenizer_folder}
    templates = [template for folder in folders.values() if (template := chat_template(folder))]
    texts = [_text(template) for template in templates]
    counted = Counter(text for text in texts if text)
    return templates[texts.index(counted.most_common(1)[0][0])] if counted else None


def _text(template: Any) -> str:
    """Return a template's text, of several that which is taken by default."""
    text = template.get("default") if isinstance(template, Mapping) else template
    return text.strip() if isinstance(text, str) else ""


def is_text(wanted: str) -> bool:
    """Whether what a recipe says is a template, not whose it is."""
    return "{" in wanted


def without_notice(differences: Sequence[SettingDifference], recipe: Recipe) -> tuple[SettingDifference, ...]:
    """Return differences in which another template than the base's is accepted, where there is one."""
    if recipe.chat_template is None:
        return tuple(differences)
    whose = recipe.chat_template
    of_whom = "the commonest" if whose == AUTO else f"that of {Path(whose).name}"
    why = f"the recipe takes {'its own' if is_text(whose) else of_whom}"
    return tuple(
        replace(difference, verdict="accepted", why=why) if difference.key == _KEY else difference
        for difference in differences
    )
