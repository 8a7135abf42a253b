"""Which Snakemake calls only look, so that the driver leaves everything as it is."""

import pytest

from scalinglab.driver import LOOKS_ONLY, failures


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
