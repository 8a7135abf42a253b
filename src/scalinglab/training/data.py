"""The data cursor: batch i of a run is a slice of the memory-mapped mixture, whatever came before."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scalinglab.errors import UserError


@dataclass(frozen=True)
class Batch:
    """tokens_BT and targets_BT are ids; scored_N holds the places in the flattened [B * T] that the loss counts.

    two_way: so many positions, the first ones, all see one another; the others see the past.
    """

    tokens_BT: Tensor
    targets_BT: Tensor
    scored_N: Tensor
    two_way: int = 0


class Batches:
    """Random access to the batches of a mixture of rows [R, T + 1].

    repeat: how often the rows may be read. unique_tokens: read so many only, and those as often as need be; 0: all.
    """

    def __init__(
        self,
        rows: NDArray[np.uint16],
        scored: NDArray[np.bool_],
        batch_tokens: int,
        repeat: int,
        unique_tokens: int = 0,
    ) -> None:
        self._batch = batch_tokens // (rows.shape[1] - 1)
        self._available: float = len(rows) * repeat // self._batch
        if unique_tokens:
            used = unique_tokens // (rows.shape[1] - 1)
            if used > len(rows):
                held = len(rows) * (rows.shape[1] - 1)
                raise UserError(
                    f"training.unique_tokens = {unique_tokens:,}: the mixture holds {held:,} tokens; lower it, or 0 "
                    "for all"
                )
            rows, scored, self._available = rows[:used], scored[:used], math.inf
        self._rows, self._scored = rows, scored

    def check(self, steps: int, what: str) -> None:
        """Raise UserError where `steps` batches are more than the mixture holds."""
        if steps > self._available:
            tokens = self._batch * (self._rows.shape[1] - 1)
            raise UserError(
                f"{what} needs {steps * tokens:,} tokens, but the mixture holds {self._available * tokens:,}; lower "
                "the budget, add text (clean.sample_share, download.sources), or allow repetition with mixture.repeat"
            )

    def rows(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows [B, T + 1] of one step, and which of their targets count, [B, T]."""
        places = np.arange(step * self._batch, (step + 1) * self._batch) % len(self._rows)
        return self._rows[places].astype(np.int64), self._scored[places]

    def __getitem__(self, step: int) -> Batch:
        rows_BT, scored_BT = self.rows(step)
        block = torch.from_numpy(rows_BT)
        scored_N = torch.from_numpy(scored_BT).flatten().nonzero()[:, 0]
        return Batch(block[:, :-1], block[:, 1:].contiguous(), scored_N)
