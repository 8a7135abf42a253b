"""laws: iso-FLOP minima and the parametric surface of the study's cells, with intervals."""

import math
from dataclasses import asdict

import numpy as np
import pandas as pd

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import write_json, write_text
from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.paths import Paths

PARAMS = "params_matmul"  # the parameters that multiply: the convention in which C = 6 N D is nearest to exact
LOSS = "val/loss"


def run(study: Study) -> None:
    paths, options = Paths(study.study), study.laws
    cells = pd.read_csv(paths.cells)
    enough = cells["tokens"] / cells[PARAMS] >= options.min_tokens_per_param
    used = cells[~cells["diverged"] & enough]
    # Diverged cells can leave too few: that is a verdict about the study, not a reason to stop its other figures.
    surface, reason = None, None
    try:
        surface = parametric.fit(*_columns(used), options.huber_delta)
    except UserError as error:
        reason = str(error)

    def statistic(sample: pd.DataFrame) -> dict[str, float]:
        values = {}
        if surface is not None:
            near = (parametric.start_of(surface), parametric.STARTS[0])
            values = parametric.fit(*_columns(sample), options.huber_delta, near).as_dict()
        return {**values, "isoflop_exponent_n": _isoflop(sample, options.iso_flop_lines)[1]}

    points, exponent, minima = _isoflop(used, options.iso_flop_lines)
    resamples = bootstrap.by_trunk(used, statistic, options.bootstrap, study.seed, min_cells=parametric.PARAMETERS + 1)
    write_text(paths.of("laws", "isoflop.csv"), points.to_csv(index=False, float_format="%.8g"))
    write_json(
        paths.of("laws", "laws.json"),
        {
            "cells_used": len(used),
            "cells_diverged": int(cells["diverged"].sum()),
            "cells_left_out": int((~enough).sum()),
            "loss": LOSS,
            "params": PARAMS,
            "parametric": surface.as_dict() if surface else {},
            "parametric_not_fitted_because": reason,
            "parametric_rms_relative_error": _rms_error(surface, used) if surface else None,
            "isoflop_exponent_n": exponent,
            "isoflop_minima": [asdict(minimum) for minimum in minima],
            "isoflop_minima_inside": sum(minimum.inside for minimum in minima),
            "intervals_95": bootstrap.intervals(resamples),
            "bootstrap_resamples": len(resamples),
        },
    )


def _columns(cells: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(cells[name].to_numpy(float) for name in (PARAMS, "tokens", LOSS))


def _rms_error(surface: parametric.Surface, cells: pd.DataFrame) -> float:
    """Root mean square of measured over fitted loss, minus one."""
    n, d, loss = _columns(cells)
    return float(np.sqrt(np.mean((loss / surface.loss(n, d) - 1) ** 2)))


def _isoflop(cells: pd.DataFrame, count: int) -> tuple[pd.DataFrame, float, list[isoflop.Minimum]]:
    """Lines through the mean over seeds, the exponent of their inner minima, and the minima."""
    keys = ["width", "budget", "tokens", "flops", PARAMS]
    mean = cells.groupby(keys, as_index=False)[LOSS].mean()
    points = isoflop.lines(mean, count, PARAMS, LOSS)
    minima = isoflop.minima(points)
    inner = [minimum for minimum in minima if minimum.inside]
    exponent, _ = isoflop.power_law(
        np.array([minimum.flops for minimum in inner]), np.array([minimum.params for minimum in inner])
    )
    return points, exponent if math.isfinite(exponent) else float("nan"), minima
