"""How often the 95 % intervals of the laws cover a known truth, on the shape of the default study's grid.

The truth is the surface fitted to results/laptop. Noise is relative, drawn for each cell, or shared by the cells of a
trunk as measured replicas share it. Each draw is analysed like a study: fit, resampled trunks, percentile interval.
Writes benchmarks/results/interval_coverage.json.
"""

import argparse
import functools
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.laws.estimators import LINES
from scalinglab.laws.points import Points, of_cells, points
from scalinglab.laws.surface import Surface

ROOT = Path(__file__).parent.parent
NOISES = (0.001, 0.003, 0.01)


@functools.cache
def truth() -> tuple[Points, Surface]:
    """The default study's places and the surface fitted to it: once a process, not once a draw."""
    data = of_cells(pd.read_csv(ROOT / "results/laptop/table/cells.csv"), "matmul")
    return data, parametric.fit(data).surface


def draw(seed: int, noise: float, by_trunk: bool, resamples: int) -> dict[str, bool | float]:
    """One synthetic study: whether each interval covers its truth, and the width of the exponent's."""
    data, surface = truth()
    rng = np.random.default_rng(seed)
    names, trunk = np.unique(data.trunk, return_inverse=True)
    error = rng.standard_normal(len(names))[trunk] if by_trunk else rng.standard_normal(len(data))
    made = points(data.n, data.d, surface.loss(data.n, data.d) * (1 + noise * error), data.c, data.trunk)
    start = [parametric.start_of(surface)]

    def statistic(drawn: Points) -> dict[str, float]:
        fitted = parametric.fit(drawn, starts=start).surface
        return {**fitted.as_dict(), "iso-FLOP": isoflop.exponent(drawn, LINES)}

    intervals = bootstrap.intervals(bootstrap.resamples(made, statistic, resamples, seed))
    exact = Points(data.n, data.d, data.c, surface.loss(data.n, data.d), data.trunk)
    targets = {**surface.as_dict(), "iso-FLOP": isoflop.exponent(exact, LINES)}
    row: dict[str, bool | float] = {k: intervals[k][0] <= targets[k] <= intervals[k][1] for k in intervals}
    return {**row, "width": intervals["exponent_n"][1] - intervals["exponent_n"][0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    table = []
    with ProcessPoolExecutor(arguments.cores) as pool:
        for by_trunk in (False, True):
            for noise in NOISES:
                one = functools.partial(draw, noise=noise, by_trunk=by_trunk, resamples=arguments.resamples)
                rows = pd.DataFrame(pool.map(one, range(arguments.draws)))
                covered = {str(name): round(float(value), 3) for name, value in rows.mean().items()}
                table.append({"noise": noise, "shared_by_trunk": by_trunk, **covered})
                print("  ".join(f"{key} {value}" for key, value in table[-1].items()), flush=True)
    record = {"draws": arguments.draws, "resamples": arguments.resamples, "table": table}
    (ROOT / "benchmarks/results/interval_coverage.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
