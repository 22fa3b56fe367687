"""A document of mergekit as a recipe of ours, with notices of what is done otherwise."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from merging.chat_templates import CHAT_TEMPLATES
from merging.mergekit.document import Document, Slice, output_dtype
from merging.mergekit.experts import Merged, named, with_base
from merging.mergekit.methods import THEIRS, Given, TheirMethod, their_method
from merging.mergekit.parameters import setting
from merging.mergekit.slices import Sliced, read_slices
from merging.mergekit.tokenizer import read_tokenizer
from merging.recipe import AUTO, ExpertSpec, MethodSpec, Recipe
from results.errors import InputError
from results.reading import beside
from results.validation import quoted, validated

_SHORTEST_TEMPLATE = 20


_ONLY_MODULE = "default"
"""What mergekit calls the one part of a language model."""


def read_document(content: Mapping[str, Any], file: Path, made: Mapping[str, Path] | None = None) -> Recipe:
    """Return a recipe that merges as a document of mergekit says.

    Args:
        content: of the document.
        file: where it stands; relative paths are looked for beside it first.
        made: folders of the models that earlier documents of the file make, by their names.

    Raises:
        InputError: a key, a method or a value is not supported, or something is missing.
    """
    where = str(file)
    document = validated(Document, _whole(content, where), where)
    theirs = their_method(document.merge_method, where)
    if (document.models is None) == (document.slices is None):
        raise InputError(f"{where}: give either 'models' or 'slices'.")
    ignored = _ignored(document, theirs, where)
    places = _Places(file, made or {})
    base = None if document.base_model is None else places.of(document.base_model)
    if document.slices is None:
        merge = _of_models(document, theirs, base, places, where)
    else:
        merge = read_slices(document, [places.of_slice(one) for one in document.slices], theirs, base, where)
    tokenizer = read_tokenizer(document, merge, places.of, where)
    return Recipe(
        base=merge.base,
        experts={
            name: ExpertSpec(path=path, weight=merge.ours.weights.get(name, 1.0))
            for name, path in merge.experts.items()
        },
        method=MethodSpec(name=merge.ours.name, **merge.ours.settings),
        normalize_weights=merge.ours.divide,
        output_dtype=output_dtype(document, where),
        seed=document.random_seed or 0,
        chat_template=_template(document.chat_template, where),
        tokenizer=tokenizer.source,
        pad_to_multiple_of=tokenizer.pad_to_multiple_of,
        tokens=tokenizer.tokens,
        notices=[*merge.ours.notices, *ignored],
    )


def _whole(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a document with the models or slices of its only module as its own.

    Raises:
        InputError: it has other modules, parts of models that are not text alone.
    """
    modules = content.get("modules")
    if modules is None:
        return dict(content)
    if not isinstance(modules, Mapping) or list(modules) != [_ONLY_MODULE]:
        raise InputError(
            f"{where}: 'modules' names parts of models, of which only '{_ONLY_MODULE}' is merged here; use "
            "'models' or 'slices'."
        )
    rest = {key: value for key, value in content.items() if key != "modules"}
    module = modules[_ONLY_MODULE]
    if not isinstance(module, Mapping) or not module.keys() <= {"models", "slices", "parameters"}:
        raise InputError(f"{where}: 'modules.{_ONLY_MODULE}' takes 'models' or 'slices', and 'parameters'.")
    if rest.get("models") is not None or rest.get("slices") is not None:
        raise InputError(f"{where}: give one of 'models', 'slices' and 'modules'.")
    scopes = [part.get("parameters") or {} for part in (module, rest)]
    parameters = {name: setting(scopes, name, where) for name in {**scopes[0], **scopes[1]}}
    return rest | {**module, "parameters": parameters or None}


def _of_models(
    document: Document, theirs: TheirMethod, base: str | None, places: "_Places", where: str
) -> Sliced:
    listed = [Merged(places.of(one.model), one.parameters) for one in document.models or ()]
    merged = with_base(theirs, document.merge_method, base, listed, where)
    by_name = dict(zip(named([one.location for one in merged]), merged, strict=True))
    given = Given(
        (document.parameters,),
        {name: (one.parameters, document.parameters) for name, one in by_name.items()},
        has_base=base is not None and theirs.base != "merged",
        where=where,
    )
    experts = {name: one.location for name, one in by_name.items()}
    return Sliced(base or listed[0].location, experts, theirs.read(given))


class _Places:
    """Where the models of a file lie."""

    def __init__(self, file: Path, made: Mapping[str, Path]) -> None:
        self._file, self._made = file, made

    def of(self, reference: str) -> str:
        """Return a model's folder or hub name; one that an earlier document makes is where that writes it."""
        model, *adapters = reference.split("+")
        place = str(self._made[model]) if model in self._made else beside(self._file, model)
        return "+".join([place, *(beside(self._file, adapter) for adapter in adapters)])

    def of_slice(self, one: Slice) -> Slice:
        """Return a slice whose models are locations."""
        base = None if one.base_model is None else self.of(one.base_model)
        sources = [source.but(model=self.of(source.model)) for source in one.sources]
        return one.but(sources=sources, base_model=base)


def _ignored(document: Document, theirs: TheirMethod, where: str) -> list[str]:
    """Return a notice of parameters that mergekit passes over too.

    Raises:
        InputError: a parameter is none of any of mergekit's methods.
    """
    method, slices = document.merge_method, document.slices or ()
    scopes = [document.parameters, *(one.parameters for one in document.models or ())]
    scopes += [one.parameters for one in slices]
    scopes += [source.parameters for one in slices for source in one.sources]
    given = list(dict.fromkeys(name for scope in scopes for name in scope or ()))
    known = {name for one in THEIRS.values() for name in one.parameters}
    for name in given:
        if name not in known:
            raise InputError(
                f"{where}: the parameter {quoted(name)} is unknown; merge_method {method!r} takes "
                f"{', '.join(theirs.parameters) or 'none'}."
            )
    passed_over = [name for name in given if name not in theirs.parameters]
    notices = []
    if passed_over:
        notices.append(
            f"mergekit's {method} does not read {', '.join(f'`{name}`' for name in passed_over)}, which is "
            "passed over here too"
        )
    if "int8_mask" in given:
        notices.append("`int8_mask` is ignored: it saves memory in mergekit and changes no result")
    return notices


def _template(wanted: str | None, where: str) -> str | None:
    """Return the chat template as a recipe of ours says it.

    Raises:
        InputError: it is a name that is none here.
    """
    if wanted is None or wanted == AUTO:
        return wanted
    if wanted in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[wanted]
    if "{" in wanted and len(wanted) >= _SHORTEST_TEMPLATE:
        return wanted
    raise InputError(
        f"{where}: 'chat_template' is {quoted(wanted)}; give '{AUTO}', {', '.join(CHAT_TEMPLATES)} or the "
        "template itself."
    )
