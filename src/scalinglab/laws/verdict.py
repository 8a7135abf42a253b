"""Whether a table identifies its surface, and if not, why not: said beside every number that comes from one."""

from dataclasses import dataclass

import numpy as np

from scalinglab.laws.parametric import PARAMETERS, Fit
from scalinglab.laws.points import Points

GRADIENT = 1e-3  # share of the objective a unit of parameter
ONE_LINE = 1.05  # factor in C within which all cells count as one iso-FLOP line
WIDE = 0.2  # width of the exponent's 95 % interval
MISFIT = 3.0  # root mean square residual in units of the seed noise


@dataclass(frozen=True)
class Verdict:
    """identified: the exponent can be quoted with its interval. reasons: why not, one sentence each."""

    identified: bool
    reasons: tuple[str, ...]


def of_design(data: Points) -> tuple[str, ...]:
    """What the cells' places alone rule out, before any fit."""
    reasons = []
    if len(data) <= PARAMETERS:
        reasons.append(f"{len(data)} cells for {PARAMETERS} parameters")
    for name, values in (("sizes", data.n), ("token budgets", data.d)):
        if len(np.unique(values)) < 3:
            reasons.append(f"{len(np.unique(values))} {name}: a power law and a constant need three")
    if len(data) and data.c.max() <= ONE_LINE * data.c.min():
        reasons.append("all cells lie on one iso-FLOP line: size and tokens cannot be told apart")
    return tuple(reasons)


def judge(data: Points, fit: Fit | None, interval: list[float] | None, seed_noise: float | None) -> Verdict:
    """The verdict on a fit; interval is its exponent's, seed_noise the relative standard deviation of the loss."""
    reasons = list(of_design(data))
    if fit is not None:
        if fit.gradient > GRADIENT:
            reasons.append(f"the search did not settle: gradient {fit.gradient:.1e} of the objective")
        reasons += [f"{name} ran into the edge of the search" for name in fit.at_bounds]
        error = rms_error(data, fit)
        if seed_noise and error > MISFIT * seed_noise:
            reasons.append(
                f"the surface does not fit: {100 * error:.1f} % root mean square error, {error / seed_noise:.1f} times "
                "the noise between seeds"
            )
    if interval is None:
        reasons.append("its exponent has no interval: too few trunks to resample")
    elif interval[1] - interval[0] > WIDE:
        reasons.append(f"the exponent's 95 % interval is {interval[1] - interval[0]:.2f} wide")
    return Verdict(fit is not None and not reasons, tuple(reasons))


def rms_error(data: Points, fit: Fit) -> float:
    """Root mean square of measured over fitted loss, minus one."""
    return float(np.sqrt(np.mean((data.loss / fit.surface.loss(data.n, data.d) - 1) ** 2)))
