"""What Snakemake and DVC cost around the jobs: a no-op rerun, a full restore, and planning 1,000 cells.

The first two run on the current study, which must be complete (no-ops are medians of three); its results are moved
aside and restored from the cache. The third plans in a copy of the repository. Writes
benchmarks/results/dag_overhead.json.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from scalinglab import pipeline

ROOT = Path(__file__).parent.parent


def timed(*command: str, cwd: Path = ROOT) -> tuple[float, str]:
    """Seconds and output of a command. Fails loudly if it fails."""
    env = {**os.environ, "PYTHONPATH": str(cwd / "src")}
    started = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - started, done.stdout + done.stderr


def plan_thousand() -> float:
    """Seconds of a dry run over 40 sizes and 25 budgets."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("src", "workflow", "profiles", "presets", "Snakefile", "dvc.yaml", ".dvc"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("cache", "tmp", "__pycache__"))
            else:
                shutil.copy(source, copy / name)
        params = yaml.safe_load((ROOT / "presets/laptop.yaml").read_text())
        budgets = [f"{200 * (i + 1)}k" for i in range(25)]
        params["grid"] = {
            "sizes": [f"d{32 * (i + 1)}" for i in range(40)],
            "budgets": budgets,
            "segments": [
                {"after": a, "to": b, "evaluate_after": "tokenizer" if i < 6 else "forecast"}
                for i, (a, b) in enumerate(zip(["init", *budgets], budgets, strict=False))
            ],
        }
        (copy / "params.yaml").write_text(yaml.safe_dump(params))
        seconds, output = timed("snakemake", "--cores", "2", "-n", "--quiet", "all", cwd=copy)
        _, output = timed("snakemake", "--cores", "2", "-n", cwd=copy)
        assert "anneal         1000" in output or "1000" in output
        return seconds


def main() -> None:
    study = pipeline.read_params()["study"]
    results, aside = ROOT / "results" / study, ROOT / ".scratch" / f"{study}-aside"
    table = {"study": study}
    _, output = timed("snakemake", "--cores", "2")
    assert "Nothing to be done" in output, "complete the study first: snakemake --cores 2"
    table["noop_snakemake_s"] = statistics.median(timed("snakemake", "--cores", "2")[0] for _ in range(3))
    table["noop_dvc_repro_s"] = statistics.median(timed("dvc", "repro")[0] for _ in range(3))
    shutil.move(results, aside)
    table["restore_s"], output = timed("snakemake", "--cores", "2")
    assert "Nothing to be done" in output
    shutil.rmtree(aside)
    table["dry_run_1000_cells_s"] = plan_thousand()
    table = {key: round(value, 2) if isinstance(value, float) else value for key, value in table.items()}
    print("\n".join(f"{key:22s} {value}" for key, value in table.items()))
    (ROOT / "benchmarks/results/dag_overhead.json").write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
