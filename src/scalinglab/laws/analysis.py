"""The laws of one table of cells: every estimator under every counting, with intervals and a verdict."""

import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from scalinglab.errors import UserError
from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.laws.estimators import LINES, estimate, raw
from scalinglab.laws.parametric import Fit
from scalinglab.laws.points import CONVENTIONS, Points, of_cells
from scalinglab.laws.verdict import judge, rms_error

# Estimators whose exponents are resampled: all of them under the study's own counting, the quick ones elsewhere.
MAIN, RESAMPLED = "matmul", ("iso-FLOP", "envelope", "variable projection")
QUICK = ("iso-FLOP",)


def analyse(cells: pd.DataFrame, delta: float, resamples: int, seed: int, seed_noise: float | None) -> dict[str, Any]:
    """By convention: both forms, exponents, intervals and verdicts. JSON-able; NaN where there is none."""
    return {name: _convention(of_cells(cells, name), name, delta, resamples, seed, seed_noise) for name in CONVENTIONS}


def surface_name(form: str) -> str:
    """Under which the exponent of a parametric form is listed."""
    return f"{form} surface"


def _convention(
    data: Points, name: str, delta: float, resamples: int, seed: int, seed_noise: float | None
) -> dict[str, Any]:
    estimators = RESAMPLED if name == MAIN else QUICK
    fits: dict[str, Fit] = {}
    reason = None
    for form in parametric.FORMS:
        try:
            fits[form] = parametric.fit(data, "huber", delta, form=form)
        except UserError as error:  # diverged cells can leave too few: a verdict, not an end of the other figures
            reason = str(error)

    def statistic(drawn: Points) -> dict[str, float]:
        values = {f"exponent {other}": raw(other, drawn) for other in estimators}
        for form, fit in fits.items():
            start = [parametric.start_of(fit.surface)]
            surface = parametric.fit(drawn, "huber", delta, start, form).surface.as_dict()
            values[f"exponent {surface_name(form)}"] = surface.pop("exponent_n")
            values |= {f"{form} {key}": value for key, value in surface.items()}
        return values

    table = bootstrap.resamples(data, statistic, resamples, seed)
    intervals = bootstrap.intervals(table)
    exponents = {surface_name(form): fit.surface.exponent_n for form, fit in fits.items()}
    exponents |= {other: estimate(other, data) for other in estimators}
    forms = {}
    for form, fit in fits.items():
        verdict = judge(data, fit, intervals.get(f"exponent {surface_name(form)}"), seed_noise)
        forms[form] = {**asdict(fit), "rms_relative_error": rms_error(data, fit), "verdict": asdict(verdict)}
    return {
        "cells": len(data),
        "forms": forms,
        "best_form": min(forms, key=lambda form: forms[form]["rms_relative_error"]) if forms else None,
        "not_fitted_because": reason,
        "exponents": exponents,
        "intervals_95": intervals,
        "resamples": len(table),
        "draws_used": {
            name.removeprefix("exponent "): count
            for name, count in bootstrap.draws_used(table).items()
            if name.startswith("exponent ")
        },
    }


def isoflop_lines(cells: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The points of the iso-FLOP lines under the study's own counting, and their minima."""
    found = isoflop.lines(of_cells(cells, MAIN), LINES)
    return isoflop.table(found), [asdict(minimum) for minimum in isoflop.minima(found)]


def summary(conventions: dict[str, Any]) -> dict[str, float | bool]:
    """What fits into one row of `dvc metrics show`: exponents, their intervals' ends, the verdict."""
    main = conventions[MAIN]
    row: dict[str, float | bool] = {}
    for name, value in main["exponents"].items():
        low, high = main["intervals_95"].get(f"exponent {name}", [math.nan, math.nan])
        row |= {f"{name} exponent": value, f"{name} low": low, f"{name} high": high}
    best = main["best_form"]
    return {**row, "identified": bool(best and main["forms"][best]["verdict"]["identified"])}
