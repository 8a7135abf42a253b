"""What may lie about before or after a run and must go: half-written files, stale locks, old cells, old checkpoints.

Each is removed only by the one process that holds the folder (locks.py).
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from scalinglab import pipeline
from scalinglab.pipeline import Family, Stage

SNAKEMAKE = Path(".snakemake")


def of_killed_run() -> None:
    """Remove what a killed run left and nobody needs: Snakemake's lock, since we hold this folder, and half files."""
    stale = list((SNAKEMAKE / "locks").glob("*"))
    for lock in stale:
        lock.unlink()
    folders = (Path("results"), Path(".scratch"))
    for half in (*SNAKEMAKE.glob(".*.tmp"), *(path for folder in folders for path in folder.rglob(".*.tmp"))):
        half.unlink(missing_ok=True)
    if stale:
        print("the last run was killed; this one goes on from what it had finished", file=sys.stderr)


def of_removed_cells(families: dict[str, Family]) -> None:
    """Remove outputs of stages that params.yaml no longer has from the folders that stages depend on.

    Such a dependency is everything in its folder: with a removed cell's file still there, DVC would not know the folder
    again, and nothing below it would come back from the cache.
    """
    stages = pipeline.stages_of(families)
    declared = {out for stage in stages for out in stage.outs}
    patterns = [pattern for family in families.values() for pattern in family.out_patterns]
    ours = [re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(pattern))) for pattern in patterns]
    folders = {dep for stage in stages for dep in stage.deps if pipeline.is_result(dep) and dep not in declared}
    for path in (path for folder in folders for path in pipeline.files_of(folder)):
        name = path.as_posix()
        if name not in declared and any(pattern.fullmatch(name) for pattern in ours):
            path.unlink(missing_ok=True)


def drop_outputs(stages: Iterable[Stage]) -> None:
    """Remove outputs that nobody vouches for (cache.Cache.strays): Snakemake would take them for its own.

    It calls files up to date that it knows nothing of, and remembers only what it made itself: not what `dvc repro`
    made of parameters that were changed since, or was killed over.
    """
    for out in (Path(out) for stage in stages for out in stage.outs):
        out.unlink(missing_ok=True)


def drop_checkpoints(stages: Iterable[Stage]) -> None:
    """Remove the checkpoints of stages that are recorded: until then, a killed run may need them once more."""
    jobs = {_job(stage) for stage in stages}
    for path in Path(".scratch", pipeline.read_params()["study"], "checkpoints").glob("*"):
        if path.name.partition(".")[0] in jobs:  # no name of a size or a variant has a dot
            path.unlink()


def _job(stage: Stage) -> str:
    """What a stage calls its checkpoints: `trunk-d64-400k`; where it began goes without saying."""
    options = pipeline.options_of(stage)
    return "-".join([stage.command, *(value for name, value in options.items() if name != "after")])
