"""Cells as plain arrays, checked once: what every estimator takes."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalinglab.errors import UserError

Array = NDArray[np.float64]
# Column of a cells table that counts parameters, by the name of the convention.
CONVENTIONS = {"matmul": "params_matmul", "total": "params_total", "non_embedding": "params_non_embedding"}


@dataclass(frozen=True)
class Points:
    """Parameters N, tokens D, training FLOPs C, loss in nats a token and trunk of each cell, all [cells]."""

    n: Array
    d: Array
    c: Array
    loss: Array
    trunk: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.loss)

    def take(self, where: NDArray[np.generic]) -> "Points":
        """The cells under a mask, or at places (which may repeat)."""
        return Points(self.n[where], self.d[where], self.c[where], self.loss[where], self.trunk[where])

    def averaged(self) -> "Points":
        """Replicas, cells of equal N and D, as one cell with their mean loss; its trunk is the first's."""
        places = np.stack([self.n, self.d], axis=1)
        _, first, inverse = np.unique(places, axis=0, return_index=True, return_inverse=True)
        mean = np.bincount(inverse.ravel(), weights=self.loss) / np.bincount(inverse.ravel())
        return replace(self.take(first), loss=mean)


def points(n: Array, d: Array, loss: Array, c: Array | None = None, trunk: NDArray[np.str_] | None = None) -> Points:
    """Checked points; C defaults to 6 N D, and each cell to a trunk of its own.

    Raises UserError for values that are not positive and finite, and for the same cell listed twice.
    """
    n, d, loss = (np.asarray(values, dtype=np.float64) for values in (n, d, loss))
    c = 6 * n * d if c is None else np.asarray(c, dtype=np.float64)
    for name, values in (("N", n), ("D", d), ("C", c), ("loss", loss)):
        bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if len(bad):
            shown = ", ".join(f"{values[i]} in row {i + 1}" for i in bad[:3])
            raise UserError(f"{name} must be a positive number: {shown}; drop such rows, or flag the cell as diverged")
    rows = list(zip(n, d, loss, strict=True))
    if len(set(rows)) < len(rows):
        twice = next(row for row in rows if rows.count(row) > 1)
        raise UserError(
            f"the cell N = {twice[0]:g}, D = {twice[1]:g}, loss = {twice[2]:g} is listed twice; keep one row"
        )
    labels = np.arange(len(n)).astype(str) if trunk is None else np.asarray(trunk)
    return Points(n, d, c, loss, labels)


def of_cells(cells: pd.DataFrame, convention: str, loss: str = "val/loss") -> Points:
    """Points of a study's cells that did not diverge, under one convention of counting.

    `matmul` takes the exact FLOPs of the model; `total` and `non_embedding` count C = 6 N D in their own N, as papers
    do that use them (Kaplan et al. 2020; Hoffmann et al. 2022).
    """
    cells = cells[~cells["diverged"]]
    n, d = (cells[name].to_numpy(np.float64) for name in (CONVENTIONS[convention], "tokens"))
    flops = cells["flops"].to_numpy(np.float64) if convention == "matmul" else None
    return points(n, d, cells[loss].to_numpy(np.float64), flops, cells["size"].to_numpy(str))


def resample(data: Points, rng: np.random.Generator) -> Points:
    """As many whole trunks as there are, drawn with replacement: branches of one trunk are not independent.

    Where each cell is a trunk of its own this is the ordinary bootstrap (Efron 1979).
    """
    names, inverse = np.unique(data.trunk, return_inverse=True)
    drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
    return data.take(np.repeat(np.arange(len(data)), drawn[inverse]))
