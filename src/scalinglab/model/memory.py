"""What a decoder keeps of the tokens it has read, so that the next one costs one position and not the whole context."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class LayerMemory:
    """Of one block: keys and values [B, heads, T, K] of all positions read, and the last input of its token shift."""

    k_BHTK: Tensor | None = None
    v_BHTK: Tensor | None = None
    shifted_B1D: Tensor | None = None

    @property
    def length(self) -> int:
        """Positions read."""
        return 0 if self.k_BHTK is None else self.k_BHTK.shape[2]

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Take in new positions; return the keys and values of all."""
        if self.k_BHTK is not None and self.v_BHTK is not None:
            k_BHTK, v_BHTK = torch.cat([self.k_BHTK, k_BHTK], dim=2), torch.cat([self.v_BHTK, v_BHTK], dim=2)
        self.k_BHTK, self.v_BHTK = k_BHTK, v_BHTK
        return k_BHTK, v_BHTK

    def select(self, rows: Tensor) -> None:
        """Keep, or repeat, some rows of the batch: the beams that go on."""
        if self.k_BHTK is not None and self.v_BHTK is not None:
            self.k_BHTK, self.v_BHTK = self.k_BHTK[rows], self.v_BHTK[rows]
        if self.shifted_B1D is not None:
            self.shifted_B1D = self.shifted_B1D[rows]
