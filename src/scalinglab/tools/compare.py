"""`scalinglab compare`: how this machine's cells differ from the published ones, in units of seed noise."""

import argparse
import io
import subprocess
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from scalinglab import config
from scalinglab.errors import UserError
from scalinglab.paths import Paths
from scalinglab.stages.table import seed_noise

NOISE_UNITS = 2.0  # at a well-known noise, 84 % of differences between two independent runs are within


def compare(own: pd.DataFrame, published: pd.DataFrame, noise: float | None) -> pd.DataFrame:
    """Cells that both tables have: `here`, `published` val/bpb, and `units`, their difference in seed noise.

    Raises UserError where the published results carry no noise, or no cell is common.
    """
    if not noise:
        raise UserError("the published results have no replicas to measure seed noise from; nothing to compare in")
    columns = ["size", "budget", "val/bpb"]
    both = own[columns].merge(
        published.dropna(subset="val/bpb")[columns], on=["size", "budget"], suffixes=("", " published")
    )
    if both.empty:
        raise UserError("no cell is common to both results; run the published study: scalinglab use laptop")
    here, there = both["val/bpb"], both["val/bpb published"]
    labels = both["size"] + "-" + both["budget"]
    return pd.DataFrame({"cell": labels, "here": here, "published": there, "units": (here / there - 1) / noise})


def at_revision(path: str, revision: str) -> str:
    """A file as it is at a git revision. Raises UserError where it is not there."""
    done = subprocess.run(["git", "show", f"{revision}:{path}"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(
            f"{path} is not in git at {revision}: {done.stderr.strip()}; only the default study is published: "
            "scalinglab use laptop, or choose another --against"
        )
    return done.stdout


def own_cells(path: Path) -> pd.DataFrame:
    """This machine's cells. Raises UserError where the study has not been run."""
    if not path.exists():
        raise UserError(f"{path} is missing; run `snakemake --cores 2`")
    return pd.read_csv(path)


def run(arguments: argparse.Namespace) -> None:
    path = Paths(config.load().study).cells
    published = pd.read_csv(io.StringIO(at_revision(path.as_posix(), arguments.against)))
    noise = seed_noise(published[~published["diverged"]])
    rows = compare(own_cells(path), published, noise)
    table = Table(title=f"held-out bits per byte here and at {arguments.against}")
    for column in ("cell", "here", "published", "difference in seed noise"):
        table.add_column(column, justify="left" if column == "cell" else "right")
    for row in rows.itertuples():
        table.add_row(row.cell, f"{row.here:.4f}", f"{row.published:.4f}", f"{row.units:+.2f}")
    console = Console()
    console.print(table)
    beyond = int((~(rows["units"].abs() <= NOISE_UNITS)).sum())  # a cell that diverged here agrees with nothing
    console.print(
        f"{beyond} of {len(rows)} cells differ by more than {NOISE_UNITS:g} units; one unit is the seeds' standard "
        f"deviation, {100 * (noise or 0):.2f} % of the loss"
    )
