"""`scalinglab commit`: record finished stages in the DVC cache (Snakemake does it at the end of a run)."""

import argparse

from scalinglab import driver


def run(arguments: argparse.Namespace) -> None:
    driver.conclude()
