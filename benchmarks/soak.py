"""Kill -9 at 200 random points of the smoke study, and whether anything was lost.

A chain is one study in a folder of its own: it is started, killed at a random point, started again, and so on; then it
is left to end and compared, byte for byte, with a study that was never killed. Prints a table and writes
benchmarks/results/soak.json.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the test suite kills a few times with the same code

from tests.pipeline.repository import Repository  # noqa: E402
from tests.soak import kills  # noqa: E402


def killed(done: list[kills.Kill]) -> int:
    """How many were kills: a full disk is none."""
    return sum(kill.point != kills.FULL_DISK for kill in done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--chain", type=int, default=25, help="kills before a study is left to end")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    done: list[kills.Kill] = []
    failures: list[str] = []
    chains = 0
    with tempfile.TemporaryDirectory() as scratch:
        expected = Repository(Path(scratch) / "expected")
        expected.snakemake()
        while killed(done) < arguments.kills:
            repository = Repository(Path(scratch) / f"chain{chains}")
            started, idle, here = time.monotonic(), 0, 0
            while here < arguments.chain and idle < 3:
                kill = kills.run_and_kill(repository, rng, rng.choice(list(kills.POINTS)))
                idle = 0 if kill.fired else idle + 1  # nothing to kill any more: the study is nearly done
                here += kill.fired
                done += [kill] * kill.fired
            try:
                kills.check(repository, expected)
                shutil.rmtree(repository.root)
            except AssertionError as error:
                failures.append(f"chain {chains}: {str(error)[-2000:]}")
                print(failures[-1], flush=True)
                shutil.copytree(repository.root, f"{tempfile.gettempdir()}/soak-failed-{chains}", dirs_exist_ok=True)
            chains += 1
            print(
                f"chain {chains}: {here} kills, {time.monotonic() - started:.0f} s, {killed(done)} in all", flush=True
            )
    counts = Counter((kill.point, "all processes" if kill.group else "one process") for kill in done)
    for (point, whom), n in sorted(counts.items()):
        print(f"{point:10} {whom:14} {n:4}")
    table = [{"point": point, "killed": whom, "times": n} for (point, whom), n in sorted(counts.items())]
    record = {"kills": killed(done), "chains": chains, "failures": failures, "table": table}
    (Path(__file__).parent / "results/soak.json").write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
