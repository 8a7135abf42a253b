"""Runs that are compared: each method at a few learning rates first, then at its best one over all seeds.

A job may hold dozens of them. Each is kept when it ends, so that a killed job takes up after the last one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalinglab.config import Study
from scalinglab.stages.checkpoints import Checkpoint

SWEEP_SEED = 0  # of the runs that choose the rate: none of those that are compared
Row = dict[str, Any]


def sweep_then_run(
    rates: Sequence[float], seeds: Sequence[int], once: Callable[[str, int, float], Row], by: str = "loss"
) -> list[Row]:
    """One row a run: first the sweep of rates, then every seed at the best of them.

    once(role, seed, factor) gives a run's row; the least of its column `by` decides, NaN is that of a run that
    diverged. rates: factors of the study's; a single one needs no sweep.
    """
    sweep = [once("sweep", SWEEP_SEED, factor) for factor in rates] if len(rates) > 1 else []
    ended = [row for row in sweep if np.isfinite(row[by])]
    best = min(ended, key=lambda row: row[by])["factor"] if ended else rates[len(rates) // 2]
    return sweep + [once("run", seed, best) for seed in seeds]


class PairedRuns:
    """The runs of one job; `identity` is a digest of all that decides them, but method, seed and rate."""

    def __init__(self, study: Study, name: str, identity: str) -> None:
        self._done = Checkpoint(study, name, identity)
        # By method, role, factor and seed: a run is taken for no other, whatever is asked for now.
        self._rows: dict[str, Row] = found[1]["runs"] if (found := self._done.load()) else {}

    def of(
        self,
        rates: Sequence[float],
        seeds: Sequence[int],
        run: Callable[[str, int, float], Row],
        method: str = "",
        by: str = "loss",
    ) -> list[Row]:
        """The rows of sweep_then_run; run(key, seed, factor) trains a model and measures it."""

        def once(role: str, seed: int, factor: float) -> Row:
            key = f"{f'{method}-' if method else ''}{role}-{factor:g}-{seed}"
            if key not in self._rows:
                self._rows[key] = {"role": role, "seed": seed, "factor": factor, **run(key, seed, factor)}
                self._done.save({}, {"runs": self._rows})
            return self._rows[key]

        return sweep_then_run(rates, seeds, once, by)
