"""Every way to the exponent a of N_opt ~ C^a, by name. Each takes points and gives a number; NaN where it has none."""

import math
from collections.abc import Callable

from scalinglab.errors import UserError
from scalinglab.laws import envelope, isoflop, parametric, varpro
from scalinglab.laws.points import Points

LINES = 7  # iso-FLOP lines over a grid
WINDOW = 5.0  # factor in N around the lowest point that the wide parabola takes in

Estimator = Callable[[Points], float]


def surface_exponent(loss: str, delta: float = 1e-3, form: str = "additive") -> Estimator:
    """beta / (alpha + beta) of the parametric fit of one form under one loss."""
    return lambda data: parametric.fit(data, loss, delta, form=form).surface.exponent_n


ESTIMATORS: dict[str, Estimator] = {
    "envelope": envelope.exponent,
    "iso-FLOP": lambda data: isoflop.exponent(data, LINES),
    "iso-FLOP, wide": lambda data: isoflop.exponent(data, LINES, WINDOW),
    "Huber 1e-4": surface_exponent("huber", 1e-4),
    "Huber 1e-3": surface_exponent("huber", 1e-3),
    "Huber 1e-2": surface_exponent("huber", 1e-2),
    "least absolute": surface_exponent("lad"),
    "least squares": surface_exponent("squared"),
    "Kaplan's form": surface_exponent("huber", form="kaplan"),
    "variable projection": lambda data: varpro.fit(data).exponent_n,
}


def raw(name: str, data: Points) -> float:
    """An estimator's exponent, NaN where it has none: what intervals are made of, whose ends must not be cut off."""
    try:
        return ESTIMATORS[name](data)
    except UserError:
        return math.nan


def estimate(name: str, data: Points) -> float:
    """An estimator's exponent, NaN where it has none or leaves [0, 1]."""
    value = raw(name, data)
    return value if 0 <= value <= 1 else math.nan
