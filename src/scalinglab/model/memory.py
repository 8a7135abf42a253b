"""What a decoder keeps of the tokens it has read, so that the next one costs one position and not the whole context."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class LayerMemory:
    """Of one block, after `length` positions: their keys and values [B, heads, T, K], or where attention carries one, a
    state [B, heads, K, K] of fixed size; and the last input of its token shift."""

    k_BHTK: Tensor | None = None
    v_BHTK: Tensor | None = None
    state_BHKK: Tensor | None = None
    shifted_B1D: Tensor | None = None
    length: int = 0

    def append(self, k_BHTK: Tensor, v_BHTK: Tensor) -> tuple[Tensor, Tensor]:
        """Take in new positions; return the keys and values of all."""
        if self.k_BHTK is not None and self.v_BHTK is not None:
            k_BHTK, v_BHTK = torch.cat([self.k_BHTK, k_BHTK], dim=2), torch.cat([self.v_BHTK, v_BHTK], dim=2)
        self.k_BHTK, self.v_BHTK, self.length = k_BHTK, v_BHTK, k_BHTK.shape[2]
        return k_BHTK, v_BHTK

    def carry(self, state_BHKK: Tensor, positions: int) -> None:
        """Take in a state that so many new positions have changed."""
        self.state_BHKK = state_BHKK
        self.length += positions

    def select(self, rows: Tensor) -> None:
        """Keep, or repeat, some rows of the batch: the beams that go on."""
        if self.k_BHTK is not None and self.v_BHTK is not None:
            self.k_BHTK, self.v_BHTK = self.k_BHTK[rows], self.v_BHTK[rows]
        if self.state_BHKK is not None:
            self.state_BHKK = self.state_BHKK[rows]
        if self.shifted_B1D is not None:
            self.shifted_B1D = self.shifted_B1D[rows]
