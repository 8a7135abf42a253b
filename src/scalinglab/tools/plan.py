"""`scalinglab plan`: for a compute budget, the size, tokens and loss to expect, with intervals, and the run to do next.

The points are the current study's cells, or any CSV of (N, D, loss) or (N, C, loss) whose columns `--column` maps.
"""

import argparse
import math
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.laws import parametric, verdict
from scalinglab.laws.planning import Plan, plan
from scalinglab.laws.points import Points, of_cells, points
from scalinglab.laws.surface import FLOPS_PER_PARAMETER
from scalinglab.paths import Paths

ROLES = ("N", "D", "C", "loss")
HUBER_DELTA = 1e-3  # Hoffmann et al. 2022, appendix D.4


def read(path: Path, columns: dict[str, str], unit: str = "nats") -> Points:
    """Points of a CSV; columns maps N, D, C and loss to its columns. Two of N, D, C give the third by C = 6 N D.

    Raises UserError for missing columns, and for a loss column that is named in bits but not declared so.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as CSV: {error}") from None
    names = {role: columns.get(role, role) for role in ROLES}
    held = {role: table[name].to_numpy(float) for role, name in names.items() if name in table}
    absent = [role for role in columns if role not in held]
    if absent or "loss" not in held or len(held) < 3:
        wanted = ", ".join(names[role] for role in absent) or "loss and two of N, D, C"
        raise UserError(f"{path} has no {wanted}; it has {', '.join(table)}; map them: --column N='its column'")
    name = names["loss"].lower()
    if unit == "nats" and any(word in name for word in ("bit", "bpb")):
        raise UserError(
            f"{path}: the loss column {names['loss']!r} seems to be in bits; say --unit bits, or map another"
        )
    n = held["N"] if "N" in held else held["C"] / (FLOPS_PER_PARAMETER * held["D"])
    d = held["D"] if "D" in held else held["C"] / (FLOPS_PER_PARAMETER * n)
    return points(n, d, held["loss"] * (math.log(2) if unit == "bits" else 1.0), held.get("C"))


def budget(arguments: argparse.Namespace) -> float:
    """FLOPs of the run to plan: given, or GPUs x hours x peak x utilisation."""
    if arguments.flops:
        return float(arguments.flops)
    if not (arguments.gpus and arguments.hours):
        raise UserError("say --flops, or --gpus and --hours")
    return float(arguments.gpus * arguments.hours * 3600 * arguments.peak * arguments.utilisation)


def run(arguments: argparse.Namespace) -> None:
    flops = budget(arguments)
    if arguments.csv:
        pairs = [pair.partition("=") for pair in arguments.column]
        wrong = [role for role, _, name in pairs if role not in ROLES or not name]
        if wrong:
            raise UserError(f"--column {wrong[0]}: write ROLE=NAME with ROLE one of {', '.join(ROLES)}")
        data = read(Path(arguments.csv), {role: name for role, _, name in pairs}, arguments.unit)
    else:
        data = of_cells(pd.read_csv(Paths(config.load().study).cells), "matmul")
    if arguments.drop_highest:
        data = data.take(data.loss.argsort()[: len(data) - arguments.drop_highest])
    if reasons := verdict.of_design(data):
        raise UserError(f"these runs identify no law: {'; '.join(reasons)}")
    fit = better_fit(data)
    if math.isnan(fit.surface.optimum(flops).n):
        raise UserError(
            f"the fitted loss does not fall with both size and tokens (alpha = {fit.surface.alpha:.2g}, beta = "
            f"{fit.surface.beta:.2g}): there is no optimum to plan for; add runs that vary the other more"
        )
    next_flops = arguments.next_flops or min(flops, float(data.c.max()))
    show(data, fit, plan(data, fit, flops, HUBER_DELTA, arguments.resamples, 0, next_flops))


def better_fit(data: Points) -> parametric.Fit:
    """The fit of the form that leaves the smaller root mean square error."""
    fits = [parametric.fit(data, "huber", HUBER_DELTA, form=form) for form in parametric.FORMS]
    return min(fits, key=lambda fit: verdict.rms_error(data, fit))


def show(data: Points, fit: parametric.Fit, planned: Plan) -> None:
    """Print a plan."""
    console, best = Console(), planned.optimum
    table = Table(title=f"{planned.flops:.3g} FLOPs, from {len(data)} runs")
    for column in ("", "best", "95 % interval"):
        table.add_column(column, justify="right" if column else "left")
    for name, label, value in (
        ("n", "parameters", best.n),
        ("d", "tokens", best.d),
        ("loss", "loss (nats)", best.loss),
    ):
        low, high = planned.intervals.get(name, [math.nan, math.nan])
        text = ".4f" if name == "loss" else ".3g"
        table.add_row(label, f"{value:{text}}", f"{low:{text}} to {high:{text}}")
    console.print(table)
    if planned.draws < planned.resamples:
        console.print(f"intervals from the {planned.draws} of {planned.resamples} resamples that have an optimum")
    for factor, loss in planned.off.items():
        console.print(
            f"with {factor:g} times that size: {loss - best.loss:+.4f} nats, as if "
            f"{100 * planned.compute_wasted[factor]:.1f} % of the compute were wasted"
        )
    if step := planned.next_run:
        console.print(
            f"next run that narrows it most: {step.n:.3g} parameters on {step.d:.3g} tokens ({step.flops:.2g} FLOPs); "
            f"it would shrink the interval of the size to about {100 * step.shrinks_to:.0f} %"
        )
    if planned.beyond > 1:
        console.print(f"this is {planned.beyond:,.3g} times the largest run in the data: an extrapolation")
    error = 100 * verdict.rms_error(data, fit)
    low, high = planned.intervals.get("exponent_n", [math.nan, math.nan])
    console.print(
        f"by the {fit.surface.form} form, which fits better than the other ({error:.2f} % root mean square error): "
        f"N_opt ~ C^{fit.surface.exponent_n:.3f} [{low:.3f}, {high:.3f}]"
    )
    judged = verdict.judge(data, fit, planned.intervals.get("exponent_n"), None)
    console.print("verdict: " + ("identified" if judged.identified else "not identified: " + "; ".join(judged.reasons)))
