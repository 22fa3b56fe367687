"""In what else than weights experts differ from the base: allowed, accepted by the recipe, or refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from merging.allowed_differences import CHOSEN, JOINED, allowed
from merging.checkpoints.checkpoint import FACTORS, Checkpoint
from merging.checkpoints.tokenizer_files import both_vocabularies, vocabulary
from merging.compared_settings import Pair, config_pairs, current_name, generation_pairs
from merging.compared_tokenizers import tokenizer_pairs
from merging.vocabularies import MergedVocabulary
from results.errors import InputError

Verdict = Literal["allowed", "notice", "accepted"]
_ADDED = "tokenizer.added_tokens"
_MISSING = "tokenizer.missing_tokens"
_BASE = "the base"
"""Stands for an expert where the base's own tokenizer differs from the one that the recipe names."""
_NAMES_A_TOKEN = ("_token", "_token_id")
_LONGEST_VALUE = 300
"""Characters of a value that are written; a list of merges has millions."""


@dataclass(frozen=True)
class SettingDifference:
    """A key in which experts differ from the base.

    Attributes:
        key: such as `config.rope_parameters.rope_theta`.
        base: the base's value, shortened where it is long; None where the key is left out.
        experts: those of the experts that differ.
        verdict: `allowed`; allowed with a `notice`, since something of the experts' is left out; or
            `accepted` by the recipe.
        why: the reason.
    """

    key: str
    base: Any
    experts: Mapping[str, Any]
    verdict: Verdict
    why: str


def compare_settings(
    base: Checkpoint,
    experts: Mapping[str, Checkpoint],
    accepted: Sequence[str] = (),
    merged: MergedVocabulary | None = None,
    *,
    has_recipe: bool = True,
) -> tuple[SettingDifference, ...]:
    """Return all differences of configuration, generation settings, tokenizer and chat template.

    Args:
        base: what the merged model takes its settings from.
        experts: by their names.
        accepted: keys in which the recipe accepts that the experts differ; a key stands for all below it.
        merged: the merged model's tokens, where they are not simply the base's.
        has_recipe: whether there is a recipe in which differences could be accepted.

    Raises:
        InputError: experts differ in a key that is neither known not to change the computation nor accepted;
            or a key is accepted in which nothing differs.
    """
    by_key: dict[str, dict[str, Pair]] = {}
    for name, expert in experts.items():
        for key, pair in _differing(base, expert, merged).items():
            by_key.setdefault(key, {})[name] = pair
    if merged and merged.chosen:
        for key, pair in _tokenizer_pairs(base, base.home, merged).items():
            by_key.setdefault(key, {})[_BASE] = pair
    clash = _compare_tokens(base, experts, by_key, merged)
    differences, refused, used = [], [], set()
    for key, pairs in by_key.items():
        reasons = [pair.reason for pair in pairs.values() if pair.reason]
        notify = any(
            pair.reason and pair.reason.notify and pair.theirs is not None for pair in pairs.values()
        )
        is_allowed = len(reasons) == len(pairs) and not (key == _ADDED and clash)
        accepting = [name for name in accepted if f"{key}.".startswith(f"{current_name(name)}.")]
        if accepting and (notify or not is_allowed):
            used.update(accepting)
            verdict: Verdict = "accepted"
            why = "accepted by the recipe; the base's is kept"
        elif is_allowed:
            verdict = "notice" if notify else "allowed"
            why = reasons[0].why
        else:
            refused.append(key)
            continue
        ours = next(iter(pairs.values())).ours
        theirs = {name: _short(pair.theirs) for name, pair in pairs.items()}
        differences.append(SettingDifference(key, _short(ours), theirs, verdict, why))
    if refused:
        raise InputError(_refusal(refused, by_key, experts, clash, merged, has_recipe=has_recipe))
    for name in accepted:
        if name not in used:
            raise InputError(
                f"`accept_differences` names {name!r}, in which no expert differs from the base so that it "
                "needs accepting; leave it out."
            )
    return tuple(differences)


def _differing(base: Checkpoint, expert: Checkpoint, merged: MergedVocabulary | None) -> dict[str, Pair]:
    tokenizer = _tokenizer_pairs(base, expert.tokenizer_folder, merged)
    if base.config.get("model_type") == FACTORS:  # whose settings are judged where they are opened
        return tokenizer
    settings = {**config_pairs(base.config, expert.config), **generation_pairs(base, expert)}
    return {**_which_token(settings, merged), **tokenizer}


def _tokenizer_pairs(base: Checkpoint, folder: Path, merged: MergedVocabulary | None) -> dict[str, Pair]:
    return _which_token(tokenizer_pairs(merged.folder if merged else base.home, folder), merged)


def _which_token(pairs: dict[str, Pair], merged: MergedVocabulary | None) -> dict[str, Pair]:
    """Return pairs of which those that say which token is which may differ where the recipe chooses."""
    if merged is None or not merged.chosen:
        return pairs
    return {
        key: replace(pair, reason=CHOSEN) if pair.reason is None and key.endswith(_NAMES_A_TOKEN) else pair
        for key, pair in pairs.items()
    }


def notices(differences: Sequence[SettingDifference]) -> list[str]:
    """Return what of the experts the merged model does not have, a sentence for each key."""
    return [
        f"experts differ from the base in `{difference.key}`, which is {_code(difference.base)} there and "
        + ", ".join(f"{_code(value)} in {name!r}" for name, value in difference.experts.items())
        + f"; {difference.why}"
        for difference in differences
        if difference.verdict == "notice"
    ]


def _code(value: Any) -> str:
    return "none" if value is None else f"`{_text(value)}`"


def _compare_tokens(
    base: Checkpoint,
    experts: Mapping[str, Checkpoint],
    by_key: dict[str, dict[str, Pair]],
    merged: MergedVocabulary | None,
) -> str:
    """Add the tokens that only some have to the differences; return what is wrong where two share an id."""
    home = merged.folder if merged else base.home
    vocabulary(home)  # which refuses a broken one, also where all have it
    by_token = merged is not None and merged.by_token
    # A union's are said; others that the recipe chooses rows for have notices of their own.
    chosen = merged.added.tokens if merged is not None and not merged.joins else {}
    owners: dict[int, tuple[str, str]] = {}
    clash = ""
    for name, expert in experts.items():
        ours, theirs = both_vocabularies(home, expert.tokenizer_folder)
        owners |= {token_id: ("the base", token) for token, token_id in ours.items()}
        further = {token: token_id for token, token_id in theirs.items() if token not in ours}
        added = {token: token_id for token, token_id in further.items() if token not in chosen}
        missing = {token: token_id for token, token_id in ours.items() if token not in theirs}
        if added:
            joined = merged is not None and merged.joins
            by_key.setdefault(_ADDED, {})[name] = Pair({}, added, JOINED if joined else allowed(_ADDED))
        if missing:
            by_key.setdefault(_MISSING, {})[name] = Pair({}, missing, allowed(_MISSING))
        for token, token_id in added.items():
            whose, other = owners.setdefault(token_id, (f"expert {name!r}", token))
            if other != token and not clash and not by_token:
                clash = (
                    f"Expert {name!r} ({expert.folder}) has the token {token!r} at the id {token_id}, where "
                    f"{whose} has {other!r}, so that one row of the embedding stands for both"
                )
    return clash


def _refusal(
    refused: Sequence[str],
    by_key: Mapping[str, Mapping[str, Pair]],
    experts: Mapping[str, Checkpoint],
    clash: str,
    merged: MergedVocabulary | None,
    *,
    has_recipe: bool,
) -> str:
    key = refused[0]
    name, pair = min(by_key[key].items(), key=lambda item: item[1].reason is not None)  # the first unknown
    called = "The base" if name == _BASE else f"Expert {name!r} ({experts[name].folder})"
    chosen = merged is not None and merged.chosen and key.startswith("tokenizer.")
    start = (
        f"{called} has {key} {_text(_short(pair.theirs))} but the "
        f"{'tokenizer that the recipe names' if chosen else 'base'} has {_text(_short(pair.ours))}, "
        "which can change what the model computes"
    )
    if key == _ADDED:
        start = clash + (" (which `tokenizer: union` in the recipe keeps apart)" if has_recipe else "")
    more = f"; it differs in {', '.join(refused[1:])} too" if refused[1:] else ""
    if not has_recipe:
        return f"{start}{more}; take one that shares it with its base."
    return (
        f"{start}{more}; merge experts that share it, or say `accept_differences: [{', '.join(refused)}]` in "
        "the recipe to keep the base's."
    )


def _short(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"


def _text(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
