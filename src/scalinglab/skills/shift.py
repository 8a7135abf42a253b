"""Modular shift: y = (x + c) mod 16 with c drawn anew in each document. One example settles every later answer."""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scalinglab.skills.base import INPUTS, OUTPUTS, Pairs, Skill, integers, uniforms


class Shift(Skill):
    name: ClassVar[str] = "shift"
    task_symbol: ClassVar[int] = 1
    n_outputs: ClassVar[int] = OUTPUTS

    def pairs(self, split: str, seed: int, start: int, count: int, shots: int) -> Pairs:
        u = uniforms(self.name, split, seed, start, count, 1 + shots)
        offset_N1 = integers(u[:, :1], OUTPUTS)
        x_NS = integers(u[:, 1:], INPUTS)
        return Pairs(x_NS, (x_NS + offset_N1) % OUTPUTS)

    def bayes(self, pairs: Pairs) -> NDArray[np.float64]:
        """Uniform at zero shots, certain afterwards."""
        n, shots = pairs.x_NS.shape
        p_NSV = np.full((n, shots, OUTPUTS), 1 / OUTPUTS)
        offset_N = (pairs.y_NS[:, 0] - pairs.x_NS[:, 0]) % OUTPUTS
        answer_NS = (pairs.x_NS + offset_N[:, None]) % OUTPUTS
        p_NSV[:, 1:] = np.eye(OUTPUTS)[answer_NS[:, 1:]]
        return p_NSV
