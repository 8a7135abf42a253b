"""forecast: the sealed extrapolation. A law of the smaller budgets, frozen and hashed before the largest are evaluated.

Their evaluations depend on this stage's file, so no run can do it the other way round.
"""

import pandas as pd

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import digest, read_json, write_json
from scalinglab.laws import extrapolation
from scalinglab.laws.parametric import FORMS
from scalinglab.laws.points import of_cells
from scalinglab.paths import Paths

OPEN = "tokenizer"  # the stage after which cells that are not sealed may be evaluated


def run(study: Study) -> None:
    paths, options = Paths(study.study), study.forecast
    budgets = [budget for budget in study.grid.budgets if study.grid.evaluate_after(budget) == OPEN]
    cells = pd.DataFrame(
        read_json(paths.evaluation(OPEN, size, budget)) for budget in budgets for size in study.grid.sizes
    )
    sealed, reason = {}, None
    try:
        data = of_cells(cells, "matmul")
        for form in FORMS:
            sealed[form] = extrapolation.forecast(data, options.huber_delta, options.bootstrap, study.seed, form)
    except UserError as error:  # too few cells: the study's other results stand without a forecast
        sealed, reason = {}, str(error)
    report = {
        "forms": {form: one.as_dict() for form, one in sealed.items()},
        # Also sealed: which form the known cells speak for.
        "chosen": min(sealed, key=lambda form: extrapolation.rms(sealed[form])) if sealed else None,
        "no_forecast_because": reason,
    }
    write_json(paths.of("forecast", "report.json"), {**report, "digest": digest(report)})
