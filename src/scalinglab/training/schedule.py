"""When a run branches, and how its rate moves: WSD (Hu et al. 2024, eq. 1), cosine (Loshchilov & Hutter 2017), linear
decay from the start (Defazio et al. 2023), or constant.

A WSD trunk warms up, then keeps its rate; each budget leaves it at a branch point and decays linearly to zero over the
last `anneal_share` of its tokens (Hägele et al. 2024). Cells of the other kinds leave at step 0 and share nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from scalinglab.config import Training, tokens_of, width_of


@dataclass(frozen=True)
class RateLaw:
    """Peak rate = prefactor * width ^ exponent."""

    prefactor: float
    exponent: float

    def peak(self, size: str) -> float:
        """The peak learning rate of a size."""
        return self.prefactor * width_of(size) ** self.exponent

    def rounded(self) -> "RateLaw":
        """To three digits and two decimals: what the sweep can know, so that noise in it does not restart trunks."""
        return RateLaw(float(f"{self.prefactor:.3g}"), round(self.exponent, 2) + 0.0)  # no -0.0


@dataclass(frozen=True)
class Rates:
    """Learning rates of a step: of the embedding, where it has its own (training.embedding_rate), and of all others."""

    others: float
    embedding: float

    @classmethod
    def alike(cls, rate: float) -> Self:
        """One rate for all."""
        return cls(rate, rate)

    @classmethod
    def share(cls, peak: float, share: float, training: Training) -> Self:
        """A share of the peak rates: `peak`, and the embedding's own."""
        return cls(peak * share, (training.embedding_rate or peak) * share)


def steps_of(tokens: int, batch_tokens: int) -> int:
    """Whole optimiser steps nearest to a number of tokens."""
    return round(tokens / batch_tokens)


def branch_step(budget: str, training: Training) -> int:
    """The trunk's step at which a budget's own part begins; 0 for `init`, and for cells that share nothing."""
    return 0 if budget == "init" else branch_of(steps_of(tokens_of(budget), training.batch_tokens), training)


def branch_of(steps: int, training: Training) -> int:
    """The step at which a run of so many steps begins to decay."""
    return 0 if training.schedule != "wsd" else steps - max(1, round(training.anneal_share * steps))


def warmup(step: int, training: Training) -> float:
    """Linear from 0 to 1 over warmup_tokens; `step` counts from 0."""
    steps = steps_of(training.warmup_tokens, training.batch_tokens)
    return min(1.0, (step + 1) / steps) if steps else 1.0


def trunk_rate(step: int, training: Training) -> float:
    """Fraction of the peak rate on the trunk."""
    return warmup(step, training)


def anneal_rate(step: int, first: int, last: int, training: Training) -> float:
    """Fraction of the peak rate at `step` of a branch that runs over first <= step < last."""
    done = (step - first) / (last - first)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}.get(training.schedule, 1 - done)
    return warmup(step, training) * left


def run_rates(peak: float, steps: int, training: Training, factor: float = 1.0) -> Callable[[int], Rates]:
    """The rates at each step of a run of its own: what trunk and anneal do one after the other.

    factor: what all rates are multiplied with, the embedding's too.
    """
    first = branch_of(steps, training)

    def rates(step: int) -> Rates:
        share = trunk_rate(step, training) if step < first else anneal_rate(step, first, steps, training)
        return Rates.share(peak, factor * share, training)

    return rates
