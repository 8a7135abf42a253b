"""Which Snakemake calls only look, so that the driver leaves everything as it is."""

import pytest

from scalinglab import driver, pipeline
from scalinglab.driver import LOOKS_ONLY, failures
from scalinglab.errors import UserError
from tests.conftest import ROOT


@pytest.mark.parametrize("argument", ["-n", "-np", "--dry-run", "--dryrun", "--lint", "--unlock", "--summary", "--dag"])
def test_calls_that_only_look(argument: str) -> None:
    assert LOOKS_ONLY.fullmatch(argument)


@pytest.mark.parametrize(
    "argument", ["--cores", "2", "-c2", "-j", "--until", "anneal", "--resources", "gpu=1", "-k", "-Rtune", "-Uanneal"]
)
def test_calls_that_run(argument: str) -> None:
    assert not LOOKS_ONLY.fullmatch(argument)


def test_failures_name_the_stage_and_the_reason(tmp_path) -> None:
    (tmp_path / "init-d8.log").write_text("working\nerror: model.norm = 'x': unknown\n")
    (tmp_path / "laws.log").write_text("Traceback (most recent call last):\n  ...\nValueError: broken\n")
    (tmp_path / "clean.log").write_text("all well\n")
    lines = failures(tmp_path, since=0)
    assert lines == [
        f"init-d8: error: model.norm = 'x': unknown (see {tmp_path}/init-d8.log)",
        f"laws: ValueError: broken (see {tmp_path}/laws.log)",
    ]
    assert failures(tmp_path, since=4e9) == []


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--cores", "2"], set()),
        (["--cores", "2", "theory_norms"], {"norms"}),
        (["theory_norms", "theory_attention_cost"], {"norms", "attention_cost"}),
        (["-c2", "variant_positions"], {"positions"}),
        (["-c2", "results/theory/norms/verdicts.csv"], {"norms"}),
        (["--directory", "/home/me/theory"], set()),
    ],
)
def test_questions_beside_the_study_are_looked_at_where_they_are_asked_for(
    arguments: list[str], asked: set[str]
) -> None:
    """Others keep what stands in their folders: published results, which no run of this folder made."""
    stages = driver._asked_for(pipeline.load(ROOT), arguments)
    assert {stage.theory for stage in stages} == asked | {""}


def test_all_questions_are_looked_at_where_all_are_asked_for() -> None:
    families = pipeline.load(ROOT)
    every = {stage.theory for stage in pipeline.stages_of(families)}
    for arguments in (["-c2", "theory"], None):
        assert {stage.theory for stage in driver._asked_for(families, arguments)} == every
    controlled = {stage.theory for stage in driver._asked_for(families, ["-c2", "verdict"])}
    assert "norms" in controlled
    assert "attention_cost" not in controlled


def test_a_rule_of_no_question_says_which_there_are() -> None:
    families = pipeline.load(ROOT)
    with pytest.raises(UserError, match="no question 'normz' in studies/; did you mean 'norms'"):
        driver.questions_asked(families, ["-c2", "theory_normz"])
    assert driver.questions_asked(families, ["-c2", "theory_norms"]) == ["norms"]
