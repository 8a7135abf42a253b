"""100 random edits of parameters and source lines: do Snakemake and DVC both call exactly the right stages stale?

Needs nothing but the repository: it runs the smoke study in a folder of its own first. Prints each edit and writes
benchmarks/results/soak_edits.json.
"""

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # the test suite checks a few edits with the same code

from tests.pipeline.repository import Repository  # noqa: E402
from tests.soak import edits  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edits", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    rows, failures = [], []
    with tempfile.TemporaryDirectory() as scratch:
        repository = Repository(Path(scratch) / "edited")
        repository.snakemake()
        for _ in range(arguments.edits):
            try:
                edited, stale = edits.check_one(repository, rng)
                rows.append({"edited": edited, "stale stages": stale})
                print(f"{edited}: {stale} stages", flush=True)
            except AssertionError as error:
                failures.append(str(error)[:2000])
                print(failures[-1], flush=True)
        repository.assert_clean()
    record = {"edits": arguments.edits, "failures": failures, "table": rows}
    (ROOT / "benchmarks/results/soak_edits.json").write_text(json.dumps(record, indent=1) + "\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
