"""Kill -9 at random points of a run, again and again, until the study is done; then compare with one never killed."""

import json
import os
import random
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mlflow.tracking import MlflowClient

from tests.pipeline.repository import NOTHING, UP_TO_DATE, Repository

FAULTS = Path(__file__).parent / "faults"
# Point -> most times that it may be reached before the kill. What each means is in faults/sitecustomize.py.
POINTS = {
    "step": 2,
    "save": 8,
    "rename": 5,
    "renamed": 5,
    "commit": 40,
    "lock": 2,
    "sync": 2,
    "driver": 1,
    "full disk": 1,
}
FULL_DISK = "full disk"  # no file may grow beyond so many kB, in any process
# A run that does not come to its point is killed at any moment: these are the seconds that it has at most.
PATIENCE = {"commit": 40.0, "lock": 40.0, "sync": 40.0}
SHORT_PATIENCE = 18.0


@dataclass(frozen=True)
class Kill:
    """One kill: where, whom (one process, or all of the run), and whether it came before the run had ended."""

    point: str
    group: bool
    fired: bool


def run_and_kill(repository: Repository, rng: random.Random, point: str) -> Kill:
    """Start `snakemake`, as a user would, and kill it at a point of its work, or fill the disk under it."""
    if point == FULL_DISK:
        limited = f"ulimit -f {rng.choice([30, 100, 300, 1000])}; exec snakemake --cores 2"
        return Kill(point, True, "error" in repository.call("bash", "-c", limited, check=False).lower())
    group = rng.random() < 0.5 and point != "driver"
    folder = repository.root / ".scratch/soak"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("count", "killed"):
        (folder / name).unlink(missing_ok=True)
    plan = {"point": point, "n": rng.randint(1, POINTS[point]), "group": group, "seed": rng.random()}
    environment = {
        **repository.env,
        "PYTHONPATH": f"{FAULTS}{os.pathsep}{repository.env['PYTHONPATH']}",
        "SOAK_FAULT": json.dumps({**plan, "folder": str(folder)}),
    }
    log = open(repository.root / ".scratch/soak/log.txt", "a")  # noqa: SIM115 - the process that it is for is killed
    run = subprocess.Popen(
        ["snakemake", "--cores", "2"], cwd=repository.root, env=environment, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    log.close()
    try:
        run.wait(timeout=PATIENCE.get(point, SHORT_PATIENCE) * rng.uniform(0.3, 1.0))
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return Kill("any moment", True, True)
    return Kill(point, group, (folder / "killed").exists())


def store(repository: Repository) -> dict[str, dict[str, float]]:
    """Metrics of each run in MLflow, with how many points its curve has."""
    client = MlflowClient(f"sqlite:///{repository.root}/mlflow.db")
    experiment = client.get_experiment_by_name("smoke")
    assert experiment is not None
    found = {}
    for run in client.search_runs([experiment.experiment_id], max_results=1000):
        assert run.info.run_name not in found, f"{run.info.run_name} is there twice"
        points = len(client.get_metric_history(run.info.run_id, "train/loss"))
        found[run.info.run_name] = {**run.data.metrics, "points": points}
    return found


def check(repository: Repository, expected: Repository) -> None:
    """One more `snakemake` ends the study, with the results, the records and the store of a run never killed."""
    repository.snakemake()
    ours, theirs = repository.results(), expected.results()
    differing = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
    assert differing == [], f"other results: {differing}"
    again = repository.snakemake()
    assert NOTHING in again, again
    status = repository.call("dvc", "status", "dvc.yaml")
    assert UP_TO_DATE in status, status
    verified = repository.call("scalinglab", "verify")
    assert "every recorded result is what was written" in verified, verified
    stored, wanted = store(repository), store(expected)
    assert stored == wanted, f"MLflow has {sorted(stored)}, not all of {sorted(wanted)} or other numbers"
    left = [path for path in repository.root.rglob(".*.tmp") if ".dvc" not in path.parts]
    left += [*(repository.root / ".scratch").rglob("*.safetensors"), *(repository.root / ".scratch/receipts").glob("*")]
    assert left == [], f"half files, checkpoints or receipts are left: {left}"


def end_stragglers(repository: Repository) -> None:
    """Processes of a run whose driver alone was killed end by themselves; this is for a test that fails in between."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "cwd") == str(repository.root) and int(folder.name) != os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue
