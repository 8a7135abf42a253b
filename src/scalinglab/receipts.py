"""Receipts: a stage that ran to its end under Snakemake says so, with the parameters and sources it saw.

Files on disk do not tell whether they belong to the present parameters and inputs; a receipt does. Only stages with a
fitting receipt are recorded in the DVC cache (driver.py), so nothing stale or half-made is ever blessed. Under
`dvc repro` DVC records by itself and no receipt is written.
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scalinglab import files, locks, pipeline
from scalinglab.errors import UserError

PLAN = "SCALINGLAB_PLAN"  # set by workflow/rules/families.smk
FOLDER = Path(".scratch/receipts")


@dataclass(frozen=True)
class Receipt:
    """What one finished run of a stage saw and wrote: its options, all parameters, and the SHA-256 of files.

    sources: all our code. inputs: results of other stages. outs: its own. By content, since time stamps move when files
    are touched, copied or restored, and when a clock is set.
    """

    stage: str
    options: dict[str, str]
    params: dict[str, Any]
    sources: dict[str, str]
    inputs: dict[str, str]
    outs: dict[str, str]

    @property
    def path(self) -> Path:
        return FOLDER / f"{'-'.join([self.params['study'], self.stage, *sorted(self.options.values())])}.json"


@contextmanager
def written(stage: str, options: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield all parameters as they stand, for the stage to run on; write a receipt when the body ends without an error.

    Raises UserError where parameters or code are not those that Snakemake planned the job with, which is what it will
    remember, where a source file changed while the stage ran (nobody could tell which version it used), and where
    another program runs stages here.
    """
    of_snakemake, of_dvc = PLAN in os.environ, "DVC_STAGE" in os.environ
    locks.run_as_job(of_snakemake)
    if of_snakemake or of_dvc:
        locks.end_with_starter()
    params = pipeline.all_params()
    # DVC needs no receipt, and would wait for the digests of all inputs.
    declared = pipeline.find(pipeline.load(), stage, options) if of_snakemake or not of_dvc else None
    _check_plan(stage, declared, params)
    sources = digests(pipeline.files_of("src/scalinglab"))
    inputs = digests(input_files(declared)) if declared else {}
    yield params
    changed = sorted(name for name, now in pipeline.own_sources().items() if sources.get(name, now) != now)
    if changed:
        raise UserError(f"{', '.join(changed)} changed while stage {stage} ran; run it again")
    if declared and not of_dvc:
        outs = digests(map(Path, declared.outs))
        receipt = Receipt(stage, options, params, sources, inputs, outs)
        files.write_json(receipt.path, asdict(receipt))


def input_files(stage: pipeline.Stage) -> list[Path]:
    """The results that a stage reads."""
    return [path for dep in filter(pipeline.is_result, stage.deps) for path in pipeline.files_of(dep)]


def digests(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of files by their path; missing ones are left out."""
    return {path.as_posix(): files.sha256(path) for path in paths if path.exists()}


def _check_plan(stage: str, declared: pipeline.Stage | None, params: dict[str, Any]) -> None:
    planned = os.environ.get(PLAN)
    if planned and (declared is None or pipeline.plan_of(declared, params) != planned):
        raise UserError(
            f"params.yaml or the code of stage {stage} changed after snakemake had planned its run; run snakemake again"
        )


def read_all(study: str) -> list[Receipt]:
    """Every receipt of a study that is not yet taken."""
    fields = {field.name for field in dataclasses.fields(Receipt)}
    held = [files.read_json(path) for path in sorted(FOLDER.glob(f"{study}-*.json"))]
    # One that an older version wrote tells too little: its stage runs again.
    return [Receipt(**values) for values in held if values.keys() == fields and values["params"]["study"] == study]
