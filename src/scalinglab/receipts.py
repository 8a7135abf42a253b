"""Receipts: a stage that ran to its end under Snakemake says so, with the parameters and sources it saw.

Files on disk do not tell whether they belong to the present parameters; a receipt does. Only stages with a fitting
receipt are recorded in the DVC cache (driver.py), so nothing stale or half-made is ever blessed. Under `dvc repro`
DVC records by itself and no receipt is written.
"""

import os
import time
from collections.abc import Iterator
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
    """What one finished run of a stage saw: its options, params.yaml, the SHA-256 of our sources, and when it began.

    outs: SHA-256 of its outputs, filled in when the receipt has to wait (driver.take_receipts).
    """

    stage: str
    options: dict[str, str]
    params: dict[str, Any]
    sources: dict[str, str]
    started: float
    outs: dict[str, str] | None = None

    @property
    def path(self) -> Path:
        return FOLDER / f"{'-'.join([self.params['study'], self.stage, *sorted(self.options.values())])}.json"


@contextmanager
def written(stage: str, options: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield params.yaml as it stands, for the stage to run on; write a receipt when the body ends without an error.

    Raises UserError where parameters or code are not those that Snakemake planned the job with, which is what it will
    remember, where a source file changed while the stage ran (nobody could tell which version it used), and where
    another program runs stages here.
    """
    of_snakemake, of_dvc = PLAN in os.environ, "DVC_STAGE" in os.environ
    locks.run_as_job(of_snakemake)
    if of_snakemake or of_dvc:
        locks.end_with_starter()
    started = time.time()
    params = pipeline.read_params()
    _check_plan(stage, options, params)
    sources = {path.as_posix(): files.sha256(path) for path in pipeline.files_of("src/scalinglab")}
    yield params
    changed = sorted(name for name, now in pipeline.own_sources().items() if sources.get(name, now) != now)
    if changed:
        raise UserError(f"{', '.join(changed)} changed while stage {stage} ran; run it again")
    if not of_dvc:
        write(Receipt(stage, options, params, sources, started))


def _check_plan(stage: str, options: dict[str, str], params: dict[str, Any]) -> None:
    planned = os.environ.get(PLAN)
    found = pipeline.find(pipeline.load(), stage, options) if planned else None
    if planned and (found is None or pipeline.plan_of(found, params) != planned):
        raise UserError(
            f"params.yaml or the code of stage {stage} changed after snakemake had planned its run; run snakemake again"
        )


def write(receipt: Receipt) -> None:
    files.write_json(receipt.path, asdict(receipt))


def read_all(study: str) -> list[Receipt]:
    """Every receipt of a study that is not yet taken."""
    held = [Receipt(**files.read_json(path)) for path in sorted(FOLDER.glob(f"{study}-*.json"))]
    return [receipt for receipt in held if receipt.params["study"] == study]
