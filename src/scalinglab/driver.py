"""What the one Snakemake process does around a run: before planning, restore and reconcile; afterwards, record.

Snakemake and DVC each remember what is up to date. They are kept in step like this:
* a stage that ran under Snakemake leaves a receipt (receipts.py), and is recorded in DVC from it;
* a stage that DVC vouches for and Snakemake did not run (restored, or made by `dvc repro`) is shown to Snakemake with
  `--touch`, which renews its memory of exactly those files;
* what a removed cell left behind is removed, where it would hide that all else is as it was;
* a run that was killed left its lock and half-written files: both go, once it is certain that nobody runs here;
* what nobody vouches for (made by `dvc repro` for other parameters, or left by a killed one) is removed: Snakemake
  would take it for its own.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalinglab import cache, files, leftovers, locks, pipeline, receipts
from scalinglab.errors import UserError
from scalinglab.pipeline import Stage
from scalinglab.receipts import Receipt

# Beside Snakemake's own memory, so that the two are deleted together: stage -> digest of its dvc.lock entry.
KNOWN = Path(".snakemake/scalinglab.json")
LOOKS_ONLY = re.compile(
    r"-[a-zA-Z]*n[a-zA-Z]*|--dry-?run|--(detailed-)?summary|-D|-S|--(rule|file|d6)?dag.*|--rulegraph.*|--filegraph.*"
    r"|--lint.*|--unlock|--list.*|-l|--cleanup-.*|--touch|-t|--report.*|--delete-.*|--print-.*|--archive|--generate-.*"
)
PLANS = "snakemake"  # who plans, and so would take strays for its own
NESTED = "SCALINGLAB_NESTED"  # set for Snakemake processes that the driver itself starts


def prepare(arguments: Sequence[str] = (), who: str = PLANS) -> None:
    """Record what an interrupted run finished, restore from the cache, and tell Snakemake of both.

    arguments: Snakemake's own. It reads the Snakefile before it says what it is about to do, and a call that only
    looks (a dry run, a summary, an unlock) must change nothing. Raises UserError where another process runs here.
    """
    if NESTED in os.environ or any(LOOKS_ONLY.fullmatch(argument) for argument in arguments):
        return
    locks.run_alone(who)
    os.environ[locks.DRIVER] = locks.identity()
    leftovers.of_killed_run()
    families = pipeline.load()
    leftovers.of_removed_cells(families)
    stages = pipeline.stages_of(families)
    known = files.read_json(KNOWN) if KNOWN.exists() else {}
    with cache.opened() as held:
        taken = take_receipts(held, stages)
        restored = held.restore()
        valid, locked = set(held.valid()), held.locked()
        news = {name for name in valid if known.get(name) != locked[name]}
        strays = held.strays(known, _waiting(stages)) if who == PLANS else set()
        held.remember(news - set(restored) - set(taken) | strays)
        held.keep_writers_out()
    _note_origins(restored, "restored")
    if restored:
        print(f"restored {len(restored)} stages from the DVC cache", file=sys.stderr)
    leftovers.drop_outputs(stage for stage in stages if stage.name in strays)
    leftovers.drop_checkpoints(stage for stage in stages if stage.name in valid)
    if outs := [out for stage in stages if stage.name in news for out in stage.outs]:
        _touch(outs)
    _remember(valid, locked)


def conclude() -> None:
    """Record in the DVC cache every stage that this run finished. Raises UserError where another process runs here."""
    if NESTED in os.environ:
        return
    locks.run_alone("scalinglab commit")
    stages = pipeline.stages_of(pipeline.load())
    with cache.opened() as held:
        taken = take_receipts(held, stages)
        valid, locked = set(held.valid()), held.locked()
    leftovers.drop_checkpoints(stage for stage in stages if stage.name in valid)
    _remember(valid, locked)
    if taken:
        print(f"recorded {len(taken)} stages in the DVC cache", file=sys.stderr)


def failures(logs: Path, since: float) -> list[str]:
    """One line for each job log written after `since` that ends in an error: what went wrong, and where to read on.

    Snakemake's own report of a failed job is hidden by the profile's `quiet: rules`, with pages of job details.
    """
    lines = []
    for log in sorted(logs.glob("*.log")):
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        last = text.rsplit("\n", 1)[-1]
        if log.stat().st_mtime >= since and (last.startswith("error:") or "Traceback (most recent call last)" in text):
            lines.append(f"{log.stem}: {last} (see {log})")
    return lines


def take_receipts(held: cache.Cache, stages: list[Stage]) -> list[str]:
    """Record the stages whose receipts fit the present parameters and files; return their names.

    A receipt that does not fit (parameters or sources were edited after its stage ran) waits with its outputs: both
    tools call them stale now, and if the edit is undone, they are recorded after all.
    """
    params = pipeline.read_params()
    fitting: dict[str, Receipt] = {}
    for stage, receipt in _with_receipts(stages, params["study"]):
        if not _outputs_stand(stage, receipt):
            receipt.path.unlink()
        elif _fits(stage, receipt, params):
            fitting[stage.name] = receipt
        elif receipt.outs is None:
            receipts.write(replace(receipt, outs={out: files.sha256(Path(out)) for out in stage.outs}))
    held.record(set(fitting))
    _note_origins(list(fitting), "executed")
    for receipt in fitting.values():
        receipt.path.unlink()
    return sorted(fitting)


def _outputs_stand(stage: Stage, receipt: Receipt) -> bool:
    """Whether the files on disk are still those that the receipt's run wrote."""
    outs = [Path(out) for out in stage.outs]
    if not all(out.exists() and out.stat().st_mtime >= receipt.started - 1 for out in outs):
        return False
    return receipt.outs is None or all(receipt.outs[out] == files.sha256(Path(out)) for out in stage.outs)


def _fits(stage: Stage, receipt: Receipt, params: dict[str, Any]) -> bool:
    """Whether the run saw the present parameters, sources and inputs."""
    try:
        if pipeline.param_values(stage, params) != pipeline.param_values(stage, receipt.params):
            return False
    except UserError:
        return False
    return all(_unchanged(path, receipt) for dep in stage.deps for path in pipeline.files_of(dep))


def _unchanged(path: Path, receipt: Receipt) -> bool:
    """Whether an input is what it was when the run began: sources by content, results by time."""
    if not path.exists():
        return False
    if path.parts[0] == "src":
        return receipt.sources.get(path.as_posix()) == files.sha256(path)
    return path.stat().st_mtime <= receipt.started


def _note_origins(names: list[str], origin: str) -> None:
    """Remember for tracking whether this machine made a stage's result or took it from the cache."""
    study = pipeline.read_params()["study"]
    path = Path(".scratch") / study / "origins.json"
    known = files.read_json(path) if path.exists() else {}
    files.write_json(path, {**known, **dict.fromkeys(names, origin)})


def _remember(valid: Iterable[str], locked: dict[str, str]) -> None:
    """Note which run Snakemake now knows each valid stage's outputs of."""
    files.write_json(KNOWN, {name: locked[name] for name in sorted(valid)})


def _with_receipts(stages: list[Stage], study: str) -> list[tuple[Stage, Receipt]]:
    """Each receipt that is not yet taken, with its stage; those of cells that are not in the grid now are left out."""
    by_call = {(stage.family, *sorted(pipeline.options_of(stage).items())): stage for stage in stages}
    calls = ((by_call.get((r.stage, *sorted(r.options.items()))), r) for r in receipts.read_all(study))
    return [(stage, receipt) for stage, receipt in calls if stage]


def _waiting(stages: list[Stage]) -> set[str]:
    """Stages whose receipt waits: Snakemake made what stands there, and knows with which parameters."""
    return {stage.name for stage, _ in _with_receipts(stages, pipeline.read_params()["study"])}


def _touch(outs: list[str]) -> None:
    """Let Snakemake renew its memory of files that are up to date; so are their ancestors, and nothing stale is hit."""
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--touch", "--quiet", "all", "--", *outs],
        env={**os.environ, NESTED: "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
