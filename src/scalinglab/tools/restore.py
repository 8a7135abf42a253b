"""`scalinglab restore`: bring back from the DVC cache what it holds of the current study."""

import argparse

from scalinglab import driver


def run(arguments: argparse.Namespace) -> None:
    driver.prepare(who="scalinglab restore")
