"""What the one Snakemake process does around a run: before planning, restore and reconcile; afterwards, record.

Snakemake and DVC each remember what is up to date. They are kept in step like this:
* a stage that ran under Snakemake leaves a receipt (receipts.py), and is recorded in DVC from it;
* a stage that DVC vouches for and Snakemake did not run (restored, or made by `dvc repro`) is shown to Snakemake with
  `--touch`, which renews its memory of exactly those files;
* what a removed cell left behind is removed, where it would hide that all else is as it was;
* a run that was killed left its lock and half-written files: both go, once it is certain that nobody runs here;
* MLflow gets what a killed run did not bring there, and what is restored, even where no job is left to run;
* what nobody vouches for (made by `dvc repro` for other parameters, or left by a killed one) is removed: Snakemake
  would take it for its own.
"""

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from scalinglab import cache, files, leftovers, locks, pipeline, receipts
from scalinglab.errors import UserError
from scalinglab.paths import KNOWN, SYNC_DUE
from scalinglab.pipeline import Family, Stage
from scalinglab.receipts import Receipt
from scalinglab.theory.course import no_question

LOOKS_ONLY = re.compile(
    r"-[npqrFfk]*n[npqrFfk]*|--dry-?run|--(detailed-)?summary|-D|-S|--(rule|file|d6)?dag.*|--rulegraph.*|--filegraph.*"
    r"|--lint.*|--unlock|--list.*|-l|--cleanup-.*|--touch|-t|--report.*|--delete-.*|--print-.*|--archive|--generate-.*"
)
PLANS = "snakemake"  # who plans, and so would take strays for its own
RULE = "theory_"  # of a question beside the study, before its name
NESTED = "SCALINGLAB_NESTED"  # set for Snakemake processes that the driver itself starts


def prepare(arguments: Sequence[str] | None = None, who: str = PLANS) -> None:
    """Record what an interrupted run finished, restore from the cache, and tell Snakemake of both.

    arguments: Snakemake's own. It reads the Snakefile before it says what it is about to do, and a call that only
    looks (a dry run, a summary, an unlock) must change nothing. Raises UserError where another process runs here.
    """
    if NESTED in os.environ or any(LOOKS_ONLY.fullmatch(argument) for argument in arguments or ()):
        return
    locks.run_alone(who)
    os.environ[locks.DRIVER] = locks.identity()
    leftovers.of_killed_run()
    families = pipeline.load()
    stages = _asked_for(families, arguments)
    names = {stage.name for stage in stages}
    known = files.read_json(KNOWN) if KNOWN.exists() else {}
    with cache.opened(names) as held:
        # In this order: nothing is removed or replaced before all that it may be needed for again is stored.
        take_receipts(held, stages)
        held.remember({name for name, entry in held.locked().items() if known.get(name) != entry})
        leftovers.of_removed_cells(families)
        restored = held.restore()
        valid, locked = set(held.valid()), held.locked()
        strays = held.strays(known, valid, _waiting(stages)) if who == PLANS else set()
        held.keep_writers_out()
    _note_origins(restored, "restored")
    if restored:
        print(f"restored {len(restored)} stages from the DVC cache", file=sys.stderr)
    news = [stage for stage in stages if stage.name in valid and known.get(stage.name) != locked[stage.name]]
    leftovers.drop_outputs(stage for stage in stages if stage.name in strays)
    leftovers.drop_checkpoints(stage for stage in news if stage.name not in restored)
    if news:
        files.write_text(SYNC_DUE, "")
        _touch([out for stage in news for out in stage.outs])
    _remember(names, valid, locked)
    if SYNC_DUE.exists() and who == PLANS:  # now: where nothing is to be done, Snakemake starts nothing
        print("bringing MLflow up to date", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "scalinglab", "sync"], check=False, stdout=subprocess.DEVNULL)


def conclude(arguments: Sequence[str] | None = None) -> None:
    """Record in the DVC cache every stage that this run finished. Raises UserError where another process runs here."""
    if NESTED in os.environ:
        return
    locks.run_alone("scalinglab commit")
    stages = _asked_for(pipeline.load(), arguments)
    names = {stage.name for stage in stages}
    with cache.opened(names) as held:
        taken = take_receipts(held, stages)
        valid, locked = set(held.valid()), held.locked()
    leftovers.drop_checkpoints(stage for stage in stages if stage.name in taken)
    _remember(names, valid, locked)
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

    Where only parameters were edited after a stage ran, its result goes into the run cache under those that it saw.
    Where its sources were, it waits: both tools call the stage stale, and if the edit is undone before it runs again,
    it is recorded after all. Raises UserError where the disk is full.
    """
    params = pipeline.all_params()
    digest = functools.cache(files.sha256)  # a thousand cells share the shards that they read
    of_now, of_then, receipt_of = set(), {}, {}
    for stage, receipt in _with_receipts(stages, params["study"]):
        receipt_of[stage.name] = receipt
        if not _all_stand(receipt.outs, stage.outs, digest):
            receipt.path.unlink()
        elif _all_stand(receipt.inputs | receipt.sources, _inputs(stage), digest):
            saw = _values(stage, receipt.params)
            if saw == _values(stage, params):
                of_now.add(stage.name)
            elif saw:
                of_then[stage.name] = saw
    taken = held.record(of_now)
    _note_origins(sorted(taken), "executed")
    stored = taken | (held.keep(of_then) if of_then else set())
    for name in stored:
        receipt_of[name].path.unlink()
    if left := sorted((of_now | of_then.keys()) - stored):
        raise UserError(f"{', '.join(left)}: no room in the DVC cache; free some space, then run again")
    return sorted(taken)


def _all_stand(recorded: dict[str, str], wanted: Iterable[str], digest: Callable[[Path], str]) -> bool:
    """Whether files are on disk with the contents that a receipt tells of."""
    return all(Path(path).exists() and recorded.get(path) == digest(Path(path)) for path in wanted)


def _inputs(stage: Stage) -> list[str]:
    """Every file that a stage depends on, but params.yaml."""
    return [path.as_posix() for dep in stage.deps for path in pipeline.files_of(dep)]


def _values(stage: Stage, params: dict[str, Any]) -> dict[str, Any] | None:
    """The stage's parameters; None where an older params.yaml did not have them all."""
    try:
        return pipeline.param_values(stage, params)
    except UserError:
        return None


def _note_origins(names: list[str], origin: str) -> None:
    """Remember for tracking whether this machine made a stage's result or took it from the cache."""
    study = pipeline.read_params()["study"]
    path = Path(".scratch") / study / "origins.json"
    known = files.read_json(path) if path.exists() else {}
    files.write_json(path, {**known, **dict.fromkeys(names, origin)})


def questions_asked(families: dict[str, Family], arguments: Sequence[str]) -> list[str]:
    """The questions beside the study that Snakemake's arguments name, in the order of studies/dvc.yaml.

    Raises UserError where one names a question that there is not.
    """
    known = {stage.theory for stage in pipeline.stages_of(families)} - {""}
    for name in (argument.removeprefix(RULE) for argument in arguments if argument.startswith(RULE)):
        if name not in known:
            raise UserError(no_question(name, sorted(known)))
    return list(dict.fromkeys(stage.theory for stage in _asked_for(families, arguments) if stage.theory))


def _asked_for(families: dict[str, Family], arguments: Sequence[str] | None) -> list[Stage]:
    """The stages of the study, and those of the questions beside it that Snakemake's arguments name.

    They name them by a rule (theory_norms, verdict) or a file below results/theory. Other questions are left alone:
    what stands there may be published results that no run of this folder made. No arguments at all ask for everything.
    """
    stages = pipeline.stages_of(families)
    if arguments is None or "theory" in arguments:
        return stages
    asked = {stage.theory for stage in stages if stage.theory and _names_it(stage, arguments)}
    return [stage for stage in stages if stage.theory in asked | {""}]


def _names_it(stage: Stage, arguments: Sequence[str]) -> bool:
    """Whether one of Snakemake's targets is a rule or a file of this stage's question."""
    folder = f"results/theory/{stage.theory}/"
    rules = (stage.family, f"{RULE}{stage.theory}")
    return any(argument in rules or argument.startswith(folder) for argument in arguments)


def _remember(names: set[str], valid: Iterable[str], locked: dict[str, str]) -> None:
    """Note which run Snakemake now knows the outputs of each valid stage of, among those that were looked at."""
    known = files.read_json(KNOWN) if KNOWN.exists() else {}
    others = {name: entry for name, entry in known.items() if name not in names}
    files.write_json(KNOWN, others | {name: locked[name] for name in valid})


def _with_receipts(stages: list[Stage], study: str) -> list[tuple[Stage, Receipt]]:
    """Each receipt that is not yet taken, with its stage; those of cells that are not in the grid now are left out."""
    by_call = {(stage.command, *sorted(pipeline.options_of(stage).items())): stage for stage in stages}
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
