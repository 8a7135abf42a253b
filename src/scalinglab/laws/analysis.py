"""The laws of one table of cells: every estimator under every counting, with intervals and a verdict."""

import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from scalinglab.errors import UserError
from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.laws.estimators import LINES, estimate
from scalinglab.laws.parametric import Fit
from scalinglab.laws.points import CONVENTIONS, Points, of_cells
from scalinglab.laws.verdict import judge, rms_error

# Estimators whose exponents are resampled: all of them under the study's own counting, the quick ones elsewhere.
MAIN, RESAMPLED = "matmul", ("iso-FLOP", "envelope", "variable projection")
QUICK = ("iso-FLOP",)
SURFACE = "Huber"  # the name under which the parametric exponent is listed


def analyse(cells: pd.DataFrame, delta: float, resamples: int, seed: int, seed_noise: float | None) -> dict[str, Any]:
    """By convention: surface, exponents, intervals and verdict. JSON-able; NaN where there is none."""
    return {name: _convention(of_cells(cells, name), name, delta, resamples, seed, seed_noise) for name in CONVENTIONS}


def _convention(
    data: Points, name: str, delta: float, resamples: int, seed: int, seed_noise: float | None
) -> dict[str, Any]:
    estimators = RESAMPLED if name == MAIN else QUICK
    fit, reason = None, None
    try:
        fit = parametric.fit(data, "huber", delta)
    except UserError as error:  # diverged cells can leave too few: a verdict, not an end of the study's other figures
        reason = str(error)

    def statistic(drawn: Points) -> dict[str, float]:
        values = {f"exponent {other}": estimate(other, drawn) for other in estimators}
        if fit is None:
            return values
        surface = parametric.fit(drawn, "huber", delta, [parametric.start_of(fit.surface)]).surface
        return {**values, **_values(surface.as_dict())}

    table = bootstrap.resamples(data, statistic, resamples, seed)
    intervals = bootstrap.intervals(table)
    exponents = {other: estimate(other, data) for other in estimators}
    if fit is not None:
        exponents = {SURFACE: fit.surface.exponent_n, **exponents}
    verdict = judge(data, fit, intervals.get(f"exponent {SURFACE}"), seed_noise)
    return {
        "cells": len(data),
        "surface": None if fit is None else asdict(fit.surface),
        "not_fitted_because": reason,
        "search": None if fit is None else _search(fit),
        "rms_relative_error": None if fit is None else rms_error(data, fit),
        "exponents": exponents,
        "intervals_95": intervals,
        "resamples": len(table),
        "verdict": asdict(verdict),
    }


def _values(surface: dict[str, float]) -> dict[str, float]:
    return {f"exponent {SURFACE}" if key == "exponent_n" else key: value for key, value in surface.items()}


def _search(fit: Fit) -> dict[str, Any]:
    return {key: value for key, value in asdict(fit).items() if key != "surface"}


def isoflop_lines(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The points of the iso-FLOP lines under the study's own counting, and their minima."""
    points = isoflop.lines(of_cells(cells, MAIN), LINES)
    return points, [asdict(minimum) for minimum in isoflop.minima(points)]


def summary(conventions: dict[str, Any]) -> dict[str, float | bool]:
    """What fits into one row of `dvc metrics show`: exponents, their intervals' ends, the verdict."""
    main = conventions[MAIN]
    row: dict[str, float | bool] = {}
    for name, value in main["exponents"].items():
        low, high = main["intervals_95"].get(f"exponent {name}", [math.nan, math.nan])
        row |= {f"{name} exponent": value, f"{name} low": low, f"{name} high": high}
    return {**row, "identified": main["verdict"]["identified"]}
