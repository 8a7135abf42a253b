"""`scalinglab replicate`: published scaling-law analyses, repeated by the code that fits our own cells.

Epoch AI's refit of Chinchilla (Besiroglu et al. 2024) from its 245 points, and Pearce & Song's (2024) exponents under
two ways of counting. Writes results/replicate/replicate.json with each published number beside ours, and
a plan made from those points.
"""

import argparse
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from scalinglab.corpus.fetch import fetch
from scalinglab.files import sha256, write_json
from scalinglab.laws import bootstrap, counting, extrapolation, parametric
from scalinglab.laws.parametric import Fit
from scalinglab.laws.planning import plan
from scalinglab.laws.points import Points
from scalinglab.tools.plan import HUBER_DELTA, better_fit, read

# The MIT-licensed copy of the points in mcleish7/gemstone-scaling-laws.
URL = (
    "https://raw.githubusercontent.com/mcleish7/gemstone-scaling-laws/5f420478f6057b0cbb4d13405fb10ca64675bccb"
    "/data/epoch_chinchilla_svg_extracted_data.csv"
)
SHA256 = "193478df4e90f040016431996c45682659306840ecdadf83cfb9cd5ca0aa1b30"
COLUMNS = {"N": "Model Size", "C": "Training FLOP", "loss": "loss"}
DROPPED = 5  # highest losses, outliers of the extraction (Besiroglu et al. 2024, section 3)
HELD_ABOVE = 1e20  # FLOPs
RESAMPLES = 4000  # as published
PLANNED_FLOPS, PLAN_RESAMPLES = 1e21, 500  # the plan that the README shows
RESULT = Path("results/replicate/replicate.json")


@dataclass(frozen=True)
class Check:
    """A published number and ours. tolerance is absolute, or a share of the published number where relative."""

    name: str
    published: float
    ours: float
    tolerance: float
    relative: bool

    @property
    def passed(self) -> bool:
        scale = abs(self.published) if self.relative else 1.0
        return bool(abs(self.ours - self.published) <= self.tolerance * scale)


def chinchilla(path: Path) -> Points:
    """Epoch AI's points without the five highest losses."""
    data = read(path, COLUMNS)
    return data.take(np.argsort(data.loss)[: len(data) - DROPPED])


def checks_of_fit(fit: Fit) -> list[Check]:
    """The optimum of Huber's loss, delta 1e-3, on ln L (Besiroglu et al. 2024).

    First to all digits of that objective's optimum, then against their table 1, within its standard errors: their
    search stopped a little before the optimum.
    """
    surface = fit.surface
    return [
        Check("objective", 0.001018274, fit.objective, 1e-8, False),
        Check("A", 477.826, surface.A, 2e-3, True),
        Check("B", 2143.42, surface.B, 2e-3, True),
        Check("E", 1.81722, surface.E, 1e-4, False),
        Check("alpha", 0.347310, surface.alpha, 1e-4, False),
        Check("beta", 0.367172, surface.beta, 1e-4, False),
        Check("A, table 1", 482.01, surface.A, 124.5, False),
        Check("B, table 1", 2085.43, surface.B, 1293.0, False),
        Check("E, table 1", 1.8172, surface.E, 0.0257, False),
        Check("alpha, table 1", 0.3478, surface.alpha, 0.0154, False),
        Check("beta, table 1", 0.3658, surface.beta, 0.0206, False),
    ]


def checks_of_errors(data: Points, fit: Fit, resamples: int) -> list[Check]:
    """Standard errors from resampled points (their table 1)."""
    start = [parametric.start_of(fit.surface)]
    table = bootstrap.resamples(data, lambda drawn: asdict(parametric.fit(drawn, starts=start).surface), resamples, 0)
    published = {"A": 124.5, "B": 1293.0, "E": 0.0257, "alpha": 0.0154, "beta": 0.0206}
    ours = table.std()
    return [Check(f"standard error of {key}", value, float(ours[key]), 0.05, True) for key, value in published.items()]


def checks_of_extrapolation(data: Points) -> list[Check]:
    """A fit of the runs below 1e20 FLOPs, on the larger ones."""
    known, held = extrapolation.split(data, HELD_ABOVE)
    scored = extrapolation.score(extrapolation.forecast(known, 1e-3, 0, 0), known, held)
    return [
        Check("runs above 1e20 FLOPs", 104, scored["cells"], 0, False),
        Check("mean relative error", 0.0089, scored["forecast_mean_relative_error"], 5e-5, False),
        Check("largest relative error", 0.041, scored["forecast_largest_relative_error"], 5e-4, False),
    ]


def checks_of_counting() -> list[Check]:
    """Pearce & Song's simulated exponents, over the ranges of compute of their script."""
    without = counting.simulated_frontier("non_embedding", (12.95, 20.7)).exponent
    total = counting.simulated_frontier("total", (14.0, 20.7)).exponent
    return [
        Check("exponent, without embedding", 0.7805, without, 1e-3, False),
        Check("exponent, all parameters", 0.5154, total, 1e-3, False),
    ]


def _tolerance(check: Check) -> str:
    return f"{100 * check.tolerance:g} %" if check.relative else f"{check.tolerance:g}"


def run(arguments: argparse.Namespace) -> int:
    path = Path(arguments.csv) if arguments.csv else fetch(URL, SHA256, 1_000_000)
    data = chinchilla(path)
    started = time.process_time()
    fit = parametric.fit(data)
    fitted = time.process_time()
    checks = [*checks_of_fit(fit), *checks_of_errors(data, fit, arguments.resamples)]
    resampled = time.process_time()
    checks += [*checks_of_extrapolation(data), *checks_of_counting()]
    table = Table(title="published and repeated")
    for column in ("quantity", "published", "ours", "tolerance", "within it"):
        table.add_column(column, justify="left" if column == "quantity" else "right")
    for check in checks:
        table.add_row(
            check.name,
            f"{check.published:.7g}",
            f"{check.ours:.7g}",
            _tolerance(check),
            "yes" if check.passed else "no",
        )
    Console().print(table)
    seconds = {"optimum": fitted - started, "resamples": resampled - fitted}
    print("CPU seconds:", ", ".join(f"{name} {value:.2f}" for name, value in seconds.items()))
    planned = plan(data, better_fit(data), PLANNED_FLOPS, HUBER_DELTA, PLAN_RESAMPLES, 0, float(data.c.max()))
    rows = [{**asdict(check), "passed": check.passed} for check in checks]
    record = {
        "sha256": sha256(path),
        "resamples": arguments.resamples,
        "cpu_seconds": seconds,
        "checks": rows,
        "plan": asdict(planned),
    }
    passed = all(check.passed for check in checks)
    if arguments.resamples == RESAMPLES:
        write_json(RESULT, record)
        print(f"written to {RESULT}")
    else:
        print(
            f"not written: the record takes {RESAMPLES:,} resamples; with {arguments.resamples:,}, standard errors may "
            "differ by more than their 5 %"
        )
    return 0 if passed else 1
