"""Prior mapping: 8 keys, 4 labels; the map is the canonical one with probability PI, else drawn at random.

Every label is replaced by a uniform one with probability EPS. The optimum weighs the prior learnt in the weights
against the evidence in the context (the question of Min et al. 2022 and Wei et al. 2023), and is exact:
the two hypotheses have closed-form likelihoods.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from scalinglab.skills.base import Pairs, Skill, integers, uniforms

KEYS = 8
LABELS = 4
PI = 0.5
EPS = 0.1
CANONICAL = np.arange(KEYS) % LABELS


class PriorMapping(Skill):
    name: ClassVar[str] = "prior"
    task_symbol: ClassVar[int] = 2
    n_outputs: ClassVar[int] = LABELS

    def pairs(self, split: str, seed: int, start: int, count: int, shots: int) -> Pairs:
        u = uniforms(self.name, split, seed, start, count, 1 + KEYS + 3 * shots)
        random_NK = integers(u[:, 1 : 1 + KEYS], LABELS)
        map_NK = np.where(u[:, :1] < PI, CANONICAL[None], random_NK)
        x_u, flip_u, noise_u = np.split(u[:, 1 + KEYS :], 3, axis=1)
        x_NS = integers(x_u, KEYS)
        clean_NS = np.take_along_axis(map_NK, x_NS, axis=1)
        return Pairs(x_NS, np.where(flip_u < EPS, integers(noise_u, LABELS), clean_NS))

    def bayes(self, pairs: Pairs) -> NDArray[np.float64]:
        """p(y | x, context) = sum over the two hypotheses of posterior weight times predictive.

        Under the random hypothesis each key has its own uniform label m, with likelihood
        prod_i ((1 - EPS) [y_i = m] + EPS / LABELS) over the pairs of that key.
        """
        n, shots = pairs.x_NS.shape
        rows = np.arange(n)
        # emit[m, y]: probability to read y where the map says m.
        emit_MV = (1 - EPS) * np.eye(LABELS) + EPS / LABELS
        log_canonical_N = np.full(n, np.log(PI))
        log_random_N = np.full(n, np.log(1 - PI))
        weight_NKM = np.full((n, KEYS, LABELS), 1 / LABELS)  # posterior of each key's label if the map is random
        p_NSV = np.empty((n, shots, LABELS))
        for s in range(shots):
            x_N, y_N = pairs.x_NS[:, s], pairs.y_NS[:, s]
            canonical_NV = emit_MV[CANONICAL[x_N]]
            random_NV = weight_NKM[rows, x_N] @ emit_MV
            share_N = 1 / (1 + np.exp(log_random_N - log_canonical_N))
            p_NSV[:, s] = share_N[:, None] * canonical_NV + (1 - share_N[:, None]) * random_NV
            log_canonical_N = log_canonical_N + np.log(canonical_NV[rows, y_N])
            log_random_N = log_random_N + np.log(random_NV[rows, y_N])
            posterior_NM = weight_NKM[rows, x_N] * emit_MV[:, y_N].T
            weight_NKM[rows, x_N] = posterior_NM / posterior_NM.sum(axis=1, keepdims=True)
        return p_NSV
