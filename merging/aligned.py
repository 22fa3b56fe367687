"""Tensors that mean the same under other names, buffers that nobody reads, tensors that one side lacks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from merging.checkpoints.checkpoint import Checkpoint
from merging.checkpoints.patched import Borrowed, PatchedCheckpoint
from merging.checkpoints.tied import TIE_ADVICE, class_ties
from merging.recipe import Missing
from results.errors import InputError, and_more
from results.words import counted

_BUFFERS = re.compile(r"(.+\.)?(rotary_emb\.inv_freq|attn\.masked_bias|attention\.masked_bias)")
_MASKS = re.compile(r"(.+\.)?(attn|attention)\.bias")
"""The triangular masks of old GPT-2s and GPT-NeoXs, (1, 1, positions, positions)."""


@dataclass(frozen=True)
class Aligned:
    """A base and its experts with like names, and what was done for it, a sentence each."""

    base: Checkpoint
    experts: dict[str, Checkpoint]
    notices: tuple[str, ...] = ()


def align_names(base: Checkpoint, experts: Mapping[str, Checkpoint]) -> Aligned:
    """Return checkpoints without buffers that only some store, an expert's tensors under the base's names.

    Rotary frequencies and causal masks follow from the configuration; files of 2023 hold them, later ones do
    not, and transformers reads them from none. A prefix that a wrapper puts before all names that differ
    (`language_model.`, `_orig_mod.`) is taken off or put on where one prefix alone makes the names fit.
    """
    notices: list[str] = []
    renamed: dict[str, Checkpoint] = {}
    for name, expert in experts.items():
        view, prefixes = _renamed(base, expert)
        renamed[name] = view
        if prefixes:
            notices.append(
                f"expert {name!r} has tensors {_under(prefixes[1])} that the base has {_under(prefixes[0])}; "
                "they were matched by what follows"
            )
    opened = {"the base": base} | {f"expert {name!r}": view for name, view in renamed.items()}
    everywhere = set.intersection(*(set(view.names) for view in opened.values()))
    shown = []
    for called, view in opened.items():
        unread = [name for name in view.names if name not in everywhere and _is_buffer(view, name)]
        if unread:
            notices.append(
                f"{called} stores {unread[0]!r}{and_more(unread)}, which follows from the configuration "
                "and which not all store; it was left out"
            )
        shown.append(view.showing({n: n for n in view.names if n not in unread}) if unread else view)
    return Aligned(shown[0], dict(zip(experts, shown[1:], strict=True)), tuple(notices))


def fill_missing(base: Checkpoint, experts: Mapping[str, Checkpoint], missing: Missing) -> Aligned:
    """Return experts with the base's tensors, as a recipe says what becomes of those that one side lacks.

    Args:
        base: whose tensors the merged model has.
        experts: by name.
        missing: `refuse` leaves all as it is, for `check_compatible` to refuse; `base` takes the base's for
            an expert that lacks one, whose task vector is 0 there; `skip` takes it for all experts.

    Raises:
        InputError: what one side lacks is tied there.
    """
    if missing == "refuse":
        return Aligned(base, dict(experts))
    ours = set(base.names)
    _refuse_tied(base, experts)
    lacking = {name: sorted(ours - set(expert.names)) for name, expert in experts.items()}
    skipped = {tensor for tensors in lacking.values() for tensor in tensors} if missing == "skip" else set()
    notices, filled = [], {}
    for name, expert in experts.items():
        if lacking[name]:
            taken = "no expert's is merged there" if missing == "skip" else "the base's counts as its own"
            notices.append(f"expert {name!r} lacks {_listed(lacking[name])}; {taken}")
        extra = sorted(set(expert.names) - ours)
        if extra:
            notices.append(f"expert {name!r} has {_listed(extra)} that the base lacks; it was left out")
        parts = {tensor: Borrowed(base, tensor) for tensor in {*lacking[name], *skipped}}
        shown = expert.showing({tensor: tensor for tensor in expert.names if tensor in ours})
        filled[name] = PatchedCheckpoint(shown, parts) if parts else shown
    return Aligned(base, filled, tuple(notices))


def _refuse_tied(base: Checkpoint, experts: Mapping[str, Checkpoint]) -> None:
    """Refuse to take a table for missing that is tied to another."""
    for name, expert in experts.items():
        for one, other in ((expert, base), (base, expert)):
            absent = set(other.names) - set(one.names)
            if absent and (tied := sorted(absent.intersection(class_ties(one)))):
                raise InputError(
                    f"Of the base and expert {name!r} only one ties {tied[0]!r} to another table, where "
                    f"it is not missing; {TIE_ADVICE}"
                )


def _under(prefix: str) -> str:
    return f"under `{prefix}`" if prefix else "without a prefix"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:3])
    return f"{shown} and {counted(len(names) - 3, 'more tensor')}" if len(names) > 3 else shown


def _is_buffer(checkpoint: Checkpoint, name: str) -> bool:
    if _BUFFERS.fullmatch(name):
        return True
    return bool(_MASKS.fullmatch(name)) and len(checkpoint.info(name).shape) == 4


def _renamed(base: Checkpoint, expert: Checkpoint) -> tuple[Checkpoint, tuple[str, str] | None]:
    """Return an expert under the base's names, and the prefix on either side where one was changed."""
    ours, theirs = ({name for name in one.names if not _is_buffer(one, name)} for one in (base, expert))
    lacked, extra = ours - theirs, theirs - ours
    if not lacked or not extra:
        return expert, None
    fitting = [
        (before, after)
        for before, after in set(_prefixes(max(sorted(lacked), key=_depth), extra))
        if _is_wrappers(before, after)
        # A wrapper is before all of a model, so all that the base has there is lacked.
        and lacked == {name for name in ours if name.startswith(before)}
        and all(f"{after}{name.removeprefix(before)}" in extra for name in lacked)
    ]
    if len(fitting) != 1:
        return expert, None
    before, after = fitting[0]
    moved = {f"{after}{name.removeprefix(before)}": name for name in lacked}
    # Buffers move with the rest; what else the expert has is refused under its own name.
    named = {name: moved.get(name, name) for name in expert.names}
    return expert.showing({new: old for old, new in named.items()}), (before, after)


def _prefixes(name: str, others: set[str]) -> Iterator[tuple[str, str]]:
    """Yield what precedes the longest common end, of two parts or more, of a name and each of some others."""
    parts = name.split(".")
    for other in others:
        whole = other.split(".")
        common = 0
        while common < min(len(parts), len(whole)) and parts[-1 - common] == whole[-1 - common]:
            common += 1
        if common > 1:
            yield _start(parts, common), _start(whole, common)


def _is_wrappers(before: str, after: str) -> bool:
    """Whether one prefix is the other with parts put in, none of which counts blocks."""
    fewer, more = sorted((before.split(".")[:-1], after.split(".")[:-1]), key=len)
    left = iter(more)
    return all(part in left for part in fewer) and not any(part.isdigit() for part in more)


def _depth(name: str) -> int:
    return name.count(".")


def _start(parts: Sequence[str], common: int) -> str:
    return "".join(f"{part}." for part in parts[: len(parts) - common])
