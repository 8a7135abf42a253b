"""laws: every estimator of the study's scaling laws under every counting, with intervals and a verdict."""

from typing import Any

import pandas as pd

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import digest, read_json, write_json, write_text
from scalinglab.laws import extrapolation
from scalinglab.laws.analysis import analyse, isoflop_lines, summary
from scalinglab.laws.points import of_cells
from scalinglab.paths import Paths
from scalinglab.stages.table import seed_noise


def run(study: Study) -> None:
    paths, options = Paths(study.study), study.laws
    cells = pd.read_csv(paths.cells)
    finished = cells[~cells["diverged"]]
    enough = cells["tokens"] / cells["params_matmul"] >= options.min_tokens_per_param
    noise = seed_noise(finished)
    conventions = analyse(cells[enough], options.huber_delta, options.bootstrap, study.seed, noise)
    points, minima = isoflop_lines(cells[enough])
    table, score = forecast_scored(paths, finished)
    write_text(paths.of("laws", "forecast.csv"), table.to_csv(index=False, float_format="%.8g"))
    write_text(paths.of("laws", "isoflop.csv"), points.to_csv(index=False, float_format="%.8g"))
    write_json(
        paths.of("laws", "laws.json"),
        {
            "cells_diverged": int(cells["diverged"].sum()),
            "cells_left_out": int((~enough).sum()),
            "seed_noise": noise,
            "conventions": conventions,
            "isoflop_minima": minima,
            "forecast": score,
        },
    )
    write_json(paths.of("laws", "metrics.json"), {**summary(conventions), **score})


def forecast_scored(paths: Paths, cells: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Each sealed cell beside its forecast, and the score; empty where there was nothing to forecast from.

    Raises UserError where the forecast is not the one that the cells were evaluated after.
    """
    report = read_json(paths.of("forecast", "report.json"))
    seal = report.pop("digest")
    sealed = cells["forecast"].notna()
    if seal != digest(report) or not (cells.loc[sealed, "forecast"] == seal).all():
        raise UserError(f"{paths.of('forecast', 'report.json')} is not what the cells were sealed with; delete it")
    columns = ["size", "budget", "width", "tokens", "flops", "val/loss"]
    table = cells.loc[sealed, columns].assign(predicted=float("nan"), low=float("nan"), high=float("nan"))
    if report["chosen"] is None or not sealed.any():
        return table.iloc[:0], {}
    held, known = of_cells(cells[sealed], "matmul"), of_cells(cells[~sealed], "matmul")
    forecasts = {form: extrapolation.from_dict(values) for form, values in report["forms"].items()}
    chosen = forecasts[report["chosen"]]
    table["predicted"] = chosen.surface.loss(held.n, held.d)
    table["low"], table["high"] = extrapolation.interval(chosen, held.n, held.d)
    score = {"form": report["chosen"], **extrapolation.score(chosen, known, held)}
    for form, forecast in forecasts.items():
        other = extrapolation.score(forecast, known, held)
        for kind in ("mean", "largest"):
            score[f"{form}_{kind}_relative_error"] = other[f"forecast_{kind}_relative_error"]
    return table, score
