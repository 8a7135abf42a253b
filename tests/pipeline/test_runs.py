"""A first run of the smoke preset, and what may befall it: kills, edits, failures, with real Snakemake, DVC and MLflow.

The tests run in order on one repository, beside those of test_changes.py on another (two processes, one a file).
"""

import json
import random
import re
import shutil

import pytest
import yaml
from mlflow.tracking import MlflowClient

from scalinglab.figures.registry import FIGURES
from tests.pipeline.repository import NOTHING, Repository, families
from tests.soak import edits, kills

pytestmark = pytest.mark.pipeline


def test_a_clean_clone_plans_the_whole_study(repository: Repository) -> None:
    planned = repository.planned()
    assert planned["anneal"] == 6
    assert planned["all"] == 1
    assert not (repository.root / "results").exists(), "a dry run must change nothing"


def test_first_run_makes_everything_and_is_recorded(repository: Repository) -> None:
    output = repository.snakemake()
    assert "study smoke: 100 % of training, 6/6 cells" in output, "overall progress is shown"
    results = repository.results()
    for name in ("table/cells.csv", "laws/laws.json", "emergence/emergence.json", "report/report.html"):
        assert results[name]
    assert sum(name.startswith("figures/") for name in results) == len(FIGURES)
    assert all(results[name].startswith(b"\x89PNG") for name in results if name.startswith("figures/"))
    log = (repository.root / "logs/smoke/trunk-d8-80k.log").read_text()
    assert re.search(r"tokens  loss \d\.\d+  [\d,]+ tokens/s  \d+ s left", log)
    repository.jobs_run()


def test_killed_at_every_kind_of_point_another_folder_ends_the_same(
    repository: Repository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Byte for byte: metrics, tables and figures, DVC's records, and the MLflow store."""
    other, rng = Repository(tmp_path_factory.mktemp("killed")), random.Random(0)
    done = [kills.run_and_kill(other, rng, point) for point in (*kills.POINTS, "commit", "save")]
    assert sum(kill.fired for kill in done) >= 8
    kills.check(other, repository)


def test_second_run_does_nothing(repository: Repository) -> None:
    repository.assert_clean()


def test_mlflow_has_the_cells_and_syncing_again_adds_nothing(repository: Repository) -> None:
    store = f"sqlite:///{repository.root}/mlflow.db"

    def snapshot() -> dict[str, tuple[dict[str, float], int]]:
        client = MlflowClient(store)
        experiment = client.get_experiment_by_name("smoke")
        assert experiment is not None
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        return {
            run.info.run_name: (run.data.metrics, len(client.get_metric_history(run.info.run_id, "train/loss")))
            for run in runs
        }

    first = snapshot()
    cells = [name for name in first if re.fullmatch(r"d\d+-\d+k", name)]
    assert len(cells) == 6
    assert len(first) == 7, "six cells and their sweep"
    evaluated = json.loads((repository.root / "results/smoke/evaluate/forecast/d8-80k.json").read_text())
    metrics, points = first["d8-80k"]
    assert metrics["val/bpb"] == pytest.approx(evaluated["val/bpb"])
    assert points > 20
    assert "0 runs brought up to date" in repository.call("scalinglab", "sync")
    assert snapshot() == first
    (repository.root / "mlflow.db").unlink()
    repository.call("scalinglab", "sync")
    assert snapshot() == first


def test_what_a_killed_run_did_not_bring_to_mlflow_the_next_one_does(repository: Repository) -> None:
    """Though no job is left to run, as after a kill in the last sync."""
    store = kills.store(repository)
    (repository.root / "mlflow.db").unlink()
    (repository.root / ".scratch/sync-due").touch()
    assert NOTHING in repository.snakemake()
    assert kills.store(repository) == store
    assert "MLflow" not in repository.snakemake(), "once is enough"


def test_dvc_shows_metrics_and_plots(repository: Repository) -> None:
    shown = repository.call("dvc", "metrics", "show")
    assert "best_val/bpb" in shown
    assert "kaplan surface exponent" in shown
    plots = repository.call("dvc", "plots", "show", "-o", "plots")
    assert (repository.root / "plots/index.html").exists(), plots
    shutil.rmtree(repository.root / "plots")


def test_random_edits_make_exactly_the_right_stages_stale_for_both(repository: Repository) -> None:
    rng = random.Random(0)
    hit = [edits.check_one(repository, rng)[1] for _ in range(6)]
    assert len(set(hit)) > 2, "edits of several depths"
    assert NOTHING in repository.snakemake("-n")


def test_of_two_drivers_at_once_one_stops(repository: Repository) -> None:
    before = repository.results()
    repository.change("figures.loss.dpi", 91)
    both = [repository.start("snakemake", "--cores", "1") for _ in range(2)]
    said = [run.communicate()[0] for run in both]
    assert sorted(run.returncode for run in both) == [0, 1], said
    assert sum("runs in this folder; wait until it has ended" in text for text in said) == 1, said
    repository.change("figures.loss.dpi", 140)
    assert NOTHING in repository.snakemake()
    assert repository.results() == before
    repository.jobs_run()


@pytest.mark.parametrize("command", [("snakemake", "--cores", "2"), ("dvc", "repro")], ids=["snakemake", "dvc repro"])
def test_outputs_of_a_stage_that_broke_off_are_never_taken_for_done(
    repository: Repository, command: tuple[str, ...]
) -> None:
    before = repository.results()
    stage = repository.root / "src/scalinglab/stages/table.py"
    source = stage.read_text()
    write = "        write_text(paths.of("
    stage.write_text(source.replace(write, f"        1 / (name != 'text')\n{write}"))  # after four of its files
    assert stage.read_text() != source
    assert "ZeroDivisionError" in repository.call(*command, check=False)
    stage.write_text(source)
    assert NOTHING in repository.snakemake()
    assert repository.results() == before
    repository.jobs_run()
    repository.assert_clean()


def test_touched_files_are_not_stale(repository: Repository) -> None:
    for path in (repository.root / "src").rglob("*.py"):
        path.touch()
    repository.assert_clean()


def test_edited_source_makes_the_same_stages_stale_for_both(repository: Repository) -> None:
    path = repository.root / "src/scalinglab/figures/loss.py"
    path.write_text(path.read_text() + "\n# edited\n")
    expected = {"figures", "report"}
    assert families(repository.stale()) == expected
    assert set(repository.planned()) == {*expected, "all"}
    repository.snakemake()
    repository.jobs_run()
    repository.assert_clean()


def test_a_failing_stage_leaves_nothing_and_says_why(repository: Repository) -> None:
    good = yaml.safe_load((repository.root / "params.yaml").read_text())["model"]["norm"]
    repository.change("model.norm", "rmsnrm")
    output = repository.call("snakemake", "--cores", "2", check=False)
    assert "model.norm = 'rmsnrm': unknown; known: batchnorm, layernorm, none, rmsnorm" in output, output
    assert "Traceback" not in output
    repository.change("model.norm", good)
    assert NOTHING in repository.snakemake()
    repository.assert_clean()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.eps", -1, "params.yaml: training.eps = -1"),
        ("grid.sizes", [], "params.yaml: grid.sizes = []"),
        ("figures.loss", {"dip": 3}, "params.yaml: figures.loss.dip: unknown key"),
        ("grid.sizes", ["d48", "d12", "d8"], "heads of 32 do not divide the width 48"),
    ],
)
def test_bad_parameters_stop_both_tools_with_one_line(
    repository: Repository, key: str, value: object, message: str
) -> None:
    before = (repository.root / "params.yaml").read_text()
    repository.change(key, value)
    for command in (("snakemake", "--cores", "1"), ("scalinglab", "cost")):
        output = repository.call(*command, check=False)
        assert message in output
        assert "Traceback" not in output
    (repository.root / "params.yaml").write_text(before)
