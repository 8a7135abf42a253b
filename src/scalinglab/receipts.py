"""Receipts: a stage that ran to its end under Snakemake says so, with the parameters it saw.

Files on disk do not tell whether they belong to the present parameters; a receipt does. Only stages with a valid
receipt are recorded in the DVC cache (tools/commit), so nothing stale or half-made is ever blessed. Under `dvc repro`
DVC records by itself and no receipt is written.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalinglab import files, pipeline

FOLDER = Path(".scratch/receipts")


@dataclass(frozen=True)
class Receipt:
    """What one finished run of a stage saw: its options, params.yaml, the SHA-256 of our sources, and when it began."""

    path: Path
    stage: str
    options: dict[str, str]
    params: dict[str, Any]
    sources: dict[str, str]
    started: float


@contextmanager
def written(stage: str, options: dict[str, str]) -> Iterator[None]:
    """Write a receipt when the body ends without an error."""
    started = time.time()
    sources = {path.as_posix(): files.sha256(path) for path in pipeline.files_of("src/scalinglab")}
    params = pipeline.read_params()
    yield
    if "DVC_STAGE" in os.environ:
        return
    name = "-".join([params["study"], stage, *options.values()])
    seen = {"stage": stage, "options": options, "params": params, "sources": sources, "started": started}
    files.write_json(FOLDER / f"{name}.json", seen)


def read_all() -> list[Receipt]:
    """Every receipt not yet taken."""
    return [Receipt(path, **files.read_json(path)) for path in sorted(FOLDER.glob("*.json"))]
