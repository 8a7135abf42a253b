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

from scalinglab import files, locks, provenance
from scalinglab.config import Study, parse
from scalinglab.paths import Paths

STORE = "sqlite:///mlflow.db"
BATCH = 500  # metrics a request; MLflow takes 1,000
PARENT = "mlflow.parentRunId"
UNFINISHED = "unfinished"  # set on a run while it is written, so that a killed sync cannot leave half of one unseen


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
    """Bring the store up to date with the results of the study in `params`; return how many runs changed.

    One process at a time: another one waits.
    """
    with locks.one_at_a_time("mlflow"):
        _make_whole(store)
        return _sync(params, MlflowClient(store))


def _make_whole(store: str) -> None:
    """Make a new SQLite store under another name first: MLflow never opens one again whose tables were half made."""
    path = Path(store.removeprefix("sqlite:///"))
    if store.startswith("sqlite:///") and not path.exists():
        for half in path.parent.glob(f".{path.name}.*.tmp"):  # of a sync that was killed here
            half.unlink()
        with files.atomic(path) as temporary:
            MlflowClient(f"sqlite:///{temporary}")


def _sync(params: dict[str, Any], client: MlflowClient) -> int:
    study = parse(params)
    paths = Paths(study.study)
    experiment = client.get_experiment_by_name(study.study)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(study.study)
    if not (paths.manifest.exists() and paths.rate_law.exists()):  # nothing of the grid was trained yet
        return 0
    sweep_key = provenance.identity(study)
    runs = {run.data.tags.get("run_key"): run for run in _whole_runs(client, experiment_id)}
    parent = runs.get(sweep_key)
    changed = 0
    for cell in read_cells(study, sweep_key):
        if parent is None:
            tags = {"run_key": sweep_key, UNFINISHED: "yes"}
            parent = client.create_run(experiment_id, tags=tags, run_name=f"sweep-{sweep_key[:8]}")
            sections = ("seed", "model", "training", "tune", "mixture", "clean")
            settings = {section: params[section] for section in sections}
            settings["rates"] = files.read_json(paths.rate_law)
            pairs = [Param(name, str(value)[:500]) for name, value in _flatten(settings)]
            client.log_batch(parent.info.run_id, params=pairs, tags=[RunTag(UNFINISHED, "")])
            client.set_terminated(parent.info.run_id)
        changed += _sync_cell(client, experiment_id, parent.info.run_id, runs.get(cell.key), cell)
    return changed


def _whole_runs(client: MlflowClient, experiment_id: str) -> Iterator[Run]:
    """The runs of an experiment. One that a killed sync left half written is deleted: it will be made anew."""
    token = None
    while True:
        page = client.search_runs([experiment_id], max_results=1000, page_token=token)
        for run in page:
            if run.data.tags.get(UNFINISHED):
                client.delete_run(run.info.run_id)
            else:
                yield run
        token = page.token
        if not token:
            return


def _sync_cell(client: MlflowClient, experiment_id: str, parent: str, run: Run | None, cell: Cell) -> int:
    """Log what the run does not hold yet; return 1 if there was anything.

    Points and numbers are only ever added to a run. Where the files now say something else than it holds (a stage ran
    again under changed code), the run is deleted and made anew: MLflow cannot replace a value.
    """
    have = int(run.data.tags["curve_points"]) if run else 0
    if run and (
        run.data.tags["curve"] != _digest(cell.curve.iloc[:have])
        or (run.data.tags["final"] and run.data.tags["final"] != files.digest(cell.final))
    ):
        client.delete_run(run.info.run_id)
        run, have = None, 0
    state = {
        **cell.tags,
        "curve_points": str(len(cell.curve)),
        "curve": _digest(cell.curve),
        "final": files.digest(cell.final) if cell.final else "",
        UNFINISHED: "",
    }
    if run and all(run.data.tags.get(key) == value for key, value in state.items()):
        return 0
    finished = bool(run and run.data.tags["final"])
    if run is None:
        tags = {"run_key": cell.key, PARENT: parent, UNFINISHED: "yes"}
        run = client.create_run(experiment_id, tags=tags, run_name=f"{cell.size}-{cell.budget}")
    else:
        client.set_tag(run.info.run_id, UNFINISHED, "yes")
    metrics = []
    for row in cell.curve.iloc[have:].to_dict("records"):
        curves = ("train/loss", "train/grad_norm", "lr")
        metrics += [Metric(name, row[name], 0, int(row["tokens"])) for name in curves if name in row]
        metrics.append(Metric("train/loss by GFLOPs", row["train/loss"], 0, int(row["flops"] / 1e9)))
    if cell.final and not finished:
        metrics += [Metric(name, value, 0, 0) for name, value in cell.final.items()]
        client.log_batch(run.info.run_id, params=[Param(*pair) for pair in cell.params.items()])
    for start in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[start : start + BATCH])
    if cell.final and not finished:
        client.set_terminated(run.info.run_id)
    # Last of all, and in one transaction: the mark of a run that is whole.
    client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in state.items()])
    return 1


def _digest(curve: pd.DataFrame) -> str:
    return files.digest(curve.to_csv(index=False))


def read_cells(study: Study, sweep_key: str) -> Iterator[Cell]:
    """Every cell of the grid of which the files hold anything, as far as they were made under this very identity."""
    paths = Paths(study.study)
    origins = _origins(study.study)
    for size in study.grid.sizes:
        trunk: list[pd.DataFrame] = []
        for budget in study.grid.budgets:
            segment = _curve(paths.trunk(size, budget), sweep_key)
            if segment is None:
                break
            trunk.append(segment)
            branch = _curve(paths.cell("anneal", size, budget, ".safetensors"), sweep_key)
            curve = pd.concat([*trunk, *([] if branch is None else [branch])])
            evaluated = paths.evaluation(study.grid.evaluate_after(budget), size, budget)
            yield _cell(paths, sweep_key, size, budget, evaluated, curve, origins, annealed=branch is not None)


def _cell(
    paths: Paths,
    sweep_key: str,
    size: str,
    budget: str,
    evaluated: Path,
    curve: pd.DataFrame,
    origins: dict[str, str],
    annealed: bool,
) -> Cell:
    final: dict[str, float] = {}
    described: dict[str, str] = {"size": size, "budget": budget}
    model = paths.cell("anneal", size, budget, ".safetensors")
    if annealed and _newer(evaluated, model):
        for name, value in files.read_json(evaluated).items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                final[name] = float(value)
            else:
                described[name] = str(value)
    shots = paths.cell("shots", size, budget, ".csv")
    if final and _newer(shots, model):
        rows = pd.read_csv(shots)
        for row in rows[rows["query"] == "all"].dropna(subset="icl/nll").to_dict("records"):
            final[f"icl/{row['skill']}:{row['k']}"] = float(row["icl/acc"])
    tags = {"size": size, "budget": budget}
    if annealed:
        made = files.read_json(model.with_suffix(".provenance.json"))
        tags |= {"git_commit": made["git_commit"], "device": made["device"], "torch": made["torch"]}
        tags["origin"] = origins.get(f"anneal@{size}-{budget}", "executed")
    key = files.digest([sweep_key, size, budget])
    return Cell(size, budget, key, curve, final, described, tags)


def _curve(model: Path, sweep_key: str) -> pd.DataFrame | None:
    """The loss curve beside a model file, unless it is missing or was made under another identity."""
    record, curve = model.with_suffix(".provenance.json"), model.with_suffix(".csv")
    if not (model.exists() and record.exists() and curve.exists()):
        return None
    return pd.read_csv(curve) if files.read_json(record)["identity"] == sweep_key else None


def _newer(path: Path, model: Path) -> bool:
    """Whether a measurement exists and is not older than the model it is of."""
    return path.exists() and path.stat().st_mtime >= model.stat().st_mtime - 1


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
