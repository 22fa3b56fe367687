"""In what else than weights experts differ from the base: known, accepted by the recipe, or refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from merging.allowed_differences import allowed
from merging.checkpoints.checkpoint import FACTORS, Checkpoint
from merging.checkpoints.tokenizer_files import same_file, vocabulary
from merging.compared_settings import Pair, Pairs, config_pairs, current_name, generation_pairs
from merging.compared_tokenizers import tokenizer_pairs
from results.errors import InputError

Verdict = Literal["known", "said", "accepted"]
_ADDED = "tokenizer.added_tokens"
_MISSING = "tokenizer.missing_tokens"
_SHOWN = 300
"""Characters of a value that are shown; a list of merges has millions."""


@dataclass(frozen=True)
class Difference:
    """A key in which experts differ from the base.

    Attributes:
        key: such as `config.rope_parameters.rope_theta`.
        base: the base's value, shortened where it is long; None where the key is left out.
        experts: those of the experts that differ.
        verdict: why the merge goes on: the key is known, or the recipe accepts the difference.
        why: what is known of it.
    """

    key: str
    base: Any
    experts: Mapping[str, Any]
    verdict: Verdict
    why: str

    def summary(self) -> dict[str, Any]:
        """As it stands in merge.json."""
        return asdict(self)


def compare(
    base: Checkpoint, experts: Mapping[str, Checkpoint], accepted: Sequence[str] = ()
) -> tuple[Difference, ...]:
    """Return all differences of configuration, generation settings, tokenizer and chat template.

    Args:
        base: what the merged model takes its settings from.
        experts: by their names.
        accepted: keys in which the recipe accepts that the experts differ; a key stands for all below it.

    Raises:
        InputError: experts differ in a key that is neither known not to change the computation nor accepted;
            or a key is accepted in which nothing differs.
    """
    found: dict[str, dict[str, Pair]] = {}
    for name, expert in experts.items():
        for key, pair in _differing(base, expert).items():
            found.setdefault(key, {})[name] = pair
    clash = _compare_tokens(base, experts, found)
    differences, refused, used = [], [], set()
    for key, pairs in found.items():
        reasons = [pair.reason for pair in pairs.values() if pair.reason]
        said = any(pair.reason and pair.reason.notify and pair.theirs is not None for pair in pairs.values())
        counts = len(reasons) < len(pairs) or (key == _ADDED and clash != "")
        by = [name for name in accepted if f"{key}.".startswith(f"{current_name(name)}.")]
        if by and (counts or said):
            used.update(by)
            why = "accepted by the recipe; the base's is kept"
            verdict: Verdict = "accepted"
        elif counts:
            refused.append(key)
            continue
        else:
            verdict = "said" if said else "known"
            why = reasons[0].why
        ours = next(iter(pairs.values())).ours
        theirs = {name: _short(pair.theirs) for name, pair in pairs.items()}
        differences.append(Difference(key, _short(ours), theirs, verdict, why))
    if refused:
        raise InputError(_refusal(refused, found, experts, clash))
    for name in accepted:
        if name not in used:
            raise InputError(
                f"`accept_differences` names {name!r}, in which no expert differs from the base so that it "
                "needs accepting; leave it out."
            )
    return tuple(differences)


def _differing(base: Checkpoint, expert: Checkpoint) -> Pairs:
    """Return every key in which an expert's settings differ from the base's, with what is known of it."""
    tokenizer = tokenizer_pairs(base.home, expert.tokenizer_folder)
    if base.config.get("model_type") == FACTORS:  # whose settings are judged where they are opened
        return tokenizer
    return {**config_pairs(base.config, expert.config), **generation_pairs(base, expert), **tokenizer}


def notices(differences: Sequence[Difference]) -> list[str]:
    """Return what of the experts the merged model does not have, a sentence for each key."""
    return [
        f"experts differ from the base in `{one.key}`, which is {_code(one.base)} there and "
        + ", ".join(f"{_code(value)} in {name!r}" for name, value in one.experts.items())
        + f"; {one.why}"
        for one in differences
        if one.verdict == "said"
    ]


def _code(value: Any) -> str:
    return "none" if value is None else f"`{_text(value)}`"


def _compare_tokens(
    base: Checkpoint, experts: Mapping[str, Checkpoint], found: dict[str, dict[str, Pair]]
) -> str:
    """Note tokens that only some have, and return what is wrong where two lie at one place, else nothing."""
    ours = vocabulary(base.home)
    if ours is None:
        return ""
    at = {place: ("the base", token) for token, place in ours.items()}
    clash = ""
    for name, expert in experts.items():
        if same_file(base.home / "tokenizer.json", expert.tokenizer_folder / "tokenizer.json"):
            continue
        theirs = vocabulary(expert.tokenizer_folder)
        if theirs is None:
            continue
        added = {token: place for token, place in theirs.items() if token not in ours}
        missing = {token: place for token, place in ours.items() if token not in theirs}
        if added:
            found.setdefault(_ADDED, {})[name] = Pair({}, added, allowed(_ADDED))
        if missing:
            found.setdefault(_MISSING, {})[name] = Pair({}, missing, allowed(_MISSING))
        for token, place in added.items():
            whose, other = at.setdefault(place, (f"expert {name!r}", token))
            if other != token and not clash:
                clash = (
                    f"Expert {name!r} ({expert.folder}) has the token {token!r} at the id {place}, where "
                    f"{whose} has {other!r}, so that one row of the embedding stands for both"
                )
    return clash


def _refusal(
    refused: Sequence[str],
    found: Mapping[str, Mapping[str, Pair]],
    experts: Mapping[str, Checkpoint],
    clash: str,
) -> str:
    key = refused[0]
    name, pair = min(found[key].items(), key=lambda item: item[1].reason is not None)  # the first unknown
    start = (
        f"Expert {name!r} ({experts[name].folder}) has {key} {_text(_short(pair.theirs))} but the base has "
        f"{_text(_short(pair.ours))}, which can change what the model computes"
    )
    if key == _ADDED:
        start = clash
    more = f"; it differs in {', '.join(refused[1:])} too" if refused[1:] else ""
    return (
        f"{start}{more}; merge experts that share it, or say `accept_differences: [{', '.join(refused)}]` in "
        "the recipe to keep the base's."
    )


def _short(value: Any) -> Any:
    """The value, or the start of it where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _text(value: Any) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)
