"""Approach 3 of Hoffmann et al. (2022): the surface by a robust fit of ln L, over many screened starts.

Of two forms (surface.py): `additive`, where size and tokens add to the loss apart, and `kaplan`, where they share a
power.

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
# The third parameter is ln E of the additive form and ln gamma of Kaplan's.
FORMS = {
    "additive": ("ln A", "ln B", "ln E", "alpha", "beta"),
    "kaplan": ("ln A", "ln B", "ln gamma", "alpha", "beta"),
}
PARAMETERS = 5
# Hoffmann et al. 2022, appendix D.4; for the other form the third column is ln gamma.
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


def residuals(theta: Array, data: Points, form: str = "additive") -> Array:
    """ln of the surface minus ln L, [cells]; theta is named in FORMS."""
    ln_a, ln_b, third, alpha, beta = theta
    pair = np.logaddexp(ln_a - alpha * np.log(data.n), ln_b - beta * np.log(data.d))
    predicted = np.logaddexp(pair, third) if form == "additive" else np.exp(third) * pair
    return predicted - np.log(data.loss)


def jacobian(theta: Array, data: Points, form: str = "additive") -> Array:
    """Derivatives of the residuals, [cells, 5]: each term's share of the loss, times its own slope."""
    ln_a, ln_b, third, alpha, beta = theta
    size, tokens = ln_a - alpha * np.log(data.n), ln_b - beta * np.log(data.d)
    pair = np.logaddexp(size, tokens)
    if form == "additive":
        outer = np.exp(pair - np.logaddexp(pair, third))
        of_third = 1 - outer
    else:
        outer = np.full(len(data), np.exp(third))
        of_third = outer * pair
    of_size, of_tokens = outer * np.exp(size - pair), outer * np.exp(tokens - pair)
    return np.stack([of_size, of_tokens, of_third, -of_size * np.log(data.n), -of_tokens * np.log(data.d)], axis=1)


def total(residual: Array, loss: str, delta: float) -> Array:
    """Summed loss over the last axis: Huber (1964, eq. 2.2), absolute values, or half squares."""
    size = np.abs(residual)
    if loss == "lad":
        return size.sum(axis=-1)
    if loss == "squared":
        return 0.5 * (size**2).sum(axis=-1)
    return np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta)).sum(axis=-1)


def fit(
    data: Points,
    loss: str = "huber",
    delta: float = 1e-3,
    starts: Sequence[Array] | None = None,
    form: str = "additive",
) -> Fit:
    """The best surface over many starts; `starts` replaces the screened ones, as a resample does with its parent.

    Raises UserError where there are no more cells than parameters.
    """
    if len(data) <= PARAMETERS:
        raise UserError(f"a fit of {PARAMETERS} parameters needs more than {len(data)} cells; widen the grid")
    stages = _stages(loss, delta)
    if starts is None:
        starts = screened(data, loss, delta, form)
    else:  # near the optimum already: no detour
        stages = stages[-1:]
    ends = [_descend(np.clip(start, LOW + 1e-9, HIGH - 1e-9), data, stages, form) for start in starts]
    values = np.array([total(end.fun, loss, delta) for end in ends])
    best = ends[int(values.argmin())]
    value = float(values.min())
    slopes = best.grad if loss != "lad" else best.grad / LAD_SCALES[-1]
    return Fit(
        surface_of(best.x, form),
        objective=value,
        gradient=float(np.abs(slopes[best.active_mask == 0]).max(initial=0.0) / max(value, 1e-300)),
        at_bounds=tuple(name for name, hit in zip(FORMS[form], best.active_mask, strict=True) if hit),
        agreeing=float(np.mean(values <= value * (1 + 1e-6) + 1e-12)),
    )


def screened(data: Points, loss: str, delta: float, form: str) -> list[Array]:
    """The starts of the paper's grid with the lowest objective."""
    values = total(residuals(STARTS.T[:, :, None], data, form), loss, delta)
    return list(STARTS[np.argsort(values, kind="stable")[:FOLLOWED]])


def surface_of(theta: Array, form: str) -> Surface:
    """The surface of some parameters."""
    a, b, third = (float(np.exp(x)) for x in theta[:3])
    alpha, beta = (float(x) for x in theta[3:])
    return Surface(third, a, b, alpha, beta) if form == "additive" else Surface(0.0, a, b, alpha, beta, third)


def start_of(surface: Surface) -> Array:
    """A surface as a starting point: a resample's optimum is near the whole sample's."""
    third = surface.E if surface.form == "additive" else surface.gamma
    a, b, c = (max(x, 1e-12) for x in (surface.A, surface.B, third))
    return np.array([np.log(a), np.log(b), np.log(c), surface.alpha, surface.beta])


def _stages(loss: str, delta: float) -> list[tuple[str, float]]:
    """(scipy's loss, its scale), in turn: least squares first, then ever sharper robust losses down to the wanted one.

    A robust loss has next to no curvature far from its optimum, and takes hundreds of steps from a bad start.
    """
    sharpness = {"squared": (), "lad": LAD_SCALES, "huber": (*(s for s in (1e-2, 1e-3) if s > delta), delta)}[loss]
    return [("linear", 1.0), *((LOSSES[loss], scale) for scale in sharpness)]


def _descend(start: Array, data: Points, stages: list[tuple[str, float]], form: str) -> OptimizeResult:
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
            args=(data, form),
        )
        start = end.x
    return end
