"""How long the questions of studies/ take: the quick form of each, run here, and the whole, from Snakemake's records.

Needs the encoded data and the rates of a run of the current study, and logs/ of the questions that were run in full.
Of the quick form: CPU seconds of all its processes together, and wall seconds, which other programs on the machine make
longer. A quick form that was killed or run before on the same code goes on from its checkpoint: run this in a fresh
folder. Prints a table and writes benchmarks/results/theory_time.json; questions that are named replace
their rows alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd

from scalinglab import pipeline

TARGET = Path(__file__).parent / "results/theory_time.json"


def quick(name: str, cores: int) -> dict[str, float]:
    """CPU seconds and wall seconds of `scalinglab theory NAME --quick`; RuntimeError where it fails."""
    before, started = os.times(), time.monotonic()
    asked = [sys.executable, "-m", "scalinglab", "theory", name, "--quick", "--cores", str(cores)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(asked)} failed:\n{done.stdout}\n{done.stderr}")
    after, used = os.times(), time.monotonic() - started
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"quick CPU s": round(cpu, 1), "quick wall s": round(used, 1)}


def whole(name: str, study: str) -> dict[str, float]:
    """CPU seconds and longest job of the whole form, by the last run that Snakemake recorded; empty without one."""
    logs = Path("logs") / study
    patterns = (f"variant_{name}-*.tsv", f"part_{name}-*.tsv", f"measure_{name}.tsv")
    paths = [path for pattern in patterns for path in logs.glob(pattern)]
    rows = [pd.read_csv(path, sep="\t").iloc[0] for path in paths if path.stat().st_size]
    if not rows:
        return {}
    cpu = [float(row["cpu_time"]) for row in rows]
    return {"jobs": len(cpu), "whole CPU s": round(sum(cpu), 1), "longest job CPU s": round(max(cpu), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="questions; all by default")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--whole-only", action="store_true", help="read the records, run nothing")
    arguments = parser.parse_args()
    params = pipeline.all_params()
    known = [name for section in pipeline.THEORY_SECTIONS for name in params.get(section, {})]
    if unknown := set(arguments.names) - set(known):
        parser.error(f"no question {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    table: dict[str, Any] = json.loads(TARGET.read_text())["table"] if TARGET.exists() else {}
    for name in arguments.names or known:
        row = table.get(name, {}) | whole(name, params["study"])
        if not arguments.whole_only:
            row |= quick(name, arguments.cores)
        table[name] = row
        print(name, row, flush=True)
        TARGET.write_text(json.dumps({"cores": arguments.cores, "table": table}, indent=2) + "\n")
    print(pd.DataFrame(table).T.to_string())


if __name__ == "__main__":
    main()
