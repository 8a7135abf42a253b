"""Recall: each document draws a map from 16 keys to 16 values; a repeated key must get its value again.

In-context retrieval in the sense of Olsson et al. (2022) and Arora et al. (2023): the answer to a key seen before is
certain, the answer to a new key is uniform.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scalinglab.skills.base import INPUTS, OUTPUTS, Pairs, Skill, integers, uniforms


class Recall(Skill):
    name: ClassVar[str] = "recall"
    task_symbol: ClassVar[int] = 0
    n_outputs: ClassVar[int] = OUTPUTS

    def pairs(self, split: str, seed: int, start: int, count: int, shots: int) -> Pairs:
        u = uniforms(self.name, split, seed, start, count, INPUTS + shots)
        map_NK = integers(u[:, :INPUTS], OUTPUTS)
        x_NS = integers(u[:, INPUTS:], INPUTS)
        return Pairs(x_NS, np.take_along_axis(map_NK, x_NS, axis=1))

    def bayes(self, pairs: Pairs) -> NDArray[np.float64]:
        """Certain where the key stands earlier in the document, uniform over the values elsewhere."""
        n, shots = pairs.x_NS.shape
        p_NSV = np.full((n, shots, OUTPUTS), 1 / OUTPUTS)
        rows = np.arange(n)
        known_NK = np.full((n, INPUTS), -1)
        for s in range(shots):
            value_N = known_NK[rows, pairs.x_NS[:, s]]
            seen = value_N >= 0
            p_NSV[seen, s] = 0.0
            p_NSV[rows[seen], s, value_N[seen]] = 1.0
            known_NK[rows, pairs.x_NS[:, s]] = pairs.y_NS[:, s]
        return p_NSV
