"""rates: the power law of the best learning rates of the tune stages, which every trunk follows."""

from dataclasses import asdict

import pandas as pd

from scalinglab.config import Study
from scalinglab.errors import UserError
from scalinglab.files import write_csv, write_json
from scalinglab.paths import Paths
from scalinglab.tuning import best_rate, fit


def run(study: Study) -> None:
    paths = Paths(study.study)
    best = []
    for size in study.tune.sizes:
        sweep = pd.read_csv(paths.of("tune", f"{size}.csv"))
        try:
            one = best_rate(size, sweep["rate"].tolist(), sweep["val/loss"].tolist())
        except ValueError as error:
            raise UserError(f"{error}; put lower rates into tune.rates = {list(study.tune.rates)}") from None
        if not one.inside:
            print(f"{size}: there is no bowl around its best rate, {one.rate:g}; add rates beside it to tune.rates")
        best.append(one)
    law = fit(best).rounded()
    rows = [{**asdict(one), "law": law.peak(one.size)} for one in best]
    write_csv(paths.of("rates", "best.csv"), rows, tuple(rows[0]))
    # By itself: trunks depend on the law alone, and not on the losses that it comes from.
    write_json(paths.rate_law, asdict(law))
