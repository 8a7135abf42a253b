"""What every skill shares: the document layout, counter-based randomness and the interface.

A document is `[task] x1 y1 x2 y2 ... xn yn` in skill symbols 0..63 (the encode stage adds the tokenizer's offset). The
model sees x1..xk y1..yk before it answers y(k+1), so one document holds every shot count k = 0..n-1, and the k-shot
prompt is a prefix of the (k+1)-shot prompt: curves in k are paired.
"""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

TASKS = 8  # symbols 0..7 name the task
INPUTS = 16  # symbols 8..23 are the inputs x
OUTPUTS = 16  # symbols 24..39 are the answers y
INPUT_0 = TASKS
OUTPUT_0 = TASKS + INPUTS
SYMBOLS_USED = OUTPUT_0 + OUTPUTS

BLOCK = 1024  # documents that share one Philox counter block


@dataclass(frozen=True)
class Pairs:
    """`n` documents of `shots` pairs: x_NS in 0..INPUTS-1, y_NS in 0..OUTPUTS-1."""

    x_NS: NDArray[np.int64]
    y_NS: NDArray[np.int64]


class Skill(ABC):
    """One family of tasks. Subclasses are stateless, and pure functions of (task, split, seed, index)."""

    name: ClassVar[str]
    task_symbol: ClassVar[int]
    n_outputs: ClassVar[int]

    @abstractmethod
    def pairs(self, split: str, seed: int, start: int, count: int, shots: int) -> Pairs:
        """Documents `start .. start+count` of a split (`train` and `heldout` never share a random stream)."""

    @abstractmethod
    def bayes(self, pairs: Pairs) -> NDArray[np.float64]:
        """Posterior predictive p_NSV of each answer given the pairs before it and its own x, V = n_outputs."""

    def documents(self, split: str, seed: int, start: int, count: int, shots: int) -> NDArray[np.uint16]:
        """Token rows [count, 1 + 2 * shots] in skill symbols."""
        return self.rows(self.pairs(split, seed, start, count, shots))

    def rows(self, pairs: Pairs) -> NDArray[np.uint16]:
        """Pairs laid out as token rows [N, 1 + 2S]."""
        n, shots = pairs.x_NS.shape
        rows = np.empty((n, 1 + 2 * shots), dtype=np.uint16)
        rows[:, 0] = self.task_symbol
        rows[:, 1::2] = INPUT_0 + pairs.x_NS
        rows[:, 2::2] = OUTPUT_0 + pairs.y_NS
        return rows


def uniforms(task: str, split: str, seed: int, start: int, count: int, draws: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), [count, draws]: row i depends only on (task, split, seed, start + i).

    Philox (Salmon et al. 2011) is a counter-based generator: its block of documents is reached without drawing the
    ones before it.
    """
    key = int.from_bytes(hashlib.sha256(f"{task}/{split}/{seed}".encode()).digest()[:8], "little")
    first, last = start // BLOCK, (start + count - 1) // BLOCK
    blocks = [
        np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, block])).random((BLOCK, draws))
        for block in range(first, last + 1)
    ]
    return np.concatenate(blocks)[start - first * BLOCK :][:count]


def integers(u: NDArray[np.float64], high: int) -> NDArray[np.int64]:
    """Uniform integers in 0..high-1 from uniforms in [0, 1)."""
    return np.minimum((u * high).astype(np.int64), high - 1)
