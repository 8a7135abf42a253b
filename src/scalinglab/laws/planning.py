"""What to train with a compute budget, how sure that is, what a wrong size costs, and which run to do next."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from scalinglab.laws import bootstrap, parametric
from scalinglab.laws.parametric import Fit
from scalinglab.laws.points import Array, Points, points
from scalinglab.laws.surface import FLOPS_PER_PARAMETER, Optimum, Surface

REACH = 2.0
PLACES = 33  # sizes, and tokens, at which the next run is sought


@dataclass(frozen=True)
class NextRun:
    """A candidate run and the factor by which it would shrink the interval of the optimal size, to first order."""

    n: float
    d: float
    flops: float
    shrinks_to: float


@dataclass(frozen=True)
class Plan:
    """The optimum for a compute budget with 95 % intervals, and the loss at half and double the optimal size.

    intervals: of n, d, loss and exponent_n. compute_wasted: by size factor, the share of the budget that a run of
    optimal size would save at the same loss.
    """

    flops: float
    optimum: Optimum
    intervals: dict[str, list[float]]
    off: dict[float, float]
    compute_wasted: dict[float, float]
    next_run: NextRun | None
    draws: int  # resamples that have an optimum; the others are missing from the intervals
    resamples: int
    beyond: float  # the budget in units of the largest compute in the data


def plan(data: Points, fit: Fit, flops: float, delta: float, resamples: int, seed: int, next_flops: float) -> Plan:
    """Plan a run of `flops`; the next run is sought among those of at most next_flops."""
    start = [parametric.start_of(fit.surface)]

    def optimum_of(drawn: Points) -> dict[str, float]:
        surface = parametric.fit(drawn, "huber", delta, start, fit.surface.form).surface
        best = surface.optimum(flops)
        return {"n": best.n, "d": best.d, "loss": best.loss, "exponent_n": surface.exponent_n}

    best = fit.surface.optimum(flops)
    table = bootstrap.resamples(data, optimum_of, resamples, seed)
    off = {factor: _loss_off(fit.surface, best, factor) for factor in (0.5, 2.0)}
    return Plan(
        flops,
        best,
        bootstrap.intervals(table),
        off,
        {factor: 1 - compute_for(fit.surface, loss) / flops for factor, loss in off.items()},
        next_run(data, fit.surface, flops, next_flops),
        bootstrap.draws_used(table).get("n", 0),
        len(table),
        flops / float(data.c.max()),
    )


def _loss_off(surface: Surface, best: Optimum, factor: float) -> float:
    """Loss at the same compute with `factor` times the optimal size, and so 1 / factor times the tokens."""
    return float(surface.loss(np.array(best.n * factor), np.array(best.d / factor)))


def compute_for(surface: Surface, loss: float) -> float:
    """FLOPs at which the optimum reaches a loss above the surface's E."""
    return float(np.exp(brentq(lambda ln_c: surface.optimum(float(np.exp(ln_c))).loss - loss, 0.0, 200.0)))


def next_run(data: Points, surface: Surface, flops: float, most: float) -> NextRun | None:
    """The run of at most `most` FLOPs that shrinks the interval of ln N_opt(flops) most; None where there is none.

    Sizes and tokens are sought within a factor REACH of those in the data, at ratios of tokens to parameters that the
    data hold: the law is not trusted further. Places do not depend on `most`, so that a larger one is never worse.

    Local optimal design (Chernoff 1953): the variance of a function of the parameters with gradient v is v' F^-1 v,
    and a run whose residual has the gradient j adds j j' to the information F, in units of the residual variance.
    """
    theta = parametric.start_of(surface)
    information = _information(parametric.jacobian(theta, data, surface.form))
    v = _gradient_of_size(surface, flops)
    before = v @ np.linalg.solve(information, v)
    sizes, tokens = (np.geomspace(x.min() / REACH, x.max() * REACH, PLACES) for x in (data.n, data.d))
    ratios = data.d / data.n
    candidates = [
        (n, d)
        for n in sizes
        for d in tokens
        if FLOPS_PER_PARAMETER * n * d <= most and ratios.min() <= d / n <= ratios.max()
    ]
    if not candidates:
        return None
    shrunk = []
    for n, d in candidates:
        one = points(np.array([n]), np.array([d]), np.ones(1))
        row = parametric.jacobian(theta, one, surface.form)[0]
        shrunk.append(float(np.sqrt(v @ np.linalg.solve(information + np.outer(row, row), v) / before)))
    n, d = candidates[int(np.argmin(shrunk))]
    return NextRun(float(n), float(d), float(FLOPS_PER_PARAMETER * n * d), min(shrunk))


def _information(rows: Array) -> Array:
    """J'J with a trace of ridge, so that a direction no run informs does not stop the search."""
    information = rows.T @ rows
    return information + 1e-12 * np.trace(information) * np.eye(len(information))


def _gradient_of_size(surface: Surface, flops: float) -> Array:
    """d ln N_opt(C) / d theta, by central differences."""

    def ln_size(x: Array) -> float:
        return float(np.log(parametric.surface_of(x, surface.form).optimum(flops).n))

    theta, step = parametric.start_of(surface), 1e-5
    return np.array([(ln_size(theta + step * unit) - ln_size(theta - step * unit)) / (2 * step) for unit in np.eye(5)])
