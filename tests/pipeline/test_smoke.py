"""The real DAG on the smoke preset, with real Snakemake, DVC and MLflow, in a repository of its own.

The tests run in order on one repository: each is a thing that users do after a first run, and what it must cost.
"""

import json
import random
import re
import shutil

import pytest
import yaml
from mlflow.tracking import MlflowClient

from scalinglab.figures.registry import FIGURES
from tests.pipeline.repository import NOTHING, UP_TO_DATE, Repository
from tests.soak import edits, kills

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    return Repository(tmp_path_factory.mktemp("smoke"))


def families(names: set[str]) -> set[str]:
    return {re.split(r"[@-]", name)[0] for name in names}


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
    assert "additive surface exponent" in shown
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


def test_a_controlled_study_runs_beside_the_study(repository: Repository) -> None:
    """By its own target, cached and restored like all else; the study itself does not notice."""
    path = repository.root / "studies/positions.yaml"
    whole = yaml.safe_load(path.read_text())
    tiny = {"size": "d8", "tokens": "20k", "seeds": [1, 2, 3], "rates": [1]}
    tiny["variants"] = {name: {"model": {"position": name}} for name in ("rope", "none")}  # type: ignore[assignment]
    whole["theory"]["positions"] |= tiny
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    repository.snakemake("theory_positions")
    results = repository.root / "results/theory/positions"
    before = {file.name: file.read_bytes() for file in results.rglob("*.*")}
    assert before.keys() == {"rope.csv", "none.csv", "verdicts.csv", "protocol.json", "forest.png"}
    assert repository.jobs_run() == {"variant_positions-rope", "variant_positions-none", "verdict-positions"}
    assert NOTHING in repository.snakemake("theory_positions")
    assert UP_TO_DATE in repository.call("dvc", "repro", "studies/dvc.yaml:verdict@positions")
    shutil.rmtree(results)
    repository.assert_clean()
    assert NOTHING in repository.snakemake("theory_positions")
    assert {file.name: file.read_bytes() for file in results.rglob("*.*")} == before
    whole["theory"]["positions"]["variants"]["alibi"] = {"model": {"position": "alibi"}}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    repository.snakemake("theory_positions")
    assert repository.jobs_run() == {"variant_positions-alibi", "verdict-positions"}, "only what is new"


def test_a_measured_question_is_a_stage_like_any_other(repository: Repository) -> None:
    path = repository.root / "studies/attention_mathematics.yaml"
    whole = yaml.safe_load(path.read_text())
    whole["measured"]["attention_mathematics"]["settings"] |= {"head_dims": [16, 32], "queries": 64}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    repository.snakemake("theory_attention_mathematics")
    assert repository.jobs_run() == {"measure_attention_mathematics"}
    text = (repository.root / "results/theory/attention_mathematics/findings.md").read_text()
    assert "at d_k = 16" in text
    assert NOTHING in repository.snakemake("theory_attention_mathematics")
    assert UP_TO_DATE in repository.call("dvc", "repro", "studies/dvc.yaml:measure_attention_mathematics")


def test_another_study_and_back_trains_nothing(repository: Repository) -> None:
    before = repository.results()
    repository.change("study", "other")
    repository.snakemake("results/other/trunk/d8/init.safetensors")
    repository.change("study", "smoke")
    repository.jobs_run()
    assert NOTHING in repository.snakemake()
    assert repository.results() == before
    assert repository.jobs_run() == set()


def test_deleted_results_come_back_without_training(repository: Repository) -> None:
    before = repository.results()
    shutil.rmtree(repository.root / "results")
    assert NOTHING in repository.snakemake()
    assert repository.results() == before
    assert repository.jobs_run() == set()
    repository.assert_clean()


def test_one_figures_parameter_redraws_that_figure(repository: Repository) -> None:
    repository.change("figures.loss.dpi", 90)
    assert repository.stale() == {"figures@loss", "report"}
    assert repository.planned() == {"figures": 1, "report": 1, "all": 1}
    repository.snakemake()
    assert repository.jobs_run() == {"figures-loss", "report"}
    repository.assert_clean()


def test_what_a_removed_cell_left_behind_hides_nothing(repository: Repository) -> None:
    folder = repository.root / "results/smoke"
    shutil.copy(folder / "tune/d8.csv", folder / "tune/d10.csv")
    shutil.copy(folder / "evaluate/tokenizer/d8-20k.json", folder / "evaluate/tokenizer/d10-20k.json")
    (folder / "tune/notes.txt").write_text("of a user, and no output of a stage")
    assert NOTHING in repository.snakemake()
    assert not (folder / "tune/d10.csv").exists()
    assert not (folder / "evaluate/tokenizer/d10-20k.json").exists()
    (folder / "tune/notes.txt").unlink()
    repository.assert_clean()


def test_going_back_restores_without_running(repository: Repository) -> None:
    repository.change("figures.loss.dpi", 140)
    assert NOTHING in repository.snakemake()
    assert repository.jobs_run() == set()
    repository.assert_clean()


def test_an_optional_branch_is_there_when_it_is_asked_for(repository: Repository) -> None:
    repository.change("ladder.seeds", [0])
    assert families(repository.stale()) == {"recipe", "ladder"}
    assert repository.planned() == {"recipe": 12, "ladder": 1, "all": 1}
    repository.snakemake()
    assert repository.results()["ladder/0.png"].startswith(b"\x89PNG")
    repository.assert_clean()
    repository.change("ladder.seeds", [])
    assert families(repository.jobs_run()) == {"recipe", "ladder"}
    repository.assert_clean()


def test_an_added_budget_trains_only_its_own_tokens(repository: Repository) -> None:
    before = repository.results()
    repository.change("grid.budgets", ["20k", "80k", "120k"])
    repository.change(
        "grid.segments",
        [
            {"after": "init", "to": "20k", "evaluate_after": "tokenizer"},
            {"after": "20k", "to": "80k", "evaluate_after": "forecast"},
            {"after": "80k", "to": "120k", "evaluate_after": "forecast"},
        ],
    )
    stale = repository.stale()
    assert {name for name in stale if name.startswith(("trunk", "anneal"))} == {
        *(f"trunk@{size}-segment2" for size in ("d16", "d12", "d8")),
        *(f"anneal@{size}-120k" for size in ("d16", "d12", "d8")),
    }
    planned = repository.planned()
    # The forecast is made anew for another grid, and the cells that it seals (80k, 120k) are measured after it.
    assert (planned["trunk"], planned["anneal"], planned["shots"], planned["evaluate"]) == (3, 3, 3, 6)
    repository.snakemake()
    work = repository.jobs_run()
    assert {name for name in work if name.startswith("trunk")} == {f"trunk-{s}-120k" for s in ("d16", "d12", "d8")}
    after = repository.results()
    assert all(after[name] == content for name, content in before.items() if name.startswith(("trunk", "anneal")))
    repository.assert_clean()


def test_a_removed_and_an_added_size_train_only_the_new(repository: Repository) -> None:
    repository.change("grid.sizes", ["d16", "d12", "d8", "d10"])
    stale = {name for name in repository.stale() if name.startswith(("init", "trunk", "anneal"))}
    assert all("@d10" in name for name in stale)
    repository.snakemake()
    work = repository.jobs_run()
    assert {name for name in work if name.startswith("anneal")} == {f"anneal-d10-{b}" for b in ("20k", "80k", "120k")}
    repository.assert_clean()


def test_dvc_repro_alone_is_known_to_snakemake_and_comes_back(repository: Repository) -> None:
    before = (repository.root / "dvc.lock").read_bytes()
    repository.change("laws.bootstrap", 5)
    repository.call("dvc", "repro")
    assert NOTHING in repository.snakemake()
    repository.assert_clean()
    made = repository.results()
    (repository.root / "dvc.lock").write_bytes(before)
    shutil.rmtree(repository.root / "results")
    assert NOTHING in repository.snakemake(), "DVC itself forgets stages with a file in git"
    after = repository.results()
    assert after == {name: text for name, text in made.items() if not name.startswith(("ladder", "recipe"))}
    repository.jobs_run()


def test_what_dvc_repro_made_of_other_parameters_is_not_taken_for_snakemakes_own(repository: Repository) -> None:
    before = repository.results()
    k = yaml.safe_load((repository.root / "params.yaml").read_text())["emergence"]["k"]
    repository.change("emergence.k", 1)
    repository.call("dvc", "repro")
    assert repository.results()["table/cells.csv"] != before["table/cells.csv"]
    repository.change("emergence.k", k)
    repository.snakemake()
    assert repository.results() == before
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
