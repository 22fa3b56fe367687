"""Files of mergekit in every form that is read, and the tiny models that they merge."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import tiny_llama
from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer

from merging.recipe import Recipe
from merging.recipe_file import load_recipe

BLOCKS = 4


def make_models(folder: Path, blocks: int = BLOCKS, names: Sequence[str] = "abc") -> None:
    """Write a base of some blocks in float32, and models a small step away from it."""
    tiny_llama(folder / "base", seed=0, num_hidden_layers=blocks)
    start = load_file(folder / "base/model.safetensors")
    for seed, name in enumerate(names, start=1):
        tiny_llama(folder / name, seed=0, num_hidden_layers=blocks)
        draw = torch.Generator().manual_seed(seed)
        moved = {
            key: start[key] + 0.1 * torch.randn(start[key].shape, generator=draw) for key in sorted(start)
        }
        save_file(moved, folder / name / "model.safetensors", metadata={"format": "pt"})


def make_token_models(folder: Path) -> None:
    """Write two models beside a base, one with the tokens <d> and <both>, one with <both> and <e>."""
    make_models(folder, names="de")
    for seed, (name, tokens) in enumerate((("d", ["<d>", "<both>"]), ("e", ["<both>", "<e>"]))):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        model = AutoModelForCausalLM.from_pretrained(folder / name)
        tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
        torch.manual_seed(seed)
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)


def models_for(text: str, folder: Path, blocks: int = 40) -> dict[str, Any]:
    """Return a file of mergekit with tiny models, which are written, for those that it names."""
    content = yaml.safe_load(text)
    sources = [
        source
        for part in content.get("slices", [content])
        for source in part.get("sources", part.get("models"))
    ]
    places = {name: f"m{number}" for number, name in enumerate(dict.fromkeys(s["model"] for s in sources))}
    make_models(folder, blocks, list(places.values()))
    for source in sources:
        source["model"] = str(folder / places[source["model"]])
    if "base_model" in content:
        content["base_model"] = str(folder / places.get(content["base_model"], "base"))
    return content | {"dtype": "float32", "out_dtype": "bfloat16"}


def _file(
    method: str,
    *,
    base: bool = True,
    shared: dict[str, Any] | None = None,
    each: dict[str, dict[str, Any]] | None = None,
    **more: Any,
) -> Callable[[Path], dict[str, Any]]:
    each = {"a": {}, "b": {}, "c": {}} if each is None else each

    def content(folder: Path) -> dict[str, Any]:
        models = [
            {"model": str(folder / name), **({"parameters": parameters} if parameters else {})}
            for name, parameters in each.items()
        ]
        return {
            "merge_method": method,
            "models": models,
            **({"base_model": str(folder / "base")} if base else {}),
            **({"parameters": shared} if shared else {}),
            "dtype": "float32",
            "out_dtype": "bfloat16",
            **more,
        }

    return content


def _slices(
    method: str,
    slices: list[dict[str, tuple[Any, ...]]],
    *,
    base: bool = True,
    own: list[dict[str, Any]] | None = None,
    **more: Any,
) -> Callable[[Path], dict[str, Any]]:
    def content(folder: Path) -> dict[str, Any]:
        whole = _file(method, base=base, each={}, **more)(folder)
        del whole["models"]
        whole["slices"] = [
            {
                "sources": [
                    {
                        "model": str(folder / name),
                        "layer_range": list(taken[:2]),
                        **({"parameters": taken[2]} if taken[2:] else {}),
                    }
                    for name, taken in sources.items()
                ],
                **({"parameters": own[i]} if own else {}),
            }
            for i, sources in enumerate(slices)
        ]
        return whole

    return content


_WEIGHTS = {"a": {"weight": 1.0}, "b": {"weight": 0.5}, "c": {"weight": 0.25}}
_GRADIENT = [0.0, 0.2, 1.0]
_FILTERED = [{"filter": "self_attn", "value": [0.1, 0.9]}, {"filter": "mlp", "value": 0.7}, {"value": 0.4}]

FILES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "linear": _file("linear", base=False, each=_WEIGHTS),
    "linear_unnormalised": _file("linear", base=False, each=_WEIGHTS, shared={"normalize": False}),
    "linear_with_base": _file("linear", each={**_WEIGHTS, "base": {"weight": 2.0}}),
    "linear_gradient": _file(
        "linear", base=False, each={"a": {"weight": _GRADIENT}, "b": {"weight": _FILTERED}}
    ),
    "task_arithmetic": _file("task_arithmetic", each=_WEIGHTS, shared={"lambda": 0.6}),
    "task_arithmetic_filters": _file(
        "task_arithmetic",
        each={"a": {"weight": [{"filter": "mlp", "value": [1.0, 0.0]}]}, "b": {}},
        shared={"weight": _FILTERED, "normalize": True, "int8_mask": True},
    ),
    "ties": _file(
        "ties",
        each={"a": {"weight": 1.0, "density": [1.0, 0.7, 0.1]}, "b": {"weight": 0.5, "density": 0.4},
              "c": {"weight": _FILTERED}},
        shared={"density": 0.33},
    ),
    "ties_sum": _file("ties", each=_WEIGHTS, shared={"density": 0.5, "normalize": False, "lambda": 0.8}),
    "dare_linear": _file("dare_linear", each=_WEIGHTS, shared={"density": 0.5}),
    "dare_ties": _file(
        "dare_ties", each={"a": {"weight": 1.0, "density": 0.9}, "b": {"weight": 0.5, "density": 0.4}}
    ),
    "slerp": _file(
        "slerp",
        each={"a": {}},
        shared={"t": [{"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
                      {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]}, {"value": 0.5}]},
    ),
    "slerp_before_base": _file("slerp", each={"c": {}, "base": {}}, shared={"t": 0.25}),
    "multislerp": _file("multislerp", each=_WEIGHTS),
    "multislerp_no_base": _file("multislerp", base=False, each=_WEIGHTS, shared={"normalize_weights": False}),
    "nuslerp": _file("nuslerp", each={"a": {"weight": 0.7}, "b": {"weight": 0.2}}),
    "nuslerp_rows": _file(
        "nuslerp", base=False, each={"a": {"weight": 0.7}, "b": {"weight": 0.2}},
        shared={"nuslerp_flatten": False, "nuslerp_row_wise": True},
    ),
    "passthrough": _file(
        "passthrough", base=False, each={"a": {"scale": [{"filter": "o_proj", "value": 0.0}, {"value": 1.0}]}}
    ),
    "breadcrumbs": _file("breadcrumbs", each=_WEIGHTS, shared={"density": 0.6, "gamma": 0.1}),
    "breadcrumbs_ties": _file("breadcrumbs_ties", each=_WEIGHTS, shared={"density": 0.6, "gamma": 0.1}),
    "della": _file("della", each=_WEIGHTS, shared={"density": 0.6, "epsilon": 0.1}),
    "della_linear": _file("della_linear", each=_WEIGHTS, shared={"density": 0.6, "epsilon": 0.1}),
    "model_stock": _file("model_stock"),
    "sce": _file("sce", shared={"select_topk": 0.3}),
    "karcher": _file("karcher", base=False),
    "nearswap": _file("nearswap", each={"a": {}}, shared={"t": 0.05}),
    "arcee_fusion": _file("arcee_fusion", each={"a": {}}),
    "ram": _file("ram", shared={"epsilon": 0.05}),
    "ramplus_tl": _file("ramplus_tl", shared={"epsilon": 0.05, "r": 0.2, "alpha": 0.3}),
    "slices_passthrough": _slices("passthrough", [{"a": (0, 3)}, {"b": (1, 4)}], base=False),
    "slices_slerp": _slices(
        "slerp", [{"base": (0, 4), "a": (0, 4)}],
        shared={"t": [{"filter": "self_attn", "value": [0, 1]}, {"value": 0.25}]},
    ),
    "slices_ties": _slices(
        "ties",
        [{"base": (0, 2), "a": (0, 2, {"weight": [0.2, 1.0]}), "b": (0, 2)},
         {"base": (1, 4), "c": (1, 4), "a": (0, 3, {"density": 0.9})}],
        own=[{"density": 0.7}, {"weight": [{"filter": "mlp", "value": [1, 0.5]}, {"value": 0.3}]}],
        shared={"weight": 0.5, "density": 0.4},
    ),
    "slices_linear": _slices(
        "linear", [{"a": (0, 1, {"weight": 1.0}), "b": (3, 4, {"weight": [1, 3]})},
                   {"c": (1, 3, {"weight": [1, 0.2]}), "b": (0, 2, {"weight": 0.5})}], base=False,
    ),
}  # fmt: skip
"""Content of a file by a name, given the models' folder."""

_WEIGHTS_OF_TWO = {"d": {"weight": 1.0}, "e": {"weight": 0.5}}
_TABLES = ("model.embed_tokens.weight", "lm_head.weight")


def _with_rows(method: str, **settings: Any) -> Callable[[Path], dict[str, Any]]:
    def content(folder: Path) -> dict[str, Any]:
        def row(model: str, **which: Any) -> dict[str, Any]:
            return {"kind": "model_token", "model": str(folder / model), **which}

        rows = {
            "<d>": {"source": row("base", token="Ġhello")},
            "<both>": {"source": str(folder / "d")},
            "<e>": {"source": str(folder / "e"), "force": True},
            "<new>": {"source": row("e", token_id=7)},
            "Ġapples": {"source": row("d", token="<d>"), "force": True},
            "Ġhow": {"source": {"kind": "zero"}, "force": True},
            "Ġmany": {"source": str(folder / "e")},
        }
        made = _file(method, **settings)(folder)
        return {**made, "tokenizer": {"source": "union", "tokens": rows}}

    return content


TOKEN_FILES = {
    "rows_task_arithmetic": _with_rows("task_arithmetic", each=_WEIGHTS_OF_TWO, shared={"lambda": 0.6}),
    "rows_linear": _with_rows("linear", each={**_WEIGHTS_OF_TWO, "base": {"weight": 2.0}}),
}
"""Files that choose rows by token, of the models of `make_token_models`."""
TOKENS = ("<d>", "<both>", "<e>", "<new>", "Ġapples", "Ġhow", "Ġmany")
"""The tokens that they choose rows for."""


def by_token(folder: Path) -> dict[str, torch.Tensor]:
    """Return a folder's tensors, those with a row for each token in the order of the tokens' texts."""
    tensors = {
        name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()
    }
    places = AutoTokenizer.from_pretrained(folder).get_vocab()
    order = [places[token] for token in sorted(places)]
    return {name: tensor[order] if name in _TABLES else tensor for name, tensor in tensors.items()}


LOOKED_AT = (
    "model.layers.0.mlp.up_proj.weight",
    "model.layers.2.self_attn.q_proj.weight",
    "model.norm.weight",
)
"""Tensors of which the tests know some entries of mergekit's results."""


def recipe_of_file(content: dict[str, Any], folder: Path) -> Recipe:
    """The recipe of a file of mergekit, which is the same once more when it is written as one of ours."""
    path, again = folder / "mergekit.yaml", folder / "ours.yaml"
    path.write_text(yaml.safe_dump(content))
    recipe = load_recipe(path)
    again.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(again) == recipe
    return recipe
