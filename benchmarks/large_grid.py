"""Planning, committing, syncing and restoring grids of 250 to 1,000 cells: is the time linear in the cells?

The grids are not trained: small files of the right kinds stand where the stages would write theirs, with receipts as of
stages that just ended, and the real tools do the rest. Other programs may run beside it: what is counted is CPU time,
at the speed that this machine has when nothing else runs, since a core that shares its caches and its clock takes up to
twice as long for the same work. Prints a table, with the exponent of time against cells (1 is linear), and writes
benchmarks/results/large_grid.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from scalinglab import config, files, pipeline, provenance, receipts

ROOT = Path(__file__).parent.parent
BUDGETS = 25
ROWS = [f"{i},{i}000,{i}000000,{3 + 1 / i:.4f},0.5,0.01" for i in range(1, 65)]
CURVE = "\n".join(["step,tokens,flops,train/loss,train/grad_norm,lr", *ROWS]) + "\n"
SHOTS = "size,budget,skill,query,k,icl/acc,icl/nll\n" + "".join(f"d8,1M,recall,all,{k},0.5,1.5\n" for k in (0, 1, 2, 4))


def copy_project(folder: Path, n_sizes: int, n_budgets: int) -> None:
    """A repository with the project and a grid of so many cells."""
    for name in ("src", "workflow", "profiles", "presets", "Snakefile", "dvc.yaml", ".gitignore", ".dvcignore"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    params = yaml.safe_load((ROOT / "presets/laptop.yaml").read_text())
    budgets = [f"{200 * (i + 1)}k" for i in range(n_budgets)]
    params["grid"] = {
        "sizes": [f"d{32 * (i + 1)}" for i in range(n_sizes)],
        "budgets": budgets,
        "segments": [
            {"after": a, "to": b, "evaluate_after": "tokenizer" if i < n_budgets // 4 else "forecast"}
            for i, (a, b) in enumerate(zip(["init", *budgets], budgets, strict=False))
        ],
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True)


def pretend() -> None:
    """Write what the stages of the study in the working directory would write, and their receipts."""
    params = pipeline.read_params()
    stages = pipeline.stages_of(pipeline.load())
    law = {"prefactor": 1.0, "exponent": -1.0}
    special = {"rates/law.json": json.dumps(law), "encode/manifest.json": "{}"}
    for stage in stages:
        for out in map(Path, stage.outs):
            inside = "/".join(out.parts[2:])
            text = special.get(inside, f"{stage.name}: {out}\n")
            if stage.family in ("trunk", "anneal") and out.suffix == ".csv":
                text = CURVE
            files.write_text(out, text)
    sweep_key = provenance.identity(config.parse(params))
    made = {"identity": sweep_key, "git_commit": "", "device": "cpu", "torch": ""}
    sources = receipts.digests(pipeline.files_of("src/scalinglab"))
    for stage in stages:  # in the order of dvc.yaml: each after what it depends on
        for out in map(Path, stage.outs):
            if out.name.endswith(".provenance.json"):
                files.write_json(out, made)
            elif stage.family == "evaluate" and out.suffix == ".json":
                files.write_json(out, {"val/bpb": 2.0, **stage.item})
            elif stage.family == "shots" and not out.stem.endswith((".exact", ".prompts")):
                files.write_text(out, SHOTS)
    for stage in stages:
        inputs, outs = receipts.digests(receipts.input_files(stage)), receipts.digests(map(Path, stage.outs))
        receipt = receipts.Receipt(stage.family, pipeline.options_of(stage), params, sources, inputs, outs)
        files.write_json(receipt.path, vars(receipt))


def spin() -> float:
    """Seconds of CPU that a fixed piece of work takes at this moment."""
    begun = time.process_time()
    sum(i * i % 7 for i in range(1_000_000))
    return time.process_time() - begun


def timed(*command: str) -> tuple[float, float]:
    """Seconds of CPU of a command in the working directory, with what it starts, and the mean speed meanwhile.

    The speed is that of `spin`, in pieces of work a second. Fails loudly if the command fails.
    """
    env = {**os.environ, "PYTHONPATH": "src"}
    speeds = [1 / spin()]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=env, stdout=said, stderr=subprocess.STDOUT)
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            speeds.append(1 / spin())
            time.sleep(2)
        _, status, usage = ended
        if status:
            said.seek(0)
            sys.exit(said.read().decode())
    return usage.ru_utime + usage.ru_stime, float(np.mean(speeds))


def measure(n_sizes: int, n_budgets: int) -> dict[str, Any]:
    """Seconds of CPU and speed of each step on a grid of so many cells."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_project(folder, n_sizes, n_budgets)
        os.chdir(folder)
        row: dict[str, Any] = {"cells": n_sizes * n_budgets}
        row["plan"] = timed("snakemake", "--cores", "2", "-n", "--quiet", "all")
        pretend()
        row["commit"] = timed(sys.executable, "-m", "scalinglab", "commit")
        assert not list(Path(".scratch/receipts").glob("*")), "every stage was recorded"
        row["sync"] = timed(sys.executable, "-m", "scalinglab", "sync")
        shutil.rmtree("results")
        row["restore"] = timed(sys.executable, "-m", "scalinglab", "restore")
        assert Path(f"results/laptop/anneal/d32-{200 * n_budgets}k.safetensors").exists()
        os.chdir(ROOT)
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 40], help=f"of {BUDGETS} budgets each")
    arguments = parser.parse_args()
    measured = pd.DataFrame([measure(n_sizes, BUDGETS) for n_sizes in arguments.sizes]).set_index("cells")
    full_speed = measured.map(lambda pair: pair[1]).to_numpy().max()
    table = measured.map(lambda pair: pair[0] * pair[1] / full_speed).round(2)
    exponents = {
        name: round(float(np.polyfit(np.log(table.index), np.log(table[name]), 1)[0]), 2) for name in table.columns
    }
    print(table.to_string())
    print("exponents", exponents)
    record = {"unit": "s of CPU at full speed", "table": table.reset_index().to_dict("records"), "exponents": exponents}
    (ROOT / "benchmarks/results/large_grid.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
