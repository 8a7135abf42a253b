"""The peak learning rate as a power law of width, from short runs at several rates."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalinglab.config import width_of
from scalinglab.parabola import bottom
from scalinglab.training.schedule import RateLaw

# Bowls are flat and each loss carries the noise of its seed: at width 16, two sweeps (400k and 800k tokens) put the
# bottom at 0.049 and 0.128 through three rates, at 0.054 and 0.066 through five.
NEAR = 5
WORTH = 1.1  # a loss further above the lowest is of a rate about to diverge, or hardly learning: no part of a bowl


@dataclass(frozen=True)
class BestRate:
    """The best rate of one size, and the lowest loss that was measured.

    inside: whether the measured rates form a bowl with its bottom between them; else the rate is the best one tried.
    """

    size: str
    rate: float
    loss: float
    inside: bool


def best_rate(size: str, rates: Sequence[float], losses: Sequence[float]) -> BestRate:
    """Bottom of a parabola in ln rate through the NEAR rates nearest the best; diverged runs (NaN) take no part.

    A sweep of a single rate has that one. Raises ValueError where every run diverged.
    """
    finished = sorted((rate, loss) for rate, loss in zip(rates, losses, strict=True) if np.isfinite(loss))
    if not finished:
        raise ValueError(f"{size}: every rate diverged")
    lowest = min(loss for _, loss in finished)
    x, y = np.array([(np.log(rate), loss) for rate, loss in finished if loss <= WORTH * lowest]).T
    found = bottom(x, y, np.argsort(np.abs(x - x[y.argmin()]), kind="stable")[:NEAR])
    return BestRate(size, float(np.exp(found.x)), lowest, found.inside or len(rates) == 1)


def fit(best: Sequence[BestRate]) -> RateLaw:
    """Least squares of ln rate on ln width; a single width gives a constant rate.

    Sizes without a bowl take part with the best rate that they tried, and are flagged where the law is shown.
    """
    widths = np.array([width_of(one.size) for one in best], dtype=np.float64)
    rates = np.array([one.rate for one in best])
    if len(np.unique(widths)) < 2:
        return RateLaw(float(np.exp(np.log(rates).mean())), 0.0)
    slope, intercept = np.polyfit(np.log(widths), np.log(rates), 1)
    return RateLaw(float(np.exp(intercept)), float(slope))
