"""RegMean++'s matrices: what each expert's block makes of the merged model's output of the block before.

A block that is merged is not computed again: what came out of the last one stands in its place.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from merging.arithmetic import weighted_sum
from merging.blocks import Block
from merging.layers import layer_of, layer_positions
from merging.linear_layers import Advance, Grams, LinearLayers, reading
from merging.measured import read_part, write_part
from merging.measured_method import relative
from merging.model_weights import parameters_of, put_weights
from merging.regression import merged_layer
from merging.task_vectors import TaskVectors
from merging.texts import Pair, forward_inputs

_Text = tuple[str, int]


class _ReachedError(Exception):
    """A block's output; nothing behind it is computed."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class MergedBlocks:
    """Merges a model block by block, and keeps the matrices of every expert's inputs.

    Args:
        model: of the base, in float32; it is the merged model in the end.
        vectors: the experts.
        texts: of each task.
        shares: of the experts in the order of their names; they add up to 1.
        alpha: what is left of the entries off the diagonal.
        folder: where the matrices are written, a file for each task and block; what is there is not measured
            again.
    """

    def __init__(
        self,
        model: Any,
        vectors: TaskVectors,
        texts: Mapping[str, Sequence[Pair]],
        *,
        shares: torch.Tensor,
        alpha: float,
        folder: Path,
    ) -> None:
        self._model, self._vectors, self._texts = model, vectors, texts
        self._shares, self._alpha, self._folder = relative(shares), alpha, folder
        self.layers = LinearLayers.of(model, next(iter(texts.values()))[0])
        positions = layer_positions(vectors.names)
        inside = [name for name in vectors.names if positions[name].layer is not None]
        self._tensors: dict[str, list[str]] = {}
        for name in inside:
            self._tensors.setdefault(layer_of(name), []).append(name)
        self.blocks = [name for name, _ in model.named_modules() if name in self._tensors]
        self._modules = dict(model.named_modules())
        self._outputs: dict[str, dict[_Text, Any]] = {}
        self._text: _Text = ("", 0)

    @torch.no_grad()
    def measure(self, advance: Advance) -> dict[str, list[str]]:
        """Measure and merge every block in turn, and return the names of each task's files."""
        tasks = sorted(self._texts)
        files: dict[str, list[str]] = {task: [] for task in tasks}
        for name in self._vectors.names:
            self._write_average(name)
        try:
            for number, block in enumerate(self.blocks):
                grams = {}
                for place, task in enumerate(tasks):
                    part = f"{place}-{number}.safetensors"
                    found = read_part(self._folder, part)
                    if found is None:
                        found = self._grams(block, task, advance)
                        write_part(self._folder, part, found)
                    grams[task] = found
                    files[task].append(part)
                self._merge(block, grams)
                self._go_on(block, advance)
        finally:
            for block in self.blocks:
                self._modules[block].__dict__.pop("forward", None)
        return files

    def _grams(self, block: str, task: str, advance: Advance) -> dict[str, torch.Tensor]:
        """The matrices of one expert's block."""
        names = dict.fromkeys(self.layers.stored[name] for name in self._linear(block))
        put_weights(self._model, self._vectors.experts[task], self._vectors, self._tensors[block])
        grams = Grams()
        with reading({name: self.layers.modules[name] for name in names}, grams.add):
            for number in range(len(self._texts[task])):
                self._output(block, (task, number))
                advance()
        return grams.means({name: self.layers.sizes(name)[0] for name in names})

    def _merge(self, block: str, grams: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        linear = set(self._linear(block))
        for name in self._tensors[block]:
            if name not in linear:
                self._write_average(name)
                continue
            deltas, base = self._read(name)
            own = (grams[task][self.layers.stored[name]] for task in self._vectors.experts)
            turned = name in self.layers.reads_first
            self._write(name, base + merged_layer(deltas, own, self._shares, self._alpha, turned=turned))

    def _go_on(self, block: str, advance: Advance) -> None:
        """Keep what comes out of a merged block for every text, and have it stand in the block's place."""
        stack = block.rpartition(".")[0]
        outputs = {}
        for task, pairs in self._texts.items():
            for number in range(len(pairs)):
                outputs[task, number] = _moved(self._output(block, (task, number)), "cpu")
                advance()
        self._outputs[stack] = outputs
        device = self._model.device
        self._modules[block].forward = lambda *_, **__: _moved(self._outputs[stack][self._text], device)

    def _output(self, block: str, text: _Text) -> Any:
        def stop(_: Any, __: Any, output: Any) -> None:
            raise _ReachedError(output)

        self._text = text
        hook = self._modules[block].register_forward_hook(stop)
        try:
            self._model(**forward_inputs(self._model, self._texts[text[0]][text[1]])[0])
        except _ReachedError as reached:
            return reached.output
        finally:
            hook.remove()
        raise AssertionError

    def _linear(self, block: str) -> list[str]:
        return [name for name in self._tensors[block] if name in self.layers.modules]

    def _read(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        info = self._vectors.base.info(name)
        deltas, context = self._vectors.read(name, Block(0, info.numel, info.shape), {})
        return deltas, context.base

    def _write_average(self, name: str) -> None:
        deltas, base = self._read(name)
        self._write(name, base + weighted_sum(deltas, self._shares))

    def _write(self, name: str, weights: torch.Tensor) -> None:
        parameters_of(self._model, self._vectors)[name].data.copy_(weights)


def _moved(value: Any, device: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    return tuple(_moved(one, device) for one in value) if isinstance(value, tuple) else value
