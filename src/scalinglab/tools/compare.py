"""`scalinglab compare`: how this machine's cells differ from the published ones, in units of seed noise."""

import argparse
import json
import subprocess
from typing import Any

from rich.console import Console
from rich.table import Table

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.files import read_json
from scalinglab.paths import Paths

NOISE_UNITS = 2.0  # a difference of two independent runs is within two standard deviations 84 % of the time


def compare(own: dict[str, Any], published: dict[str, Any]) -> list[tuple[str, float, float, float]]:
    """(cell, own, published, difference in units of the published seed noise) of every cell that both have.

    Raises UserError where the published results carry no noise, or no cell is common.
    """
    noise = published["seed_noise"]
    if not noise:
        raise UserError("the published results have no replicas to measure seed noise from; nothing to compare in")
    common = [cell for cell in published["val/bpb"] if cell in own["val/bpb"]]
    if not common:
        raise UserError("no cell is common to both results; run the published study: scalinglab use laptop")
    rows = []
    for cell in common:
        mine, theirs = own["val/bpb"][cell], published["val/bpb"][cell]
        rows.append((cell, mine, theirs, (mine / theirs - 1) / noise))
    return rows


def published_metrics(path: str, revision: str) -> dict[str, Any]:
    """The metrics file of a git revision. Raises UserError where there is none."""
    done = subprocess.run(["git", "show", f"{revision}:{path}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{path} is not in git at {revision}: {done.stderr.strip()}; choose another --against")
    return json.loads(done.stdout)


def run(arguments: argparse.Namespace) -> None:
    path = Paths(config.load().study).of("table", "metrics.json")
    published = published_metrics(path.as_posix(), arguments.against)
    rows = compare(read_json(path), published)
    table = Table(title=f"held-out bits per byte here and at {arguments.against}")
    for column in ("cell", "here", "published", "difference in seed noise"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for cell, mine, theirs, units in rows:
        table.add_row(cell, f"{mine:.4f}", f"{theirs:.4f}", f"{units:+.2f}")
    console = Console()
    console.print(table)
    beyond = sum(abs(units) > NOISE_UNITS for *_, units in rows)
    console.print(
        f"{beyond} of {len(rows)} cells differ by more than {NOISE_UNITS:g} units; one unit is the seeds' standard "
        f"deviation, {100 * published['seed_noise']:.2f} % of the loss"
    )
