"""A forecast that is frozen before its answers are known, and its score against two baselines."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from scalinglab.laws import bootstrap, parametric
from scalinglab.laws.points import Array, Points
from scalinglab.laws.surface import Surface


@dataclass(frozen=True)
class Forecast:
    """A surface, the surfaces of resamples, the fit's residuals of ln L, and a log-linear baseline.

    baseline: (a, b, c) of ln L = a + b ln N + c ln D by least squares.
    """

    cells: int
    largest_flops: float
    surface: Surface
    resamples: tuple[Surface, ...]
    residuals: tuple[float, ...]
    baseline: tuple[float, float, float]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_dict(values: dict[str, Any]) -> Forecast:
    """The forecast that `as_dict` wrote."""
    return Forecast(
        values["cells"],
        values["largest_flops"],
        Surface(**values["surface"]),
        tuple(Surface(**one) for one in values["resamples"]),
        tuple(values["residuals"]),
        tuple(values["baseline"]),
    )


def forecast(data: Points, delta: float, resamples: int, seed: int, form: str = "additive") -> Forecast:
    """Fit what will be sealed. Raises UserError where the points cannot carry a surface."""
    surface = parametric.fit(data, "huber", delta, form=form).surface
    start = [parametric.start_of(surface)]

    def refit(drawn: Points) -> dict[str, float]:
        return asdict(parametric.fit(drawn, "huber", delta, start, form).surface)

    table = bootstrap.resamples(data, refit, resamples, seed)
    design = np.stack([np.ones(len(data)), np.log(data.n), np.log(data.d)], axis=1)
    a, b, c = np.linalg.lstsq(design, np.log(data.loss), rcond=None)[0]
    residuals = np.log(data.loss / surface.loss(data.n, data.d))
    return Forecast(
        len(data),
        float(data.c.max()),
        surface,
        tuple(Surface(**{str(name): float(value) for name, value in row.items()}) for _, row in table.iterrows()),
        tuple(float(r) for r in residuals),
        (float(a), float(b), float(c)),
    )


def rms(sealed: Forecast) -> float:
    """Root mean square residual of ln L on the cells that it was fitted to."""
    return float(np.sqrt(np.mean(np.square(sealed.residuals))))


def interval(sealed: Forecast, n: Array, d: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Prediction interval [low, high] at each (N, D): the resampled surfaces, each with every residual of the fit."""
    spread = np.stack([np.log(surface.loss(n, d)) for surface in (sealed.surface, *sealed.resamples)])
    whole = (spread[:, None, :] + np.array(sealed.residuals)[None, :, None]).reshape(-1, len(n))
    tail = (1 - level) / 2
    return np.exp(np.quantile(whole, tail, axis=0)), np.exp(np.quantile(whole, 1 - tail, axis=0))


def score(sealed: Forecast, known: Points, held: Points) -> dict[str, Any]:
    """How the forecast did on cells it never saw, beside the nearest known run and a log-linear law.

    Errors are |forecast / measured - 1|; coverage is the share of cells within the 95 % prediction interval.
    """
    predicted = sealed.surface.loss(held.n, held.d)
    low, high = interval(sealed, held.n, held.d)
    a, b, c = sealed.baseline
    linear = np.exp(a + b * np.log(held.n) + c * np.log(held.d))
    distance = np.hypot(
        np.log(held.n)[:, None] - np.log(known.n)[None], np.log(held.d)[:, None] - np.log(known.d)[None]
    )
    nearest = known.loss[distance.argmin(axis=1)]
    return {
        "cells": len(held),
        "coverage_95": float(np.mean((low <= held.loss) & (held.loss <= high))),
        **{
            f"{name}_{kind}_relative_error": float(reduce(np.abs(values / held.loss - 1)))
            for name, values in (("forecast", predicted), ("log_linear", linear), ("nearest_run", nearest))
            for kind, reduce in (("mean", np.mean), ("largest", np.max))
        },
    }


def split(data: Points, flops: float) -> tuple[Points, Points]:
    """(below, rest): cells of less compute than that, and the others."""
    below = data.c < flops
    return data.take(below), data.take(~below)
