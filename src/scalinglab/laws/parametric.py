"""Approach 3 of Hoffmann et al. (2022): the surface by a robust fit of ln L, over many screened starts.

The losses and the solver are scipy's (`least_squares`, trust region within bounds, exact Jacobian). `huber` is the
paper's; `squared` is least squares; `lad` is least absolute deviations, smooth within the last of LAD_SCALES.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, least_squares

from scalinglab.errors import UserError
from scalinglab.laws.points import Array, Points
from scalinglab.laws.surface import Surface

LOSSES = {"huber": "huber", "lad": "soft_l1", "squared": "linear"}
LAD_SCALES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # residuals of ln L below which an absolute value is rounded off
NAMES = ("ln A", "ln B", "ln E", "alpha", "beta")
# Hoffmann et al. 2022, appendix D.4.
STARTS = np.array(
    list(
        itertools.product(
            (0.0, 5, 10, 15, 20, 25), (0.0, 5, 10, 15, 20, 25), (-1.0, -0.5, 0, 0.5, 1), (0.0, 0.5, 1, 1.5, 2),
            (0.0, 0.5, 1, 1.5, 2),
        )
    )
)  # fmt: skip
TOLERANCE = 1e-12
FOLLOWED = 8  # starts that are followed down, the best of all under the objective
LOW, HIGH = np.array([-20.0, -20.0, -7.0, 0.0, 0.0]), np.array([80.0, 80.0, 4.0, 3.0, 3.0])


@dataclass(frozen=True)
class Fit:
    """A fitted surface and how far it can be trusted as an optimum.

    objective: summed loss of the residuals of ln L. gradient: its largest slope in any parameter, as a share of the
    objective a unit of that parameter. at_bounds: parameters that ran into the edge of the search. agreeing: share
    of the followed starts that ended within 1e-6 of the best objective, relatively.
    """

    surface: Surface
    objective: float
    gradient: float
    at_bounds: tuple[str, ...]
    agreeing: float


def residuals(theta: Array, data: Points) -> Array:
    """ln of the surface minus ln L, [cells]; theta is (ln A, ln B, ln E, alpha, beta)."""
    return np.logaddexp.reduce(_terms(theta, data)) - np.log(data.loss)


def jacobian(theta: Array, data: Points) -> Array:
    """Derivatives of the residuals, [cells, 5]: each term's share of the loss, times its own slope."""
    terms = _terms(theta, data)
    share = np.exp(terms - np.logaddexp.reduce(terms))
    return np.stack([*share, -share[0] * np.log(data.n), -share[1] * np.log(data.d)], axis=1)


def _terms(theta: Array, data: Points) -> Array:
    ln_a, ln_b, ln_e, alpha, beta = theta
    return np.stack([ln_a - alpha * np.log(data.n), ln_b - beta * np.log(data.d), np.full(len(data), ln_e)])


def total(residual: Array, loss: str, delta: float) -> Array:
    """Summed loss over the last axis: Huber (1964, eq. 2.2), absolute values, or half squares."""
    size = np.abs(residual)
    if loss == "lad":
        return size.sum(axis=-1)
    if loss == "squared":
        return 0.5 * (size**2).sum(axis=-1)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum(axis=-1)


def fit(data: Points, loss: str = "huber", delta: float = 1e-3, starts: Sequence[Array] | None = None) -> Fit:
    """The best surface over many starts; `starts` replaces the screened ones, as a resample does with its parent.

    Raises UserError where there are no more cells than parameters.
    """
    if len(data) <= len(NAMES):
        raise UserError(f"a fit of {len(NAMES)} parameters needs more than {len(data)} cells; widen the grid")
    stages = _stages(loss, delta)
    if starts is None:
        starts = screened(data, loss, delta)
    else:  # near the optimum already: no detour
        stages = stages[-1:]
    ends = [_descend(np.clip(start, LOW + 1e-9, HIGH - 1e-9), data, stages) for start in starts]
    values = np.array([total(end.fun, loss, delta) for end in ends])
    best = ends[int(values.argmin())]
    value = float(values.min())
    slopes = best.grad if loss != "lad" else best.grad / LAD_SCALES[-1]
    ln_a, ln_b, ln_e, alpha, beta = (float(x) for x in best.x)
    return Fit(
        Surface(E=float(np.exp(ln_e)), A=float(np.exp(ln_a)), B=float(np.exp(ln_b)), alpha=alpha, beta=beta),
        objective=value,
        gradient=float(np.abs(slopes[best.active_mask == 0]).max(initial=0.0) / max(value, 1e-300)),
        at_bounds=tuple(name for name, hit in zip(NAMES, best.active_mask, strict=True) if hit),
        agreeing=float(np.mean(values <= value * (1 + 1e-6) + 1e-12)),
    )


def screened(data: Points, loss: str, delta: float) -> list[Array]:
    """The starts of the paper's grid with the lowest objective."""
    ln_a, ln_b, ln_e, alpha, beta = STARTS.T[:, :, None]
    top = np.logaddexp(ln_a - alpha * np.log(data.n), ln_b - beta * np.log(data.d))
    values = total(np.logaddexp(top, ln_e) - np.log(data.loss), loss, delta)
    return list(STARTS[np.argsort(values, kind="stable")[:FOLLOWED]])


def start_of(surface: Surface) -> Array:
    """A surface as a starting point: a resample's optimum is near the whole sample's."""
    a, b, e = (max(x, 1e-12) for x in (surface.A, surface.B, surface.E))
    return np.array([np.log(a), np.log(b), np.log(e), surface.alpha, surface.beta])


def _stages(loss: str, delta: float) -> list[tuple[str, float]]:
    """(scipy's loss, its scale), in turn: least squares first, then ever sharper robust losses down to the wanted one.

    A robust loss has next to no curvature far from its optimum, and takes hundreds of steps from a bad start.
    """
    sharpness = {"squared": (), "lad": LAD_SCALES, "huber": (*(s for s in (1e-2, 1e-3) if s > delta), delta)}[loss]
    return [("linear", 1.0), *((LOSSES[loss], scale) for scale in sharpness)]


def _descend(start: Array, data: Points, stages: list[tuple[str, float]]) -> OptimizeResult:
    """From a start to an optimum, through the stages."""
    for kind, scale in stages:
        end = least_squares(
            residuals,
            start,
            jac=jacobian,
            bounds=(LOW, HIGH),
            x_scale="jac",
            loss=kind,
            f_scale=scale,
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            gtol=TOLERANCE,
            max_nfev=500,
            args=(data,),
        )
        start = end.x
    return end
