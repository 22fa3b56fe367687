"""The header of a model card as the hub is to read it: what its author left out is filled in."""

import re
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from bench.hub_benchmarks import HUB_BENCHMARKS
from manyshot.eval_entries import ENTRIES, own_record, read_entries
from manyshot.score_card import RECORD, read_card
from merging.checkpoints.adapter import CONFIG, is_adapter
from merging.checkpoints.folders import exists, read_mapping
from merging.model_card import MADE, TAG, header
from merging.sources import hub_name
from results.card_parts import renewed, without_parts
from results.errors import InputError

_OF_SOURCES = ("base_model", "base_model_relation")
_HEADING = re.compile(r"^#.*$", re.MULTILINE)


def completed_card(folder: Path) -> bytes | None:
    """Return the model card of a checkpoint's folder with what its header lacks; None where it lacks nothing.

    Of a merge that are the sources on the hub, the library and tags; of an adapter its base; and results of
    ours in `.eval_results` that its `model-index` does not have. A key that is there stays as it is, but for
    tags and results, to which ours are added.

    Raises:
        InputError: the hub would not read the card.
    """
    card = read_card(folder / "README.md")
    complete(card, _known(folder), _results(folder))
    return _written(card, folder / "README.md")


def card_of_others(theirs: Path, ours: bytes) -> bytes | None:
    """Return the card of a repository with what is ours of it renewed, and all that people wrote there kept.

    Of one that manyshot made these are parts of its text (`results.card_parts`), and keys of its header that
    ours has, or that name what was merged; its other keys stay. A card that a user wrote keeps all of its
    header, which is completed by ours; one that has a header alone gets the text of ours.

    Args:
        theirs: the card of the repository.
        ours: the card that is to be sent.

    Returns:
        What is to be sent in place of ours; None where ours is to be sent, since a user wrote that, or
        nobody changed theirs, or an earlier manyshot made theirs, which did not mark its parts.

    Raises:
        InputError: the hub would not read the repository's card.
    """
    sent = ModelCard(ours.decode(), ignore_metadata_errors=True)
    found = theirs.read_text(encoding="utf-8", errors="replace")
    if _is_by_user(sent.text) or MADE in without_parts(found):
        return None
    card, data = read_card(theirs), sent.data
    assert isinstance(card.data, ModelCardData) and isinstance(data, ModelCardData)
    has_text = _is_by_user(found)
    is_made = MADE in found or (not has_text and TAG in (card.data.get("tags") or ()))
    if is_made:
        for key in {*data.to_dict(), *_OF_SOURCES} - {"tags", "model-index"}:
            card.data.pop(key, None)
    others = [one for one in card.data.eval_results or [] if RECORD not in (one.metric_args or {})]
    card.data.eval_results = others or None
    text = renewed(card.text, sent.text) if has_text else sent.text
    known = {key: value for key, value in data.to_dict().items() if key != "model-index"}
    complete(card, known, data.eval_results or [])
    if is_made and text == sent.text and card.data.to_dict() == data.to_dict():
        return None
    if text == card.text and card.data.to_dict() == read_card(theirs).data.to_dict():
        return theirs.read_bytes()
    card.text = text
    return _as_bytes(card, theirs)


def complete(card: ModelCard, known: dict[str, Any], results: list[EvalResult]) -> None:
    """Fill in what a card's header lacks.

    Args:
        card: which is changed.
        known: keys with their values.
        results: of evaluations; those that a card has of the same record or data set are not added.
    """
    data = card.data
    assert isinstance(data, ModelCardData)
    for key, value in known.items():
        if key == "tags":
            there = data.get("tags") or []
            there = [there] if isinstance(there, str) else there
            data["tags"] = [*there, *(tag for tag in value if tag not in there)]
        elif data.get(key) is None:
            data[key] = value
    there = data.eval_results or []
    named = {(result.metric_args or {}).get(RECORD) for result in there}
    asked = {result.dataset_type for result in there if RECORD not in (result.metric_args or {})}
    new = [
        result
        for result in results
        if (result.metric_args or {}).get(RECORD) not in named and result.dataset_type not in asked
    ]
    if new:
        data.eval_results = [*there, *new]
        data.model_name = data.model_name or "model"


def _known(folder: Path) -> dict[str, Any]:
    if exists(folder / "merge.json"):
        try:
            return header(read_mapping(folder / "merge.json"), {})
        except (KeyError, TypeError, AttributeError):  # it is no report of ours, which is refused by name
            return {}
    if is_adapter(folder):
        base = hub_name(str(read_mapping(folder / CONFIG).get("base_model_name_or_path")))
        of_base = {"base_model": base, "base_model_relation": "adapter"} if base else {}
        return {"library_name": "peft", **of_base}
    return {}


def _results(folder: Path) -> list[EvalResult]:
    """Results of the entries of ours, for the `model-index`."""
    found = []
    for path in sorted((folder / ENTRIES).glob("*.yaml")):
        for entry in read_entries(path.read_bytes(), str(path)):
            record, dataset = own_record(entry), entry.get("dataset") if isinstance(entry, dict) else None
            names = (
                (str(dataset.get("id")), str(dataset.get("task_id"))) if isinstance(dataset, dict) else None
            )
            known = HUB_BENCHMARKS.get(names) if names else None
            if record is not None and known is not None:
                found.append(
                    EvalResult(
                        task_type="text-generation",
                        dataset_type=known.dataset,
                        dataset_name=known.task,
                        dataset_config=known.config,
                        dataset_split=known.split,
                        metric_type=known.metric,
                        metric_value=round(entry["value"] / 100, 6),
                        metric_args={RECORD: record},
                    )
                )
    return found


def _is_by_user(text: str) -> bool:
    """Whether a card holds text that is not of `manyshot merge` or `manyshot card`."""
    body = without_parts(re.sub(r"\A---\r?\n.*?\r?\n---\r?\n", "", text, flags=re.DOTALL))
    return MADE not in body and bool(_HEADING.sub("", body).strip())


def _written(card: ModelCard, path: Path) -> bytes | None:
    """The card as text; None where its header says what the file's says."""
    return None if card.data.to_dict() == read_card(path).data.to_dict() else _as_bytes(card, path)


def _as_bytes(card: ModelCard, path: Path) -> bytes:
    try:
        return str(card).encode()
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is no model card that the hub would read ({error}).") from error
