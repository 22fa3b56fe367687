"""The merged model as a function of its coefficients, with gradients: θ(Γ) = θ₀ + Σ_t Γ_t τ_t.

No graph goes through the merge. The merged weights are leaves: a backward pass gives ∂L/∂θ, and
∂L/∂Γ_t^l = ⟨∂L/∂θ^l, τ_t^l⟩ for every task t and layer l. Task vectors are made block by block from files,
so that beside the model and its gradient only some blocks are in memory; a GPU keeps them where they fit.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from merging import kernels
from merging.blocks import BLOCK_ON_DEVICE, Block, blocks, map_in_order, one_torch_thread_each
from merging.checkpoints.checkpoint import Checkpoint, Stored
from merging.layers import WHOLE_MODEL, Level, layer_of, layers_of
from merging.method import Scope
from merging.task_vectors import TaskVectors, widened
from results.errors import InputError

_BLOCK = 2**20
"""Entries of a block on a CPU: enough to outweigh what starts it."""


def _held_on(checkpoint: Checkpoint, device: str) -> Checkpoint:
    """Return a checkpoint with its tensors in a device's memory, as they are stored."""
    stored = {
        name: Stored(checkpoint.info(name), checkpoint.block(name, 0, checkpoint.info(name).numel).to(device))
        for name in checkpoint.names
    }
    return Checkpoint(checkpoint.folder, checkpoint.config, checkpoint.files, stored)


class DifferentiableMerge:
    """A merged model as a function of the coefficients of its task vectors.

    Args:
        model: of transformers, in float32, with the base's tensors as its parameters.
        vectors: the task vectors.
        level: whether every layer has coefficients of its own.

    Attributes:
        layers: names of the coefficients' columns.
        tasks: names of their rows.

    Raises:
        InputError: a tensor of the base is no parameter of the model.
    """

    def __init__(self, model: Any, vectors: TaskVectors, level: Level) -> None:
        self.model = model
        self.tasks = tuple(vectors.experts)
        on_cpu = vectors.on_cpu
        if not on_cpu and _fits(vectors):
            experts = {task: _held_on(one, vectors.device) for task, one in vectors.experts.items()}
            vectors = replace(vectors, base=_held_on(vectors.base, vectors.device), experts=experts)
        self._vectors = vectors
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding):
                module.padding_idx = None  # whose row would get no gradient where the token is read
        parameters = dict(model.named_parameters(remove_duplicate=False))
        for name in vectors.names:
            if name not in parameters:
                raise InputError(
                    f"{vectors.base.folder}: the tensor {name!r} is no parameter of the model that "
                    "transformers makes of it, so its coefficients cannot be learned."
                )
        self._parameters = {name: parameters[name] for name in vectors.names}
        self.layers = layers_of(vectors.names, level)
        columns = {layer: column for column, layer in enumerate(self.layers)}
        self._columns = {
            name: columns[WHOLE_MODEL if level == "task" else layer_of(name)] for name in vectors.names
        }
        size = _BLOCK if on_cpu else BLOCK_ON_DEVICE
        self._cuts = [
            (name, block)
            for name in vectors.names
            for block in blocks(vectors.base.info(name).shape, Scope.ELEMENT, size)
        ]
        self._on_cpu = on_cpu
        self._threads = torch.get_num_threads() if on_cpu else 1

    @torch.no_grad()
    def write_weights(self, coefficients: torch.Tensor) -> None:
        """Write θ₀ + Σ_t Γ_t τ_t into the model, from coefficients (tasks, layers)."""
        shares = coefficients.to(torch.float32).cpu()

        def write(cut: tuple[str, Block]) -> None:
            name, block = cut
            out = self._parameters[name].data.view(-1)[block.start : block.stop]
            weights = shares[:, self._columns[name]]
            if not self._on_cpu:
                deltas, context = self._vectors.read(name, block, {})
                torch.addmv(context.base, deltas.t(), weights.to(out.device), out=out)
                return
            kernels.add_scaled_differences(*self._read(name, block), weights.numpy(), out.numpy())

        self._over_blocks(write)

    @torch.no_grad()
    def gradient(self) -> torch.Tensor:
        """Return ∂L/∂Γ (tasks, layers) in float64 from the gradients of the model's parameters."""
        total = torch.zeros(len(self.tasks), len(self.layers), dtype=torch.float64)

        def part(cut: tuple[str, Block]) -> torch.Tensor | None:
            name, block = cut
            gradient = self._parameters[name].grad
            if gradient is None:
                return None
            own = gradient.view(-1)[block.start : block.stop]
            if not self._on_cpu:
                deltas, _ = self._vectors.read(name, block, {})
                return (deltas @ own).double().cpu()
            products = np.zeros(len(self.tasks))
            kernels.products_with_differences(*self._read(name, block), own.numpy(), products)
            return torch.from_numpy(products)

        for (name, _), products in self._over_blocks(part):
            if products is not None:
                total[:, self._columns[name]] += products
        return total

    def _read(self, name: str, block: Block) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The weights of base and experts in a block, in float32; views of their files where they can."""
        base, experts = self._vectors.blocks(name, block)
        return _float32(base), tuple(map(_float32, experts))

    def _over_blocks(self, work: Any) -> list[Any]:
        if self._threads == 1:
            return [(cut, work(cut)) for cut in self._cuts]
        with one_torch_thread_each():
            return list(map_in_order(work, self._cuts, self._threads))


def _float32(numbers: torch.Tensor) -> np.ndarray:
    array = widened(numbers).numpy()
    array.flags.writeable = False  # as those of mapped files are: kernels want them alike
    return array


def _fits(vectors: TaskVectors) -> bool:
    checkpoints = (vectors.base, *vectors.experts.values())
    needed = sum(opened.info(name).nbytes for opened in checkpoints for name in vectors.names)
    return needed < torch.cuda.mem_get_info(vectors.device)[0] / 2
