"""What users do after a first run of the smoke preset, and what it must cost: changes, additions, going back.

The tests run in order on one repository, beside those of test_runs.py on another (two processes, one a file).
"""

import re
import shutil

import pytest
import yaml

from tests.pipeline.repository import NOTHING, UP_TO_DATE, Repository, families

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module", autouse=True)
def first_run(repository: Repository) -> None:
    repository.snakemake()
    repository.jobs_run()


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
    assert before.keys() == {"rope.csv", "none.csv", "verdicts.csv", "protocol.json", "forest.png", "details.png"}
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
    sound = path.read_text()
    path.write_text(sound.replace("position: alibi", "positon: alibi"))
    told = repository.call("snakemake", "--cores", "2", "theory_positions", check=False)
    assert "error: studies/positions.yaml: variant alibi: model.positon: unknown key; did you mean 'position'?" in told
    assert repository.jobs_run() == set(), "a mistake in any variant is told before one trains"
    path.write_text(sound)


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
    planned = repository.snakemake("-n", "theory_distillation")  # whose verdicts have the name of a controlled study's
    assert re.search(r"measure_distillation +1\n", planned)
    assert "Exception" not in planned


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
