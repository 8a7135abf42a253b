"""How often the 95 % intervals of the laws cover a known truth, on the shape of the default study's grid.

The truths are the surfaces of both forms as fitted to results/laptop. Noise is relative, drawn for each cell, or shared
by the cells of a trunk. Each draw is analysed like a study: fit, resampled trunks, percentile interval. What an
interval must cover is the estimate from the noiseless cells. Prints a table, and writes
benchmarks/results/interval_coverage.json.
"""

import argparse
import functools
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from scalinglab.laws import bootstrap, isoflop, parametric
from scalinglab.laws.estimators import LINES
from scalinglab.laws.parametric import FORMS
from scalinglab.laws.points import Points, of_cells
from scalinglab.laws.surface import Surface

ROOT = Path(__file__).parent.parent
# (relative noise, whether the cells of a trunk share it); measured replicas lie between the two kinds.
NOISES = ((0.001, False), (0.003, False), (0.01, False), (0.01, True))
DELTA = 1e-3
COLUMNS = {
    "a, surface": "a, surface of the same form",
    "a, iso-FLOP": "a, iso-FLOP",
    "loss": "loss at twice the compute",
}


@functools.cache
def truth(form: str) -> tuple[Points, Surface]:
    """The default study's places with the noiseless losses of the surface fitted to it: once a process."""
    data = of_cells(pd.read_csv(ROOT / "results/laptop/table/cells.csv"), "matmul")
    surface = parametric.fit(data, "huber", DELTA, form=form).surface
    return replace(data, loss=surface.loss(data.n, data.d)), surface


def targets(data: Points, surface: Surface, flops: float) -> dict[str, float]:
    """What the intervals are of; the loss is that of the optimal run of `flops`."""
    loss = surface.optimum(flops).loss
    return {"a, surface": surface.exponent_n, "a, iso-FLOP": isoflop.exponent(data, LINES), "loss": loss}


def draw(seed: int, form: str, noise: float, by_trunk: bool, resamples: int) -> dict[str, float]:
    """One synthetic study: whether each interval covers its truth, and how wide it is."""
    exact, surface = truth(form)
    flops = 2 * float(exact.c.max())
    rng = np.random.default_rng(seed)
    names, trunk = np.unique(exact.trunk, return_inverse=True)
    error = rng.standard_normal(len(names))[trunk] if by_trunk else rng.standard_normal(len(exact))
    made = replace(exact, loss=exact.loss * (1 + noise * error))
    fitted = parametric.fit(made, "huber", DELTA, [parametric.start_of(surface)], form).surface

    def statistic(drawn: Points) -> dict[str, float]:
        surface = parametric.fit(drawn, "huber", DELTA, [parametric.start_of(fitted)], form).surface
        return targets(drawn, surface, flops)

    found = bootstrap.intervals(bootstrap.resamples(made, statistic, resamples, seed))
    wanted = targets(exact, surface, flops)
    covered = {name: float(low <= wanted[name] <= high) for name, (low, high) in found.items()}
    return {**covered, **{f"{name} width": high - low for name, (low, high) in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    table = []
    with ProcessPoolExecutor(arguments.cores) as pool:
        for form in FORMS:
            for noise, by_trunk in NOISES:
                one = functools.partial(draw, form=form, noise=noise, by_trunk=by_trunk, resamples=arguments.resamples)
                rows = pd.DataFrame(pool.map(one, range(arguments.draws)))
                means = {str(name): round(float(value), 3) for name, value in rows.mean().items()}
                missing = int(rows[list(COLUMNS)].isna().any(axis=1).sum())
                table.append({"form": form, "noise": noise, "shared_by_trunk": by_trunk, "missing": missing, **means})
                print("  ".join(f"{key} {value}" for key, value in table[-1].items()), flush=True)
    record = {"draws": arguments.draws, "resamples": arguments.resamples, "columns": COLUMNS, "table": table}
    (ROOT / "benchmarks/results/interval_coverage.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
