# How families run: scheduling priority and memory. A trunk is a chain, so it starts before what hangs off it.
import os
import subprocess
import sys
import time
from pathlib import Path

from scalinglab.files import write_text
from scalinglab.paths import SYNC_DUE

PRIORITY = {
    "tune": 50,
    "rates": 50,
    "init": 40,
    "trunk": 30,
    "evaluate": 20,
    "shots": 20,
    "anneal": 10,
}
MEMORY_MB = {"clean": 1500, "encode": 1500}
DEFAULT_MEMORY_MB = 1200
# `snakemake --resources gpu=1` lets one of these run at a time; only where execution.device asks for a GPU.
ON_GPU = {"tune", "recipe", "trunk", "anneal", "evaluate", "shots"}

watcher = None
started = time.time()


def start_watching():
    """Bring MLflow up to date and print the overall progress while the jobs run, from one process of its own."""
    global watcher
    if driver.NESTED in os.environ:
        return
    write_text(SYNC_DUE, "")
    command = [sys.executable, "-m", "scalinglab", "sync", "--watch", "20"]
    for question in driver.questions_asked(families, sys.argv[1:]):
        command += ["--theory", question]
    watcher = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})


def report_failures():
    """Say in one line each why jobs failed."""
    print(
        *driver.failures(Path("logs") / params_yaml["study"], started),
        sep="\n",
        file=sys.stderr,
    )


def stop_watching():
    """End the watcher, which syncs once more before it goes."""
    if watcher is not None:
        watcher.terminate()
        watcher.wait()
