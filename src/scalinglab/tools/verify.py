"""`scalinglab verify`: read every recorded result again, in the folder and in the DVC cache; remove damaged ones."""

import argparse

from scalinglab import cache, locks


def run(arguments: argparse.Namespace) -> int:
    """Exit status 1 where something is damaged, or is not what was recorded."""
    locks.run_alone("scalinglab verify")
    with cache.opened() as held:
        found = held.verify()
    for path in found.damaged:
        print(f"damaged and removed: {path}")
    for path in found.changed:
        print(f"changed since it was recorded: {path}")
    missing = f"; {len(found.missing)} are not here" if found.missing else ""
    if found.damaged or found.changed:
        print(f"{found.whole} recorded results are what was written{missing}")
        print("run snakemake: what the cache holds whole is restored, the rest is made anew")
        return 1
    print(f"every recorded result is what was written: {found.whole} files{missing}")
    return 0
