"""MLflow as a derived index of results/: one idempotent `sync`, which can rebuild it from the files at any time.

One experiment a study; in it a parent run for each setting of the study's parameters, and a child run for each cell.
Jobs never import MLflow: it takes seconds to import, and several processes at once break a new SQLite store.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from scalinglab import files, provenance
from scalinglab.paths import Paths

STORE = "sqlite:///mlflow.db"
IDENTITY = ("download", "clean", "tokenizer", "mixture", "model", "training", "seed")
BATCH = 500  # metrics a request; MLflow takes 1,000
PARENT = "mlflow.parentRunId"


@dataclass(frozen=True)
class Cell:
    """What the files say of one cell: a curve that grows while the trunk trains, and final numbers once they exist."""

    size: str
    budget: str
    key: str
    curve: pd.DataFrame
    final: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def sync(params: dict[str, Any], store: str = STORE) -> int:
    """Bring the store up to date with the results of the study in `params`; return how many runs changed."""
    client = MlflowClient(store)
    study = params["study"]
    experiment = client.get_experiment_by_name(study)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(study)
    runs = {run.data.tags.get("run_key"): run for run in _all_runs(client, experiment_id)}
    identity = {key: params[key] for key in IDENTITY}
    sweep_key = files.digest(identity)
    parent = runs.get(sweep_key)
    changed = 0
    for cell in read_cells(params, sweep_key):
        if parent is None:
            parent = client.create_run(experiment_id, tags={"run_key": sweep_key}, run_name=f"sweep-{sweep_key[:8]}")
            pairs = [Param(name, str(value)[:500]) for name, value in _flatten(identity)]
            client.log_batch(parent.info.run_id, params=pairs)
            client.set_terminated(parent.info.run_id)
        changed += _sync_cell(client, experiment_id, parent.info.run_id, runs.get(cell.key), cell)
    return changed


def _all_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _sync_cell(client: MlflowClient, experiment_id: str, parent: str, run: Run | None, cell: Cell) -> int:
    """Log what the run does not hold yet; return 1 if there was anything."""
    run = run or client.create_run(
        experiment_id, tags={"run_key": cell.key, PARENT: parent}, run_name=f"{cell.size}-{cell.budget}"
    )
    tags = run.data.tags
    have = int(tags.get("curve_points", 0))
    final = files.digest([cell.final, cell.tags])
    if have == len(cell.curve) and tags.get("final") == final:
        return 0
    metrics = []
    for row in cell.curve.iloc[have:].to_dict("records"):
        metrics.append(Metric("train/loss", row["train/loss"], 0, int(row["tokens"])))
        metrics.append(Metric("train/loss by GFLOPs", row["train/loss"], 0, int(row["flops"] / 1e9)))
        metrics.append(Metric("lr", row["lr"], 0, int(row["tokens"])))
    if tags.get("final") != final:
        metrics += [Metric(name, value, 0, 0) for name, value in cell.final.items()]
        client.log_batch(run.info.run_id, params=[Param(*pair) for pair in cell.params.items()])
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + BATCH])
    state = {**cell.tags, "curve_points": str(len(cell.curve)), "final": final}
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in state.items()])
    if cell.final and run.info.status != "FINISHED":
        client.set_terminated(run.info.run_id)
    return 1


def read_cells(params: dict[str, Any], sweep_key: str) -> Iterator[Cell]:
    """Every cell of the grid of which the files hold anything."""
    paths = Paths(params["study"])
    grid = params["grid"]
    origins = _origins(params["study"])
    for size in grid["sizes"]:
        trunk: list[pd.DataFrame] = []
        for budget in grid["budgets"]:
            segment = _curve(paths.trunk(size, budget).with_suffix(".csv"))
            if segment is None:
                break
            trunk.append(segment)
            branch = _curve(paths.cell("anneal", size, budget, ".csv"))
            curve = pd.concat([*trunk, *([] if branch is None else [branch])])
            yield _cell(paths, sweep_key, size, budget, curve, origins)


def _cell(paths: Paths, sweep_key: str, size: str, budget: str, curve: pd.DataFrame, origins: dict[str, str]) -> Cell:
    final: dict[str, float] = {}
    described: dict[str, str] = {"size": size, "budget": budget}
    evaluated = paths.cell("evaluate", size, budget, ".json")
    if evaluated.exists():
        for name, value in files.read_json(evaluated).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                final[name] = float(value)
            else:
                described[name] = str(value)
    shots = paths.cell("shots", size, budget, ".csv")
    if shots.exists():
        for row in pd.read_csv(shots).dropna().to_dict("records"):
            final[f"icl/{row['skill']}:{row['k']}"] = float(row["icl/acc"])
    tags = {"size": size, "budget": budget, "git_commit": provenance.git_commit()}
    record = paths.cell("anneal", size, budget, ".provenance.json")
    if record.exists():
        made = files.read_json(record)
        tags |= {"git_commit": made["git_commit"], "device": made["device"], "torch": made["torch"]}
        tags["origin"] = origins.get(f"anneal@{size}-{budget}", "executed")
    key = files.digest([sweep_key, size, budget])
    return Cell(size, budget, key, curve, final, described, tags)


def _curve(path: Path) -> pd.DataFrame | None:
    return pd.read_csv(path) if path.exists() else None


def _origins(study: str) -> dict[str, str]:
    """Stage -> `restored` or `executed`, as the driver noted it on this machine."""
    path = Path(".scratch") / study / "origins.json"
    return files.read_json(path) if path.exists() else {}


def _flatten(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value
