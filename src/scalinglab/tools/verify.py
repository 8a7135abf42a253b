"""`scalinglab verify`: read every recorded result again, in the folder and in the DVC cache; remove damaged ones."""

import argparse

from scalinglab import cache, locks


def run(arguments: argparse.Namespace) -> int:
    """Exit status 1 where something was damaged."""
    locks.run_alone("scalinglab verify")
    with cache.opened() as held:
        damaged = held.verify()
    for path in damaged:
        print(f"damaged and removed: {path}")
    if damaged:
        print("run snakemake: what the cache holds whole is restored, the rest is made anew")
    else:
        print("every recorded result is what was written")
    return int(bool(damaged))
