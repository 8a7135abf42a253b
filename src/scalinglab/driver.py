"""What the one Snakemake process does around a run: before planning, restore and reconcile; afterwards, record.

Snakemake and DVC each remember what is up to date. They are kept in step like this:
* a stage that ran under Snakemake leaves a receipt (receipts.py), and is recorded in DVC from it;
* a stage that DVC vouches for and Snakemake did not run (restored, or made by `dvc repro`) is shown to Snakemake with
  `--touch`, which renews its memory of exactly those files.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scalinglab import cache, files, pipeline, receipts
from scalinglab.errors import UserError
from scalinglab.pipeline import Stage
from scalinglab.receipts import Receipt

# Beside Snakemake's own memory, so that the two are deleted together: stage -> digest of its dvc.lock entry.
KNOWN = Path(".snakemake/scalinglab.json")
LOOKS_ONLY = re.compile(
    r"-[a-zA-Z]*n[a-zA-Z]*|--dry-?run|--(detailed-)?summary|-D|-S|--(rule|file|d6)?dag.*|--rulegraph.*|--filegraph.*"
    r"|--lint.*|--unlock|--list.*|-l|--cleanup-.*|--touch|-t|--report.*|--delete-.*|--print-.*|--archive|--generate-.*"
)
NESTED = "SCALINGLAB_NESTED"  # set for Snakemake processes that the driver itself starts


def prepare(arguments: Sequence[str] = ()) -> None:
    """Record what an interrupted run finished, restore from the cache, and tell Snakemake of both.

    arguments: Snakemake's own. It reads the Snakefile before it says what it is about to do, and a call that only
    looks (a dry run, a summary, an unlock) must change nothing.
    """
    if NESTED in os.environ or any(LOOKS_ONLY.fullmatch(argument) for argument in arguments):
        return
    with cache.opened() as held:
        take_receipts(held)
        restored = held.restore()
        valid = held.valid()
    if restored:
        _note_origins(restored, "restored")
        print(f"restored {len(restored)} stages from the DVC cache", file=sys.stderr)
    known = files.read_json(KNOWN) if KNOWN.exists() else {}
    news = {name for name, digest in valid.items() if known.get(name) != digest}
    outs = [out for stage in _stages() if stage.name in news for out in stage.outs]
    if outs:
        _touch(outs)
    files.write_json(KNOWN, valid)


def conclude() -> None:
    """Record in the DVC cache every stage that this run finished."""
    with cache.opened() as held:
        taken = take_receipts(held)
        valid = held.valid()
    files.write_json(KNOWN, valid)
    if taken:
        print(f"recorded {len(taken)} stages in the DVC cache", file=sys.stderr)


def take_receipts(held: cache.Cache) -> list[str]:
    """Record the stages whose receipts fit the present parameters and files; return their names.

    The outputs of a receipt that does not fit were made from something else than what stands in the folder now. They
    are deleted: neither tool could tell, and both will make them anew.
    """
    params = pipeline.read_params()
    by_call = {(stage.family, _flat(stage.item)): stage for stage in _stages()}
    fitting: dict[str, Receipt] = {}
    for receipt in receipts.read_all():
        if receipt.params.get("study") != params["study"]:
            continue
        stage = by_call.get((receipt.stage, _flat(receipt.options)))
        if stage and _fits(stage, receipt, params):
            fitting[stage.name] = receipt
            continue
        if stage:
            print(f"{stage.name}: its inputs changed while it ran; its outputs are dropped", file=sys.stderr)
            for out in stage.outs:
                Path(out).unlink(missing_ok=True)
        receipt.path.unlink()
    held.record(set(fitting))
    _note_origins(list(fitting), "executed")
    for receipt in fitting.values():
        receipt.path.unlink()
    return sorted(fitting)


def _note_origins(names: list[str], origin: str) -> None:
    """Remember for tracking whether this machine made a stage's result or took it from the cache."""
    study = pipeline.read_params()["study"]
    path = Path(".scratch") / study / "origins.json"
    known = files.read_json(path) if path.exists() else {}
    files.write_json(path, {**known, **dict.fromkeys(names, origin)})


def _fits(stage: Stage, receipt: Receipt, params: dict[str, Any]) -> bool:
    """Whether the stage's outputs come from the present parameters and dependencies."""
    try:
        if pipeline.param_values(stage, params) != pipeline.param_values(stage, receipt.params):
            return False
    except UserError:
        return False
    outs = [Path(out) for out in stage.outs]
    if not all(out.exists() and out.stat().st_mtime >= receipt.started - 1 for out in outs):
        return False
    return all(
        receipt.sources.get(path.as_posix()) == files.sha256(path)
        if path.parts[0] == "src"
        else path.stat().st_mtime <= receipt.started
        for dep in stage.deps
        for path in pipeline.files_of(dep)
    )


def _flat(item: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """A matrix item as the options of its command: `{size: d8, segment: {after: init, to: 1M}}` has three."""
    leaves = [(key, value) for key, value in item.items() if not isinstance(value, dict)]
    leaves += [pair for value in item.values() if isinstance(value, dict) for pair in value.items()]
    return frozenset((key, str(value)) for key, value in leaves)


def _stages() -> list[Stage]:
    return pipeline.stages_of(pipeline.load())


def _touch(outs: list[str]) -> None:
    """Let Snakemake renew its memory of files that are up to date; so are their ancestors, and nothing stale is hit."""
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", "--touch", "--quiet", "all", "--", *outs],
        env={**os.environ, NESTED: "1"},
        check=True,
        stdout=subprocess.DEVNULL,
    )
