"""Small whole numbers and masks packed into bytes, and task vectors quantised to a few bits."""

from dataclasses import dataclass

import numpy as np
import torch

BITS = (8, 4, 3, 2)
"""How many bits an entry may be quantised to."""


def packed_bytes(entries: int, bits: int) -> int:
    """Return how many bytes hold some entries of so many bits."""
    return -(-entries * bits // 8)


def pack(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return flat codes below 2^bits, of uint8, one after the other in bytes, the lowest bit first."""
    flags = np.unpackbits(codes.numpy()[:, None], axis=1, count=bits, bitorder="little")
    return torch.from_numpy(np.packbits(flags.reshape(-1), bitorder="little"))


def unpack(data: torch.Tensor, bits: int, entries: int) -> torch.Tensor:
    """Return the codes that `pack` was given, (entries,) of uint8."""
    flags = np.unpackbits(data.numpy(), count=entries * bits, bitorder="little").reshape(entries, bits)
    return torch.from_numpy(np.packbits(flags, axis=1, bitorder="little")[:, 0])


@dataclass(frozen=True)
class Grid:
    """The numbers that codes stand for: (code − zero) · step, among them 0.

    Attributes:
        step: from one to the next; 0 where all numbers are 0.
        zero: the code of 0.
        bits: of a code.
    """

    step: float
    zero: int
    bits: int

    @classmethod
    def over(cls, low: float, high: float, bits: int) -> "Grid":
        """Return 2^bits numbers from `low` to `high`, all moved by up to half a step so that 0 is among them.

        As TVQ has it (arXiv 2503.06921): step = (high − low)/(2^bits − 1), zero = round(−low/step). The range
        is widened to hold 0.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        step = (high - low) / (2**bits - 1)
        return cls(step, round(-low / step) if step > 0 else 0, bits)

    def codes(self, values: torch.Tensor) -> torch.Tensor:
        """Return the code of the number next to each of some float32 values, uint8."""
        if self.step == 0:
            return torch.zeros(values.shape, dtype=torch.uint8)
        places = torch.round(values.double() / self.step) + self.zero
        return places.clamp_(0, 2**self.bits - 1).to(torch.uint8)

    def values(self, codes: torch.Tensor) -> torch.Tensor:
        """Return the numbers of codes, float32."""
        return ((codes.double() - self.zero) * self.step).float()
