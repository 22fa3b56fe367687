"""Tiny checkpoints, written into the test's own folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import learning_llama
from toy_checkpoints import CONFIG, VOCAB, tensors

import merging.known_methods
from merging.recipe import Recipe

torch.set_num_threads(2)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that learns `tiny.EXAMPLES`."""
    return learning_llama(tmp_path_factory.mktemp("learning") / "base")


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write a checkpoint folder: save(name, tensors, config changes, vocab, shards of so many tensors)."""

    def write(
        name: str,
        weights: dict[str, torch.Tensor],
        config: dict | None = None,
        vocab: dict[str, int] | None = None,
        per_shard: int | None = None,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({**CONFIG, **(config or {})}))
        tokenizer = {"model": {"type": "WordLevel", "vocab": vocab or VOCAB}, "added_tokens": []}
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
        (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        (folder / "chat_template.jinja").write_text("{{ messages }}")
        (folder / "generation_config.json").write_text('{"do_sample": false}')
        if per_shard is None:
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
            return folder
        names = sorted(weights)
        shards = [names[i : i + per_shard] for i in range(0, len(names), per_shard)]
        places = {}
        for i, shard in enumerate(shards, start=1):
            file = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
            save_file({n: weights[n] for n in shard}, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(shard, file)
        index = {"metadata": {"total_size": 0}, "weight_map": places}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    return write


@pytest.fixture
def family(save: Callable[..., Path]) -> tuple[Path, dict[str, Path]]:
    """A base and three experts in float32."""
    base = tensors(0)
    experts = {name: save(name, tensors(i, like=base)) for i, name in enumerate(("a", "b", "c"), start=1)}
    return save("base", base), experts


@pytest.fixture
def recipe_for() -> Callable[..., Recipe]:
    """Build a recipe from folders."""

    def build(base: Path, experts: dict, method: str = "average", **more: object) -> Recipe:
        settings = more.pop("settings", {})
        return Recipe(base=base, experts=experts, method={"name": method, **settings}, **more)  # type: ignore[arg-type]

    return build


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test register methods of its own, which are forgotten afterwards."""
    merging.known_methods.known_methods()
    monkeypatch.setattr(merging.known_methods, "_KNOWN", dict(merging.known_methods._KNOWN))
